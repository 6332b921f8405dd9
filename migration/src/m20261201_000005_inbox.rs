//! The inbox of callbacks: compressed segments of bodies, the digests by which repeats are found, and
//! what waits to be applied. On SQLite it is a file of its own.

use crate::Dialect;

pub(crate) fn up(dialect: Dialect) -> String {
    let (due, stored) = match dialect {
        // Nothing is to be compressed once more.
        Dialect::Postgres => (
            "urgent, leased_until, segment",
            "ALTER TABLE inbox_segment ALTER COLUMN heads SET STORAGE EXTERNAL; \
             ALTER TABLE inbox_segment ALTER COLUMN data SET STORAGE EXTERNAL;",
        ),
        // The key of the table is part of each index.
        Dialect::Sqlite => ("urgent, leased_until", ""),
    };
    let inbox = UP.replace("{due}", due).replace("{stored}", stored);
    match dialect {
        Dialect::Postgres => inbox,
        Dialect::Sqlite => inbox + UP_FILE,
    }
}

pub(crate) fn down(dialect: Dialect) -> String {
    match dialect {
        Dialect::Postgres => DOWN.to_owned(),
        Dialect::Sqlite => DOWN.to_owned() + DOWN_FILE,
    }
}

const UP: &str = r"
-- Bodies that were stored together; the formats are in src/store/callback/segment.rs. The heads come
-- first: lists read them without the data.
CREATE TABLE inbox_segment (
    id          {key},
    endpoint    {text} NOT NULL,
    urgent      {bool} NOT NULL,
    bodies      bigint NOT NULL,
    size_bytes  bigint NOT NULL,
    heads       {bytes} NOT NULL,
    data        {bytes} NOT NULL
);
{stored}

-- The first eight bytes of a digest, and the segment that has the whole of it.
CREATE TABLE inbox_digest (
    digest_key  {key},
    segment     bigint NOT NULL
);

-- Digests whose key is another body's.
CREATE TABLE inbox_digest_collision (
    digest   {bytes} NOT NULL PRIMARY KEY,
    segment  bigint NOT NULL
) {clustered};

-- Up to where digests have been forgotten: one row.
CREATE TABLE inbox_digest_horizon (
    id       bigint NOT NULL PRIMARY KEY,
    segment  bigint NOT NULL
);
INSERT INTO inbox_digest_horizon (id, segment) VALUES (1, 0);

-- Bodies that came more than once.
CREATE TABLE inbox_repeat (
    callback_id  {uuid} NOT NULL PRIMARY KEY,
    times_seen   bigint NOT NULL
) {clustered};

-- Segments that are not applied. Those that no process has taken have no owner.
CREATE TABLE inbox_pending (
    segment       {key},
    urgent        {bool} NOT NULL,
    bodies        bigint NOT NULL,
    size_bytes    bigint NOT NULL,
    owner         {uuid},
    leased_until  bigint NOT NULL,
    tries         bigint NOT NULL,
    alone_at      bigint
);
CREATE INDEX inbox_pending_due ON inbox_pending ({due});
";

const DOWN: &str = r"
DROP TABLE inbox_pending;
DROP TABLE inbox_repeat;
DROP TABLE inbox_digest_horizon;
DROP TABLE inbox_digest_collision;
DROP TABLE inbox_digest;
DROP TABLE inbox_segment;
";

/// What a SQLite file has of its own.
const UP_FILE: &str = r"
-- A fact of this file, by name.
CREATE TABLE setting (
    name        {text} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    value       {text} NOT NULL
);

-- One row: a number that every commit raises, for a reader to find; and the number of the commit to the
-- main file that the rows missing from inbox_pending rely on.
CREATE TABLE commit_marker (
    id           integer PRIMARY KEY CHECK (id = 1),
    number       bigint NOT NULL,
    main_number  bigint NOT NULL
);
INSERT INTO commit_marker (id, number, main_number) VALUES (1, 0, 0);
";

const DOWN_FILE: &str = r"
DROP TABLE commit_marker;
DROP TABLE setting;
";
