//! A throwaway PgBouncer in transaction mode before the PostgreSQL of this run.

use std::{
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

use libtest_mimic::Trial;

use super::{Test, app, postgres};

/// Printed last when nothing could run through PgBouncer.
pub const PGBOUNCER_MISSING: &str =
    "PgBouncer: NOT TESTED (install it and PostgreSQL, so that pgbouncer and initdb are found)";

/// Connections to each database: few, so that clients have to share them.
const POOL_SIZE: u8 = 3;

tokio::task_local! {
    /// Set while a test runs whose databases are reached through PgBouncer.
    static POOLED: ();
}

/// A running PgBouncer.
pub struct PgBouncer {
    /// `postgres://user@host:port` without a database; every database of the PostgreSQL is there.
    pub server: String,
    process: Mutex<Option<(Child, tempfile::TempDir)>>,
}

/// The PgBouncer of this run; none, if it or PostgreSQL is not here.
pub fn pgbouncer() -> Option<&'static PgBouncer> {
    static PGBOUNCER: OnceLock<Option<PgBouncer>> = OnceLock::new();
    PGBOUNCER.get_or_init(start).as_ref()
}

/// The address under which a test reaches the databases of PostgreSQL.
pub fn postgres_server() -> Option<&'static str> {
    if POOLED.try_with(|()| ()).is_ok() {
        pgbouncer().map(|it| it.server.as_str())
    } else {
        postgres().map(|it| it.server.as_str())
    }
}

/// Whether the running test goes through PgBouncer.
pub fn is_pooled(database_url: &str) -> bool {
    POOLED.try_with(|()| ()).is_ok()
        && pgbouncer().is_some_and(|it| database_url.starts_with(&it.server))
}

/// A test on PostgreSQL, reached through PgBouncer; nothing where there is none.
pub fn through_pgbouncer(test: Test) -> Option<Trial> {
    pgbouncer()?;
    let Test { name, run } = test;
    let name = format!("{} [pgbouncer]", name.trim_start_matches("it::"));
    Some(Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        runtime.block_on(POOLED.scope((), run(super::Database::Postgres)));
        runtime.block_on(app::stopped());
        runtime.shutdown_background();
        Ok(())
    }))
}

fn binary() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    on_path
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| program.exists())
}

/// The address of the PostgreSQL in PgBouncer's words: `host=… port=… user=…`.
fn upstream(server: &str) -> String {
    let address = server.split_once("://").map_or(server, |(_, rest)| rest);
    let (login, host) = address.rsplit_once('@').unwrap_or(("postgres", address));
    let (host, port) = host.rsplit_once(':').unwrap_or((host, "5432"));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let password = if password.is_empty() {
        String::new()
    } else {
        format!(" password={password}")
    };
    format!("host={host} port={port} user={user}{password}")
}

fn id(words: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(words).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn settings(upstream: &str, port: u16, folder: &Path) -> String {
    // Nothing is in `ignore_startup_parameters`, as Debian ships it: what a client asks for
    // when it connects, and PgBouncer cannot keep, ends the connection.
    format!(
        "[databases]\n* = {upstream}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = any\npool_mode = transaction\ndefault_pool_size = {POOL_SIZE}\n\
         max_client_conn = 400\nserver_round_robin = 1\nlogfile = {}\n",
        folder.join("log").display()
    )
}

fn start() -> Option<PgBouncer> {
    let (postgres, binary) = (postgres()?, binary()?);
    let folder = tempfile::tempdir().ok()?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .ok()?
        .local_addr()
        .ok()?
        .port();
    let file = folder.path().join("pgbouncer.ini");
    let text = settings(&upstream(&postgres.server), port, folder.path());
    std::fs::write(&file, text).ok()?;
    let mut command = Command::new(binary);
    // PgBouncer refuses to run as root, as PostgreSQL does.
    if id(&["-u"])? == 0 {
        let (user, group) = (id(&["-u", "postgres"])?, id(&["-g", "postgres"])?);
        for path in [folder.path(), &file] {
            std::os::unix::fs::chown(path, Some(user), Some(group)).ok()?;
        }
        command.uid(user).gid(group);
    }
    let child = command
        .arg("-q")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "PgBouncer is here and does not start"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(PgBouncer {
        server: format!("postgres://herald@127.0.0.1:{port}"),
        process: Mutex::new(Some((child, folder))),
    })
}

/// Stops the throwaway PgBouncer.
pub fn stop_pgbouncer() {
    let Some(pgbouncer) = pgbouncer() else {
        return;
    };
    if let Some((mut child, _folder)) = pgbouncer.process.lock().unwrap().take() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
