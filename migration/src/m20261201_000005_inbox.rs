//! The inbox of callbacks: compressed segments of bodies, the digests by which repeats are found, and
//! what is applied of them.

use crate::Dialect;

pub(crate) fn up(dialect: Dialect) -> String {
    let (key, due, stored) = match dialect {
        // An index of integers, and nothing to be compressed once more.
        Dialect::Postgres => (
            "bigint NOT NULL PRIMARY KEY",
            "urgent, leased_until, segment",
            "ALTER TABLE inbox_segment ALTER COLUMN heads SET STORAGE EXTERNAL; \
             ALTER TABLE inbox_segment ALTER COLUMN data SET STORAGE EXTERNAL;",
        ),
        // Spelt so, it is the key of the table itself, and part of each index.
        Dialect::Sqlite => ("INTEGER NOT NULL PRIMARY KEY", "urgent, leased_until", ""),
    };
    UP.replace("{key}", key)
        .replace("{due}", due)
        .replace("{stored}", stored)
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
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

";

const DOWN: &str = r"
DROP TABLE inbox_applied_body;
DROP TABLE inbox_applied;
DROP TABLE inbox_pending;
DROP TABLE inbox_repeat;
DROP TABLE inbox_digest_horizon;
DROP TABLE inbox_digest_collision;
DROP TABLE inbox_digest;
DROP TABLE inbox_segment;
";
