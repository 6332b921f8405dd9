//! What alarms there are; when one is raised, and when it is over.

use super::word_enum::words;

words! {
    /// What can be wrong.
    pub enum AlarmKind {
        /// Sending is on hold for the whole installation.
        SendingHeld = "sending_held",
        /// There is no sender.
        NoSender = "no_sender",
        /// A sender does not send.
        SenderHeld = "sender_held",
        /// A sender's messages are accepted, and no callback comes.
        Silence = "silence",
        /// A credential is about to expire.
        CredentialExpiring = "credential_expiring",
        /// A credential has been in use for long.
        CredentialOld = "credential_old",
        /// A worker gives no sign of life.
        WorkerDead = "worker_dead",
        /// A message has been due for long.
        QueueAge = "queue_age",
        /// Callbacks wait to be applied.
        CallbacksWaiting = "callbacks_waiting",
        /// So many callbacks wait that statuses are not taken.
        BacklogFull = "backlog_full",
        /// Items of callbacks could not be applied.
        DeadLetters = "dead_letters",
        /// Statuses wait for messages that are not known.
        ParkedStatuses = "parked_statuses",
        /// Many messages fail.
        FailureRate = "failure_rate",
        /// Of many messages nothing is reported after they were accepted.
        StaleRate = "stale_rate",
        /// A provider has restricted an account.
        AccountRestricted = "account_restricted",
        /// A template cannot be sent.
        TemplateUnusable = "template_unusable",
        /// Events are posted to which no route listens.
        EventUnrouted = "event_unrouted",
        /// It is open whether contacts are one person.
        ContactsUndecided = "contacts_undecided",
        /// Checks of one-time passwords are locked for some addresses.
        VerificationsLocked = "verifications_locked",
        /// The clock was changed. Shown by the process that knows; never an alarm.
        Clock = "clock",
        /// The state mark cannot be used. Shown by the process that knows; never an alarm.
        StateMark = "state_mark",
    }
}

impl AlarmKind {
    /// Whether one process alone can know it: then it is shown, and no alarm is raised.
    pub const fn is_local(self) -> bool {
        matches!(self, Self::Clock | Self::StateMark)
    }
}

/// A measured value with its thresholds. An alarm is raised at one threshold and cleared at a lower
/// one, so that a value that wavers between them raises it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmMeasure {
    pub value: i64,
    /// Raised when the value is this or more.
    pub raise_at: i64,
    /// Cleared when the value is this or less.
    pub clear_at: i64,
}

/// Change of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmTransition {
    Raise,
    Clear,
    Stay,
}

impl AlarmMeasure {
    /// A condition that is true or false.
    pub const fn flag(is: bool) -> Self {
        Self {
            value: if is { 1 } else { 0 },
            raise_at: 1,
            clear_at: 0,
        }
    }

    /// The change of an alarm in this state.
    pub const fn turn(self, raised: bool) -> AlarmTransition {
        if !raised && self.value >= self.raise_at {
            AlarmTransition::Raise
        } else if raised && self.value <= self.clear_at {
            AlarmTransition::Clear
        } else {
            AlarmTransition::Stay
        }
    }

    /// Whether it should be shown as a problem.
    pub const fn is_wrong(self, raised: bool) -> bool {
        matches!(
            (raised, self.turn(raised)),
            (false, AlarmTransition::Raise)
                | (true, AlarmTransition::Stay | AlarmTransition::Raise)
        )
    }
}

/// A share in percent, of at least `least`; zero if there are too few for a rate.
pub fn percent(part: i64, of: i64, least: i64) -> i64 {
    if of < least.max(1) {
        return 0;
    }
    part.saturating_mul(100) / of
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AlarmMeasure, AlarmTransition, percent};

    const RATE: AlarmMeasure = AlarmMeasure {
        value: 0,
        raise_at: 10,
        clear_at: 5,
    };

    #[test]
    fn what_wavers_between_the_bounds_rings_once() {
        let mut raised = false;
        let mut turns = Vec::new();
        for value in [4, 9, 10, 7, 12, 6, 9, 5, 9, 10] {
            let turn = AlarmMeasure { value, ..RATE }.turn(raised);
            match turn {
                AlarmTransition::Raise => raised = true,
                AlarmTransition::Clear => raised = false,
                AlarmTransition::Stay => continue,
            }
            turns.push((value, turn));
        }
        assert_eq!(
            turns,
            [
                (10, AlarmTransition::Raise),
                (5, AlarmTransition::Clear),
                (10, AlarmTransition::Raise)
            ]
        );
    }

    #[test]
    fn few_are_no_rate() {
        assert_eq!(percent(3, 3, 20), 0);
        assert_eq!(percent(2, 20, 20), 10);
        assert_eq!(percent(1, 0, 0), 0);
    }

    proptest! {
        #[test]
        fn raised_and_cleared_alternate(values in prop::collection::vec(0_i64..20, 0..60)) {
            let mut raised = false;
            let mut last = AlarmTransition::Clear;
            for value in values {
                let measure = AlarmMeasure { value, ..RATE };
                let turn = measure.turn(raised);
                if turn != AlarmTransition::Stay {
                    prop_assert_ne!(turn, last);
                    last = turn;
                    raised = turn == AlarmTransition::Raise;
                }
                prop_assert_eq!(measure.is_wrong(raised), raised);
            }
        }
    }
}
