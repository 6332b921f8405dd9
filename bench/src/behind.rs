//! How far applying is behind storing, while callbacks come at a steady rate or are held back.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sea_orm::{DatabaseConnection, DbBackend};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::{
    database,
    load::{self, Outcome},
    steady::{self, Pace, Unsigned},
};

/// Between two looks at a load that is held back.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// More than is applied in a second on any machine.
const HELD_PER_SECOND: u64 = 10_000;

/// A backlog may rise by what comes in this part of a second …
const LEEWAY_PARTS: u64 = 4;

/// … or by so many bodies, if that is more: a batch on SQLite.
const LEAST_LEEWAY: u64 = 100;

/// Fewer looks are too few to say whether a backlog stays where it is.
pub const LEAST_SECONDS: u64 = 8;

/// Bodies that are stored and not applied.
///
/// On PostgreSQL, what is applied stops waiting in the same transaction. To look for its mark as well
/// would cost a fifth of a core: a plan from when the tables were empty reads all marks for each segment.
pub async fn unapplied(connection: &DatabaseConnection) -> anyhow::Result<u64> {
    let waiting = match connection.get_database_backend() {
        DbBackend::Postgres => {
            let waiting = "SELECT CAST(coalesce(sum(bodies), 0) AS bigint) FROM inbox_pending";
            database::number(connection, waiting).await?
        }
        _ => database::waiting(connection).await?,
    };
    Ok(u64::try_from(waiting)?)
}

/// Notifications of a load that is held back.
pub fn held_notifications(seconds: u64) -> u64 {
    rate_notifications(HELD_PER_SECOND, seconds)
}

/// Notifications that are enough for so many statuses a second, three each.
pub fn rate_notifications(per_second: u64, seconds: u64) -> u64 {
    (per_second * seconds)
        .div_ceil(3)
        .max(database::NOTIFICATIONS)
}

/// What is loaded.
pub struct Target<'a> {
    pub address: SocketAddr,
    pub connection: &'a DatabaseConnection,
    pub connections: u32,
    pub seconds: u64,
    /// So many are filled in.
    pub notifications: u64,
}

