//! One call gives a whole app.

mod app;
mod aside;
mod blocker;
mod databases;
pub mod durations;
pub mod email;
mod graph;
mod mail_server;
mod noise;
mod pgbouncer;
mod postgres;
mod provider;
mod sandbox;
mod small_disk;
mod wire;

use std::{fmt::Write, future::Future, pin::Pin, time::Instant};

pub use app::{
    APP_SECRET, PHONE_NUMBER_ID, SECRET_KEY, START, TestApp, VERIFY_TOKEN, sign, status, value,
    without_ids,
};
pub use aside::{while_inbox_is_open, while_open};
pub use blocker::fresh_blocker;
pub use databases::{fresh_database, migrated_database};
pub use graph::Graph;
use libtest_mimic::Trial;
pub use mail_server::{MailFate, MailServer};
pub use noise::{noise, noise_bytes};
pub use pgbouncer::{PGBOUNCER_MISSING, pgbouncer, stop_pgbouncer, through_pgbouncer};
pub use postgres::{
    POSTGRES_MISSING, Postgres, binaries as program_folder, postgres, stop_postgres,
};
pub use provider::FakeMeta;
pub use sandbox::{Played, play};
pub use small_disk::SmallDisk;
pub use wire::Wire;

/// Listens where it was listened before.
pub fn listen_at(address: std::net::SocketAddr) -> tokio::net::TcpListener {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(64).unwrap()
}

/// The catalogue that most tests use.
pub const DEMO: &str = include_str!("../../../deploy/catalogues/demo.toml");

/// Where a test's database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// A test that runs on a database.
pub struct Test {
    pub name: &'static str,
    pub run: fn(Database) -> Boxed,
}

/// Lists the tests of a file by their names.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub fn tests() -> Vec<$crate::harness::Test> {
            vec![$($crate::harness::Test { name: concat!(module_path!(), "::", stringify!($name)), run: |database| Box::pin($name(database)) }),*]
        }
    };
}

/// A test once on each database; on SQLite alone where there is no PostgreSQL.
pub fn on_both_databases(test: Test) -> Vec<Trial> {
    let Test { name, run } = test;
    let trial = |database: Database, suffix: &str| {
        let name = format!("{} [{suffix}]", name.trim_start_matches("it::"));
        Trial::test(name.clone(), move || {
            let began = Instant::now();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?;
            // A failing test unwinds here; its servers end with the process.
            runtime.block_on(run(database));
            runtime.block_on(app::stopped());
            runtime.shutdown_background();
            durations::note(&name, began);
            Ok(())
        })
    };
    let mut trials = vec![trial(Database::Sqlite, "sqlite")];
    if postgres().is_some() {
        trials.push(trial(Database::Postgres, "postgres"));
    }
    trials
}

/// So many people, as a catalogue writes them: contacts with numbers, and users of the same names.
pub fn crowd(names: &[String]) -> String {
    let mut text = String::new();
    for (number, name) in names.iter().enumerate() {
        let number = number + 1000;
        writeln!(
            text,
            "[[contact]]\nname = \"{name}\"\nphone = \"+1202555{number}\"\n[[user]]\nname = \"{name}\"\ncontact = \"{name}\""
        )
        .unwrap();
    }
    text
}

/// A group, as a catalogue writes it.
pub fn group(name: &str, members: &[String]) -> String {
    let members = serde_json::json!(members);
    format!("[[group]]\nname = \"{name}\"\nmembers = {members}\n")
}

/// The data of an event `demo.test.processed`, for which [`DEMO`] has a route.
pub fn test_result(status: &str) -> serde_json::Value {
    serde_json::json!({ "status": status, "phone": "+12025550101", "educator": "Asha", "test_name": "Unit 3", "class_id": "10C", "test_num": "3" })
}
