//! Alarms, signs of life, and indexes for those who look.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- What is wrong, or was: raised once, cleared once.
CREATE TABLE alarm (
    kind        {text} NOT NULL,
    subject     {text} NOT NULL,
    created_at  bigint NOT NULL,
    raised_at   bigint NOT NULL,
    cleared_at  bigint,
    summary     {text} NOT NULL,
    PRIMARY KEY (kind, subject)
);

-- When a worker of a process has last been seen at work.
CREATE TABLE heartbeat (
    process     {uuid} NOT NULL,
    worker      {text} NOT NULL,
    created_at  bigint NOT NULL,
    seen_at     bigint NOT NULL,
    PRIMARY KEY (process, worker)
);

-- The newest that failed, and that were not sent: few among many.
CREATE INDEX notification_failed ON notification (id) WHERE status IN ('failed', 'expired', 'gave_up');
CREATE INDEX notification_not_sent ON notification (id) WHERE status IN ('skipped', 'cancelled');

-- Those to a number, and those that were for somebody by name.
CREATE INDEX notification_address ON notification (address, id) WHERE address IS NOT NULL;
CREATE INDEX notification_named ON notification (recipient, id) WHERE (address IS NULL OR recipient <> address);

-- Windows that close next.
CREATE INDEX conversation_window ON conversation (window_until) WHERE window_until IS NOT NULL;

-- What is open: few among many.
CREATE INDEX dead_letter_open ON dead_letter (id) WHERE replayed_at IS NULL;

";

const DOWN: &str = r"
DROP INDEX dead_letter_open; DROP INDEX conversation_window; DROP INDEX notification_named; DROP INDEX notification_address; DROP INDEX notification_not_sent; DROP INDEX notification_failed;
DROP TABLE heartbeat; DROP TABLE alarm;
";
