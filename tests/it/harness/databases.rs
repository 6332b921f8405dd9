//! Databases for tests: an empty one, or one that has the schema.

use std::path::Path;

use herald::store::{self, ConnectionTrait, Store, connect::ConnectPurpose, migrate};
use secrecy::SecretString;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{Database, pgbouncer::postgres_server, postgres};

/// Makes an empty database and gives its address.
pub async fn fresh_database(database: &Database, folder: &Path) -> String {
    match database {
        Database::Sqlite => sqlite_url(folder),
        Database::Postgres => {
            let name = create("").await;
            format!("{}/{name}", server())
        }
    }
}

/// Makes a database that has the schema, and gives its address. The migrations run once for all
/// tests, and each gets a copy: running them takes longer than most tests do.
pub async fn migrated_database(database: &Database, folder: &Path) -> String {
    match database {
        Database::Sqlite => {
            static FILES: OnceCell<[Vec<u8>; 2]> = OnceCell::const_new();
            let files = FILES.get_or_init(async || {
                let folder = tempfile::tempdir().unwrap();
                apply_schema(&sqlite_url(folder.path())).await;
                SQLITE_FILES.map(|name| std::fs::read(folder.path().join(name)).unwrap())
            });
            for (name, file) in SQLITE_FILES.iter().zip(files.await) {
                std::fs::write(folder.join(name), file).unwrap();
            }
            sqlite_url(folder)
        }
        Database::Postgres => {
            static TEMPLATE: OnceCell<String> = OnceCell::const_new();
            let template = TEMPLATE.get_or_init(async || {
                let name = create("").await;
                let direct = &postgres().unwrap().server;
                apply_schema(&format!("{direct}/{name}")).await;
                name
            });
            let name = create(&format!(" TEMPLATE {}", template.await)).await;
            format!("{}/{name}", server())
        }
    }
}

/// The database and its inbox.
const SQLITE_FILES: [&str; 2] = ["herald.sqlite", "herald.sqlite.inbox"];

fn sqlite_url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join(SQLITE_FILES[0]).display())
}

/// The address under which the running test reaches PostgreSQL.
fn server() -> &'static str {
    postgres_server().expect("the PostgreSQL half runs only with PostgreSQL")
}

async fn open(url: &str) -> Store {
    store::connect::open(&SecretString::from(url), 2, ConnectPurpose::Command)
        .await
        .unwrap()
}

/// Creates a database on PostgreSQL and gives its name.
async fn create(options: &str) -> String {
    let postgres = postgres().expect("the PostgreSQL half runs only with PostgreSQL");
    let name = format!("test_{}", Uuid::new_v4().simple());
    let admin = open(&format!("{}/{}", postgres.server, postgres.admin_database)).await;
    admin
        .reader()
        .execute_unprepared(&format!("CREATE DATABASE {name}{options}"))
        .await
        .unwrap();
    name
}

async fn apply_schema(url: &str) {
    let store = open(url).await;
    migrate::up(&store).await.unwrap();
    store.close().await;
}
