//! The database schema, one change a file, oldest first.
//!
//! A migration is never edited after it has been released, and the version of
//! the program before it must still be able to run beside it. The DDL is SQL:
//! `ddl` fills in the few words that SQLite and PostgreSQL spell differently.
//!
//! Every instant is a `BIGINT`: microseconds since 1970 in UTC, so that SQL and
//! Rust order them alike on both databases.

/// Each module by its name.
macro_rules! migrations {
    ($($module:ident),* $(,)?) => {
        [$(Migration { name: stringify!($module), up: $module::up, down: $module::down }),*]
    };
}

mod m20261121_000001_people_and_senders;
mod m20261121_000002_templates_routes_rules;
mod m20261121_000003_events_and_notifications;
mod m20261121_000004_callbacks;
mod m20261121_000005_follow_ups_and_counters;
mod m20261121_000006_access;
mod m20261121_000007_callbacks_to_the_letter;
mod m20261121_000008_names_that_return;
mod m20261121_000009_pace;
mod m20261121_000010_kinds;
mod m20261121_000011_credentials;
mod m20261121_000012_statistics;
mod m20261122_000013_logins;
mod m20261122_000014_watching;
mod m20261122_000015_cohorts;
mod m20261122_000016_ended;
mod m20261122_000017_secrets;
mod m20261122_000018_catalogue_rows;
mod m20261122_000019_preferences;
mod m20261127_000020_fan_out;
mod m20261128_000021_deleted_contacts;
mod m20261128_000022_product_bounds;
mod m20261128_000025_urgent_callbacks;
mod m20261128_000027_commit_marker;
mod m20261129_000050_callback_scopes;
mod m20261129_000051_made_with;
mod m20261129_000060_identities;
mod m20261129_000061_turns;
mod m20261129_000062_evidence_key;
mod m20261129_000064_sender_settings;
mod m20261129_000070_timeline_words;
mod m20261130_000071_template_status_words;
mod m20261130_000072_template_quality_words;
mod m20261130_000082_notification_record;

/// Every migration there is, oldest first.
pub const MIGRATIONS: &[Migration] = &migrations![
    m20261121_000001_people_and_senders,
    m20261121_000002_templates_routes_rules,
    m20261121_000003_events_and_notifications,
    m20261121_000004_callbacks,
    m20261121_000005_follow_ups_and_counters,
    m20261121_000006_access,
    m20261121_000007_callbacks_to_the_letter,
    m20261121_000008_names_that_return,
    m20261121_000009_pace,
    m20261121_000010_kinds,
    m20261121_000011_credentials,
    m20261121_000012_statistics,
    m20261122_000013_logins,
    m20261122_000014_watching,
    m20261122_000015_cohorts,
    m20261122_000016_ended,
    m20261122_000017_secrets,
    m20261122_000018_catalogue_rows,
    m20261122_000019_preferences,
    m20261127_000020_fan_out,
    m20261128_000021_deleted_contacts,
    m20261128_000022_product_bounds,
    m20261128_000025_urgent_callbacks,
    m20261128_000027_commit_marker,
    m20261129_000050_callback_scopes,
    m20261129_000051_made_with,
    m20261129_000060_identities,
    m20261129_000061_turns,
    m20261129_000062_evidence_key,
    m20261129_000064_sender_settings,
    m20261129_000070_timeline_words,
    m20261130_000071_template_status_words,
    m20261130_000072_template_quality_words,
    m20261130_000082_notification_record,
];

/// The database's dialect of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// One change of the schema, and the way back.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The name of its file. Databases keep the names of those that have been applied.
    pub name: &'static str,
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
/// | `{nil}` | the nil UUID | the same |
/// | `{new_id}` | a random UUID | the same |
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
            ("{nil}", "'00000000-0000-0000-0000-000000000000'::uuid"),
            ("{new_id}", "gen_random_uuid()"),
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
            ("{nil}", "x'00000000000000000000000000000000'"),
            ("{new_id}", "randomblob(16)"),
        ]
    };
    words.iter().fold(sql.to_owned(), |sql, (word, meaning)| {
        sql.replace(word, meaning)
    })
}
