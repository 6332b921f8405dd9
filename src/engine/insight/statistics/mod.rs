//! Statistics of a period for the API, the command line and the dashboard: read from counters,
//! never by counting rows.

mod question;

pub use question::{StatisticsQuery, ValidStatisticsQuery};

use std::collections::BTreeMap;

use chrono_tz::Tz;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    domain::{
        access::AccessBounds,
        channel::DeliveryReporting,
        cohort::{ChartInterval, ChartPointSpan, CounterPeriodLength, pieces},
        failure::DeliveryFailure,
        latency,
        notification::{OUT, STALE, TOOK},
        status::{NotificationStatus, StatusGroup},
        time::Timestamp,
        verification::VerificationStatus,
    },
    store::{
        Store, StoreError, callback,
        counter::{self, CounterDimension, CounterFilter, CounterSum},
        dead_letter, notification,
    },
};

/// Counts by name.
type CountsByName = BTreeMap<String, i64>;

/// Figures of the notifications created in a period, and of pending ones. Rates are of cohorts:
/// none exceeds 1.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Statistics {
    pub since: String,
    pub until: String,
    /// Time zone of the points of `series`.
    pub zone: String,
    /// Notifications created in the period. For one sender: those it has tried, because a message
    /// has no sender before it is sent.
    pub total: i64,
    /// The same by state: `pending`, `sent`, `failed`, `not_sent`. For one sender, nothing is
    /// pending.
    pub groups: CountsByName,
    pub accepted: i64,
    pub sent: i64,
    pub delivered: i64,
    pub read: i64,
    pub played: i64,
    pub replied: i64,
    pub failed: i64,
    pub skipped: i64,
    pub cancelled: i64,
    /// Accepted, but without a status for too long.
    pub stale: i64,
    pub rates: CohortRates,
    pub latency: StepLatencies,
    /// Failures by code, or by name where there is no code.
    pub failures: CountsByName,
    /// The newest failed notifications.
    pub failed_newest: Vec<FailedNotificationView>,
    /// Facts by template, or by another dimension if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_template: Option<BTreeMap<String, CountsByName>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_sender: Option<BTreeMap<String, CountsByName>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_channel: Option<BTreeMap<String, CountsByName>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_event_type: Option<BTreeMap<String, CountsByName>>,
    /// Messages with a reported price, each once and free ones included, by
    /// `category/type/country`.
    pub priced: CountsByName,
    /// One-time passwords that Herald made in the period.
    pub verifications: VerificationFigures,
    /// With `step`: facts by quarter of an hour, hour or day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<StatisticsPoint>>,
    /// Waiting now, whenever created.
    pub pending_now: i64,
    pub open_now: CountsByName,
    /// How long the oldest due message has been waiting, in seconds.
    pub queue_age_seconds: i64,
    pub callbacks: CallbackBacklogCounts,
}

/// What became of the verifications started in a period. Those that are in none of these are pending.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct VerificationFigures {
    pub started: i64,
    /// Messages with codes: resends and fallbacks included.
    pub sent: i64,
    pub approved: i64,
    pub expired: i64,
    /// Ended by too many wrong codes.
    pub too_many: i64,
    pub cancelled: i64,
    /// Approved of started, 0 to 1: a low one is a sign of fraud that is paid by the message.
    pub conversion: Option<f64>,
}

impl VerificationFigures {
    /// Those whose code can still be entered.
    pub const fn pending(&self) -> i64 {
        self.started - self.approved - self.expired - self.too_many - self.cancelled
    }
}

/// Shares of a cohort, 0 to 1; absent for an empty cohort.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CohortRates {
    /// Delivered of accepted, by the channels that report what is delivered: e-mail does not.
    pub delivery: Option<f64>,
    /// Read of delivered.
    pub read: Option<f64>,
    /// Failed of created.
    pub failure: Option<f64>,
}

/// Durations of the steps of a message, by the provider's times.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct StepLatencies {
    pub accepted_to_sent: Option<LatencyPercentiles>,
    pub sent_to_delivered: Option<LatencyPercentiles>,
    pub delivered_to_read: Option<LatencyPercentiles>,
}

