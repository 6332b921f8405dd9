#!/usr/bin/env bash
# After one commit that a full disk refuses, sea-orm on sqlx can go on reporting
# successful commits of which nothing is stored.
#
# SQLite undoes the whole transaction by itself when COMMIT fails with SQLITE_FULL
# (or SQLITE_IOERR). The ROLLBACK that follows then fails, because no transaction is
# open, and sqlx keeps counting one: its transaction depth stays at 1. For every later
# begin_with_options(Immediate), sea-orm sees depth 1 and opens a SAVEPOINT in place of
# BEGIN IMMEDIATE. A savepoint outside a transaction still commits when it is released,
# so all seems well. But the first rollback, for whatever reason, becomes ROLLBACK TO
# SAVEPOINT, which leaves that savepoint and its transaction open. From then on each
# "commit" releases an inner savepoint: Ok to the caller, visible to the same
# connection, and gone with the process. The transaction also keeps the write lock, so
# no other process can write.
#
# A notification service acknowledges a provider's callback, or a product's one-time
# password, once the commit has returned Ok. Here it acknowledges and loses all of them,
# for hours, with every check green.
#
# PRAGMA max_page_count is no substitute for a full disk: its SQLITE_FULL is raised by the
# statement, before COMMIT. Where the statement has a statement journal (any INSERT …
# SELECT that a constraint could abort), SQLite undoes that statement alone, the
# transaction stays open, ROLLBACK works and the depth returns to 0. Both are shown.
#
# Needs cargo, and the right to mount a tmpfs (root, or user namespaces). Exits with 1 if
# any of this behaves differently.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src" "$folder/disk"

cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
libsqlite3-sys = "=0.37.0"
sea-orm = { version = "=2.0.4", default-features = false, features = ["runtime-tokio", "sqlx-sqlite"] }
sqlx = { version = "=0.9.0", default-features = false, features = ["runtime-tokio", "sqlite"] }
sqlx-core = { version = "=0.9.0", default-features = false }
tokio = { version = "=1.54.1", features = ["macros", "rt"] }
TOML

cat >"$folder/src/main.rs" <<'RUST'
use std::{fs, io::Write, path::Path, process::exit};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbErr, SqliteTransactionMode, SqlxSqliteConnector,
    TransactionOptions, TransactionTrait,
};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    SqliteTransactionManager,
};
use sqlx_core::transaction::TransactionManager;

async fn open(path: &Path, pages: Option<&str>) -> DatabaseConnection {
    let mut options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    if let Some(pages) = pages {
        options = options.pragma("max_page_count", pages.to_owned());
    }
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    SqlxSqliteConnector::from_sqlx_sqlite_pool(pool)
}

/// One transaction, as every caller of sea-orm writes it.
async fn write(db: &DatabaseConnection, what: &str, sql: &str) -> bool {
    let immediate = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..Default::default()
    };
    let tx = db.begin_with_options(immediate).await.unwrap();
    let done: Result<(), DbErr> = match tx.execute_unprepared(sql).await {
        Ok(_) => tx.commit().await,
        Err(error) => {
            let rollback = tx.rollback().await;
            println!("  {what}: the statement failed: {error}");
            println!("  {what}: rollback: {}", said(&rollback));
            Err(error)
        }
    };
    let (depth, autocommit) = state(db).await;
    println!("  {what}: {}; sqlx counts depth {depth}, SQLite's autocommit is {autocommit}", said(&done));
    done.is_ok()
}

