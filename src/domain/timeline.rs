//! What can stand on the timeline of a notification.

use uuid::Uuid;

use super::{facts::DeliveryFact, time::Timestamp, word_enum::words};

/// One entry of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    pub at: Timestamp,
    pub kind: TimelineEntryKind,
    /// When it happened by the provider's clock.
    pub provider_at: Option<Timestamp>,
    pub attempt_id: Option<Uuid>,
    pub callback_id: Option<Uuid>,
    /// JSON.
    pub detail: Option<String>,
}

impl TimelineEntry {
    /// An entry of Herald's own.
    pub fn new(at: Timestamp, kind: TimelineEntryKind, detail: Option<String>) -> Self {
        Self {
            at,
            kind,
            provider_at: None,
            attempt_id: None,
            callback_id: None,
            detail,
        }
    }
}

words! {
    /// The kind of a line on a timeline. Its sentence is in [`super::story`].
    pub enum TimelineEntryKind {
        /// It was made, and waits to be sent.
        Queued = "queued",
        /// It was made and is not sent, on purpose.
        Skipped = "skipped",
        /// A value of it is shown as it came.
        ValueUnread = "value_unread",
        /// It waits for something other than its time.
        Held = "held",
        /// It goes to another number or id of the same person.
        AddressChanged = "address_changed",
        /// The requested number belongs to another contact now.
        NumberChangedHands = "number_changed_hands",
        /// Before its call, what it was to remind of had happened.
        Superseded = "superseded",
        /// Before its call, its recipient refused it.
        Suppressed = "suppressed",
        /// The provider took it.
        Accepted = "accepted",
        /// The provider took it, and keeps it back for now.
        HeldByProvider = "held_by_provider",
        Sent = "sent",
        Delivered = "delivered",
        Read = "read",
        Played = "played",
        Failed = "failed",
        /// The person answered.
        Replied = "replied",
        /// The provider repeated what was known, with more of it.
        DetailsAdded = "details_added",
        /// The provider refused it, and another attempt is due.
        RetryScheduled = "retry_scheduled",
        /// No attempt was used up: it waits for the provider or for its pace.
        Deferred = "deferred",
        /// The answer to a call was lost.
        OutcomeUnknown = "outcome_unknown",
        /// The process that made a call is gone.
        LeaseExpired = "lease_expired",
        /// An answer came after its attempt had been given up.
        LateResponse = "late_response",
        /// Its outcome stays unknown, and it is not sent again.
        GaveUp = "gave_up",
        /// Its outcome stays unknown, and it is sent again.
        ResendScheduled = "resend_scheduled",
        /// It waited longer than it may.
        Expired = "expired",
        /// It was accepted, and nothing was reported since.
        Stale = "stale",
        /// An operator or a product cancelled it.
        Cancelled = "cancelled",
        /// Another attempt was requested.
        RetryRequested = "retry_requested",
        /// Its wait was ended by request.
        SendNowRequested = "send_now_requested",
        /// Something was reported or asked, and changed nothing.
        Ignored = "ignored",
        /// The clock was changed, and an instant of it was put right.
        ClockChanged = "clock_changed",
        /// A rule does not follow a transition of it.
        RuleDidNotFire = "rule_did_not_fire",
        /// A recipient of a rule is unknown.
        RecipientUnknown = "recipient_unknown",
        RuleFired = "rule_fired",
        /// A rule was due, and what it would have sent is not sent.
        RuleSkipped = "rule_skipped",
        /// What a rule had planned is not needed.
        RuleCancelled = "rule_cancelled",
        /// What a rule sent would not have been sent, had all been known.
        RuleOverruled = "rule_overruled",
        /// A later version of Herald wrote the line.
        Unrecognized = "unrecognized",
    }
}

/// The detail of a line about a reply without what the person chose or filled in. None if it has
/// nothing of that. A reply after the first is [`TimelineEntryKind::Ignored`].
pub fn without_reply(detail: &str) -> Option<String> {
    let mut detail: serde_json::Value = serde_json::from_str(detail).ok()?;
    let payload = detail.get_mut("payload")?;
    if payload.is_null() {
        return None;
    }
    *payload = serde_json::Value::Null;
    Some(detail.to_string())
}

impl From<DeliveryFact> for TimelineEntryKind {
    fn from(fact: DeliveryFact) -> Self {
        match fact {
            DeliveryFact::Accepted => Self::Accepted,
            DeliveryFact::Sent => Self::Sent,
            DeliveryFact::Delivered => Self::Delivered,
            DeliveryFact::Read => Self::Read,
            DeliveryFact::Played => Self::Played,
            DeliveryFact::Failed => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::without_reply;

    #[test]
    fn what_a_reply_carries_goes_and_its_kind_stays() {
        let detail = r#"{"kind":"interactive","payload":"{\"answer\":42}"}"#;
        let left = without_reply(detail).unwrap();
        assert_eq!(left, r#"{"kind":"interactive","payload":null}"#);
        for nothing in [&left, r#"{"kind":"text"}"#, "not json", "null"] {
            assert_eq!(without_reply(nothing), None);
        }
    }
}
