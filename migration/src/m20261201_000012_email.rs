//! E-mail: addresses of contacts, addresses that get nothing, and messages that fall back to another
//! channel.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

ALTER TABLE contact ADD COLUMN email {text};
CREATE INDEX contact_email ON contact (lower(email)) WHERE email IS NOT NULL;
ALTER TABLE product_contact ADD COLUMN email {text};

-- The channels after the first (JSON), and how long each may take; none: the default.
ALTER TABLE route ADD COLUMN next_channels {text};
ALTER TABLE route ADD COLUMN fallback_after_seconds bigint;

-- An address that messages of a channel are not sent to, until it is lifted: `bounced` (there is no
-- such mailbox) or `unsubscribed` (its owner said so).
CREATE TABLE address_suppression (
    channel     {text} NOT NULL,
    address     {text} NOT NULL,
    created_at  bigint NOT NULL,
    reason      {text} NOT NULL,
    -- What the other side said.
    detail      {text},
    PRIMARY KEY (channel, address)
) {clustered};

-- A message that goes by another channel unless it is delivered in time.
CREATE TABLE channel_fallback (
    notification_id {uuid} NOT NULL PRIMARY KEY,
    created_at      bigint NOT NULL,
    -- The channels that are left, in their order (JSON).
    channels        {text} NOT NULL,
    after_seconds   bigint NOT NULL,
    due_at          bigint NOT NULL,
    -- The secrets of the message, which are wiped from the message itself when it has failed.
    sealed          {text},
    -- The message that took its place.
    child_id        {uuid}
);
CREATE INDEX channel_fallback_due ON channel_fallback (due_at);
CREATE INDEX channel_fallback_sealed ON channel_fallback (due_at) WHERE sealed IS NOT NULL;
CREATE INDEX channel_fallback_child ON channel_fallback (child_id) WHERE child_id IS NOT NULL;

";

const DOWN: &str = r"
DROP TABLE channel_fallback;
DROP TABLE address_suppression;
ALTER TABLE route DROP COLUMN fallback_after_seconds;
ALTER TABLE route DROP COLUMN next_channels;
ALTER TABLE product_contact DROP COLUMN email;
DROP INDEX contact_email;
ALTER TABLE contact DROP COLUMN email;
";