fn said(result: &Result<(), DbErr>) -> String {
    match result {
        Ok(()) => "Ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// What sqlx believes, and what SQLite says.
async fn state(db: &DatabaseConnection) -> (usize, bool) {
    let mut connection = db.get_sqlite_connection_pool().acquire().await.unwrap();
    let depth = SqliteTransactionManager::get_transaction_depth(&connection);
    let mut handle = connection.lock_handle().await.unwrap();
    let autocommit =
        unsafe { libsqlite3_sys::sqlite3_get_autocommit(handle.as_raw_handle().as_ptr()) } != 0;
    (depth, autocommit)
}

async fn count(path: &Path) -> i64 {
    let options = SqliteConnectOptions::new().filename(path);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let count = sqlx::query_scalar("SELECT count(*) FROM item").fetch_one(&pool).await.unwrap();
    pool.close().await;
    count
}

fn expect(what: &str, holds: bool) {
    if !holds {
        println!("CHANGED: {what}");
        exit(1);
    }
}

const TABLE: &str = "CREATE TABLE item (id TEXT PRIMARY KEY NOT NULL, body BLOB NOT NULL)";
const LARGE: &str = "INSERT INTO item SELECT 'large' || value, randomblob(300000) \
    FROM json_each('[1, 2, 3]')";

/// Fills the file system until nothing fits.
fn fill(ballast: &Path) {
    let mut file = fs::File::create(ballast).unwrap();
    let mut piece = vec![0_u8; 65_536];
    while !piece.is_empty() {
        if file.write_all(&piece).is_err() {
            piece.truncate(piece.len() / 2);
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let disk = std::env::args().nth(1).unwrap();
    let (path, ballast) = (Path::new(&disk).join("full.sqlite"), Path::new(&disk).join("ballast"));
    let db = open(&path, None).await;
    db.execute_unprepared(TABLE).await.unwrap();
    let version = sqlx::query_scalar::<_, String>("SELECT sqlite_version()")
        .fetch_one(db.get_sqlite_connection_pool())
        .await
        .unwrap();
    println!("sqlx 0.9.0, sea-orm 2.0.4, SQLite {version}");

    println!("a full disk:");
    expect("a first commit works", write(&db, "first", "INSERT INTO item VALUES ('first', x'00')").await);
    fill(&ballast);
    expect("a commit on a full disk fails", !write(&db, "full", LARGE).await);
    expect("SQLite has ended the transaction and sqlx still counts it", state(&db).await == (1, true));
    fs::remove_file(&ballast).unwrap();
    println!("room again:");
    expect("the next commit works", write(&db, "next", "INSERT INTO item VALUES ('next', x'00')").await);
    expect("and is stored", count(&path).await == 2);
    expect("a repeated id is refused", !write(&db, "repeated", "INSERT INTO item VALUES ('next', x'00')").await);
    expect("its transaction is still open", state(&db).await == (1, false));
    for id in ["a", "b", "c"] {
        let sql = format!("INSERT INTO item VALUES ('{id}', x'00')");
        expect("commits say Ok", write(&db, id, &sql).await);
    }
    let stored = count(&path).await;
    println!("  another connection counts {stored} rows; five were committed");
    expect("what was committed since is not stored", stored == 2);
    let other = open(&path, None).await;
    let locked = other.execute_unprepared("INSERT INTO item VALUES ('other', x'00')").await;
    let locked = locked.map(|_| ());
    println!("  another writer: {}", said(&locked));
    expect("the open transaction keeps other writers out", locked.is_err());

    println!("max_page_count, a statement with a statement journal:");
    let path = Path::new(&disk).join("pages.sqlite");
    let db = open(&path, Some("40")).await;
    db.execute_unprepared(TABLE).await.unwrap();
    expect("the page limit is reached", !write(&db, "pages", LARGE).await);
    expect("nothing is left open or miscounted", state(&db).await == (0, true));
    println!("max_page_count, a statement without one:");
    let sql = "INSERT INTO item VALUES ('large', randomblob(300000))";
    expect("the page limit is reached", !write(&db, "pages", sql).await);
    expect("the count is wrong here, too", state(&db).await == (1, true));
    println!("AS DESCRIBED");
}
RUST

cargo build --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target"
# A mount namespace of its own: the tmpfs goes when the program ends.
as=()
[ "$(id -u)" = 0 ] || as=(--map-root-user)
unshare "${as[@]}" --mount bash -c 'mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" "$1"' \
    _ "$folder/disk" "$folder/target/debug/finding"
