//! People who may look and act: logins, their sessions, links that let in once.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- `role`: viewer, operator or admin. Without a password only a link lets in.
CREATE TABLE login (
    id             {uuid} NOT NULL PRIMARY KEY,
    created_at     bigint NOT NULL,
    name           {text} NOT NULL UNIQUE,
    role           {text} NOT NULL,
    password_hash  {text},
    off_at         bigint,
    last_in_at     bigint
);

-- Tries that failed in a row, by whom they were for. Names that nobody has share
-- a fixed number of rows, so that nothing tells them from those that exist.
CREATE TABLE login_failure (
    subject    {text} NOT NULL PRIMARY KEY,
    created_at bigint NOT NULL,
    failures   bigint NOT NULL,
    last_at    bigint NOT NULL
);

-- Lets in once, to choose a password. Only the digest is kept.
CREATE TABLE login_link (
    digest      {bytes} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    login_id    {uuid} NOT NULL,
    expires_at  bigint NOT NULL
);

-- Who is in. Only the digest of what the browser holds is kept.
CREATE TABLE session (
    digest      {bytes} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    login_id    {uuid},
    state       {text} NOT NULL,
    expires_at  bigint NOT NULL
);
CREATE INDEX session_expires ON session (expires_at);
CREATE INDEX session_login ON session (login_id);

";

const DOWN: &str = r"
DROP TABLE session; DROP TABLE login_link; DROP TABLE login_failure; DROP TABLE login;
";
