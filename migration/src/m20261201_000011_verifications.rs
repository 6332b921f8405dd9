//! One-time passwords that Herald makes and checks.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- A code that a person is to enter. `code_sealed` and `code_digest` are empty once it has ended.
CREATE TABLE verification (
    id              {uuid} NOT NULL PRIMARY KEY,
    created_at      bigint NOT NULL,
    updated_at      bigint NOT NULL,
    product         {text},
    status          {text} NOT NULL,
    purpose         {text} NOT NULL,
    recipient       {text} NOT NULL,
    contact_id      {uuid},
    -- How failures are counted: a keyed digest of product, address and purpose.
    failure_subject {bytes} NOT NULL,
    -- The rest of the request, as the engine reads it again (JSON).
    request         {text} NOT NULL,
    reference       {text},
    code_sealed     {text} NOT NULL,
    code_digest     {bytes} NOT NULL,
    tries           bigint NOT NULL,
    max_tries       bigint NOT NULL,
    expires_at      bigint NOT NULL,
    ended_at        bigint,
    -- The message of the last send, and which of the channels it went by.
    notification_id {uuid},
    channel         {text} NOT NULL,
    channel_index   bigint NOT NULL,
    -- When the next channel is to be tried unless the message is delivered; while there is one.
    fallback_at     bigint
);
CREATE INDEX verification_pending ON verification (expires_at) WHERE status = 'pending';
CREATE INDEX verification_contact ON verification (contact_id) WHERE contact_id IS NOT NULL;
-- What has another channel to fall back to.
CREATE INDEX verification_fallback ON verification (expires_at) WHERE fallback_at IS NOT NULL;

-- The messages by which a code was sent.
CREATE TABLE verification_send (
    verification_id {uuid} NOT NULL,
    notification_id {uuid} NOT NULL,
    created_at      bigint NOT NULL,
    channel         {text} NOT NULL,
    PRIMARY KEY (verification_id, notification_id)
) {clustered};

-- How often something happened lately: the times (JSON, microseconds), no more of them than the
-- limit. The subject is a keyed digest: no number can be read from it.
CREATE TABLE verification_limit (
    kind            {text} NOT NULL,
    subject         {bytes} NOT NULL,
    created_at      bigint NOT NULL,
    touched_at      bigint NOT NULL,
    times           {text} NOT NULL,
    locked_until    bigint,
    PRIMARY KEY (kind, subject)
) {clustered};
CREATE INDEX verification_limit_touched ON verification_limit (touched_at);
CREATE INDEX verification_limit_locked ON verification_limit (locked_until) WHERE locked_until IS NOT NULL;

";

const DOWN: &str = r"
DROP TABLE verification_limit;
DROP TABLE verification_send;
DROP TABLE verification;
";
