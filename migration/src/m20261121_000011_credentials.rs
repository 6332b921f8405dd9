//! Senders with credentials of their own, who changed what, and a queue by sender.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- The app whose secret signs the callbacks of its numbers.
ALTER TABLE sender ADD COLUMN app_id {text};

-- Held by a person since, and why: no probe releases it.
ALTER TABLE sender ADD COLUMN off_at bigint;
ALTER TABLE sender ADD COLUMN off_reason {text};

-- When what it sends with last changed: trouble of an older call says nothing.
ALTER TABLE sender ADD COLUMN credentials_at bigint NOT NULL DEFAULT 0;

-- Counts those changes: whoever sends knows by it that it must look again.
ALTER TABLE sender ADD COLUMN revision bigint NOT NULL DEFAULT 0;

-- Messages per second: as a person set it, and as the provider reports it.
ALTER TABLE sender ADD COLUMN pace_set bigint;
ALTER TABLE sender ADD COLUMN pace_reported bigint;
ALTER TABLE sender ADD COLUMN pace_asked_at bigint;

CREATE UNIQUE INDEX sender_default ON sender (is_default) WHERE is_default;

-- What opens doors, encrypted (XChaCha20-Poly1305). `scope` says whose it is:
-- `sender:ID`, or `app:ID` for what the numbers of an app share.
CREATE TABLE credential (
    id              {uuid} NOT NULL PRIMARY KEY,
    created_at      bigint NOT NULL,
    updated_at      bigint NOT NULL,
    scope           {text} NOT NULL,
    kind            {text} NOT NULL,
    sealed          {text} NOT NULL,
    active          {bool} NOT NULL,
    expires_at      bigint,
    added_by        {text} NOT NULL,
    age_told_at     bigint,
    expiry_told_at  bigint
);
CREATE INDEX credential_scope ON credential (scope);

-- Who did what.
CREATE TABLE audit (
    id          {uuid} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    actor       {text} NOT NULL,
    action      {text} NOT NULL,
    subject     {text} NOT NULL,
    detail      {text} NOT NULL
);

-- `product`: posts and reads. `admin`: changes senders as well.
ALTER TABLE api_key ADD COLUMN role {text} NOT NULL DEFAULT 'product';

-- Whose signature a callback bore, where there are several apps.
ALTER TABLE callback ADD COLUMN signed_by {text};

-- The sender that a route names; none: the default.
ALTER TABLE route ADD COLUMN sender {text};

-- One sender's backlog is not in the way of another's. What has no sender yet is
-- under a value, not under NULL: PostgreSQL would not know that it is in order.
DROP INDEX notification_due;
CREATE INDEX notification_queue ON notification (coalesce(sender_id, {nil}), priority, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notification_held ON notification (coalesce(sender_id, {nil}), priority, id) WHERE engine_state = 'held';
";

const DOWN: &str = r"
DROP INDEX notification_held;
DROP INDEX notification_queue;
CREATE INDEX notification_due ON notification (priority, due_at) WHERE due_at IS NOT NULL;
ALTER TABLE route DROP COLUMN sender;
ALTER TABLE callback DROP COLUMN signed_by;
ALTER TABLE api_key DROP COLUMN role;
DROP TABLE audit;
DROP TABLE credential;
DROP INDEX sender_default;
ALTER TABLE sender DROP COLUMN pace_asked_at;
ALTER TABLE sender DROP COLUMN pace_reported;
ALTER TABLE sender DROP COLUMN pace_set;
ALTER TABLE sender DROP COLUMN revision;
ALTER TABLE sender DROP COLUMN credentials_at;
ALTER TABLE sender DROP COLUMN off_reason;
ALTER TABLE sender DROP COLUMN off_at;
ALTER TABLE sender DROP COLUMN app_id;
";
