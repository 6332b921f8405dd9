//! The state of a voice call, computed from a provider's reports in whatever order they arrive
//! (Meta, "Calling: webhooks"). It has nothing to do with calls of a provider's API.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Most reports stored of one call: a provider sends about five.
pub const MAX_REPORTS: usize = 32;

/// The direction of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoiceCallDirection {
    UserInitiated,
    BusinessInitiated,
}

/// The event that a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoiceCallStep {
    Connect,
    Ringing,
    Accepted,
    Rejected,
    Terminate,
    /// An event that this version does not know.
    Other,
}

/// One report of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceCallReport {
    pub step: VoiceCallStep,
    pub at: Timestamp,
    pub direction: Option<VoiceCallDirection>,
    /// Whether the call was answered, if it has ended.
    pub completed: Option<bool>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub duration_seconds: Option<i64>,
    /// The provider's id of a recording.
    pub recording: Option<String>,
}

impl VoiceCallReport {
    /// Whether a person called us: only such a call counts as contact, like a message.
    pub fn is_from_person(&self) -> bool {
        self.step == VoiceCallStep::Connect
            && self.direction != Some(VoiceCallDirection::BusinessInitiated)
    }
}

/// The state of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoiceCallState {
    Ringing,
    /// It was answered, and has not ended.
    Accepted,
    /// The person declined it.
    Rejected,
    /// A person called, and it ended before it was answered.
    Missed,
    Completed,
    /// We called, and it ended before the person answered.
    Failed,
}

/// The known facts of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceCallSummary {
    pub direction: VoiceCallDirection,
    pub state: VoiceCallState,
    /// When it was offered.
    pub offered_at: Option<Timestamp>,
    /// When it was answered.
    pub accepted_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub duration_seconds: Option<i64>,
    pub recording: Option<String>,
}

/// Computes a call from its reports. Their order does not matter.
pub fn summary(reports: &[VoiceCallReport]) -> VoiceCallSummary {
    let first = |step: VoiceCallStep| {
        let of_step = reports.iter().filter(|report| report.step == step);
        of_step.map(|report| report.at).min()
    };
    let latest = |read: fn(&VoiceCallReport) -> Option<i64>| reports.iter().filter_map(read).max();
    let direction = reports
        .iter()
        .find_map(|report| report.direction)
        // Only our own calls have statuses.
        .unwrap_or(if reports.iter().any(|report| is_status(report.step)) {
            VoiceCallDirection::BusinessInitiated
        } else {
            VoiceCallDirection::UserInitiated
        });
    let duration_seconds = latest(|report| report.duration_seconds);
    let taken = first(VoiceCallStep::Accepted).is_some()
        || reports.iter().any(|report| report.completed == Some(true))
        || duration_seconds.is_some_and(|seconds| seconds > 0);
    let terminated = first(VoiceCallStep::Terminate);
    let state = match (terminated, direction) {
        _ if first(VoiceCallStep::Rejected).is_some() => VoiceCallState::Rejected,
        (Some(_), _) if taken => VoiceCallState::Completed,
        (Some(_), VoiceCallDirection::UserInitiated) => VoiceCallState::Missed,
        (Some(_), VoiceCallDirection::BusinessInitiated) => VoiceCallState::Failed,
        (None, _) if taken => VoiceCallState::Accepted,
        (None, _) => VoiceCallState::Ringing,
    };
    VoiceCallSummary {
        direction,
        state,
        offered_at: first(VoiceCallStep::Connect).or_else(|| first(VoiceCallStep::Ringing)),
        accepted_at: first(VoiceCallStep::Accepted)
            .or_else(|| reports.iter().filter_map(|report| report.started_at).min())
            .filter(|_| taken),
        ended_at: reports
            .iter()
            .filter_map(|report| report.ended_at)
            .max()
            .or(terminated),
        duration_seconds,
        recording: reports
            .iter()
            .filter_map(|report| report.recording.clone())
            .min(),
    }
}

const fn is_status(step: VoiceCallStep) -> bool {
    matches!(
        step,
        VoiceCallStep::Ringing | VoiceCallStep::Accepted | VoiceCallStep::Rejected
    )
}

#[cfg(test)]
mod tests {
    use super::{VoiceCallDirection, VoiceCallReport, VoiceCallState, VoiceCallStep, summary};
    use crate::domain::time::Timestamp;

    fn report(step: VoiceCallStep, direction: Option<VoiceCallDirection>) -> VoiceCallReport {
        VoiceCallReport {
            step,
            at: Timestamp::from_unix_seconds(match step {
                VoiceCallStep::Terminate => 90,
                _ => 60,
            }),
            direction,
            completed: None,
            started_at: None,
            ended_at: None,
            duration_seconds: None,
            recording: None,
        }
    }

    #[test]
    fn the_state_follows_from_the_reports_in_any_order() {
        use VoiceCallDirection::{BusinessInitiated as Ours, UserInitiated as Theirs};
        let of = |step: VoiceCallStep, direction: VoiceCallDirection| report(step, Some(direction));
        let ended = |direction: VoiceCallDirection, completed: bool| VoiceCallReport {
            completed: Some(completed),
            ..of(VoiceCallStep::Terminate, direction)
        };
        let rows = [
            (
                vec![of(VoiceCallStep::Connect, Theirs)],
                Theirs,
                VoiceCallState::Ringing,
            ),
            (
                vec![of(VoiceCallStep::Connect, Theirs), ended(Theirs, false)],
                Theirs,
                VoiceCallState::Missed,
            ),
            // The terminate alone: the connect may come later, or never.
            (
                vec![of(VoiceCallStep::Terminate, Theirs)],
                Theirs,
                VoiceCallState::Missed,
            ),
            (
                vec![of(VoiceCallStep::Connect, Theirs), ended(Theirs, true)],
                Theirs,
                VoiceCallState::Completed,
            ),
            (
                vec![report(VoiceCallStep::Ringing, None)],
                Ours,
                VoiceCallState::Ringing,
            ),
            (
                vec![
                    report(VoiceCallStep::Ringing, None),
                    report(VoiceCallStep::Accepted, None),
                ],
                Ours,
                VoiceCallState::Accepted,
            ),
            (
                vec![
                    report(VoiceCallStep::Ringing, None),
                    report(VoiceCallStep::Rejected, None),
                    ended(Ours, false),
                ],
                Ours,
                VoiceCallState::Rejected,
            ),
            (
                vec![report(VoiceCallStep::Ringing, None), ended(Ours, false)],
                Ours,
                VoiceCallState::Failed,
            ),
            (
                vec![report(VoiceCallStep::Accepted, None), ended(Ours, true)],
                Ours,
                VoiceCallState::Completed,
            ),
        ];
        for (mut reports, direction, state) in rows {
            for _ in 0..2 {
                let found = summary(&reports);
                assert_eq!(
                    (found.direction, found.state),
                    (direction, state),
                    "{reports:?}"
                );
                reports.reverse();
            }
        }
    }
}
