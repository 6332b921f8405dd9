//! Applies migrations of the schema, under a lock.

use migration::{Migrator, MigratorTrait};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};

use super::{Store, StoreError};

/// The key of the advisory lock: "herald" in ASCII.
const LOCK_KEY: i64 = 0x6865_7261_6c64;

/// PostgreSQL: takes away the prepared statements of the session.
const FORGET_STATEMENTS: &str = "DEALLOCATE ALL";

/// One migration and whether it has been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStep {
    pub name: String,
    pub applied: bool,
}

/// Every migration this program knows, oldest first.
pub async fn status(store: &Store) -> Result<Vec<MigrationStep>, StoreError> {
    let pending: Vec<String> = Migrator::get_pending_migrations_read_only(store.reader())
        .await?
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    Ok(Migrator::get_migration_files()
        .iter()
        .map(|migration| migration.name().to_owned())
        .map(|name| MigrationStep {
            applied: !pending.contains(&name),
            name,
        })
        .collect())
}

/// The names of every migration this program knows, oldest first.
pub fn known() -> Vec<String> {
    Migrator::get_migration_files()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect()
}

/// Whether every migration has been applied.
pub async fn is_current(store: &Store) -> Result<bool, StoreError> {
    Ok(Migrator::get_pending_migrations_read_only(store.reader())
        .await?
        .is_empty())
}

/// Applies missing migrations in one transaction on a connection of its own. Two processes may do
/// this at once: one waits.
///
/// PostgreSQL: an advisory lock of the transaction. SQLite: its write lock.
pub async fn up(store: &Store) -> Result<(), StoreError> {
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
    let applied = match migrate_in(&tx, store.is_sqlite()).await {
        Ok(()) => tx.commit().await,
        Err(error) => Err(error),
    };
    // Whatever state it was left in ends with it.
    connection.close().await?;
    Ok(applied?)
}

async fn migrate_in(tx: &DatabaseTransaction, is_sqlite: bool) -> Result<(), DbErr> {
    Migrator::up(tx, None).await?;
    if !is_sqlite {
        tx.execute_unprepared(FORGET_STATEMENTS).await?;
    }
    Ok(())
}
