//! Applies migrations of the schema, under a lock.

use migration::{Dialect, MIGRATIONS, Migration, SchemaPart};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};

use super::{Store, StoreError};

/// The key of the advisory lock: "herald" in ASCII.
const LOCK_KEY: i64 = 0x6865_7261_6c64;

/// The names of the applied migrations: sea-orm's table, by which older databases are recognised.
const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS seaql_migrations (version varchar NOT NULL PRIMARY KEY, applied_at bigint NOT NULL)";

/// PostgreSQL: takes away the prepared statements of the session.
const FORGET_STATEMENTS: &str = "DEALLOCATE ALL";

/// A schema that this program cannot use, by the migration that gives it away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignSchemaError {
    #[error(
        "the database's schema is newer than this program ({0}): use the version that made it, or a later one"
    )]
    Newer(String),
    #[error(
        "the database was made by a version of Herald from before the schema's baseline ({0}), and no migration leads from there to this version. Nothing in it was changed. Start with an empty database (another DATABASE_URL; without one, another HERALD_DATA_DIR), or keep using the version of Herald that made this one"
    )]
    Older(String),
}

/// One migration and whether it has been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    pub name: String,
    pub applied: bool,
}

/// Every migration this program knows, oldest first.
pub async fn status(store: &Store) -> Result<Vec<MigrationStatus>, StoreError> {
    let applied = applied_anywhere(store).await?;
    Ok(known()
        .into_iter()
        .map(|name| MigrationStatus {
            applied: applied.contains(&name),
            name,
        })
        .collect())
}

/// What makes a schema with these migrations one that this program cannot use, if anything does.
pub fn foreign(names: &[String]) -> Option<ForeignSchemaError> {
    let unknown = |name: &&String| !MIGRATIONS.iter().any(|it| it.name == name.as_str());
    let is_older = |name: &&String| MIGRATIONS.iter().all(|it| name.as_str() < it.name);
    let mut older = names.iter().filter(is_older).cloned();
    let mut newer = names.iter().filter(unknown).cloned();
    older
        .next()
        .map(ForeignSchemaError::Older)
        .or_else(|| newer.next().map(ForeignSchemaError::Newer))
}

/// The names of every migration this program knows, oldest first.
pub fn known() -> Vec<String> {
    MIGRATIONS.iter().map(|it| it.name.to_owned()).collect()
}

/// Whether every migration has been applied.
pub async fn is_current(store: &Store) -> Result<bool, StoreError> {
    Ok(applied_anywhere(store).await?.len() == MIGRATIONS.len())
}

/// The names of the migrations that the files of a database have.
async fn applied_anywhere(store: &Store) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for (file, parts) in files(store) {
        names.extend(applied(file.reader(), parts).await?);
    }
    Ok(names)
}

/// The files of a database, with the parts of the schema that each has.
fn files(store: &Store) -> Vec<(&Store, &'static [SchemaPart])> {
    if store.is_sqlite() {
        vec![
            (store, &[SchemaPart::Main]),
            (store.inbox(), &[SchemaPart::Inbox]),
        ]
    } else {
        vec![(store, &[SchemaPart::Main, SchemaPart::Inbox])]
    }
}

/// The migrations of parts of the schema, oldest first.
fn of_parts(parts: &[SchemaPart]) -> impl DoubleEndedIterator<Item = &'static Migration> {
    let all = MIGRATIONS.iter();
    all.filter(move |migration| parts.contains(&migration.part))
}

/// Applies missing migrations, to each file in one transaction on a connection of its own. Two
/// processes may do this at once: one waits.
///
/// PostgreSQL: an advisory lock of the transaction. SQLite: its write lock.
pub async fn up(store: &Store) -> Result<(), StoreError> {
    for (file, parts) in files(store) {
        up_in_file(file, parts).await?;
    }
    Ok(())
}

