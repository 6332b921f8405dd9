//! The schema: migrations apply at once, and take back what they made; a schema that this program
//! cannot use is refused by name.

use std::path::Path;

use herald::store::{connect, migrate};
use migration::{MIGRATIONS, SchemaPart};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use secrecy::SecretString;
use tempfile::TempDir;

use crate::{
    cli::{herald, text},
    harness::{Database, fresh_database},
};

crate::tests![
    an_empty_database_gets_every_migration_at_once,
    down_takes_back_what_up_made,
    the_schema_of_a_newer_program_is_refused_by_name,
    a_sqlite_database_with_its_inbox_in_one_file_is_refused,
    a_database_from_before_the_baseline_is_refused_and_left_as_it_is,
];

/// An empty database, which no process uses.
async fn empty_database(database: &Database) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(database, folder.path()).await;
    // Creates the file of SQLite.
    let secret = SecretString::from(url.clone());
    let store = connect::open(&secret, 3, connect::ConnectPurpose::Command)
        .await
        .unwrap();
    store.close().await;
    (folder, url)
}

async fn connection(url: &str) -> DatabaseConnection {
    sea_orm::Database::connect(url).await.unwrap()
}

/// The first column of a query's rows, which are texts.
async fn lines(connection: &DatabaseConnection, sql: &str) -> Vec<String> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all_raw(statement).await.unwrap();
    rows.iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect()
}

/// Everything that migrations have made, one object a line.
async fn schema(connection: &DatabaseConnection) -> Vec<String> {
    let sql = match connection.get_database_backend() {
        DbBackend::Sqlite => {
            "SELECT type || ' ' || name || ' ' || coalesce(sql, '') AS line FROM sqlite_master \
             WHERE tbl_name <> 'seaql_migrations' ORDER BY 1"
        }
        _ => {
            "WITH made AS (SELECT * FROM pg_class WHERE relnamespace = 'public'::regnamespace \
                 AND relname <> 'seaql_migrations' AND relname <> 'seaql_migrations_pkey') \
             SELECT concat_ws(' ', relkind, relname, reloptions) AS line FROM made \
             UNION ALL SELECT concat_ws(' ', relname, rank() OVER (PARTITION BY made.oid ORDER BY attnum), attname, format_type(atttypid, atttypmod), attnotnull, \
                 attcollation::regcollation, attgenerated, pg_get_expr(adbin, adrelid)) \
                 FROM made JOIN pg_attribute ON attrelid = made.oid AND attnum > 0 AND NOT attisdropped \
                 LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE relkind = 'r' \
             UNION ALL SELECT concat_ws(' ', relname, conname, pg_get_constraintdef(pg_constraint.oid)) \
                 FROM made JOIN pg_constraint ON conrelid = made.oid \
             UNION ALL SELECT pg_get_indexdef(indexrelid) FROM made JOIN pg_index ON indrelid = made.oid \
             UNION ALL SELECT concat_ws(' ', 'function', proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace \
             ORDER BY 1"
        }
    };
    lines(connection, sql).await
}

async fn an_empty_database_gets_every_migration_at_once(database: Database) {
    let (folder, url) = empty_database(&database).await;
    // What is said of each migration, in their order.
    let said = |words: &[&str], code: i32| -> Vec<String> {
        let output = herald(&url, folder.path(), words);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        let text = text(&output);
        let of_migrations = text.lines().filter(|line| line.contains(" m20"));
        of_migrations
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    };
    let each = |word: &str| -> Vec<String> {
        let names = MIGRATIONS.iter().map(|migration| migration.name);
        names.map(|name| format!("{word} {name}")).collect()
    };
    assert_eq!(said(&["migrate", "status"], 1), each("missing"));
    assert_eq!(said(&["migrate", "up"], 0), each("applied"));
    assert_eq!(said(&["migrate", "status"], 0), each("applied"));
    assert_eq!(said(&["migrate", "up"], 0), each("applied before"));
}

/// The files of a database, with the parts of the schema that each has.
fn files(database: Database, url: &str) -> Vec<(String, &'static [SchemaPart])> {
    let url = url.to_owned();
    match database {
        Database::Sqlite => vec![
            (url.clone(), &[SchemaPart::Main]),
            (format!("{url}.inbox"), &[SchemaPart::Inbox]),
        ],
        Database::Postgres => vec![(url, &[SchemaPart::Main, SchemaPart::Inbox])],
    }
}

