//! The database schema: a file for each group of tables, which together are the baseline, then one
//! change a file, oldest first.
//!
//! From the tag of 0.1.0 on, no migration is edited: a change is a new file, the version of the
//! program before it must still be able to run beside it, and tests of upgrades start at the
//! baseline. Until then the files of the baseline may change, and databases are made anew. A database
//! from before the baseline is refused.
//!
//! The DDL is SQL: `ddl` fills in the few words that SQLite and PostgreSQL spell differently.
//!
//! Every instant is a `BIGINT`: microseconds since 1970 in UTC, so that SQL and Rust order them alike
//! on both databases. A row without a product (`NULL`; an empty text where it is part of a key)
//! belongs to none: it was made by a person, or with a key that has no bounds.

/// Each module by its name, with what it belongs to.
macro_rules! migrations {
    ($($module:ident: $part:ident),* $(,)?) => {
        [$(Migration {
            name: stringify!($module),
            part: SchemaPart::$part,
            up: $module::up,
            down: $module::down,
        }),*]
    };
}

mod m20261201_000001_people;
mod m20261201_000002_senders_and_templates;
mod m20261201_000003_catalogue;
mod m20261201_000004_events_and_notifications;
mod m20261201_000005_inbox;
mod m20261201_000006_callback_items;
mod m20261201_000007_follow_ups_and_counters;
mod m20261201_000008_access;
mod m20261201_000009_runtime;
mod m20261201_000010_change_stream;
mod m20261201_000011_verifications;
mod m20261201_000012_email;
mod m20261201_000013_codes_and_mailboxes;

/// Every migration there is, oldest first.
pub const MIGRATIONS: &[Migration] = &migrations![
    m20261201_000001_people: Main,
    m20261201_000002_senders_and_templates: Main,
    m20261201_000003_catalogue: Main,
    m20261201_000004_events_and_notifications: Main,
    m20261201_000005_inbox: Inbox,
    m20261201_000006_callback_items: Main,
    m20261201_000007_follow_ups_and_counters: Main,
    m20261201_000008_access: Main,
    m20261201_000009_runtime: Main,
    m20261201_000010_change_stream: Main,
    m20261201_000011_verifications: Main,
    m20261201_000012_email: Main,
    m20261201_000013_codes_and_mailboxes: Main,
];

/// The database's dialect of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// A part of the schema. On SQLite each is a file of its own, with a writer of its own, and no
/// statement concerns both; on PostgreSQL they are one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaPart {
    Main,
    /// Stored callbacks.
    Inbox,
}

/// One change of the schema, and the way back.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The name of its file. Databases keep the names of those that have been applied.
    pub name: &'static str,
    pub part: SchemaPart,
    up: fn(Dialect) -> String,
    down: fn(Dialect) -> String,
}

impl Migration {
    /// The statements that make the change.
    pub fn up(&self, dialect: Dialect) -> String {
        ddl(dialect, &(self.up)(dialect))
    }

    /// The statements that take it back.
    pub fn down(&self, dialect: Dialect) -> String {
        ddl(dialect, &(self.down)(dialect))
    }
}

/// DDL written once for both databases.
///
/// | word | PostgreSQL | SQLite |
/// |---|---|---|
/// | `{uuid}` | `uuid` | `uuid_blob` |
/// | `{bytes}` | `bytea` | `blob` |
/// | `{text}` | `text COLLATE "C"`: sorts bytewise | `text` |
/// | `{bool}` | `boolean` | `boolean` |
/// | `{computed}` | `STORED`: kept with the row | `VIRTUAL`: kept in indexes only |
/// | `{clustered}` | nothing | `WITHOUT ROWID`: the primary key is the table |
/// | `{key}` | `bigint NOT NULL PRIMARY KEY` | `INTEGER NOT NULL PRIMARY KEY`: the table itself |
/// | `{nil}` | the nil UUID | the same |
/// | `{hot}` | `WITH (fillfactor = 75)`: room for updates in place | nothing |
fn ddl(dialect: Dialect, sql: &str) -> String {
    let words: [(&str, &str); 9] = if dialect == Dialect::Postgres {
        [
            ("{uuid}", "uuid"),
            ("{bytes}", "bytea"),
            ("{text}", "text COLLATE \"C\""),
            ("{bool}", "boolean"),
            ("{computed}", "STORED"),
            ("{clustered}", ""),
            ("{hot}", "WITH (fillfactor = 75)"),
            ("{key}", "bigint NOT NULL PRIMARY KEY"),
            ("{nil}", "'00000000-0000-0000-0000-000000000000'::uuid"),
        ]
    } else {
        [
            ("{uuid}", "uuid_blob"),
            ("{bytes}", "blob"),
            ("{text}", "text"),
            ("{bool}", "boolean"),
            ("{computed}", "VIRTUAL"),
            ("{clustered}", "WITHOUT ROWID"),
            ("{hot}", ""),
            ("{key}", "INTEGER NOT NULL PRIMARY KEY"),
            ("{nil}", "x'00000000000000000000000000000000'"),
        ]
    };
    words.iter().fold(sql.to_owned(), |sql, (word, meaning)| {
        sql.replace(word, meaning)
    })
}
