//! Grants calls from a sender's pace: how many, and when each may be made.

use uuid::Uuid;

use super::{DeliveryJob, ProviderCallSlots};
use crate::{
    domain::{
        horizon,
        pace::{self, SendingPaceGrant, SendingPaceShare},
        time::Timestamp,
    },
    engine::Engine,
    store::{
        DatabaseTransaction, StoreError,
        sender::{self, StoredSenderHealth},
    },
};

/// The calls that a sender may make in one lane, and when.
pub(super) struct SenderPacePermit {
    pub lane: SendingPaceShare,
    pub grant: SendingPaceGrant,
}

/// What a sender's pace allows now.
pub(super) enum SenderPaceDecision {
    Granted(Vec<SenderPacePermit>),
    /// Nothing may be claimed before then.
    NotBefore(Timestamp),
    /// The sender is held: nothing may be claimed before its provider has answered a probe.
    ProbeFirst,
}

/// Takes of a sender's pace, one-time passwords first.
///
/// All processes share the pace. One compare-and-set statement takes from it if the row is
/// unchanged since it was read; otherwise the row is locked and read again.
pub(super) async fn take_pace(
    engine: &Engine,
    row: &entity::sender::Model,
    wanted: ProviderCallSlots,
    is_probed: bool,
    now: Timestamp,
) -> Result<SenderPaceDecision, StoreError> {
    if row.off_at.is_none() && row.state != "held" {
        let (permits, next_at) = weigh(engine, row, wanted, now);
        if next_at.micros() == row.pace_next_at
            || sender::take_pace(&engine.store, row, next_at).await?
        {
            return Ok(SenderPaceDecision::Granted(permits));
        }
    }
    engine
        .store
        .write(async |tx| take_locked(engine, tx, row.id, wanted, is_probed, now).await)
        .await
}

async fn take_locked(
    engine: &Engine,
    tx: &DatabaseTransaction,
    id: Uuid,
    mut wanted: ProviderCallSlots,
    is_probed: bool,
    now: Timestamp,
) -> Result<SenderPaceDecision, StoreError> {
    let Some(row) = sender::lock(tx, id).await? else {
        return Ok(SenderPaceDecision::NotBefore(now.plus_seconds(1)));
    };
    if row.off_at.is_some() {
        return Ok(SenderPaceDecision::NotBefore(now.plus_seconds(1)));
    }
    if row.state == "held" {
        let probe_at = probe_at(engine, &row, now);
        if probe_at > now {
            return Ok(SenderPaceDecision::NotBefore(probe_at));
        }
        if !is_probed {
            return Ok(SenderPaceDecision::ProbeFirst);
        }
        // One probe at a time: the next one may go when the lease of this one has run out.
        let health = StoredSenderHealth {
            state: "held",
            reason: row.state_reason.clone(),
            failures_in_row: row.failures_in_row,
            probe_at: Some(now.plus_seconds(engine.settings.policy.lease_seconds)),
        };
        sender::set_health(tx, id, &health, now, now).await?;
        wanted.otp = wanted.otp.min(1);
        wanted.ordinary = wanted.ordinary.min(1 - wanted.otp);
    }
    let (permits, next_at) = weigh(engine, &row, wanted, now);
    if next_at.micros() != row.pace_next_at {
        sender::set_pace(tx, id, next_at).await?;
    }
    Ok(SenderPaceDecision::Granted(permits))
}

/// When a held sender may be probed. The stored time is exact only if the provider holds the whole
/// account; otherwise it is limited, in case a clock was wrong.
pub(super) fn probe_at(engine: &Engine, row: &entity::sender::Model, now: Timestamp) -> Timestamp {
    let probe_at = row.probe_at.map_or(now, Timestamp::from_micros);
    if row.account_held_at.is_some() {
        return probe_at;
    }
    horizon::until(probe_at, now, engine.settings.horizon().probe())
}