impl Target<'_> {
    /// Offers so many a second, and looks once a second how many are not applied.
    pub async fn at_rate(&self, per_second: u64) -> anyhow::Result<(Outcome, Value)> {
        let source = self.source()?;
        let pace = Pace {
            per_second: Some(per_second),
            // None sends less than once a second.
            connections: self
                .connections
                .min(u32::try_from(per_second).unwrap_or(u32::MAX)),
            most: Duration::from_secs(self.seconds),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let steady = steady::offer(self.address, &source, pace, &stop);
        let looking = async {
            let samples = self.sample().await;
            stop.store(true, Ordering::Relaxed);
            samples
        };
        let (outcome, samples) = tokio::join!(steady.join(), looking);
        let (outcome, samples) = (outcome?, samples?);
        let sent = outcome.acknowledged.len() + usize::try_from(outcome.refused)?;
        let sent_per_second = load::count(sent) / outcome.elapsed.as_secs_f64();
        let acknowledged = u64::try_from(outcome.acknowledged.len())?;
        // If less was taken than was offered, what waits says nothing.
        let is_taken = outcome.refused == 0 && acknowledged * 100 >= per_second * self.seconds * 99;
        let keys = json!({
            "offered_per_second": per_second,
            "sent_per_second": sent_per_second.round(),
            "acknowledged_per_second": outcome.per_second().round(),
            "backlog_first_quarter": samples.first_quarter(),
            "backlog_last_quarter": samples.last_quarter(),
            "backlog_max": samples.most(),
            "backlog_flat": is_taken && samples.is_flat(per_second),
            "backlog": samples.0,
        });
        Ok((outcome, keys))
    }

    /// Offers as much as is answered, and pauses whenever more than `most` are not applied.
    pub async fn held(&self, most: u64) -> anyhow::Result<(Outcome, Value)> {
        let source = self.source()?;
        let pace = Pace {
            per_second: None,
            connections: self.connections,
            most: Duration::from_secs(self.seconds),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let steady = steady::offer(self.address, &source, pace, &stop);
        let looking = async {
            let seen = self.hold(&source, most).await;
            stop.store(true, Ordering::Relaxed);
            seen
        };
        let (outcome, seen) = tokio::join!(steady.join(), looking);
        let (outcome, seen) = (outcome?, seen?);
        let keys = json!({
            "held": most,
            "backlog_max": seen.most,
            "paused_percent": seen.paused * 100 / seen.looks.max(1),
        });
        Ok((outcome, keys))
    }

    fn source(&self) -> anyhow::Result<Arc<Unsigned>> {
        let count = usize::try_from(self.notifications * 3)?;
        Ok(Arc::new(Unsigned::new(self.notifications, count, 7)))
    }

    /// Looks once a second until the time is up.
    async fn sample(&self) -> anyhow::Result<Samples> {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        // The first comes at once.
        seconds.tick().await;
        let mut samples = Vec::new();
        for _ in 0..self.seconds {
            seconds.tick().await;
            samples.push(unapplied(self.connection).await?);
        }
        Ok(Samples(samples))
    }

    /// Holds a load back while more than `most` are not applied, until the time is up or
    /// everything was sent.
    async fn hold(&self, source: &Unsigned, most: u64) -> anyhow::Result<Held> {
        let mut seen = Held::default();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let until = Instant::now() + Duration::from_secs(self.seconds);
        while Instant::now() < until && !source.is_spent() {
            ticks.tick().await;
            let waiting = unapplied(self.connection).await?;
            let is_over = waiting > most;
            source.hold(is_over);
            seen.looks += 1;
            seen.paused += u64::from(is_over);
            seen.most = seen.most.max(waiting);
        }
        Ok(seen)
    }
}

/// What was seen of a load that is held back.
#[derive(Debug, Default)]
struct Held {
    looks: u64,
    /// At so many of them it was over its bound.
    paused: u64,
    most: u64,
}

/// How many were not applied, second by second.
#[derive(Debug)]
struct Samples(Vec<u64>);

impl Samples {
    fn quarter(&self) -> usize {
        (self.0.len() / 4).max(1)
    }

    fn first_quarter(&self) -> u64 {
        median(self.0.iter().take(self.quarter()))
    }

    fn last_quarter(&self) -> u64 {
        median(self.0.iter().rev().take(self.quarter()))
    }

    fn most(&self) -> u64 {
        self.0.iter().max().copied().unwrap_or(0)
    }

    /// Whether as many wait at the end as at the beginning, but for what comes in a quarter of
    /// a second. Medians do not see a stall that is shorter than half of a quarter.
    fn is_flat(&self, per_second: u64) -> bool {
        let leeway = (per_second / LEEWAY_PARTS).max(LEAST_LEEWAY);
        self.last_quarter() <= self.first_quarter() + leeway
    }
}

fn median<'a>(samples: impl Iterator<Item = &'a u64>) -> u64 {
    let mut sorted: Vec<u64> = samples.copied().collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Samples, rate_notifications};

    #[test]
    fn a_backlog_that_grows_is_not_flat() {
        // One in a hundred of 5,000 a second is not applied.
        let grows = Samples((1..=60).map(|second| 300 + second * 50).collect());
        assert!(!grows.is_flat(5_000));
        assert_eq!(grows.first_quarter(), 700);
        assert_eq!(grows.last_quarter(), 2_950);
        assert_eq!(grows.most(), 3_300);
    }

    #[test]
    fn a_backlog_that_swings_is_flat() {
        let swings = Samples((1..=60).map(|second| 200 + second % 5 * 150).collect());
        assert!(swings.is_flat(5_000));
    }

    #[test]
    fn a_stall_near_the_end_does_not_make_a_backlog_grow() {
        let stalls = |second: u64| {
            if (50..56).contains(&second) {
                9_000
            } else {
                400
            }
        };
        assert!(Samples((1..=60).map(stalls).collect()).is_flat(5_000));
    }

    #[test]
    fn a_batch_more_is_no_growth_at_a_low_rate() {
        assert!(Samples(vec![0, 0, 0, 100, 100, 100, 100, 100]).is_flat(50));
        assert!(!Samples(vec![0, 0, 0, 100, 100, 100, 101, 101]).is_flat(50));
    }

    #[test]
    fn no_status_of_a_notification_comes_twice() {
        assert_eq!(rate_notifications(5_000, 300), 500_000);
        assert_eq!(rate_notifications(10, 10), 200_000);
    }
}
