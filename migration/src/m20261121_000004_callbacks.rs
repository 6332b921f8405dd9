//! The inbox of callbacks: bodies, the ledger of their digests, and what could not be applied.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- Narrow on purpose: marking a callback processed never rewrites its body.
CREATE TABLE callback (
    id            {uuid} NOT NULL PRIMARY KEY,
    created_at    bigint NOT NULL,
    endpoint      {text} NOT NULL,
    size_bytes    bigint NOT NULL,
    owner         {uuid} NOT NULL,
    leased_until  bigint NOT NULL,
    tries         bigint NOT NULL,
    processed_at  bigint,
    items         bigint,
    dead_items    bigint
) {clustered} {hot};
CREATE INDEX callback_waiting ON callback (leased_until) WHERE processed_at IS NULL;

CREATE TABLE callback_body (
    callback_id  {uuid} NOT NULL PRIMARY KEY,
    body         {bytes} NOT NULL
) {clustered};

CREATE TABLE callback_digest (
    endpoint     {text} NOT NULL,
    digest       {bytes} NOT NULL,
    callback_id  {uuid} NOT NULL,
    created_at   bigint NOT NULL,
    times_seen   bigint NOT NULL,
    PRIMARY KEY (endpoint, digest)
) {clustered};

CREATE TABLE dead_letter (
    id           {uuid} NOT NULL PRIMARY KEY,
    created_at   bigint NOT NULL,
    callback_id  {uuid} NOT NULL,
    pointer      {text} NOT NULL,
    reason       {text} NOT NULL,
    replayed_at  bigint,
    UNIQUE (callback_id, pointer)
);

CREATE TABLE parked_status (
    id                   {uuid} NOT NULL PRIMARY KEY,
    created_at           bigint NOT NULL,
    callback_id          {uuid} NOT NULL,
    pointer              {text} NOT NULL,
    phone_number_id      {text},
    provider_message_id  {text} NOT NULL,
    our_id               {uuid},
    update_json          {text} NOT NULL,
    UNIQUE (callback_id, pointer)
);
CREATE INDEX parked_status_message ON parked_status (provider_message_id);
CREATE INDEX parked_status_our_id ON parked_status (our_id) WHERE our_id IS NOT NULL;

CREATE TABLE inbound_message (
    id                   {uuid} NOT NULL PRIMARY KEY,
    created_at           bigint NOT NULL,
    callback_id          {uuid} NOT NULL,
    sender_id            {uuid},
    phone_number_id      {text} NOT NULL,
    contact_id           {uuid},
    provider_message_id  {text} NOT NULL,
    kind                 {text} NOT NULL,
    text                 {text},
    payload              {text},
    context_message_id   {text},
    notification_id      {uuid},
    sent_at              bigint NOT NULL,
    item                 {text} NOT NULL,
    UNIQUE (provider_message_id, phone_number_id)
);
CREATE INDEX inbound_message_contact ON inbound_message (contact_id, id);

";

const DOWN: &str = r"
DROP TABLE inbound_message; DROP TABLE parked_status; DROP TABLE dead_letter; DROP TABLE callback_digest;
DROP TABLE callback_body; DROP TABLE callback;
";