/// How many of the wanted calls the pace allows, and when the next call may follow.
fn weigh(
    engine: &Engine,
    row: &entity::sender::Model,
    wanted: ProviderCallSlots,
    now: Timestamp,
) -> (Vec<SenderPacePermit>, Timestamp) {
    let slowed_at = Timestamp::from_micros(row.slowed_at);
    let permille = pace::permille(row.slowed_to, slowed_at, now);
    let allowed = pace::allowed(
        row.pace_set,
        engine.settings.sending.per_second,
        row.pace_reported,
    );
    let per_second = pace::reduced(allowed, permille);
    let mut next_at = Timestamp::from_micros(row.pace_next_at);
    let mut permits = Vec::with_capacity(2);
    for (lane, wanted) in [
        (SendingPaceShare::Otp, wanted.otp),
        (SendingPaceShare::Ordinary, wanted.ordinary),
    ] {
        if wanted > 0 {
            let grant = pace::take(next_at, now, per_second, lane, wanted);
            next_at = grant.next_at;
            permits.push(SenderPacePermit { lane, grant });
        }
    }
    (permits, next_at)
}

/// The sender's next instant with unused permits taken back, if possible: only the last ones can
/// be. `used` counts the calls made in a lane.
fn unused(
    permits: &[SenderPacePermit],
    used: impl Fn(SendingPaceShare) -> i64,
) -> Option<Timestamp> {
    let mut back = None;
    for permit in permits.iter().rev() {
        let (grant, used) = (permit.grant, used(permit.lane));
        if grant.calls == 0 || grant.interval_micros == 0 {
            continue;
        }
        if used >= grant.calls {
            break;
        }
        back = Some(grant.first_at.plus_micros(used * grant.interval_micros));
        if used > 0 {
            break;
        }
    }
    back
}

/// Gives back pace that a claim took and did not use, because its messages have to wait. Does
/// nothing if another process has taken from the pace since.
pub(super) async fn give_back(
    engine: &Engine,
    sender: Uuid,
    permits: &[SenderPacePermit],
    used: impl Fn(SendingPaceShare) -> i64,
) -> Result<(), StoreError> {
    let taken = permits.last().map(|permit| permit.grant.next_at);
    if let (Some(taken), Some(back)) = (taken, unused(permits, used)) {
        sender::give_back_pace(&engine.store, sender, taken, back).await?;
    }
    Ok(())
}

/// Reschedules claimed messages whose times have passed because the claim was delayed: two
/// processes that catch up at once would exceed the limit. One-time passwords keep their times.
pub async fn catch_up(
    engine: &Engine,
    id: Uuid,
    jobs: &mut [DeliveryJob],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut late: Vec<&mut DeliveryJob> = jobs
        .iter_mut()
        .filter(|job| job.lane == SendingPaceShare::Ordinary)
        .collect();
    let Some((first_at, interval)) = late
        .first()
        .map(|job| (job.not_before, job.interval_micros))
    else {
        return Ok(());
    };
    if pace::again(Timestamp::default(), first_at, interval, now).is_none() {
        return Ok(());
    }
    let count = i64::try_from(late.len()).unwrap_or(0);
    let first_at = engine
        .store
        .write(async |tx| {
            let Some(row) = sender::lock(tx, id).await? else {
                return Ok(None);
            };
            let next_at = Timestamp::from_micros(row.pace_next_at);
            let first_at = pace::again(next_at, first_at, interval, now);
            if let Some(first_at) = first_at {
                sender::set_pace(tx, id, first_at.plus_micros(count * interval)).await?;
            }
            Ok(first_at)
        })
        .await?;
    if let Some(first_at) = first_at {
        for (job, at) in late.iter_mut().zip(0..) {
            job.not_before = first_at.plus_micros(at * interval);
        }
    }
    Ok(())
}

/// Hands out the granted times one after the other.
pub(super) struct ProviderCallTimeAllocator<'a> {
    permits: &'a [SenderPacePermit],
    given: [i64; 2],
}

impl<'a> ProviderCallTimeAllocator<'a> {
    pub(super) const fn of(permits: &'a [SenderPacePermit]) -> Self {
        Self {
            permits,
            given: [0; 2],
        }
    }

    pub(super) fn next(&mut self, lane: SendingPaceShare, now: Timestamp) -> (Timestamp, i64) {
        let found = self.permits.iter().find(|permit| permit.lane == lane);
        let [otp, ordinary] = &mut self.given;
        let given = match lane {
            SendingPaceShare::Otp => otp,
            SendingPaceShare::Ordinary => ordinary,
        };
        let next = found.map_or((now, 0), |permit| {
            let interval = permit.grant.interval_micros;
            let at = permit.grant.first_at.plus_micros(*given * interval);
            (at, interval)
        });
        *given += 1;
        next
    }
}
