//! Derives a sender's health from a batch of answers: holds the sender or releases it. When a held
//! one is probed is decided in [`sender_health`].

use uuid::Uuid;

use super::{CompletedDeliveryJob, permits::probe_at};
use crate::{
    domain::{
        failure::{DeliveryFailure, FailureClass},
        outcome::ProviderCallOutcome,
        own_event::{
            EventDeduplicationKey, HeraldEvent,
            payload::{SenderHealthData, SenderHoldChangeData},
        },
        sender_health,
        time::Timestamp,
    },
    engine::{Engine, intake, lifecycle::NotificationLifecycleReport},
    providers::MessageSender,
    store::{
        DatabaseTransaction, StoreError, made_at,
        sender::{self, StoredSenderHealth},
    },
};

/// Probes the provider of a held sender, in one process at a time. `None`: it answers; otherwise
/// when to probe again.
pub(super) async fn probe(
    engine: &Engine,
    provider: &dyn MessageSender,
    id: Uuid,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let lease = now.plus_seconds(engine.settings.policy.lease_seconds);
    let failures = engine
        .store
        .write(async |tx| {
            let row = sender::lock(tx, id).await?;
            let due = row.filter(|row| row.state == "held" && probe_at(engine, row, now) <= now);
            let Some(row) = due else {
                return Ok(None);
            };
            let health = StoredSenderHealth {
                state: "held",
                reason: row.state_reason,
                failures_in_row: row.failures_in_row,
                probe_at: Some(lease),
            };
            sender::set_health(tx, id, &health, now, now).await?;
            Ok(Some(health))
        })
        .await?;
    let Some(health) = failures else {
        // Another process was first, or the sender has been released.
        return Ok(Some(now.plus_seconds(1)));
    };
    let reachable = provider.is_reachable().await;
    let failures_in_row = health.failures_in_row + i64::from(!reachable);
    let again_at = if reachable {
        now
    } else {
        now.plus_micros(sender_health::probe_after_micros(failures_in_row))
    };
    let health = StoredSenderHealth {
        failures_in_row,
        probe_at: Some(again_at),
        ..health
    };
    engine
        .store
        .write(async |tx| sender::set_health(tx, id, &health, now, now).await)
        .await?;
    Ok((!reachable).then_some(again_at))
}

/// What a batch of answers says about the provider.
#[derive(Debug)]
pub(super) struct ProviderAnswerSummary<'a> {
    /// Consecutive provider failures since the last real answer.
    pub in_a_row: i64,
    /// At least one answer says something about the provider's availability.
    spoken: bool,
    /// At least one answer concerned the message itself.
    pub good_answer: bool,
    /// The provider refuses the credentials or the account.
    trouble: Option<&'a DeliveryFailure>,
    /// When the first of these calls began.
    began: Timestamp,
}

impl<'a> ProviderAnswerSummary<'a> {
    pub(super) fn new(answers: &'a [CompletedDeliveryJob], before: i64, now: Timestamp) -> Self {
        Self {
            in_a_row: before,
            spoken: false,
            good_answer: false,
            trouble: None,
            // An attempt's id contains the time at which its call began.
            began: answers
                .iter()
                .map(|answer| made_at(answer.job.attempt_id))
                .min()
                .unwrap_or(now)
                // With a clock that was ahead, the call would seem to begin after later ones.
                .min(now),
        }
    }

    /// Takes one answer into account.
    pub(super) fn note(&mut self, answer: &'a CompletedDeliveryJob) {
        match &answer.exchange.outcome {
            // No call was made: this says nothing about the provider.
            _ if answer.job.message.is_err() => {}
            outcome if outcome.is_provider_trouble() => {
                self.in_a_row += 1;
                self.spoken = true;
            }
            ProviderCallOutcome::Refused(failure) => match failure.class {
                // A request to wait is not a failure, and no sign that one is over.
                FailureClass::PaceNumber | FailureClass::PacePair | FailureClass::WaitUntil => {}
                FailureClass::Token | FailureClass::Account => self.trouble = Some(failure),
                _ => self.good(),
            },
            _ => self.good(),
        }
    }