/// Percentiles, to the precision of the counted classes.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct LatencyPercentiles {
    pub count: i64,
    pub p50_ms: i64,
    pub p90_ms: i64,
    pub p99_ms: i64,
}

/// A notification that failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FailedNotificationView {
    pub id: Uuid,
    pub status: &'static str,
    pub recipient: Option<String>,
    pub address: Option<String>,
    pub template: String,
    pub created_at: String,
    /// The provider's code, or a name of ours.
    pub code: Option<String>,
    /// Its meaning, in words.
    pub reason: Option<String>,
    pub remedy: Option<String>,
}

/// One point of a chart.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StatisticsPoint {
    pub start: String,
    pub counts: CountsByName,
}

/// The backlog of callbacks. It belongs to no product, so a key with bounds does not get it.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct CallbackBacklogCounts {
    pub waiting: i64,
    pub oldest_waiting_seconds: i64,
    pub dead_letters: i64,
}

/// Facts that charts show.
const DRAWN: [&str; 6] = ["created", "accepted", "sent", "delivered", "read", "failed"];

/// Answers a query.
pub async fn answer(
    store: &Store,
    question: &ValidStatisticsQuery,
    now: Timestamp,
) -> Result<Statistics, StoreError> {
    let ValidStatisticsQuery {
        since,
        until,
        filter,
        by,
        step,
        zone,
        failed_limit,
    } = question;
    let (since, until) = (
        CounterPeriodLength::Quarter.start(*since),
        CounterPeriodLength::Quarter.start_from(*until),
    );
    let pieces = pieces(since, until);
    let (sums, by_channel, series) = futures_util::try_join!(
        counter::sums(store, &pieces, filter, *by),
        counter::sums(store, &pieces, filter, CounterDimension::Channel),
        async {
            match step {
                Some(step) => series(store, since, until, filter, *step, *zone)
                    .await
                    .map(Some),
                None => Ok(None),
            }
        }
    )?;
    let bounds = &filter.bounds;
    let open_now: CountsByName = notification::open_counts(store, bounds)
        .await?
        .into_iter()
        .collect();
    let pending_now = open_now
        .iter()
        .filter(|(name, _)| {
            NotificationStatus::parse(name)
                .is_some_and(|status| status.group() == StatusGroup::Pending)
        })
        .map(|(_, count)| count)
        .sum();
    let callbacks = match bounds {
        AccessBounds::All => callbacks(store, now).await?,
        AccessBounds::Product(_) => CallbackBacklogCounts::default(),
    };
    let accepted_with_receipts: i64 = by_channel
        .iter()
        .filter(|sum| sum.fact == "accepted")
        .filter(|sum| DeliveryReporting::of(&sum.group).is_expected())
        .map(|sum| sum.count)
        .sum();
    let total = |fact: &str| total(&sums, fact);
    let failed = total("failed");
    let not_sent = total("skipped") + total("cancelled");
    let out = total(OUT);
    // Pending messages are counted under no sender.
    let created = if filter.sender_id.is_some() {
        out + failed + not_sent
    } else {
        total("created")
    };
    let groups = [
        ("pending", created - out - failed - not_sent),
        ("sent", out),
        ("failed", failed),
        ("not_sent", not_sent),
    ];
    let of = |dimension: CounterDimension| (*by == dimension).then(|| by_group(&sums));
    Ok(Statistics {
        since: since.to_string(),
        until: until.to_string(),
        zone: zone.name().to_owned(),
        total: created,
        groups: groups
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
        accepted: total("accepted"),
        sent: total("sent"),
        delivered: total("delivered"),
        read: total("read"),
        played: total("played"),
        replied: total("replied"),
        failed,
        skipped: total("skipped"),
        cancelled: total("cancelled"),
        stale: total(STALE),
        rates: CohortRates {
            delivery: part(total("delivered"), accepted_with_receipts),
            read: part(total("read"), total("delivered")),
            failure: part(failed, created),
        },
        latency: latencies(&sums),
        failures: by_code(&sums, "failed"),
        failed_newest: newest(store, since, until, filter, *failed_limit).await?,
        by_template: of(CounterDimension::Template),
        by_sender: of(CounterDimension::Sender),
        by_channel: of(CounterDimension::Channel),
        by_event_type: of(CounterDimension::EventType),
        priced: by_code(&sums, counter::PRICED),
        verifications: verifications(&sums),
        series,
        pending_now,
        open_now,
        queue_age_seconds: seconds_since(notification::oldest_due(store, bounds, now).await?, now),
        callbacks,
    })
}

