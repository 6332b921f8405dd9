//! The database schema, one change a file, oldest first.
//!
//! A migration is never edited after it has been released, and the version of
//! the program before it must still be able to run beside it. The DDL is SQL:
//! `ddl` fills in the few words that SQLite and PostgreSQL spell differently.
//!
//! Every instant is a `BIGINT`: microseconds since 1970 in UTC, so that SQL and
//! Rust order them alike on both databases.

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

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

/// Every migration there is.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_people_and_senders::Migration),
            Box::new(m20261121_000002_templates_routes_rules::Migration),
            Box::new(m20261121_000003_events_and_notifications::Migration),
            Box::new(m20261121_000004_callbacks::Migration),
            Box::new(m20261121_000005_follow_ups_and_counters::Migration),
            Box::new(m20261121_000006_access::Migration),
            Box::new(m20261121_000007_callbacks_to_the_letter::Migration),
            Box::new(m20261121_000008_names_that_return::Migration),
            Box::new(m20261121_000009_pace::Migration),
            Box::new(m20261121_000010_kinds::Migration),
            Box::new(m20261121_000011_credentials::Migration),
            Box::new(m20261121_000012_statistics::Migration),
            Box::new(m20261122_000013_logins::Migration),
            Box::new(m20261122_000014_watching::Migration),
            Box::new(m20261122_000015_cohorts::Migration),
            Box::new(m20261122_000016_ended::Migration),
            Box::new(m20261122_000017_secrets::Migration),
            Box::new(m20261122_000018_catalogue_rows::Migration),
            Box::new(m20261122_000019_preferences::Migration),
            Box::new(m20261127_000020_fan_out::Migration),
            Box::new(m20261128_000021_deleted_contacts::Migration),
            Box::new(m20261128_000022_product_bounds::Migration),
            Box::new(m20261128_000025_urgent_callbacks::Migration),
            Box::new(m20261128_000027_commit_marker::Migration),
            Box::new(m20261129_000050_callback_scopes::Migration),
            Box::new(m20261129_000051_made_with::Migration),
            Box::new(m20261129_000060_identities::Migration),
            Box::new(m20261129_000061_turns::Migration),
            Box::new(m20261129_000062_evidence_key::Migration),
            Box::new(m20261129_000064_sender_settings::Migration),
            Box::new(m20261129_000070_timeline_words::Migration),
        ]
    }
}

/// Runs DDL written once for both databases.
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
pub(crate) async fn ddl(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let words: [(&str, &str); 9] = if connection.get_database_backend() == DbBackend::Postgres {
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
    let filled = words.iter().fold(sql.to_owned(), |sql, (word, meaning)| {
        sql.replace(word, meaning)
    });
    connection.execute_unprepared(&filled).await?;
    Ok(())
}