    const fn good(&mut self) {
        self.in_a_row = 0;
        self.spoken = true;
        self.good_answer = true;
    }

    /// The health to store for a sender in this state, if it changes.
    fn health(&self, row: &entity::sender::Model, now: Timestamp) -> Option<StoredSenderHealth> {
        let held = |reason, probe_at| {
            Some(StoredSenderHealth {
                state: "held",
                reason: Some(reason),
                failures_in_row: self.in_a_row,
                probe_at: Some(probe_at),
            })
        };
        if let Some(failure) = self.trouble {
            let reason = format!("{} (code {})", failure.meaning, failure.counted_as());
            return held(
                reason,
                now.plus_seconds(sender_health::TROUBLE_PROBE_SECONDS),
            );
        }
        if self.in_a_row >= sender_health::BREAKER_THRESHOLD {
            let probe_at = now.plus_micros(sender_health::probe_after_micros(self.in_a_row));
            return held("provider unavailable".to_owned(), probe_at);
        }
        ((self.good_answer && row.state == "held")
            || (self.spoken && self.in_a_row != row.failures_in_row))
            .then_some(StoredSenderHealth {
                state: "active",
                reason: None,
                failures_in_row: self.in_a_row,
                probe_at: None,
            })
    }

    /// Stores the health, and raises an event when the sender is held or released.
    pub(super) async fn write(
        &self,
        engine: &Engine,
        row: &entity::sender::Model,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sender = row.id;
        if self.health(row, now).is_none() {
            return Ok(());
        }
        let (change, report) = engine
            .store
            .write(async |tx| self.write_in(engine, tx, sender, now).await)
            .await?;
        report.publish(engine);
        match change {
            Some(SenderHoldChange::Held(reason)) => {
                tracing::error!(event = "sender.held", sender.id = %sender, reason, "the sender is held: its messages wait, and Herald keeps checking whether the provider accepts them again");
            }
            Some(SenderHoldChange::Released) => {
                tracing::info!(event = "sender.released", sender.id = %sender, "the sender can send again");
            }
            None => {}
        }
        Ok(())
    }

    async fn write_in(
        &self,
        engine: &Engine,
        tx: &DatabaseTransaction,
        sender: Uuid,
        now: Timestamp,
    ) -> Result<(Option<SenderHoldChange>, NotificationLifecycleReport), StoreError> {
        // Checked again under the row's lock: another process may have stored the same.
        let Some(row) = sender::lock(tx, sender).await? else {
            return Ok((None, NotificationLifecycleReport::default()));
        };
        // A refusal of credentials that have been replaced since says nothing.
        let replaced = self.trouble.is_some() && row.credentials_at > self.began.micros();
        let Some(health) = self.health(&row, now).filter(|_| !replaced) else {
            return Ok((None, NotificationLifecycleReport::default()));
        };
        sender::set_health(tx, sender, &health, self.began, now).await?;
        let after = sender::find(tx, sender).await?;
        let state = after.as_ref().map_or("", |row| row.state.as_str());
        if state == row.state {
            return Ok((None, NotificationLifecycleReport::default()));
        }
        let change = match (state, health.reason) {
            ("held", reason) => SenderHoldChange::Held(reason.unwrap_or_default()),
            _ => SenderHoldChange::Released,
        };
        let summary = match &change {
            SenderHoldChange::Held(reason) => format!("the sender {} is held: {reason}", row.name),
            SenderHoldChange::Released => format!("the sender {} can send again", row.name),
        };
        let data = SenderHoldChangeData::Sender(SenderHealthData {
            sender: row.name,
            account: row.account_id,
            summary,
            remedy: self.trouble.map(|failure| failure.remedy.clone()),
        });
        let event = match &change {
            SenderHoldChange::Held(_) => HeraldEvent::SenderHeld(data),
            SenderHoldChange::Released => HeraldEvent::SenderReleased(data),
        };
        let occurrence = EventDeduplicationKey::Sender { sender, at: now };
        let report = intake::raise(engine, tx, &event, &occurrence, now).await?;
        Ok((Some(change), report))
    }
}

/// Change of a sender's state.
enum SenderHoldChange {
    Held(String),
    Released,
}
