//! Lists the timestamp columns by kind, with the limit of how far in the future each can be.

use crate::domain::{
    horizon::{FutureTimestampLimits, StoredTimestampKind, TOLERANCE_MICROS},
    login, pace, retry,
    settings::LOCK_SECONDS,
    time::Timestamp,
    verification::CODE_LIFETIMES,
};

/// A timestamp column of one kind.
pub(super) struct TimestampColumn {
    pub(super) kind: StoredTimestampKind,
    pub(super) table: &'static str,
    /// The table's key.
    pub(super) key: &'static [&'static str],
    /// The column's.
    pub(super) name: &'static str,
    /// Which rows are meant.
    pub(super) only: &'static str,
    /// How far ahead it can lie, in microseconds.
    furthest: i64,
    /// How far ahead it is put, in microseconds.
    pub(super) becomes: i64,
    /// Looked at each time, as the table is small or an index leads there.
    pub(super) is_cheap: bool,
    /// It is left as it is: its readers do not count it, and the table is large.
    pub(super) is_left: bool,
    /// The table is in the database of the inbox.
    pub(super) is_of_inbox: bool,
}

impl TimestampColumn {
    const fn new(
        kind: StoredTimestampKind,
        table: &'static str,
        key: &'static [&'static str],
        name: &'static str,
    ) -> Self {
        Self {
            kind,
            table,
            key,
            name,
            only: "true",
            furthest: 0,
            becomes: 0,
            is_cheap: false,
            is_left: false,
            is_of_inbox: false,
        }
    }

    const fn only(mut self, only: &'static str) -> Self {
        self.only = only;
        self
    }

    /// It is waited for: further ahead it counts as come.
    const fn within(mut self, furthest: i64) -> Self {
        self.furthest = furthest;
        self
    }

    /// It was granted for so long: further ahead it is granted once more.
    const fn granted(mut self, whole: i64) -> Self {
        self.furthest = whole;
        self.becomes = whole;
        self
    }

    const fn cheap(mut self) -> Self {
        self.is_cheap = true;
        self
    }

    const fn left(mut self) -> Self {
        self.is_left = true;
        self
    }

    const fn of_inbox(mut self) -> Self {
        self.is_of_inbox = true;
        self
    }

    pub(super) fn bound(&self, now: Timestamp) -> i64 {
        now.plus_micros(self.furthest.saturating_add(TOLERANCE_MICROS))
            .micros()
    }
}

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;

/// Every bounded timestamp column except those of messages and timers.
pub(super) fn columns(horizon: &FutureTimestampLimits) -> Vec<TimestampColumn> {
    let sender = |kind, column| TimestampColumn::new(kind, "sender", &["id"], column).cheap();
    let verification = |column| {
        TimestampColumn::new(
            StoredTimestampKind::Verification,
            "verification",
            &["id"],
            column,
        )
        .within(*CODE_LIFETIMES.end() * SECOND)
        .cheap()
    };
    let template = |column| {
        let key = &["account_id", "name", "language"];
        TimestampColumn::new(StoredTimestampKind::Template, "template_sync", key, column)
    };
    vec![
        sender(StoredTimestampKind::Pace, "pace_next_at").within(pace::FURTHEST_MICROS),
        sender(StoredTimestampKind::Pace, "slowed_at"),
        sender(StoredTimestampKind::Pace, "pace_asked_at"),
        sender(StoredTimestampKind::Probe, "probe_at")
            .only("account_held_at IS NULL")
            .within(horizon.probe()),
        // For a held account without an end: an hour after it was held.
        sender(StoredTimestampKind::Probe, "probe_at")
            .only("probe_at - account_held_at <= 3600000000")
            .granted(HOUR),
        sender(StoredTimestampKind::Probe, "account_held_at"),
        sender(StoredTimestampKind::Probe, "credentials_at"),
        sender(StoredTimestampKind::Silence, "unheard_since"),
        sender(StoredTimestampKind::MarketingHold, "marketing_held_until")
            .granted(retry::SPAM_SECONDS * SECOND),
        TimestampColumn::new(
            StoredTimestampKind::PairPace,
            "conversation",
            &["sender_id", "contact_id"],
            "pair_next_at",
        )
        .within(horizon.pair)
        .left(),
        TimestampColumn::new(
            StoredTimestampKind::PairPace,
            "conversation",
            &["sender_id", "contact_id"],
            "turn_at",
        )
        .only("turn_at IS NOT NULL")
        .within(horizon.pair)
        .cheap(),
        TimestampColumn::new(
            StoredTimestampKind::CallbackLease,
            "inbox_pending",
            &["segment"],
            "leased_until",
        )
        .of_inbox()
        .granted(horizon.lease)
        .cheap(),
        TimestampColumn::new(
            StoredTimestampKind::ReadMark,
            "inbound_message",
            &["id"],
            "read_due_at",
        )
        .within(60 * SECOND)
        .cheap(),
        template("status_at"),
        template("quality_at"),
        template("category_at"),
        template("components_at"),
        // A person's own statements have the provider's time, and an opt-out stands.
        TimestampColumn::new(
            StoredTimestampKind::OptIn,
            "suppression",
            &["contact_id", "scope"],
            "provider_at",
        )
        .only("callback_id IS NULL AND wanted"),
        TimestampColumn::new(
            StoredTimestampKind::LoginFailure,
            "login_failure",
            &["subject"],
            "last_at",
        )
        .cheap(),
        TimestampColumn::new(
            StoredTimestampKind::LoginLink,
            "login_link",
            &["digest"],
            "expires_at",
        )
        .granted(login::LINK_SECONDS * SECOND)
        .cheap(),
        TimestampColumn::new(
            StoredTimestampKind::Session,
            "session",
            &["digest"],
            "expires_at",
        )
        .granted(login::SESSION_SECONDS * SECOND)
        .cheap(),
        TimestampColumn::new(
            StoredTimestampKind::Heartbeat,
            "heartbeat",
            &["process", "worker"],
            "seen_at",
        )
        .cheap(),
        // A code must not be valid for longer than it was to be: it ends at once.
        verification("expires_at").only("status = 'pending'"),
        verification("fallback_at").only("fallback_at IS NOT NULL"),
        TimestampColumn::new(
            StoredTimestampKind::Verification,
            "verification_limit",
            &["kind", "subject"],
            "locked_until",
        )
        .only("locked_until IS NOT NULL")
        .granted(LOCK_SECONDS * SECOND)
        .cheap(),
    ]
}

