//! The stream of Herald's own events: a row for each transaction that raised any, with the number of
//! its last event, and the number of the last one of all.

use crate::Dialect;

pub(crate) fn up(dialect: Dialect) -> String {
    // SQLite: the key is the rowid itself. PostgreSQL: what is compressed is not compressed again.
    let (key, plain) = match dialect {
        Dialect::Sqlite => ("integer", ""),
        Dialect::Postgres => (
            "bigint",
            "ALTER TABLE change_batch ALTER COLUMN events SET STORAGE EXTERNAL;",
        ),
    };
    format!(
        "CREATE TABLE change_head (
    id   integer PRIMARY KEY CHECK (id = 1),
    last bigint NOT NULL
) {{hot}};
INSERT INTO change_head (id, last) VALUES (1, 0);

CREATE TABLE change_batch (
    last       {key} PRIMARY KEY,
    count      bigint NOT NULL,
    created_at bigint NOT NULL,
    events     {{bytes}} NOT NULL
);
CREATE INDEX change_batch_age ON change_batch (created_at);
{plain}
"
    )
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const DOWN: &str = r"
DROP TABLE change_batch;
DROP TABLE change_head;
";
