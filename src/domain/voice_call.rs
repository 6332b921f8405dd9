//! The state of a voice call, computed from a provider's reports in whatever order they arrive
//! (Meta, "Calling: webhooks"). It has nothing to do with calls of a provider's API.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Most reports stored of one call: a provider sends about five.
pub const MAX_REPORTS: usize = 32;

/// The direction of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    UserInitiated,
    BusinessInitiated,
}

/// The event that a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
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
pub struct Report {
    pub step: Step,
    pub at: Timestamp,
    pub direction: Option<Direction>,
    /// Whether the call was answered, if it has ended.
    pub completed: Option<bool>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub duration_seconds: Option<i64>,
    /// The provider's id of a recording.
    pub recording: Option<String>,
}

impl Report {
    /// Whether a person called us: only such a call counts as contact, like a message.
    pub fn is_from_person(&self) -> bool {
        self.step == Step::Connect && self.direction != Some(Direction::BusinessInitiated)
    }
}

/// The state of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
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
pub struct Summary {
    pub direction: Direction,
    pub state: State,
    /// When it was offered.
    pub offered_at: Option<Timestamp>,
    /// When it was answered.
    pub accepted_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub duration_seconds: Option<i64>,
    pub recording: Option<String>,
}

/// Computes a call from its reports. Their order does not matter.
pub fn summary(reports: &[Report]) -> Summary {
    let first = |step: Step| {
        let of_step = reports.iter().filter(|report| report.step == step);
        of_step.map(|report| report.at).min()
    };
    let latest = |read: fn(&Report) -> Option<i64>| reports.iter().filter_map(read).max();
    let direction = reports
        .iter()
        .find_map(|report| report.direction)
        // Only our own calls have statuses.
        .unwrap_or(if reports.iter().any(|report| is_status(report.step)) {
            Direction::BusinessInitiated
        } else {
            Direction::UserInitiated
        });
    let duration_seconds = latest(|report| report.duration_seconds);
    let taken = first(Step::Accepted).is_some()
        || reports.iter().any(|report| report.completed == Some(true))
        || duration_seconds.is_some_and(|seconds| seconds > 0);
    let terminated = first(Step::Terminate);
    let state = match (terminated, direction) {
        _ if first(Step::Rejected).is_some() => State::Rejected,
        (Some(_), _) if taken => State::Completed,
        (Some(_), Direction::UserInitiated) => State::Missed,
        (Some(_), Direction::BusinessInitiated) => State::Failed,
        (None, _) if taken => State::Accepted,
        (None, _) => State::Ringing,
    };
    Summary {
        direction,
        state,
        offered_at: first(Step::Connect).or_else(|| first(Step::Ringing)),
        accepted_at: first(Step::Accepted)
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

const fn is_status(step: Step) -> bool {
    matches!(step, Step::Ringing | Step::Accepted | Step::Rejected)
}

#[cfg(test)]
mod tests {
    use super::{Direction, Report, State, Step, summary};
    use crate::domain::time::Timestamp;

    fn report(step: Step, direction: Option<Direction>) -> Report {
        Report {
            step,
            at: Timestamp::from_unix_seconds(match step {
                Step::Terminate => 90,
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
        use Direction::{BusinessInitiated as Ours, UserInitiated as Theirs};
        let of = |step: Step, direction: Direction| report(step, Some(direction));
        let ended = |direction: Direction, completed: bool| Report {
            completed: Some(completed),
            ..of(Step::Terminate, direction)
        };
        let rows = [
            (vec![of(Step::Connect, Theirs)], Theirs, State::Ringing),
            (
                vec![of(Step::Connect, Theirs), ended(Theirs, false)],
                Theirs,
                State::Missed,
            ),
            // The terminate alone: the connect may come later, or never.
            (vec![of(Step::Terminate, Theirs)], Theirs, State::Missed),
            (
                vec![of(Step::Connect, Theirs), ended(Theirs, true)],
                Theirs,
                State::Completed,
            ),
            (vec![report(Step::Ringing, None)], Ours, State::Ringing),
            (
                vec![report(Step::Ringing, None), report(Step::Accepted, None)],
                Ours,
                State::Accepted,
            ),
            (
                vec![
                    report(Step::Ringing, None),
                    report(Step::Rejected, None),
                    ended(Ours, false),
                ],
                Ours,
                State::Rejected,
            ),
            (
                vec![report(Step::Ringing, None), ended(Ours, false)],
                Ours,
                State::Failed,
            ),
            (
                vec![report(Step::Accepted, None), ended(Ours, true)],
                Ours,
                State::Completed,
            ),
        ];
        for (mut reports, direction, state) in rows {
            for _ in 0..2 {
                let told = summary(&reports);
                assert_eq!(
                    (told.direction, told.state),
                    (direction, state),
                    "{reports:?}"
                );
                reports.reverse();
            }
        }
    }
}
