//! What a batch of changes has done.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    domain::{notification::NotificationChangeEffect, transition::NotificationTransition},
    engine::Engine,
    store::notification::{LoadedNotification, NotificationFacets},
};

/// Result of a batch.
#[derive(Debug, Default)]
pub struct NotificationLifecycleReport {
    pub applied: u64,
    pub ignored: u64,
    pub triggered: BTreeMap<NotificationTransition, u64>,
    /// States that notifications have reached, for the log.
    pub reached: Vec<(Uuid, NotificationTransition)>,
    /// Messages from people: the callback each came in, and its kind.
    pub received: Vec<(Uuid, String)>,
    /// The effect of each step, in order; absent if there is no such notification.
    pub effects: Vec<Option<NotificationChangeEffect>>,
    /// Notifications that got their first update from the provider, or a failure.
    pub updated: BTreeMap<Uuid, ProviderUpdatedNotification>,
    /// Something may be due at once.
    pub wake_sender: bool,
    pub wake_timers: bool,
    /// An event has more recipients than were made at once.
    pub wake_expansion: bool,
}

/// A notification that received a provider update.
#[derive(Clone, Debug)]
pub struct ProviderUpdatedNotification {
    /// This was the first update: the names it reports for the person are new.
    pub first: bool,
    pub facets: NotificationFacets,
}

impl NotificationLifecycleReport {
    /// Records the recipient of a notification that received a provider update.
    pub(super) fn note_update(&mut self, loaded: &LoadedNotification, first: bool) {
        let updated =
            self.updated
                .entry(loaded.state.id)
                .or_insert_with(|| ProviderUpdatedNotification {
                    first: false,
                    facets: loaded.facets.clone(),
                });
        updated.first |= first;
    }

    /// Adds the result of another batch in the same transaction.
    pub fn add(&mut self, other: Self) {
        self.applied += other.applied;
        self.ignored += other.ignored;
        for (trigger, count) in other.triggered {
            *self.triggered.entry(trigger).or_default() += count;
        }
        self.reached.extend(other.reached);
        self.received.extend(other.received);
        self.effects.extend(other.effects);
        self.updated.extend(other.updated);
        self.wake_sender |= other.wake_sender;
        self.wake_timers |= other.wake_timers;
        self.wake_expansion |= other.wake_expansion;
    }

    /// Updates metrics, logs, and wakes the workers that have something to do. To be called after
    /// the commit.
    pub fn publish(&self, engine: &Engine) {
        for (notification, trigger) in &self.reached {
            // The answer to a call has its own log line.
            if *trigger != NotificationTransition::Accepted {
                tracing::info!(event = trigger.event(), notification.id = %notification, "notification changed status");
            }
        }
        for (callback, kind) in &self.received {
            tracing::info!(event = "message.received", callback.id = %callback, kind, "inbound message received");
        }
        for (trigger, count) in &self.triggered {
            metrics::counter!("herald_transitions_total", "trigger" => trigger.name())
                .increment(*count);
        }
        if self.wake_sender {
            engine.wake_senders();
        }
        if self.wake_timers {
            engine.followed_up.notify_one();
        }
        if self.wake_expansion {
            engine.unexpanded.notify_one();
        }
    }
}
