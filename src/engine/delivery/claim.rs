//! Claims a sender's due messages from the queue and commits an attempt for each.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    DeliveryJob, ProviderCallSlots,
    compose::{MessageComposeError, compose},
    gate, health, pairs,
    permits::{
        ProviderCallTimeAllocator, SenderPaceDecision, SenderPacePermit, give_back, take_pace,
    },
    take::{ClaimedMessageBatch, DeliveryClaimContext},
};
use crate::{
    domain::{attempt_id::AttemptReference, hold::HoldExemption, time::Timestamp},
    engine::{
        Engine,
        lifecycle::NotificationLifecycleReport,
        runtime::lineage::{self, StateMarkAdvanceOutcome},
    },
    error::ErrorChain,
    providers::MessageSender,
    store::{
        DatabaseTransaction, StoreError,
        notification::{self, NewAttempt, QueueSenderScope},
        pair, sender,
    },
};

/// The result of a claim.
#[derive(Debug, Default)]
pub struct DeliveryClaimOutcome {
    pub jobs: Vec<DeliveryJob>,
    /// Number of messages taken, including those that were held back.
    pub taken: usize,
    /// When to try again, if the pace or a hold allowed nothing.
    pub again_at: Option<Timestamp>,
    /// A held sender must pass a reachability probe first.
    needs_probe: bool,
    /// The sender's credentials or settings have changed since this process last read them.
    outdated: bool,
}

/// Order of the lanes in successive claims: every lane gets its turn, the important ones more
/// often.
const TURNS: [[i64; 3]; 8] = [
    [1, 2, 3],
    [2, 1, 3],
    [1, 2, 3],
    [1, 2, 3],
    [2, 1, 3],
    [1, 2, 3],
    [2, 1, 3],
    [3, 1, 2],
];

/// Claims a sender's due messages, as many as the free slots and the pace allow, and commits an
/// attempt for each.
pub async fn claim(
    engine: &Engine,
    sender: Uuid,
    slots: ProviderCallSlots,
    now: Timestamp,
) -> Result<DeliveryClaimOutcome, StoreError> {
    claim_as(engine, sender, slots, true, now).await
}

/// Like [`claim`], but probes the provider of a held sender before a message is risked on it: a
/// provider that times out would otherwise leave an unknown outcome at every attempt to resume.
pub async fn claim_with(
    engine: &Engine,
    provider: &dyn MessageSender,
    sender: Uuid,
    slots: ProviderCallSlots,
    now: Timestamp,
) -> Result<DeliveryClaimOutcome, StoreError> {
    let claim = claim_as(engine, sender, slots, false, now).await?;
    if !claim.needs_probe {
        return Ok(claim);
    }
    match health::probe(engine, provider, sender, now).await? {
        Some(again_at) => Ok(DeliveryClaimOutcome {
            again_at: Some(again_at),
            ..DeliveryClaimOutcome::default()
        }),
        None => claim_as(engine, sender, slots, true, now).await,
    }
}

/// Like [`claim_with`], with the sender's current provider client, which is reloaded if the claim
/// found it outdated: calls use the newest credentials known when they were claimed.
pub async fn claim_current(
    engine: &Engine,
    sender: Uuid,
    slots: ProviderCallSlots,
    now: Timestamp,
) -> Result<(DeliveryClaimOutcome, Arc<dyn MessageSender>), StoreError> {
    let provider = engine.provider_or_unavailable(sender);
    let claim = claim_with(engine, provider.as_ref(), sender, slots, now).await?;
    if !claim.outdated {
        return Ok((claim, provider));
    }
    // The claim is committed: a database failure from here on must not lose it.
    if let Err(error) = engine.refresh_keyring().await {
        tracing::error!(event = "sender.outdated", error = %ErrorChain(&error), "the credentials of a sender were changed but could not be reloaded: its next calls still use the old ones");
    }
    Ok((claim, engine.provider_or_unavailable(sender)))
}

