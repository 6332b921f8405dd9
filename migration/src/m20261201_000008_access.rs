//! Who may use the API and the dashboard, and who did what.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- `role`: `product` posts and reads; `admin` changes senders as well.
CREATE TABLE api_key (
    id            {uuid} NOT NULL PRIMARY KEY,
    created_at    bigint NOT NULL,
    name          {text} NOT NULL,
    prefix        {text} NOT NULL,
    digest        {bytes} NOT NULL UNIQUE,
    role          {text} NOT NULL DEFAULT 'product',
    -- Words with blanks between them; NULL: all of its role.
    scopes        {text},
    -- Its bounds; `senders` is a JSON list of ids. A key without any of the three has no bounds.
    source        {text},
    senders       {text},
    catalogue     {text},
    expires_at    bigint,
    last_used_at  bigint,
    revoked_at    bigint
);
CREATE INDEX api_key_catalogue ON api_key (catalogue) WHERE catalogue IS NOT NULL;

-- A dashboard user. `role`: viewer, operator or admin. Without a password only a link lets in.
CREATE TABLE login (
    id             {uuid} NOT NULL PRIMARY KEY,
    created_at     bigint NOT NULL,
    name           {text} NOT NULL UNIQUE,
    role           {text} NOT NULL,
    password_hash  {text},
    off_at         bigint,
    last_in_at     bigint
);

-- Tries that failed in a row, by whom they were for. Names that no user has share a fixed number of
-- rows, so that nothing tells them from those that exist.
CREATE TABLE login_failure (
    subject     {text} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    failures    bigint NOT NULL,
    last_at     bigint NOT NULL
);

-- Lets in once, to choose a password. Only the digest is kept.
CREATE TABLE login_link (
    digest      {bytes} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    login_id    {uuid} NOT NULL,
    expires_at  bigint NOT NULL
);

-- A browser that is signed in. Only the digest of what the browser holds is kept.
CREATE TABLE session (
    digest      {bytes} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    login_id    {uuid},
    state       {text} NOT NULL,
    expires_at  bigint NOT NULL
);
CREATE INDEX session_expires ON session (expires_at);
CREATE INDEX session_login ON session (login_id);

-- Who did what.
CREATE TABLE audit (
    id          {uuid} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    actor       {text} NOT NULL,
    action      {text} NOT NULL,
    subject     {text} NOT NULL,
    detail      {text} NOT NULL
);

";

const DOWN: &str = r"
DROP TABLE audit;
DROP TABLE session;
DROP TABLE login_link;
DROP TABLE login_failure;
DROP TABLE login;
DROP TABLE api_key;
";
