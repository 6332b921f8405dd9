//! Backups of a PostgreSQL database by PostgreSQL's own programs.

use std::{path::Path, process::Stdio, time::Duration};

use percent_encoding::percent_decode_str;
use sea_orm::{
    DatabaseConnection, DbErr, RuntimeErr, SqlxPostgresConnector,
    sqlx::{self, postgres::PgPoolOptions},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::process::Command;

use super::{
    BackupError, BackupFile, BackupManifest, blocking, compact, facts, manifest::BackupDatabaseKind,
};
use crate::{
    domain::{hold::SendingHold, time::Timestamp},
    store::{
        ConnectionTrait, StoreError,
        cluster::{PostgresCluster, PostgresSessionOptions},
        connect::DatabaseOpenError,
        dialect::{column, execute, query_one},
        hold,
        whole_file::{self, ScratchFile},
    },
};

/// The dump in the archive.
const NAME: &str = "database.pgdump";

const DUMP: &str = "pg_dump";
const RESTORE: &str = "pg_restore";

/// How our connection calls itself; servers and commands are `herald`.
const APPLICATION: &str = "herald backup";

/// The database may take so long to answer us.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Most characters shown of a program's output.
const SHOWN: usize = 600;

/// Words in an address that PostgreSQL's programs know as well, with their name for them.
const KNOWN: [(&str, &str); 13] = [
    ("sslmode", "sslmode"),
    ("ssl-mode", "sslmode"),
    ("sslrootcert", "sslrootcert"),
    ("ssl-root-cert", "sslrootcert"),
    ("ssl-ca", "sslrootcert"),
    ("sslcert", "sslcert"),
    ("ssl-cert", "sslcert"),
    ("sslkey", "sslkey"),
    ("ssl-key", "sslkey"),
    ("host", "host"),
    ("port", "port"),
    ("dbname", "dbname"),
    ("target_session_attrs", "target_session_attrs"),
];

/// An address for a command line, where others can see it, and its password apart.
struct PostgresAddress {
    visible: String,
    password: Option<SecretString>,
}

impl PostgresAddress {
    fn of(url: &SecretString) -> Self {
        let url = url.expose_secret();
        let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, database) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, mut password) = match user.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user, None),
        };
        let mut kept: Vec<String> = Vec::new();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            if name == "password" {
                password = Some(value);
            }
            // Parameters that only our own driver knows are dropped.
            if let Some((_, theirs)) = KNOWN.iter().find(|(ours, _)| *ours == name) {
                kept.push(format!("{theirs}={value}"));
            }
        }
        let at = if user.is_empty() { "" } else { "@" };
        let mark = if kept.is_empty() { "" } else { "?" };
        Self {
            visible: format!(
                "{scheme}://{user}{at}{hosts}{database}{mark}{}",
                kept.join("&")
            ),
            password: password.map(|password| {
                let decoded = percent_decode_str(password).decode_utf8_lossy();
                SecretString::from(decoded.into_owned())
            }),
        }
    }
}

async fn open(url: &SecretString) -> Result<DatabaseConnection, BackupError> {
    let unreachable = |error: sqlx::Error| {
        DatabaseOpenError::Connect(DbErr::Conn(RuntimeErr::SqlxError(error.into())))
    };
    let session = PostgresSessionOptions {
        patience: ANSWERS_WITHIN,
        pooled: true,
        settings: Vec::new(),
    };
    let cluster =
        PostgresCluster::new(url.expose_secret(), session).map_err(DatabaseOpenError::Address)?;
    let options = cluster.options().await.map_err(unreachable)?;
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ANSWERS_WITHIN)
        .connect_with(options.application_name(APPLICATION))
        .await
        .map_err(unreachable)?;
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

async fn close(connection: DatabaseConnection) -> Result<(), BackupError> {
    Ok(connection.close().await.map_err(StoreError::from)?)
}

