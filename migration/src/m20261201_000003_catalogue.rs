//! What catalogues define: event types, kinds of message, routes and rules. Their templates are with the
//! senders, their people with the people.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

CREATE TABLE catalogue (
    name        {text} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    applied_at  bigint NOT NULL,
    revision    bigint NOT NULL
);

-- What a catalogue wrote into a row of another table, so that an edit by hand is noticed.
CREATE TABLE catalogue_row (
    kind        {text} NOT NULL,
    name        {text} NOT NULL,
    created_at  bigint NOT NULL,
    catalogue   {text} NOT NULL,
    fields      {text} NOT NULL,
    PRIMARY KEY (kind, name)
) {clustered};
CREATE INDEX catalogue_row_catalogue ON catalogue_row (catalogue);

-- A kind of event. `sensitive`: its data are stored as a ciphertext.
CREATE TABLE event_type (
    name         {text} NOT NULL PRIMARY KEY,
    created_at   bigint NOT NULL,
    description  {text},
    sensitive    {bool} NOT NULL,
    example      {text},
    catalogue    {text}
);

-- A kind of message, which people may turn off unless it is required.
CREATE TABLE message_kind (
    name         {text} NOT NULL PRIMARY KEY,
    created_at   bigint NOT NULL,
    description  {text},
    required     {bool} NOT NULL,
    catalogue    {text}
);

-- Turns events of a type into notifications.
CREATE TABLE route (
    id                     {uuid} NOT NULL PRIMARY KEY,
    created_at             bigint NOT NULL,
    name                   {text} NOT NULL UNIQUE,
    event_type             {text} NOT NULL,
    condition              {text},
    recipients             {text} NOT NULL,
    about                  {text},
    channel                {text} NOT NULL,
    -- The name of a sender; none: the default.
    sender                 {text},
    message_kind           {text},
    mode                   {text} NOT NULL DEFAULT 'template',
    template               {text} NOT NULL,
    fallback_template      {text},
    language               {text},
    params                 {text} NOT NULL,
    labels                 {text} NOT NULL,
    reference              {text},
    dedupe_key             {text},
    priority               {text} NOT NULL,
    expires_after_seconds  bigint,
    catalogue              {text}
);
CREATE INDEX route_event_type ON route (event_type);

-- One version of a rule: a follow-up keeps the version it was made with.
CREATE TABLE rule (
    id             {uuid} NOT NULL PRIMARY KEY,
    created_at     bigint NOT NULL,
    name           {text} NOT NULL,
    version        bigint NOT NULL,
    active         {bool} NOT NULL,
    on_trigger     {text} NOT NULL,
    condition      {text},
    after_seconds  bigint NOT NULL,
    unless         {text} NOT NULL,
    send           {text} NOT NULL,
    chain          {bool} NOT NULL,
    catalogue      {text},
    UNIQUE (name, version)
);

";

const DOWN: &str = r"
DROP TABLE rule;
DROP TABLE route;
DROP TABLE message_kind;
DROP TABLE event_type;
DROP TABLE catalogue_row;
DROP TABLE catalogue;
";
