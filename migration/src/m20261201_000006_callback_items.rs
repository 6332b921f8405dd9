//! Items of callbacks: those that could not be applied or are not known yet, messages of people, and
//! news of accounts; which callbacks are applied; and what is to be erased of deleted people.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- An item of a callback that could not be applied.
CREATE TABLE dead_letter (
    id           {uuid} NOT NULL PRIMARY KEY,
    created_at   bigint NOT NULL,
    callback_id  {uuid} NOT NULL,
    pointer      {text} NOT NULL,
    reason       {text} NOT NULL,
    replayed_at  bigint,
    UNIQUE (callback_id, pointer)
);
-- What is open: few among many.
CREATE INDEX dead_letter_open ON dead_letter (id) WHERE replayed_at IS NULL;

-- A status whose message is not known yet.
CREATE TABLE parked_status (
    id                   {uuid} NOT NULL PRIMARY KEY,
    created_at           bigint NOT NULL,
    callback_id          {uuid} NOT NULL,
    pointer              {text} NOT NULL,
    state                {text} NOT NULL DEFAULT 'parked',
    endpoint_id          {text},
    provider_message_id  {text} NOT NULL,
    our_id               {uuid},
    update_json          {text} NOT NULL,
    UNIQUE (callback_id, pointer)
);
CREATE INDEX parked_status_message ON parked_status (provider_message_id);
CREATE INDEX parked_status_our_id ON parked_status (our_id) WHERE our_id IS NOT NULL;
CREATE INDEX parked_status_open ON parked_status (created_at) WHERE state = 'parked';

-- A message that a person wrote, or a voice call, whose ids begin with `call:`.
CREATE TABLE inbound_message (
    id                   {uuid} NOT NULL PRIMARY KEY,
    created_at           bigint NOT NULL,
    callback_id          {uuid} NOT NULL,
    sender_id            {uuid},
    endpoint_id          {text} NOT NULL,
    contact_id           {uuid},
    -- The aliases that it came from.
    from_phone           {text},
    from_user_id         {text},
    from_parent_user_id  {text},
    group_id             {text},
    provider_message_id  {text} NOT NULL,
    -- The message that it answers, and the notification, if it is one of ours.
    context_message_id   {text},
    notification_id      {uuid},
    kind                 {text} NOT NULL,
    sent_at              bigint NOT NULL,
    -- Until when it opened the service window, and made messages free.
    window_until         bigint,
    free_entry_until     bigint,
    read_due_at          bigint,
    media_id             {text},
    text                 {text},
    payload              {text},
    item                 {text} NOT NULL,
    -- When its content was erased, as its author was deleted. It is still known by its id.
    erased_at            bigint,
    UNIQUE (provider_message_id, endpoint_id)
);
CREATE INDEX inbound_message_contact ON inbound_message (contact_id, id);
CREATE INDEX inbound_message_callback ON inbound_message (callback_id);
CREATE INDEX inbound_message_read ON inbound_message (read_due_at) WHERE read_due_at IS NOT NULL;

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

-- Segments that are applied.
CREATE TABLE inbox_applied (
    segment       {key},
    processed_at  bigint NOT NULL,
    counts        {bytes} NOT NULL
);

-- Bodies that are applied, of a segment that is being worked body by body.
CREATE TABLE inbox_applied_body (
    segment     bigint NOT NULL,
    position    bigint NOT NULL,
    items       bigint NOT NULL,
    dead_items  bigint NOT NULL,
    PRIMARY KEY (segment, position)
) {clustered};

-- A deleted person of whom callbacks and messages are still to be erased, and how far that has come.
CREATE TABLE callback_erasure (
    id             {uuid} NOT NULL PRIMARY KEY,
    created_at     bigint NOT NULL,
    phase          {text} NOT NULL,
    -- The numbers and user ids of the person, the contacts, and messages that were applied after the
    -- deletion (JSON). Empty at the end.
    identifiers    {text} NOT NULL,
    contacts       {text} NOT NULL,
    late_messages  {text} NOT NULL,
    -- The segment, and the row, own event and event of the stream after which to go on.
    next_segment   bigint NOT NULL,
    until_segment  bigint NOT NULL,
    next_row       {uuid} NOT NULL,
    next_event     {text} NOT NULL,
    next_change    bigint NOT NULL,
    until_change   bigint NOT NULL,
    -- Bodies that were erased so far.
    bodies         bigint NOT NULL
);

";

const DOWN: &str = r"
DROP TABLE callback_erasure;
DROP TABLE inbox_applied_body;
DROP TABLE inbox_applied;
DROP TABLE notice;
DROP TABLE inbound_message;
DROP TABLE parked_status;
DROP TABLE dead_letter;
";