async fn down_takes_back_what_up_made(database: Database) {
    let (_folder, url) = empty_database(&database).await;
    for (url, parts) in files(database, &url) {
        let raw = connection(&url).await;
        let mut schemas = vec![schema(&raw).await];
        assert!(schemas[0].is_empty(), "{schemas:?}");
        for _ in MIGRATIONS.iter().filter(|it| parts.contains(&it.part)) {
            migrate::apply(&raw, parts, 1).await.unwrap();
            schemas.push(schema(&raw).await);
        }
        let whole = schemas.pop().unwrap();
        for before in schemas.iter().rev() {
            assert_ne!(&schema(&raw).await, before);
            migrate::revert(&raw, parts, 1).await.unwrap();
            assert_eq!(&schema(&raw).await, before);
        }
        migrate::apply(&raw, parts, usize::MAX).await.unwrap();
        assert_eq!(schema(&raw).await, whole);
        let marker =
            "SELECT CAST(id AS text) || ' ' || CAST(number AS text) AS line FROM commit_marker";
        assert_eq!(lines(&raw, marker).await, ["1 0"]);
    }
}

/// Every way to use a database says why this one cannot be used, and ends.
fn every_command_says(url: &str, folder: &Path, expected: &[&str]) {
    let commands: [(&[&str], i32); 6] = [
        (&["migrate", "status"], 1),
        (&["migrate", "up"], 1),
        (&["serve"], 1),
        (&["serve", "--migrate"], 1),
        (&["keys", "list"], 1),
        (&["check"], 3),
    ];
    for (words, code) in commands {
        let refused = herald(url, folder, words);
        let said = text(&refused);
        assert_eq!(refused.status.code(), Some(code), "{words:?}: {said}");
        for part in expected {
            assert!(said.contains(part), "{words:?}: {said}");
        }
    }
}

async fn the_schema_of_a_newer_program_is_refused_by_name(database: Database) {
    let newer =
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20991231_000001_later', 0)";
    let count = if database == Database::Sqlite { 2 } else { 1 };
    for newer_file in 0..count {
        let (folder, url) = empty_database(&database).await;
        for (place, (url, parts)) in files(database, &url).iter().enumerate() {
            let raw = connection(url).await;
            migrate::apply(&raw, parts, usize::MAX).await.unwrap();
            if place == newer_file {
                raw.execute_unprepared(newer).await.unwrap();
            }
            raw.close().await.unwrap();
        }
        every_command_says(
            &url,
            folder.path(),
            &["newer than this program (m20991231_000001_later)"],
        );
    }
}

async fn a_sqlite_database_with_its_inbox_in_one_file_is_refused(database: Database) {
    if database != Database::Sqlite {
        return;
    }
    let (folder, url) = empty_database(&database).await;
    let raw = connection(&url).await;
    migrate::apply(&raw, &[SchemaPart::Main], usize::MAX)
        .await
        .unwrap();
    raw.execute_unprepared(
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20261201_000005_inbox', 0)",
    )
    .await
    .unwrap();
    raw.close().await.unwrap();
    every_command_says(
        &url,
        folder.path(),
        &["before the schema's baseline (m20261201_000005_inbox)"],
    );
}

async fn a_database_from_before_the_baseline_is_refused_and_left_as_it_is(database: Database) {
    let (folder, url) = empty_database(&database).await;
    let raw = connection(&url).await;
    for sql in [
        "CREATE TABLE seaql_migrations (version varchar NOT NULL PRIMARY KEY, applied_at bigint NOT NULL)",
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20261121_000001_people_and_senders', 1), \
         ('m20261130_000072_template_quality_words', 1)",
        "CREATE TABLE setting (name text NOT NULL PRIMARY KEY, created_at bigint NOT NULL, value text NOT NULL)",
        "INSERT INTO setting (name, created_at, value) VALUES ('colour', 1, 'green')",
    ] {
        raw.execute_unprepared(sql).await.unwrap();
    }
    let everything = async |raw: &DatabaseConnection| {
        let mut all = schema(raw).await;
        all.extend(lines(raw, "SELECT version FROM seaql_migrations ORDER BY version").await);
        all.extend(lines(raw, "SELECT name || ' ' || value AS line FROM setting").await);
        all
    };
    let before = everything(&raw).await;
    raw.close().await.unwrap();
    every_command_says(
        &url,
        folder.path(),
        &[
            "before the schema's baseline (m20261121_000001_people_and_senders)",
            "Start with an empty database",
            "keep using the version of Herald that made this one",
        ],
    );
    assert_eq!(everything(&connection(&url).await).await, before);
}