/// Age of a timestamp, in seconds.
fn seconds_since(at: Option<Timestamp>, now: Timestamp) -> i64 {
    at.map_or(0, |at| now.micros_since(at).max(0) / 1_000_000)
}

async fn callbacks(store: &Store, now: Timestamp) -> Result<CallbackBacklogCounts, StoreError> {
    let waiting = callback::waiting(store.inbox().reader(), store.reader()).await?;
    Ok(CallbackBacklogCounts {
        waiting: waiting.callbacks,
        oldest_waiting_seconds: seconds_since(waiting.oldest, now),
        dead_letters: dead_letter::count_open(store).await?,
    })
}

fn total(sums: &[CounterSum], fact: &str) -> i64 {
    sums.iter()
        .filter(|sum| sum.fact == fact)
        .map(|sum| sum.count)
        .sum()
}

fn by_code(sums: &[CounterSum], fact: &str) -> CountsByName {
    let mut counts = CountsByName::new();
    for sum in sums.iter().filter(|sum| sum.fact == fact) {
        *counts.entry(sum.code.clone()).or_default() += sum.count;
    }
    counts
}

/// Facts by the requested dimension; prices and latencies are not facts of a message.
fn by_group(sums: &[CounterSum]) -> BTreeMap<String, CountsByName> {
    let mut groups: BTreeMap<String, CountsByName> = BTreeMap::new();
    let facts = sums.iter().filter(|sum| {
        let others = [counter::PRICED, counter::VERIFICATION, OUT];
        !others.contains(&sum.fact.as_str()) && !TOOK.contains(&sum.fact.as_str())
    });
    for sum in facts {
        *groups
            .entry(sum.group.clone())
            .or_default()
            .entry(sum.fact.clone())
            .or_default() += sum.count;
    }
    groups
}

fn verifications(sums: &[CounterSum]) -> VerificationFigures {
    let counts = by_code(sums, counter::VERIFICATION);
    let of = |step: &str| counts.get(step).copied().unwrap_or_default();
    let ended = |status: VerificationStatus| of(status.name());
    VerificationFigures {
        started: of("started"),
        sent: of("sent"),
        approved: ended(VerificationStatus::Approved),
        expired: ended(VerificationStatus::Expired),
        too_many: ended(VerificationStatus::TooMany),
        cancelled: ended(VerificationStatus::Cancelled),
        conversion: part(ended(VerificationStatus::Approved), of("started")),
    }
}

/// A share to four digits.
fn part(part: i64, of: i64) -> Option<f64> {
    let (part, of) = (i32::try_from(part).ok()?, i32::try_from(of).ok()?);
    (of > 0).then(|| (f64::from(part) / f64::from(of) * 10_000.0).round() / 10_000.0)
}

fn latencies(sums: &[CounterSum]) -> StepLatencies {
    let of = |name: &str| {
        let mut counts = [0; latency::CLASSES];
        for sum in sums.iter().filter(|sum| sum.fact == name) {
            if let Some(count) = latency::class(&sum.code).and_then(|at| counts.get_mut(at)) {
                *count += sum.count;
            }
        }
        let at = |permille| latency::percentile_millis(&counts, permille);
        Some(LatencyPercentiles {
            count: counts.iter().sum(),
            p50_ms: at(500)?,
            p90_ms: at(900)?,
            p99_ms: at(990)?,
        })
    };
    let [sent, delivered, read] = TOOK;
    StepLatencies {
        accepted_to_sent: of(sent),
        sent_to_delivered: of(delivered),
        delivered_to_read: of(read),
    }
}

