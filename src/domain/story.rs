//! Sentences for people about what happened to a message.

use serde_json::Value;

use super::{
    channel::MessageChannel,
    outcome::AttemptOutcome,
    status::{ManualRetryRule, NotificationStatus},
    timeline::TimelineEntryKind as Kind,
    word_enum::words,
};

/// The state of a notification, as a sentence. `reason` is why it waits, was skipped or failed;
/// `until` is when it is looked at again.
pub fn standing(status: NotificationStatus, reason: Option<&str>, until: Option<&str>) -> String {
    let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let until = until.map_or_else(String::new, |until| {
        format!(" It is looked at again at {until}.")
    });
    match status {
        NotificationStatus::Queued => format!("It is queued{because}.{until}"),
        NotificationStatus::Held => format!("It is held{because}.{until}"),
        NotificationStatus::Sending => "It is being sent now.".to_owned(),
        NotificationStatus::Retrying => {
            format!("An attempt failed and another is due{because}.{until}")
        }
        NotificationStatus::Unknown => format!(
            "A call was made and its response was lost{because}. It is not known yet whether it was delivered.{until}"
        ),
        NotificationStatus::Accepted => {
            format!("The provider has accepted it and has not reported anything since{because}.")
        }
        NotificationStatus::Sent => "It was sent, and is not delivered yet.".to_owned(),
        NotificationStatus::Delivered => {
            "It was delivered, and is not known to be read.".to_owned()
        }
        NotificationStatus::Read => "It was read.".to_owned(),
        NotificationStatus::Played => "It was played.".to_owned(),
        NotificationStatus::Failed => format!("It failed{because}."),
        NotificationStatus::Expired => format!("It expired before it was sent{because}."),
        NotificationStatus::GaveUp => format!(
            "Its response was lost and no callback came. It may have been delivered; it was not sent again{because}."
        ),
        NotificationStatus::Skipped => format!("It was skipped{because}."),
        NotificationStatus::Cancelled => format!("It was cancelled{because}."),
    }
}

/// The first line of a message that carries the code of a verification.
pub const OF_VERIFICATION: &str = "Its verification made it.";

/// The sentence for a message that waits while sending is on hold.
pub const ON_HOLD: &str = " Sending is on hold: `herald hold show` lists what waits, `herald hold release` ends the hold.";

/// The sentence for a time that is further in the future than possible.
pub fn too_far_ahead(what: FutureTimestampCause, until: &str) -> String {
    let so = match what {
        FutureTimestampCause::Due => "It is treated as due",
        FutureTimestampCause::Lease => "It is treated as one full lease from when this is seen",
        FutureTimestampCause::Pace => "It is treated as free",
        FutureTimestampCause::Probe => "It is treated as due for a probe",
        FutureTimestampCause::Timer => {
            "It fires after its own time from when this is seen, at the latest"
        }
    };
    let which = match what {
        FutureTimestampCause::Due => "It waits",
        FutureTimestampCause::Lease => "Its call has a lease",
        FutureTimestampCause::Pace => "The pace of its sender is taken",
        FutureTimestampCause::Probe => "Its sender is held without a probe",
        FutureTimestampCause::Timer => "The rule waits",
    };
    format!("{which} until {until}, which is too far in the future: the clock was changed. {so}.")
}

/// A time that is further in the future than possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FutureTimestampCause {
    /// The message, or another attempt.
    Due,
    Lease,
    Pace,
    Probe,
    Timer,
}

