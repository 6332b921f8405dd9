//! What callbacks say beyond delivery: people's ids, windows, wishes, templates and accounts.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- Set when the person got another number or id: a message after it is somebody else's.
ALTER TABLE contact_alias ADD COLUMN superseded_at bigint;

-- Two contacts claim one alias: recorded, never merged.
CREATE TABLE contact_conflict (
    id           {uuid} NOT NULL PRIMARY KEY,
    created_at   bigint NOT NULL,
    kind         {text} NOT NULL,
    value        {text} NOT NULL,
    contact_id   {uuid} NOT NULL,
    other_id     {uuid} NOT NULL,
    callback_id  {uuid},
    UNIQUE (kind, value, contact_id, other_id)
);

-- One person's number or id became another: followed whichever is heard of first.
CREATE TABLE identity_link (
    kind        {text} NOT NULL,
    old_value   {text} NOT NULL,
    new_value   {text} NOT NULL,
    at          bigint NOT NULL,
    created_at  bigint NOT NULL,
    PRIMARY KEY (kind, old_value, new_value)
) {clustered};

ALTER TABLE conversation ADD COLUMN free_entry_until bigint;
-- When the window is closing, then when it is closed.
ALTER TABLE conversation ADD COLUMN wake_at bigint;
CREATE INDEX conversation_wake ON conversation (wake_at) WHERE wake_at IS NOT NULL;

-- What a person wants, newest by the provider's time.
CREATE TABLE suppression (
    contact_id   {uuid} NOT NULL,
    scope        {text} NOT NULL,
    created_at   bigint NOT NULL,
    wanted       {bool} NOT NULL,
    source       {text} NOT NULL,
    provider_at  bigint NOT NULL,
    callback_id  {uuid},
    PRIMARY KEY (contact_id, scope)
) {clustered};

-- What an account says of a template; each part newest by the provider's time.
CREATE TABLE template_sync (
    account_id            {text} NOT NULL,
    name                  {text} NOT NULL,
    language              {text} NOT NULL,
    created_at            bigint NOT NULL,
    updated_at            bigint NOT NULL,
    provider_template_id  {text},
    status                {text},
    status_at             bigint,
    status_reason         {text},
    quality               {text},
    quality_at            bigint,
    category              {text},
    category_at           bigint,
    PRIMARY KEY (account_id, name, language)
) {clustered};

-- A property of an account or of one of its numbers, newest by the provider's time.
CREATE TABLE account_fact (
    account_id   {text} NOT NULL,
    number       {text} NOT NULL,
    property     {text} NOT NULL,
    created_at   bigint NOT NULL,
    provider_at  bigint NOT NULL,
    value        {text} NOT NULL,
    callback_id  {uuid} NOT NULL,
    hold_reason  {text},
    hold_until   bigint,
    PRIMARY KEY (account_id, number, property)
) {clustered};

-- Everything that is no message and no status, applied or not.
CREATE TABLE notice (
    id           {uuid} NOT NULL PRIMARY KEY,
    created_at   bigint NOT NULL,
    callback_id  {uuid} NOT NULL,
    pointer      {text} NOT NULL,
    field        {text} NOT NULL,
    account_id   {text},
    summary      {text} NOT NULL,
    outcome      {text} NOT NULL,
    provider_at  bigint,
    item         {text} NOT NULL,
    UNIQUE (callback_id, pointer)
);

-- Since when messages were accepted and no callback was heard; when that was told.
ALTER TABLE sender ADD COLUMN unheard_since bigint;
ALTER TABLE sender ADD COLUMN silent_at bigint;
-- When the provider held its account: what was under way then says nothing about it.
ALTER TABLE sender ADD COLUMN account_held_at bigint;

ALTER TABLE parked_status ADD COLUMN state {text} NOT NULL DEFAULT 'parked';
CREATE INDEX parked_status_open ON parked_status (created_at) WHERE state = 'parked';

ALTER TABLE inbound_message ADD COLUMN group_id {text};
ALTER TABLE inbound_message ADD COLUMN media_id {text};
ALTER TABLE inbound_message ADD COLUMN read_due_at bigint;
CREATE INDEX inbound_message_read ON inbound_message (read_due_at) WHERE read_due_at IS NOT NULL;

-- What a held message waits for: `sender` or `template`.
ALTER TABLE notification ADD COLUMN held_for {text};

-- Retention goes by age.
CREATE INDEX callback_digest_age ON callback_digest (created_at);

";

const DOWN: &str = r"
DROP INDEX callback_digest_age;
ALTER TABLE notification DROP COLUMN held_for;
DROP INDEX inbound_message_read;
ALTER TABLE inbound_message DROP COLUMN read_due_at;
ALTER TABLE inbound_message DROP COLUMN media_id;
ALTER TABLE inbound_message DROP COLUMN group_id;
DROP INDEX parked_status_open;
ALTER TABLE parked_status DROP COLUMN state;
ALTER TABLE sender DROP COLUMN account_held_at;
ALTER TABLE sender DROP COLUMN silent_at;
ALTER TABLE sender DROP COLUMN unheard_since;
DROP TABLE notice; DROP TABLE account_fact; DROP TABLE template_sync; DROP TABLE suppression;
DROP INDEX conversation_wake;
ALTER TABLE conversation DROP COLUMN wake_at;
ALTER TABLE conversation DROP COLUMN free_entry_until;
DROP TABLE identity_link; DROP TABLE contact_conflict;
ALTER TABLE contact_alias DROP COLUMN superseded_at;
";