/// A kind of timestamp of messages: the condition that it is wrong, and its repair.
pub(super) struct MessageTimestampRepair {
    pub(super) kind: StoredTimestampKind,
    pub(super) column: &'static str,
    /// Which are wrong: `$1` is the bound.
    pub(super) wrong: &'static str,
    /// `$2` is now, plus the granted time.
    pub(super) right: &'static str,
    pub(super) granted: i64,
}

/// A message scheduled for later was never claimed; it keeps waiting.
pub(super) fn of_messages(horizon: &FutureTimestampLimits) -> [MessageTimestampRepair; 5] {
    [
        MessageTimestampRepair {
            kind: StoredTimestampKind::Lease,
            column: "leased_until",
            wrong: "engine_state = 'sending' AND wake_at > $1 AND leased_until > $1",
            right: "leased_until = $2, wake_at = $2",
            granted: horizon.lease,
        },
        MessageTimestampRepair {
            kind: StoredTimestampKind::UnknownOutcome,
            column: "leased_until",
            wrong: "engine_state = 'unknown' AND wake_at > $1 AND leased_until > $1",
            right: "leased_until = $2, wake_at = $2",
            granted: horizon.unknown,
        },
        MessageTimestampRepair {
            kind: StoredTimestampKind::Queue,
            column: "due_at",
            wrong: "engine_state = 'queued' AND due_at > $1 AND updated_at > $1 \
                    AND NOT (lease_owner IS NULL AND due_at > updated_at)",
            right: "due_at = $2, updated_at = $2, reason = NULL",
            granted: 0,
        },
        MessageTimestampRepair {
            kind: StoredTimestampKind::Retry,
            column: "due_at",
            wrong: "engine_state = 'retrying' AND due_at > $1 AND updated_at > $1",
            right: "due_at = $2 + (due_at - updated_at), updated_at = $2",
            granted: 0,
        },
        MessageTimestampRepair {
            kind: StoredTimestampKind::Stale,
            column: "wake_at",
            wrong: "engine_state = 'settled' AND wake_at > $1",
            right: "wake_at = $2",
            granted: horizon.stale,
        },
    ]
}

impl MessageTimestampRepair {
    pub(super) fn bound(&self, now: Timestamp) -> i64 {
        now.plus_micros(self.granted.saturating_add(TOLERANCE_MICROS))
            .micros()
    }
}

/// A timer that was reckoned by a clock that was ahead; `$1` is the bound.
pub(super) const WRONG_TIMERS: &str = "due_at > $1 AND created_at > $1";

/// The same for a planned follow-up; `$2` is the first id of the bound.
pub(super) const WRONG_PLANS: &str = "due_at > $1 AND follow_up_id > $2";
