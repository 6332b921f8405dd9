//! Follow-ups that a notification's row holds: those that wait for their time, and those that
//! never came to it.

use uuid::Uuid;

use super::{
    time::Timestamp,
    transition::{NotificationTransition, NotificationTransitionSet},
};

/// Where a planned follow-up stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedFollowUpState {
    /// It waits for its time.
    Pending,
    /// One of its `unless` happened before its time, or an operator cancelled it.
    Cancelled,
    /// Its condition could not be evaluated.
    Skipped,
    /// Its time came: it has a row of its own, which says how it went on.
    Started,
}

/// One decision of one rule about one notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedFollowUp {
    pub id: Uuid,
    pub created_at: Timestamp,
    pub generation: i64,
    pub rule_id: Uuid,
    pub rule_name: String,
    pub trigger: NotificationTransition,
    /// Empty for facts; the inbound message for replies.
    pub occurrence: String,
    pub unless: NotificationTransitionSet,
    pub state: PlannedFollowUpState,
    /// Present while it is pending.
    pub due_at: Option<Timestamp>,
    pub settled_at: Option<Timestamp>,
    pub reason: Option<String>,
}

/// Why a follow-up is cancelled by what happened to its notification.
pub const OVERTAKEN: &str = "one of its `unless` happened";

impl PlannedFollowUp {
    /// Whether it is the same decision: a rule decides once about each occurrence of a trigger in a
    /// generation.
    pub fn is_same_decision(&self, other: &Self) -> bool {
        self.generation == other.generation
            && self.trigger == other.trigger
            && self.rule_name == other.rule_name
            && self.occurrence == other.occurrence
    }

    /// Ends it before its time. Does nothing unless it is pending.
    pub fn cancel(&mut self, reason: &str, now: Timestamp) {
        if self.state == PlannedFollowUpState::Pending {
            self.state = PlannedFollowUpState::Cancelled;
            self.due_at = None;
            self.settled_at = Some(now);
            self.reason = Some(reason.to_owned());
        }
    }
}