/// One point for each step of the period, also for empty ones.
async fn series(
    store: &Store,
    since: Timestamp,
    until: Timestamp,
    filter: &CounterFilter,
    step: ChartInterval,
    zone: Tz,
) -> Result<Vec<StatisticsPoint>, StoreError> {
    let mut points: BTreeMap<Timestamp, CountsByName> = BTreeMap::new();
    let mut start = step.start(since, zone);
    while start < until {
        let counts = DRAWN.iter().map(|fact| ((*fact).to_owned(), 0)).collect();
        points.insert(start, counts);
        start = step.after(start, zone);
    }
    let starts: Vec<Timestamp> = points.keys().copied().collect();
    for span in spans(&starts, start, until) {
        for found in counter::series(store, span, filter, &DRAWN).await? {
            let counts = points.get_mut(&found.bucket);
            if let Some(count) = counts.and_then(|counts| counts.get_mut(found.fact)) {
                *count += found.count;
            }
        }
    }
    Ok(points
        .into_iter()
        .map(|(start, counts)| StatisticsPoint {
            start: start.to_string(),
            counts,
        })
        .collect())
}

/// Merges neighbouring points of the same length into spans: a year of days is three, because two
/// of its days are an hour shorter or longer. `end` is where the point after the last one would
/// begin.
fn spans(starts: &[Timestamp], end: Timestamp, until: Timestamp) -> Vec<ChartPointSpan> {
    let ends = starts.iter().skip(1).copied().chain([end]);
    let mut spans: Vec<ChartPointSpan> = Vec::new();
    for (start, next) in starts.iter().zip(ends) {
        let length = next.micros_since(*start);
        match spans.last_mut() {
            Some(span) if span.length_micros == length => span.until = next.min(until),
            _ => spans.push(ChartPointSpan {
                since: *start,
                until: next.min(until),
                length_micros: length,
            }),
        }
    }
    spans
}

async fn newest(
    store: &Store,
    since: Timestamp,
    until: Timestamp,
    filter: &CounterFilter,
    limit: u64,
) -> Result<Vec<FailedNotificationView>, StoreError> {
    let statuses = NotificationStatus::ALL
        .into_iter()
        .filter(|status| status.group() == StatusGroup::Failed)
        .collect();
    let wanted = notification::NotificationListFilter {
        statuses,
        template: filter.template.clone(),
        event_type: filter.event_type.clone(),
        sender: filter.sender_id.map(|sender| (sender, false)),
        since: Some(since),
        until: Some(until),
        limit,
        ..notification::NotificationListFilter::default()
    };
    let rows = notification::search(store, &filter.bounds, &wanted).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let failure = notification::read_failure(row.failure.as_deref());
            FailedNotificationView {
                id: row.id,
                status: crate::store::convert::status(row.status).name(),
                recipient: row.recipient,
                address: row.address,
                template: row.template,
                created_at: Timestamp::from_micros(row.created_at).to_string(),
                code: failure.as_ref().map(DeliveryFailure::counted_as),
                reason: failure
                    .as_ref()
                    .map(|failure| failure.meaning.clone())
                    .or(row.reason),
                remedy: failure.map(|failure| failure.remedy),
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::{ChartPointSpan, Timestamp, spans};

    #[test]
    fn a_year_of_days_is_a_few_questions() {
        let hours = |hours: i64| Timestamp::from_unix_seconds(hours * 3_600);
        // A day of 23 hours among others, and a last one that is not over.
        let starts = [hours(0), hours(24), hours(48), hours(71), hours(95)];
        let found = spans(&starts, hours(119), hours(100));
        let span = |since, until, length: i64| ChartPointSpan {
            since: hours(since),
            until: hours(until),
            length_micros: length * 3_600_000_000,
        };
        assert_eq!(
            found,
            [span(0, 48, 24), span(48, 71, 23), span(71, 100, 24)]
        );
        assert!(spans(&[], hours(0), hours(0)).is_empty());
    }
}