/// One line of a timeline, in a sentence.
pub fn line(kind: Kind, detail: &Value) -> String {
    let word = |key: &str| detail.get(key).and_then(Value::as_str);
    let because = |key: &str| word(key).map_or_else(String::new, |text| format!(": {text}"));
    let rule = word("rule").unwrap_or("a rule");
    let on = word("on").unwrap_or("its trigger");
    match kind {
        Kind::Queued => match (word("route"), word("rule")) {
            (_, Some(MessageChannel::FALLBACK_RULE)) => {
                "It takes the place of a message that had not arrived by its channel.".to_owned()
            }
            (Some(route), _) => format!("The route {route} made it."),
            (None, Some(rule)) => format!("The rule {rule} made it."),
            (None, None) => "It was requested directly.".to_owned(),
        },
        Kind::Skipped | Kind::Suppressed => format!("It was skipped{}.", because("reason")),
        Kind::ValueUnread => format!(
            "A value is shown unchanged, at {}{}.",
            word("place").unwrap_or("a parameter"),
            because("rule")
        ),
        Kind::Held => format!("It was held{}.", because("reason")),
        Kind::AddressChanged => {
            "The contact has another number or id now: it is sent there.".to_owned()
        }
        Kind::NumberChangedHands => {
            "The contact that it was made for has another number now; it goes to the number that \
             was asked for."
                .to_owned()
        }
        Kind::Accepted => "The provider accepted it.".to_owned(),
        Kind::HeldByProvider => "The provider accepted it, and holds it for now.".to_owned(),
        Kind::Sent => "The provider reports that it was sent.".to_owned(),
        Kind::Delivered => "It arrived.".to_owned(),
        Kind::Read => "It was read.".to_owned(),
        Kind::Played => "It was played.".to_owned(),
        Kind::Replied => "The recipient replied.".to_owned(),
        Kind::Failed => match (
            word("meaning").or_else(|| word("title")),
            detail.get("code").and_then(Value::as_i64),
        ) {
            (Some(meaning), Some(code)) => format!("It failed with code {code}: {meaning}"),
            (Some(meaning), None) => format!("It failed: {meaning}"),
            (None, Some(code)) => format!("It failed with code {code}."),
            (None, None) => "It failed.".to_owned(),
        },
        Kind::RetryScheduled => format!(
            "The provider refused it{}. It will be tried again.",
            because("meaning")
        ),
        Kind::Deferred => format!(
            "It could not be sent{}. It waits; this does not count as a try.",
            word("reason")
                .or_else(|| word("meaning"))
                .map_or_else(String::new, |text| format!(": {text}"))
        ),
        Kind::OutcomeUnknown => format!("The response to the call was lost{}.", because("reason")),
        Kind::ClockChanged => format!(
            "The clock was changed: it waited until {}, further ahead than it can, and goes on \
             from here.",
            word("was").unwrap_or("a later time")
        ),
        Kind::LeaseExpired => {
            "The process that was sending it has ended: it is not known whether it was sent."
                .to_owned()
        }
        Kind::GaveUp => {
            "No callback came: it may have been sent, and was not sent again.".to_owned()
        }
        Kind::ResendScheduled => {
            "No callback came: it is sent again, and may arrive twice.".to_owned()
        }
        Kind::LateResponse => "A response came after its attempt had been given up.".to_owned(),
        Kind::DetailsAdded => "The provider repeated a known status, with more details.".to_owned(),
        Kind::Expired => "It expired.".to_owned(),
        Kind::Stale => "No status has come for too long since it was accepted.".to_owned(),
        Kind::Cancelled => format!("It was cancelled{}.", because("reason")),
        Kind::Superseded => "It was cancelled: an `unless` of its rule came first.".to_owned(),
        Kind::RetryRequested => "An operator retried it.".to_owned(),
        Kind::SendNowRequested => "An operator ended its wait.".to_owned(),
        Kind::Ignored => format!(
            "{} was reported and changed nothing{}.",
            word("status").map_or_else(
                || "Something".to_owned(),
                |status| format!("\u{201c}{status}\u{201d}")
            ),
            because("reason")
        ),
        Kind::RuleDidNotFire => {
            let condition =
                word("condition").map_or_else(String::new, |condition| format!(" ({condition})"));
            format!(
                "The rule {rule} did not fire on {on}{}{condition}.",
                because("reason")
            )
        }
        Kind::RecipientUnknown => {
            format!("A recipient is unknown{}.", because("reason"))
        }
        Kind::RuleFired if rule == MessageChannel::FALLBACK_RULE => format!(
            "It had not arrived: the next channel is {}.",
            word("channel").unwrap_or("another one")
        ),
        Kind::RuleSkipped if rule == MessageChannel::FALLBACK_RULE => format!(
            "It does not go by {}{}.",
            word("channel").unwrap_or("another channel"),
            because("reason")
        ),
        Kind::RuleFired => format!("The rule {rule} fired."),
        Kind::RuleSkipped => format!(
            "The message of the rule {rule} was skipped{}.",
            because("reason")
        ),
        Kind::RuleCancelled => format!("The follow-up of the rule {rule} was cancelled."),
        Kind::RuleOverruled => format!(
            "The message of the rule {rule} was superseded by a later status{}.",
            because("reason")
        ),
        Kind::Unrecognized => {
            "A later version of Herald noted something that this one does not know.".to_owned()
        }
    }
}