async fn claim_as(
    engine: &Engine,
    sender: Uuid,
    slots: ProviderCallSlots,
    is_probed: bool,
    now: Timestamp,
) -> Result<DeliveryClaimOutcome, StoreError> {
    // The pace is charged for the messages that will be sent, not for every free slot.
    let most = slots.otp.max(slots.ordinary);
    let ring = engine.keyring();
    let known = ring.account(sender);
    let whose = if known.is_some_and(|account| account.is_default) {
        QueueSenderScope::SenderOrUnassigned(sender, engine.channel_of(Some(sender)))
    } else {
        QueueSenderScope::Sender(sender)
    };
    let passing = engine.hold().map(|hold| hold.passing());
    let (mut due, row, hold, is_turn) = tokio::try_join!(
        notification::count_due(&engine.store, whose, passing, now, most),
        sender::find(engine.store.by_index(), sender),
        engine.refresh_hold(),
        pair::any_turn(&engine.store, sender, now),
    )?;
    let passing = hold.map(|hold| hold.passing());
    if is_turn {
        pairs::give_turns(engine, sender, now).await?;
        due = notification::count_due(&engine.store, whose, passing, now, most).await?;
    }
    let [otp, ordinary @ ..] = due;
    let wanted = ProviderCallSlots {
        otp: otp.min(slots.otp),
        ordinary: ordinary.iter().sum::<i64>().min(slots.ordinary),
    };
    if wanted.otp <= 0 && wanted.ordinary <= 0 {
        return Ok(DeliveryClaimOutcome::default());
    }
    let lease = now.plus_seconds(engine.settings.policy.lease_seconds);
    let Some(row) = row else {
        return Ok(DeliveryClaimOutcome {
            again_at: Some(now.plus_seconds(1)),
            ..DeliveryClaimOutcome::default()
        });
    };
    let permits = match take_pace(engine, &row, wanted, is_probed, now).await? {
        SenderPaceDecision::Granted(permits) => permits,
        SenderPaceDecision::NotBefore(again_at) => {
            return Ok(DeliveryClaimOutcome {
                again_at: Some(again_at),
                ..DeliveryClaimOutcome::default()
            });
        }
        SenderPaceDecision::ProbeFirst => {
            return Ok(DeliveryClaimOutcome {
                needs_probe: true,
                ..DeliveryClaimOutcome::default()
            });
        }
    };
    let again_at = permits
        .iter()
        .filter_map(|permit| permit.grant.again_at)
        .min();
    // Lanes without due messages are not queried.
    let turn = TURNS.get(engine.next_claim(sender) % TURNS.len());
    let lanes: Vec<i64> = turn
        .into_iter()
        .flatten()
        .copied()
        .filter(|lane| usize::try_from(*lane).is_ok_and(|lane| due.get(lane) > Some(&0)))
        .collect();
    let found = engine
        .store
        .write(async |tx| {
            claim_in(engine, tx, sender, &permits, (&lanes, passing), lease, now).await
        })
        .await?;
    let made = |lane| {
        let made = found.jobs.iter().filter(|job| job.lane == lane).count();
        i64::try_from(made).unwrap_or(i64::MAX)
    };
    // The claim is committed. If unused pace cannot be given back, the sender only waits a little
    // longer.
    if let Err(error) = give_back(engine, sender, &permits, made).await {
        tracing::warn!(event = "sender.pace_not_given_back", error = %ErrorChain(&error), "unused send permits could not be returned: the sender is slower for a moment");
    }
    lineage::advanced(engine, found.advance, now).await?;
    found.report.publish(engine);
    Ok(DeliveryClaimOutcome {
        jobs: found.jobs,
        taken: found.taken,
        again_at: again_at.filter(|_| found.taken == 0),
        needs_probe: false,
        outdated: known.map(|account| account.revision) != Some(found.revision),
    })
}

/// What the transaction of one claim found.
struct DeliveryClaimTransactionResult {
    jobs: Vec<DeliveryJob>,
    taken: usize,
    report: NotificationLifecycleReport,
    /// Revision of the sender's settings.
    revision: i64,
    /// Result of advancing the database's state mark.
    advance: StateMarkAdvanceOutcome,
}

async fn claim_in(
    engine: &Engine,
    tx: &DatabaseTransaction,
    sender: Uuid,
    permits: &[SenderPacePermit],
    (ordinary, passing): (&[i64], Option<HoldExemption>),
    lease: Timestamp,
    now: Timestamp,
) -> Result<DeliveryClaimTransactionResult, StoreError> {
    let advance = lineage::advance(engine, tx, now).await?;
    let row = match advance {
        // The attempts may have been made before, so nothing is claimed.
        StateMarkAdvanceOutcome::WentBack { .. } => None,
        StateMarkAdvanceOutcome::NotDue | StateMarkAdvanceOutcome::To(_) => {
            sender::find(tx, sender).await?
        }
    };
    let Some(row) = row else {
        return Ok(DeliveryClaimTransactionResult {
            jobs: Vec::new(),
            taken: 0,
            report: NotificationLifecycleReport::default(),
            revision: 0,
            advance,
        });
    };
    let catalogue_snapshot = engine.catalogue_snapshot(tx).await?;
    let capabilities = engine.capabilities_of(&row.kind);
    let claiming = DeliveryClaimContext {
        engine,
        tx,
        catalogue_snapshot: &catalogue_snapshot,
        sender: &row,
        capabilities,
        permits,
        ordinary,
        passing,
        lease,
        now,
    };
    let ClaimedMessageBatch {
        ready,
        never,
        count: taken,
        report,
    } = claiming.take().await?;
    let attempts: Vec<NewAttempt<'_>> = ready
        .iter()
        .map(|(_, claimed)| NewAttempt {
            id: engine.attempt_id(now),
            claimed,
        })
        .collect();
    if attempts.is_empty() {
        return Ok(DeliveryClaimTransactionResult {
            jobs: Vec::new(),
            taken,
            report,
            revision: row.revision,
            advance,
        });
    }
    notification::begin_attempts(tx, &attempts, sender, engine.process, now).await?;
    let mut jobs = Vec::with_capacity(ready.len());
    let mut times = ProviderCallTimeAllocator::of(permits);
    for ((lane, claimed), attempt) in ready.iter().zip(&attempts) {
        let lane = *lane;
        let (not_before, interval_micros) = times.next(lane, now);
        jobs.push(DeliveryJob {
            notification_id: claimed.id,
            attempt_id: attempt.id,
            not_before,
            interval_micros,
            lane,
            _open: engine.open_calls.open(claimed.id),
            contact_id: claimed.contact_id,
            template: (!claimed.template.is_empty()).then(|| {
                let language = claimed.language.clone().unwrap_or_default();
                (claimed.template.clone(), language)
            }),
            message: if let Some(reason) = never.get(&claimed.id) {
                Err(gate::never(reason))
            } else {
                let snapshot = &catalogue_snapshot;
                let our_id = AttemptReference {
                    attempt: attempt.id,
                    notification: Some(claimed.id),
                };
                let from = (sender, capabilities);
                match compose(tx, snapshot, engine, from, claimed, our_id, now).await {
                    Ok(message) => Ok(message),
                    Err(MessageComposeError::Failed(failure)) => Err(*failure),
                    Err(MessageComposeError::Store(error)) => return Err(error),
                }
            },
        });
    }
    Ok(DeliveryClaimTransactionResult {
        jobs,
        taken,
        report,
        revision: row.revision,
        advance,
    })
}
