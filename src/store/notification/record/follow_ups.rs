//! Planned follow-ups in a record.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{UnreadableRecordError, at, offset};
use crate::domain::{
    follow_up::{PlannedFollowUp, PlannedFollowUpState},
    time::Timestamp,
    transition::NotificationTransitionSet,
};

#[derive(Serialize, Deserialize)]
pub(super) struct StoredFollowUp<'a> {
    id: [u8; 16],
    created: i64,
    generation: i64,
    rule_id: [u8; 16],
    #[serde(borrow)]
    rule_name: Cow<'a, str>,
    /// The mask with its one bit.
    trigger: i64,
    #[serde(borrow)]
    occurrence: Cow<'a, str>,
    unless: i64,
    state: u8,
    due: Option<i64>,
    settled: Option<i64>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
}

/// The number for a state, which never changes.
const fn state_code(state: PlannedFollowUpState) -> u8 {
    match state {
        PlannedFollowUpState::Pending => 0,
        PlannedFollowUpState::Cancelled => 1,
        PlannedFollowUpState::Skipped => 2,
        PlannedFollowUpState::Started => 3,
    }
}

const fn state_of(code: u8) -> Result<PlannedFollowUpState, UnreadableRecordError> {
    match code {
        0 => Ok(PlannedFollowUpState::Pending),
        1 => Ok(PlannedFollowUpState::Cancelled),
        2 => Ok(PlannedFollowUpState::Skipped),
        3 => Ok(PlannedFollowUpState::Started),
        _ => Err(UnreadableRecordError),
    }
}

impl<'a> StoredFollowUp<'a> {
    pub(super) fn of(planned: &'a PlannedFollowUp, created_at: Timestamp) -> Self {
        let trigger = NotificationTransitionSet::from_iter([planned.trigger]);
        Self {
            id: planned.id.into_bytes(),
            created: offset(created_at, planned.created_at),
            generation: planned.generation,
            rule_id: planned.rule_id.into_bytes(),
            rule_name: Cow::Borrowed(&planned.rule_name),
            trigger: trigger.mask(),
            occurrence: Cow::Borrowed(&planned.occurrence),
            unless: planned.unless.mask(),
            state: state_code(planned.state),
            due: planned.due_at.map(|at| offset(created_at, at)),
            settled: planned.settled_at.map(|at| offset(created_at, at)),
            reason: planned.reason.as_deref().map(Cow::Borrowed),
        }
    }

    pub(super) fn restore(
        self,
        created_at: Timestamp,
    ) -> Result<PlannedFollowUp, UnreadableRecordError> {
        let trigger = NotificationTransitionSet::from_mask(self.trigger);
        Ok(PlannedFollowUp {
            id: Uuid::from_bytes(self.id),
            created_at: at(created_at, self.created),
            generation: self.generation,
            rule_id: Uuid::from_bytes(self.rule_id),
            rule_name: self.rule_name.into_owned(),
            trigger: trigger.iter().next().ok_or(UnreadableRecordError)?,
            occurrence: self.occurrence.into_owned(),
            unless: NotificationTransitionSet::from_mask(self.unless),
            state: state_of(self.state)?,
            due_at: self.due.map(|due| at(created_at, due)),
            settled_at: self.settled.map(|settled| at(created_at, settled)),
            reason: self.reason.map(Cow::into_owned),
        })
    }
}
