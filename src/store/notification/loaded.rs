//! A notification as it was read in order to change it.

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::record::{self, TimelineTail};
use crate::{
    domain::{
        follow_up::PlannedFollowUp,
        notification::NotificationState,
        timeline::{TimelineEntry, without_reply},
    },
    store::StoreError,
};

/// Lines of a timeline take up to so many bytes of a record, then they move to a table of their
/// own: PostgreSQL keeps a row in its page up to about 2 KB.
const MOST_LINES_BYTES: usize = 1024;

/// The immutable properties of a notification that counters and follow-ups need.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct NotificationFacets {
    pub sender_id: Option<Uuid>,
    pub channel: String,
    pub template: String,
    pub event_type: Option<String>,
    pub language: Option<String>,
    pub depth: i64,
    pub contact_id: Option<Uuid>,
    pub address: Option<String>,
    pub product: Option<String>,
}

/// A notification as it was read in order to change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedNotification {
    pub state: NotificationState,
    pub facets: NotificationFacets,
    /// The row's version when it was read: what [`super::save()`] insists on.
    pub version: i64,
    follow_ups: Vec<PlannedFollowUp>,
    timeline: TimelineTail,
    /// Its follow-ups or the lines that it had have changed since it was read.
    is_rewritten: bool,
}

impl LoadedNotification {
    pub(super) const fn stored(
        state: NotificationState,
        facets: NotificationFacets,
        follow_ups: Vec<PlannedFollowUp>,
        timeline: TimelineTail,
        version: i64,
    ) -> Self {
        Self {
            state,
            facets,
            version,
            follow_ups,
            timeline,
            is_rewritten: false,
        }
    }

    /// One that has no row yet.
    pub fn new(state: NotificationState, facets: NotificationFacets) -> Self {
        Self::stored(state, facets, Vec::new(), TimelineTail::default(), 0)
    }

    /// Adds a line to its timeline.
    pub fn note(&mut self, line: TimelineEntry) {
        self.timeline.add(line);
    }

    /// Drops the lines of its timeline that its record holds.
    pub fn forget_lines(&mut self) {
        if self.timeline != TimelineTail::default() {
            self.timeline = TimelineTail::default();
            self.is_rewritten = true;
        }
    }

    /// Erases what the lines that its record holds say of replies.
    pub fn erase_replies(&mut self) -> Result<(), StoreError> {
        let mut lines = self
            .timeline
            .read(&self.state.attempts, self.state.created_at)
            .map_err(|_unreadable| record::corrupt(self.state.id))?;
        let mut is_changed = false;
        for line in &mut lines {
            if let Some(left) = line.detail.as_deref().and_then(without_reply) {
                line.detail = Some(left);
                is_changed = true;
            }
        }
        if is_changed {
            self.timeline = TimelineTail::default();
            for line in lines {
                self.timeline.add(line);
            }
            self.is_rewritten = true;
        }
        Ok(())
    }

    /// What rules have planned for it.
    pub fn follow_ups(&self) -> &[PlannedFollowUp] {
        &self.follow_ups
    }

    /// Adds a follow-up; false if its rule has decided before.
    pub fn plan(&mut self, new: PlannedFollowUp) -> bool {
        if self.follow_ups.iter().any(|it| it.is_same_decision(&new)) {
            return false;
        }
        self.follow_ups.push(new);
        self.is_rewritten = true;
        true
    }

    /// Changes those of its follow-ups that `wanted` finds, and returns them as they were.
    pub fn change_follow_ups(
        &mut self,
        wanted: impl Fn(&PlannedFollowUp) -> bool,
        change: impl Fn(&mut PlannedFollowUp),
    ) -> Vec<PlannedFollowUp> {
        let mut changed = Vec::new();
        for follow_up in self.follow_ups.iter_mut().filter(|it| wanted(it)) {
            changed.push(follow_up.clone());
            change(follow_up);
        }
        self.is_rewritten |= !changed.is_empty();
        changed
    }

    /// What it holds is saved: from here on, only what is added counts as new.
    pub fn mark_saved(&mut self) -> Result<(), StoreError> {
        let corrupt = |_unreadable| record::corrupt(self.state.id);
        self.timeline
            .mark_stored(&self.state.attempts, self.state.created_at)
            .map_err(corrupt)?;
        self.is_rewritten = false;
        Ok(())
    }

    /// Whether its record has changed in more than its attempts.
    pub(super) const fn is_touched(&self) -> bool {
        self.is_rewritten || self.timeline.has_new()
    }

    /// Its record as it is stored.
    pub(super) fn written(&self) -> Result<Vec<u8>, StoreError> {
        record::written(
            &self.state.attempts,
            &self.follow_ups,
            &self.timeline,
            self.state.created_at,
        )
        .map_err(|_unreadable| record::corrupt(self.state.id))
    }

    /// Takes the lines out of its record if they are too many for it.
    pub(super) fn spilled(&mut self) -> Result<Vec<TimelineEntry>, StoreError> {
        if self.timeline.size() <= MOST_LINES_BYTES {
            return Ok(Vec::new());
        }
        let lines = self
            .timeline
            .read(&self.state.attempts, self.state.created_at)
            .map_err(|_unreadable| record::corrupt(self.state.id))?;
        self.timeline = TimelineTail::default();
        self.is_rewritten = true;
        Ok(lines)
    }
}
