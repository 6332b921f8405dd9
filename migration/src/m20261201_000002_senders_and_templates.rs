//! Senders with their credentials, accounts and conversations, and the templates that they send.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- A number, or another endpoint of a provider, that sends.
CREATE TABLE sender (
    id                    {uuid} NOT NULL PRIMARY KEY,
    created_at            bigint NOT NULL,
    updated_at            bigint NOT NULL,
    kind                  {text} NOT NULL,
    name                  {text} NOT NULL UNIQUE,
    -- What its provider's callbacks call it, and the account at its provider that it is in.
    endpoint_id           {text} UNIQUE,
    account_id            {text},
    -- The app whose secret signs the callbacks of its numbers.
    app_id                {text},
    -- How people write its number, by which a provider names it in news of an account.
    display_number        {text},
    -- What its kind of provider needs (JSON).
    settings              {text} NOT NULL DEFAULT '{}',
    credentials           {text},
    -- When what it sends with last changed: trouble of an older call says nothing.
    credentials_at        bigint NOT NULL DEFAULT 0,
    -- Counts those changes: a process that sends sees by it that it must look again.
    revision              bigint NOT NULL DEFAULT 0,
    is_default            {bool} NOT NULL,
    state                 {text} NOT NULL,
    state_reason          {text},
    failures_in_row       bigint NOT NULL,
    probe_at              bigint,
    -- Held by a person since, and why: no probe releases it.
    off_at                bigint,
    off_reason            {text},
    -- When the provider held its account: what was under way then says nothing about it.
    account_held_at       bigint,
    -- Reported as spam: no marketing until then.
    marketing_held_until  bigint,
    -- Since when messages were accepted and no callback came; when that was reported.
    unheard_since         bigint,
    silent_at             bigint,
    pace_per_second       bigint NOT NULL,
    pace_next_at          bigint NOT NULL,
    -- Messages per second: as a person set it, and as the provider reports it.
    pace_set              bigint,
    pace_reported         bigint,
    pace_asked_at         bigint,
    -- Asked to slow down: to so many thousandths of the pace, at this time.
    slowed_to             bigint NOT NULL DEFAULT 1000,
    slowed_at             bigint NOT NULL DEFAULT 0
) {hot};
CREATE UNIQUE INDEX sender_default ON sender (is_default) WHERE is_default;

-- A token or secret, encrypted (XChaCha20-Poly1305). `scope` says whose it is: `sender:ID`, or
-- `app:ID` for what the numbers of an app share.
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

-- A property of an account, or of one of its numbers, newest by the provider's time. An empty
-- number: of the account itself.
CREATE TABLE account_fact (
    account_id   {text} NOT NULL,
    number       {text} NOT NULL,
    property     {text} NOT NULL,
    created_at   bigint NOT NULL,
    provider_at  bigint NOT NULL,
    value        {text} NOT NULL,
    callback_id  {uuid} NOT NULL,
    -- Why, and until when, the account may not send.
    hold_reason  {text},
    hold_until   bigint,
    PRIMARY KEY (account_id, number, property)
) {clustered};

-- What lies between a sender and a contact: the service window, and the pace.
CREATE TABLE conversation (
    sender_id         {uuid} NOT NULL REFERENCES sender (id),
    contact_id        {uuid} NOT NULL REFERENCES contact (id),
    created_at        bigint NOT NULL,
    last_inbound_at   bigint,
    window_until      bigint,
    free_entry_until  bigint,
    -- When the window is closing, then when it is closed.
    wake_at           bigint,
    reminder_at       bigint,
    pair_next_at      bigint,
    -- When the next of the messages that wait for their turn with this person may leave.
    turn_at           bigint,
    PRIMARY KEY (sender_id, contact_id)
) {clustered};
CREATE INDEX conversation_wake ON conversation (wake_at) WHERE wake_at IS NOT NULL;
-- Windows that close next.
CREATE INDEX conversation_window ON conversation (window_until) WHERE window_until IS NOT NULL;
CREATE INDEX conversation_turn ON conversation (sender_id, turn_at) WHERE turn_at IS NOT NULL;

-- One language of a template, as a catalogue defines it.
CREATE TABLE template (
    id                {uuid} NOT NULL PRIMARY KEY,
    created_at        bigint NOT NULL,
    name              {text} NOT NULL,
    language          {text} NOT NULL,
    category          {text} NOT NULL,
    parameter_format  {text} NOT NULL,
    status            {text},
    version           bigint NOT NULL,
    catalogue         {text},
    -- How long the provider tries to deliver it, in seconds.
    ttl_seconds       bigint,
    body              {text} NOT NULL,
    -- Header, footer and buttons, as the catalogue says them (JSON).
    extras            {text},
    UNIQUE (name, language)
);

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
    -- What the category is going to be.
    category_due          {text},
    category_due_at       bigint,
    -- The digest of what was last said of its components.
    components            {text},
    components_at         bigint,
    PRIMARY KEY (account_id, name, language)
) {clustered};

";

const DOWN: &str = r"
DROP TABLE template_sync;
DROP TABLE template;
DROP TABLE conversation;
DROP TABLE account_fact;
DROP TABLE credential;
DROP TABLE sender;
";