/// How a call ended, in a sentence. There is no outcome while it is being made. `http_status` is absent
/// where no call was made, and of providers that are not called by HTTP.
pub fn attempt(
    outcome: Option<AttemptOutcome>,
    http_status: Option<i64>,
    is_answered: bool,
) -> String {
    let Some(outcome) = outcome else {
        return "The call is open, or its process has ended.".to_owned();
    };
    match (outcome, http_status) {
        (AttemptOutcome::Accepted, _) => "The provider accepted it.".to_owned(),
        (AttemptOutcome::Refused, Some(status)) => {
            format!("The provider refused it (HTTP {status}).")
        }
        (AttemptOutcome::Refused, None) if is_answered => "The provider refused it.".to_owned(),
        (AttemptOutcome::Refused, None) => "No call was made: it could not be sent.".to_owned(),
        (AttemptOutcome::Unavailable, _) => {
            "The provider could not be reached: it was not sent.".to_owned()
        }
        (AttemptOutcome::Unknown, _) => {
            "The response was lost: it is not known whether it was sent.".to_owned()
        }
    }
}

words! {
    /// An action that is possible on a notification.
    pub enum ManualAction {
        /// Send it again.
        Retry = "retry",
        /// Send it again although it may have been delivered.
        RetryInsisting = "retry_even_if_delivered",
        /// End its wait.
        SendNow = "send_now",
        Cancel = "cancel",
    }
}

impl ManualAction {
    /// Whether the message is sent once more, with all that it has said.
    pub const fn repeats(self) -> bool {
        matches!(self, Self::Retry | Self::RetryInsisting)
    }

    /// Its label.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Retry => "Retry it, once the cause is fixed.",
            Self::RetryInsisting => "Ask the recipient. Retry it if a second copy does no harm.",
            Self::SendNow => "End its wait; the pace still applies.",
            Self::Cancel => "Cancel it, if it is no longer needed.",
        }
    }

    /// The arguments of the `herald` command; the id follows.
    pub const fn command(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::RetryInsisting => "retry --even-if-delivered",
            Self::SendNow => "send-now",
            Self::Cancel => "cancel",
        }
    }
}

/// What a person can do in a status; `due_later`: it waits for a time that is to come.
pub const fn manual_actions(
    status: NotificationStatus,
    due_later: bool,
) -> &'static [ManualAction] {
    match status.manual_retry() {
        ManualRetryRule::Allowed => &[ManualAction::Retry],
        ManualRetryRule::MayArriveTwice => &[ManualAction::RetryInsisting],
        ManualRetryRule::ArrivesTwice => &[],
        ManualRetryRule::NotYet => match status {
            NotificationStatus::Queued | NotificationStatus::Retrying if due_later => {
                &[ManualAction::SendNow, ManualAction::Cancel]
            }
            NotificationStatus::Queued
            | NotificationStatus::Held
            | NotificationStatus::Retrying => &[ManualAction::Cancel],
            // It is being sent.
            _ => &[],
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{line, standing};
    use crate::domain::{status::NotificationStatus, timeline::TimelineEntryKind};

    #[test]
    fn every_status_has_its_sentence() {
        for status in NotificationStatus::ALL {
            let sentence = standing(status, Some("the reason"), Some("12:00"));
            assert!(sentence.ends_with('.') && sentence.len() > 10, "{sentence}");
            assert!(!standing(status, None, None).contains("the reason"));
        }
    }

    #[test]
    fn every_kind_of_line_has_its_sentence() {
        for kind in TimelineEntryKind::ALL.iter().copied() {
            let sentence = line(kind, &json!({ "reason": "the reason" }));
            assert!(
                sentence.ends_with('.') && sentence.len() >= 10,
                "{sentence}"
            );
            assert!(!sentence.starts_with(kind.name()), "{sentence}");
        }
    }

    #[test]
    fn a_rule_that_did_not_fire_says_which_condition_said_no() {
        let detail = json!({ "rule": "remind", "on": "delivered", "reason": "its condition does not hold",
            "condition": "notification.category == 'utility'" });
        assert_eq!(
            line(TimelineEntryKind::RuleDidNotFire, &detail),
            "The rule remind did not fire on delivered: its condition does not hold (notification.category == 'utility')."
        );
    }
}
