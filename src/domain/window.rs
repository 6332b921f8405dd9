//! The 24-hour service window.

use super::time::Timestamp;

/// How long a person's message allows free text (Meta, "Customer service windows").
pub const WINDOW_SECONDS: i64 = 24 * 60 * 60;

/// Free text stops this long before the end: clocks differ, and calls take time.
pub const MARGIN_SECONDS: i64 = 60;

/// How long messages are free after a person came through an advertisement (Meta, "Free entry
/// points").
pub const FREE_ENTRY_SECONDS: i64 = 72 * 60 * 60;

/// Whether an inbound message of this kind opens a window: notices about people, corrections, and
/// messages in a group do not.
pub fn opens(kind: &str, in_group: bool) -> bool {
    !in_group && !matches!(kind, "system" | "edit" | "revoke")
}

/// An event of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceWindowEvent {
    /// It will close soon.
    Closing,
    Closed,
}

/// The due event of a window that ends at `until`, and when to look again.
pub fn due(
    until: Timestamp,
    closing_seconds: i64,
    now: Timestamp,
) -> (Option<ServiceWindowEvent>, Option<Timestamp>) {
    let closing = until.plus_seconds(-closing_seconds);
    if now >= until {
        (Some(ServiceWindowEvent::Closed), None)
    } else if now >= closing {
        (Some(ServiceWindowEvent::Closing), Some(until))
    } else {
        (None, Some(closing))
    }
}

/// When a newly opened window must be looked at; never, if it is over.
pub fn first_look(until: Timestamp, closing_seconds: i64, now: Timestamp) -> Option<Timestamp> {
    (until > now).then(|| until.plus_seconds(-closing_seconds))
}

/// End of the window that a message of `sent_at` opens. By the message's own time, so that a
/// redelivery after a week opens nothing.
pub const fn until(sent_at: Timestamp) -> Timestamp {
    sent_at.plus_seconds(WINDOW_SECONDS)
}

/// Whether free text may be sent now.
pub fn is_open(window_until: Option<Timestamp>, now: Timestamp) -> bool {
    window_until.is_some_and(|until| now.plus_seconds(MARGIN_SECONDS) < until)
}

#[cfg(test)]
mod tests {
    use super::{is_open, until};
    use crate::domain::time::Timestamp;

    #[test]
    fn a_window_closes_a_minute_before_the_day_is_over() {
        let start = Timestamp::from_unix_seconds(1_000_000);
        let end = Some(until(start));
        assert!(is_open(end, start.plus_seconds(86_339)));
        assert!(!is_open(end, start.plus_seconds(86_340)));
        assert!(!is_open(None, start));
    }

    #[test]
    fn a_message_that_arrives_a_week_late_opens_nothing() {
        let start = Timestamp::from_unix_seconds(1_000_000);
        assert!(!is_open(Some(until(start)), start.plus_seconds(7 * 86_400)));
    }
}
