//! What the processes of an installation keep about themselves: its settings, signs of life, alarms,
//! repeated requests and commits.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- A fact of the installation, such as its id, by name.
CREATE TABLE setting (
    name        {text} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    value       {text} NOT NULL
);

-- When a worker of a process was last seen at work.
CREATE TABLE heartbeat (
    process     {uuid} NOT NULL,
    worker      {text} NOT NULL,
    created_at  bigint NOT NULL,
    seen_at     bigint NOT NULL,
    PRIMARY KEY (process, worker)
);

-- What is wrong, or was: raised once, cleared once.
CREATE TABLE alarm (
    kind        {text} NOT NULL,
    subject     {text} NOT NULL,
    created_at  bigint NOT NULL,
    raised_at   bigint NOT NULL,
    cleared_at  bigint,
    summary     {text} NOT NULL,
    PRIMARY KEY (kind, subject)
);

-- A request that a client may repeat under the same key.
CREATE TABLE idempotency (
    client           {text} NOT NULL,
    idempotency_key  {text} NOT NULL,
    operation        {text} NOT NULL,
    created_at       bigint NOT NULL,
    fingerprint      {bytes} NOT NULL,
    resource_id      {uuid} NOT NULL,
    -- What was answered, where that cannot be found out again (JSON).
    answer           {text},
    PRIMARY KEY (client, idempotency_key, operation)
) {clustered};

-- One row with a number that every commit on SQLite raises, for a reader to find. It is also what is
-- written to learn whether the database takes writes.
CREATE TABLE commit_marker (
    id      integer PRIMARY KEY CHECK (id = 1),
    number  bigint NOT NULL
);
INSERT INTO commit_marker (id, number) VALUES (1, 0);

";

const DOWN: &str = r"
DROP TABLE commit_marker;
DROP TABLE idempotency;
DROP TABLE alarm;
DROP TABLE heartbeat;
DROP TABLE setting;
";