async fn up_in_file(store: &Store, parts: &[SchemaPart]) -> Result<(), StoreError> {
    let connection = store.writer.pool.source().migrating().await?;
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let tx = connection.begin_with_options(options).await?;
    if !store.is_sqlite() {
        // Behind a pooler the session has been another client's, and will be again: sea-orm's
        // statements have names.
        tx.execute_unprepared(FORGET_STATEMENTS).await?;
        // Those who come at the same time wait, and what changes the schema may take its time.
        tx.execute_unprepared("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
            .await?;
        tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({LOCK_KEY})"))
            .await?;
    }
    let applied = match migrate_in(&tx, parts).await {
        Ok(()) => tx.commit().await.map_err(StoreError::from),
        Err(error) => {
            // Closing waits for the transaction to end. The first error is the one to report.
            drop(tx.rollback().await);
            Err(error)
        }
    };
    // Whatever state it was left in ends with it.
    connection.close().await?;
    applied
}

async fn migrate_in(tx: &DatabaseTransaction, parts: &[SchemaPart]) -> Result<(), StoreError> {
    apply(tx, parts, usize::MAX).await?;
    if dialect(tx) == Dialect::Postgres {
        tx.execute_unprepared(FORGET_STATEMENTS).await?;
    }
    Ok(())
}

/// Applies up to `most` of the missing migrations of these parts, oldest first, in the caller's
/// transaction.
pub async fn apply(
    connection: &impl ConnectionTrait,
    parts: &[SchemaPart],
    most: usize,
) -> Result<(), StoreError> {
    connection.execute_unprepared(CREATE_TABLE).await?;
    let applied = applied(connection, parts).await?;
    let missing = of_parts(parts).filter(|it| !applied.iter().any(|name| name == it.name));
    let dialect = dialect(connection);
    for migration in missing.take(most) {
        // Before it begins: if it fails, this line says which one did.
        tracing::info!(migration = migration.name, "applying a migration");
        connection
            .execute_unprepared(&migration.up(dialect))
            .await?;
        let noted = format!(
            "INSERT INTO seaql_migrations (version, applied_at) VALUES ('{}', {})",
            migration.name,
            match dialect {
                Dialect::Postgres => "extract(epoch FROM now())::bigint",
                Dialect::Sqlite => "unixepoch()",
            }
        );
        connection.execute_unprepared(&noted).await?;
    }
    Ok(())
}

/// Takes up to `most` of the applied migrations of these parts back, newest first, in the caller's
/// transaction.
pub async fn revert(
    connection: &impl ConnectionTrait,
    parts: &[SchemaPart],
    most: usize,
) -> Result<(), StoreError> {
    let applied = applied(connection, parts).await?;
    let present = of_parts(parts)
        .rev()
        .filter(|it| applied.iter().any(|name| name == it.name));
    for migration in present.take(most) {
        connection
            .execute_unprepared(&migration.down(dialect(connection)))
            .await?;
        let noted = format!(
            "DELETE FROM seaql_migrations WHERE version = '{}'",
            migration.name
        );
        connection.execute_unprepared(&noted).await?;
    }
    Ok(())
}

/// The names of the migrations that a file with these parts has. It creates nothing: a user of the
/// database may ask who may not change its schema.
///
/// # Errors
///
/// One that this program does not know is an error: the database is a newer program's, or was made
/// before the baseline. So is one of a part that is elsewhere.
async fn applied(
    connection: &impl ConnectionTrait,
    parts: &[SchemaPart],
) -> Result<Vec<String>, StoreError> {
    let exists = match dialect(connection) {
        Dialect::Postgres => "SELECT 1 WHERE to_regclass('seaql_migrations') IS NOT NULL",
        Dialect::Sqlite => {
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'seaql_migrations'"
        }
    };
    let read = async |sql: &str| {
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        connection.query_all_raw(statement).await
    };
    if read(exists).await?.is_empty() {
        return Ok(Vec::new());
    }
    let rows = read("SELECT version FROM seaql_migrations ORDER BY version").await?;
    let applied: Vec<String> = rows
        .iter()
        .map(|row| row.try_get_by("version"))
        .collect::<Result<_, _>>()?;
    if let Some(error) = foreign(&applied) {
        return Err(error.into());
    }
    let is_elsewhere = |name: &&String| of_parts(parts).all(|it| it.name != name.as_str());
    match applied.iter().find(is_elsewhere) {
        Some(name) => Err(ForeignSchemaError::Older(name.clone()).into()),
        None => Ok(applied),
    }
}

fn dialect(connection: &impl ConnectionTrait) -> Dialect {
    if connection.get_database_backend() == DbBackend::Postgres {
        Dialect::Postgres
    } else {
        Dialect::Sqlite
    }
}