/// Runs one of PostgreSQL's programs, and returns its output.
async fn run(
    program: &'static str,
    address: Option<&PostgresAddress>,
    words: &[&str],
) -> Result<String, BackupError> {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(address) = address {
        command.arg("--dbname").arg(&address.visible);
        command.arg("--no-password");
        if let Some(password) = &address.password {
            command.env("PGPASSWORD", password.expose_secret());
        }
    }
    let output = command
        .output()
        .await
        .map_err(|error| BackupError::NoProgram(program, error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(BackupError::Program {
        program,
        said: said.trim().chars().take(SHOWN).collect(),
    })
}

/// Dumps a database that may be in use, and reads the dump's table of contents.
pub(super) async fn dump(
    url: &SecretString,
    to: ScratchFile,
    now: Timestamp,
) -> Result<(BackupManifest, Vec<BackupFile>), BackupError> {
    let connection = open(url).await?;
    let manifest = facts(&connection, BackupDatabaseKind::Postgresql, now).await?;
    close(connection).await?;
    let version = run(DUMP, None, &["--version"]).await?;
    let file = to.0.to_string_lossy().into_owned();
    let words = [
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        "--schema=public",
        "--file",
        &file,
    ];
    run(DUMP, Some(&PostgresAddress::of(url)), &words).await?;
    let contents = run(RESTORE, None, &["--list", &file]).await?;
    if !contents.contains("TABLE DATA public notification ") {
        return Err(BackupError::Program {
            program: DUMP,
            said: "the dump has no notifications in it: is DATABASE_URL Herald's database?"
                .to_owned(),
        });
    }
    let dump = BackupFile {
        name: NAME,
        content: to,
        written_by: version.trim().to_owned(),
    };
    Ok((manifest, vec![dump]))
}

/// Restores the dump of an archive into an empty database; existing tables are kept in a schema of
/// their own.
pub(super) async fn restore(
    url: &SecretString,
    archive: &Path,
    replace: bool,
    held: &SendingHold,
    now: Timestamp,
) -> Result<Option<String>, BackupError> {
    let connection = open(url).await?;
    let filled = flag(
        &connection,
        "SELECT EXISTS (SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'public') AS answer",
    )
    .await?;
    if filled && !replace {
        return Err(BackupError::NotEmpty);
    }
    let used = flag(
        &connection,
        "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name = 'herald') AS answer",
    )
    .await?;
    if used {
        return Err(BackupError::InUse);
    }
    let scratch = whole_file::ScratchFile(
        std::env::temp_dir().join(format!("herald-restore-{}.pgdump", std::process::id())),
    );
    let (from, to) = (archive.to_owned(), scratch.0.clone());
    blocking(move || super::archive::extract(&from, NAME, &to)).await?;
    let file = scratch.0.to_string_lossy().into_owned();
    run(RESTORE, None, &["--list", &file]).await?;
    let kept = format!("before_restore_{}", compact(now).to_lowercase());
    if filled {
        rename_schema(&connection, "public", &kept).await?;
        execute(&connection, "CREATE SCHEMA public", []).await?;
    }
    let words = [
        // The contents of the schema, not the schema itself, which exists.
        "--schema=public",
        "--no-owner",
        "--no-privileges",
        "--exit-on-error",
        "--single-transaction",
        &file,
    ];
    let restored = match run(RESTORE, Some(&PostgresAddress::of(url)), &words).await {
        Ok(_) => hold::replace(&connection, held, now)
            .await
            .map_err(BackupError::from),
        Err(error) => Err(error),
    };
    if let Err(error) = restored {
        if filled {
            execute(&connection, "DROP SCHEMA public CASCADE", []).await?;
            rename_schema(&connection, &kept, "public").await?;
        }
        return Err(error);
    }
    close(connection).await?;
    Ok(filled.then(|| format!("the schema {kept}")))
}

async fn rename_schema(
    connection: &impl ConnectionTrait,
    from: &str,
    to: &str,
) -> Result<(), BackupError> {
    execute(
        connection,
        format!("ALTER SCHEMA {from} RENAME TO {to}"),
        [],
    )
    .await?;
    Ok(())
}

/// The answer to a question: the column `answer`.
async fn flag(connection: &impl ConnectionTrait, sql: &str) -> Result<bool, BackupError> {
    let row = query_one(connection, sql, []).await?;
    Ok(row.map_or(Ok(false), |row| column(&row, "answer"))?)
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret, SecretString};

    use super::PostgresAddress;

    #[test]
    fn a_password_does_not_stand_on_a_command_line() {
        for (url, visible, password) in [
            (
                "postgres://herald:p%40ss@db1:5432,db2:5432/herald?sslmode=require&statement-cache-capacity=0",
                "postgres://herald@db1:5432,db2:5432/herald?sslmode=require",
                Some("p@ss"),
            ),
            (
                "postgresql://localhost/herald?password=hidden",
                "postgresql://localhost/herald",
                Some("hidden"),
            ),
            (
                "postgres://herald@[::1]/herald",
                "postgres://herald@[::1]/herald",
                None,
            ),
        ] {
            let address = PostgresAddress::of(&SecretString::from(url));
            assert_eq!(address.visible, visible);
            let found = address.password.as_ref().map(ExposeSecret::expose_secret);
            assert_eq!(found, password);
        }
    }
}
