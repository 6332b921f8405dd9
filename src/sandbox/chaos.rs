//! Simulated failures of the provider: answers are lost, calls fail, callbacks come twice and in
//! any order.

use std::time::Duration;

use super::SandboxPhoneBehaviour;

/// The fate of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SandboxCallOutcome {
    Answered,
    /// Accepted, and the answer is lost.
    AnswerLost,
    /// Refused with this HTTP status and code.
    Refused(u16, i64),
}

/// One call's fate, how long it takes, and how its callbacks come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SandboxCallPlan {
    pub fate: SandboxCallOutcome,
    pub takes: Duration,
    pub callbacks: SandboxPhoneBehaviour,
}

/// The fate of call number `call`: 5 % lose their answer after accepting, 5 % are
/// HTTP 5xx with Meta's code, 3 % are 130429, 2 % are 131056. Three in ten of the
/// rest get their callbacks twice and newest first.
pub(super) fn day(seed: u64, call: u64) -> SandboxCallPlan {
    let drawn = mix(seed ^ mix(call));
    let fate = match drawn % 1000 {
        0..50 => SandboxCallOutcome::AnswerLost,
        50..75 => SandboxCallOutcome::Refused(500, 131_000),
        75..100 => SandboxCallOutcome::Refused(503, 131_016),
        100..130 => SandboxCallOutcome::Refused(429, 130_429),
        130..150 => SandboxCallOutcome::Refused(400, 131_056),
        _ => SandboxCallOutcome::Answered,
    };
    let callbacks = if (drawn >> 32) % 10 < 3 {
        SandboxPhoneBehaviour::Confuses
    } else {
        SandboxPhoneBehaviour::Reads
    };
    SandboxCallPlan {
        fate,
        takes: Duration::from_millis(20 + (drawn >> 40) % 180),
        callbacks,
    }
}

/// `SplitMix64`: a pseudo-random number.
pub(super) const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::{SandboxCallOutcome, day};

    #[test]
    fn as_many_calls_go_wrong_as_was_said() {
        let days: Vec<_> = (0..100_000).map(|call| day(7, call)).collect();
        let share = |is: &dyn Fn(SandboxCallOutcome) -> bool| {
            days.iter().filter(|day| is(day.fate)).count() * 1000 / days.len()
        };
        assert!((48..=52).contains(&share(&|fate| fate == SandboxCallOutcome::AnswerLost)));
        assert!((48..=52).contains(&share(&|fate| matches!(
            fate,
            SandboxCallOutcome::Refused(500.., _)
        ))));
        assert!((28..=32).contains(&share(
            &|fate| fate == SandboxCallOutcome::Refused(429, 130_429)
        )));
        assert!((18..=22).contains(&share(
            &|fate| fate == SandboxCallOutcome::Refused(400, 131_056)
        )));
    }
}
