//! What a product defines: catalogues with their templates, routes and follow-up rules.

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
    digest      {text} NOT NULL,
    revision    bigint NOT NULL
);

CREATE TABLE template (
    id          {uuid} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    name        {text} NOT NULL,
    language    {text} NOT NULL,
    category    {text} NOT NULL,
    parameter_format {text} NOT NULL,
    body        {text} NOT NULL,
    status      {text},
    version     bigint NOT NULL,
    catalogue   {text},
    UNIQUE (name, language)
);

CREATE TABLE route (
    id                     {uuid} NOT NULL PRIMARY KEY,
    created_at             bigint NOT NULL,
    name                   {text} NOT NULL UNIQUE,
    event_type             {text} NOT NULL,
    condition              {text},
    recipients             {text} NOT NULL,
    about                  {text},
    template               {text} NOT NULL,
    language               {text},
    channel                {text} NOT NULL,
    params                 {text} NOT NULL,
    labels                 {text} NOT NULL,
    reference              {text},
    dedupe_key             {text},
    priority               {text} NOT NULL,
    expires_after_seconds  bigint,
    catalogue              {text}
);
CREATE INDEX route_event_type ON route (event_type);

-- One row a version: a follow-up keeps the version it was made with.
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
DROP TABLE rule; DROP TABLE route; DROP TABLE template; DROP TABLE catalogue;
";
