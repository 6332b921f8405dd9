//! PostgreSQL behind PgBouncer in transaction mode: what a session keeps is not there for
//! the next transaction.

use std::{collections::HashSet, str::FromStr};

use libtest_mimic::Trial;
use sea_orm::sqlx::{Connection, Executor, PgConnection, Row, postgres::PgConnectOptions};

use crate::{
    callback_order, callbacks, cli, event_replay, follow_ups,
    harness::{self, Database, fresh_database},
    sending,
};

crate::tests![
    pgbouncer_keeps_nothing_of_a_session,
    pgbouncer_refuses_what_is_asked_for_at_the_start,
    a_pooler_that_was_not_named_is_a_clear_start_error,
];

/// These open the database a second time, as an operator who has not said that a pooler stands
/// before it.
const WITHOUT_SETTING: [&str; 2] = [
    "a_database_that_goes_away_dead_letters_nothing",
    "an_event_is_run_again_after_its_route_was_mended",
];

/// What runs through PgBouncer: the stand-in's own tests, and what Herald is for.
pub fn trials() -> Vec<Trial> {
    [
        tests(),
        callbacks::tests(),
        event_replay::tests(),
        follow_ups::tests(),
        callback_order::tests(),
        sending::tests(),
    ]
    .into_iter()
    .flatten()
    .filter(|test| !WITHOUT_SETTING.iter().any(|name| test.name.ends_with(name)))
    .filter_map(harness::through_pgbouncer)
    .collect()
}

async fn connected(options: &PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(options).await.unwrap()
}

async fn options(database: &Database) -> PgConnectOptions {
    let url = fresh_database(database, std::path::Path::new("")).await;
    PgConnectOptions::from_str(&url)
        .unwrap()
        .statement_cache_capacity(0)
        .extra_float_digits(None)
}

async fn process(connection: &mut PgConnection) -> i32 {
    let row = connection.fetch_one("SELECT pg_backend_pid()").await;
    row.unwrap().get(0)
}

/// The stand-in itself: transactions of one client go to different sessions.
async fn pgbouncer_keeps_nothing_of_a_session(database: Database) {
    let options = options(&database).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = connected(&options).await;
        client.execute("BEGIN").await.unwrap();
        clients.push(client);
    }
    // Three transactions at once: three sessions of PostgreSQL.
    for client in &mut clients {
        client.execute("COMMIT").await.unwrap();
    }
    let client = &mut clients[0];
    client.execute("PREPARE mine AS SELECT 1").await.unwrap();
    client.execute("SET lock_timeout = '7s'").await.unwrap();
    // Each kind of question goes all the way round.
    let mut processes = HashSet::new();
    for _ in 0..3 {
        processes.insert(process(client).await);
    }
    let (mut forgotten, mut unset) = (0, 0);
    for _ in 0..3 {
        forgotten += usize::from(client.execute("EXECUTE mine").await.is_err());
    }
    for _ in 0..3 {
        let row = client.fetch_one("SHOW lock_timeout").await.unwrap();
        unset += usize::from(row.get::<String, _>(0) != "7s");
    }
    assert!(processes.len() > 1, "{processes:?}");
    assert!(forgotten > 0 && unset > 0, "{forgotten}, {unset}");
}

async fn pgbouncer_refuses_what_is_asked_for_at_the_start(database: Database) {
    let options = options(&database).await;
    let asking = options.clone().options([("statement_timeout", "60s")]);
    let refused = PgConnection::connect_with(&asking).await.unwrap_err();
    assert!(refused.to_string().contains("options"), "{refused}");
    connected(&options).await;
}

async fn a_pooler_that_was_not_named_is_a_clear_start_error(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let refused = cli::herald(&url, folder.path(), &["serve", "--migrate"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = cli::text(&refused);
    assert!(text.contains("HERALD_DATABASE_POOLED=true"), "{text}");
}
