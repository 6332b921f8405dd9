//! A number that every commit on SQLite raises, for a reader to find; and what is written to
//! learn whether the database takes writes.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"
CREATE TABLE commit_marker (
    id integer PRIMARY KEY CHECK (id = 1),
    number bigint NOT NULL
);
INSERT INTO commit_marker (id, number) VALUES (1, 0);
";

const DOWN: &str = r"
DROP TABLE commit_marker;
";
