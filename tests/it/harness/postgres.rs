//! A throwaway PostgreSQL from local binaries, or one that is given.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock},
};

/// Printed last when the PostgreSQL half could not run.
pub const POSTGRES_MISSING: &str = "PostgreSQL: NOT TESTED (install PostgreSQL so that initdb is found, or set HERALD_TEST_POSTGRES_URL)";

/// Where databases for tests can be made.
pub struct Postgres {
    /// `postgres://user@host:port` without a database.
    pub server: String,
    pub admin_database: String,
    cluster: Option<Cluster>,
}

struct Cluster {
    pg_ctl: PathBuf,
    data: PathBuf,
    user: Option<&'static str>,
    folder: Mutex<Option<tempfile::TempDir>>,
}

/// The server for this run; none, if there is no PostgreSQL here.
pub fn postgres() -> Option<&'static Postgres> {
    static POSTGRES: OnceLock<Option<Postgres>> = OnceLock::new();
    POSTGRES.get_or_init(|| given().or_else(start)).as_ref()
}

fn given() -> Option<Postgres> {
    let url = std::env::var("HERALD_TEST_POSTGRES_URL").ok()?;
    let (server, database) = url
        .rsplit_once('/')
        .expect("HERALD_TEST_POSTGRES_URL: postgres://user@host/database");
    Some(Postgres {
        server: server.to_owned(),
        admin_database: database.to_owned(),
        cluster: None,
    })
}

/// The folder of `initdb`: on the path, or where distributions put it.
pub fn binaries() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    versions.sort();
    on_path
        .chain(versions.into_iter().rev())
        .find(|folder| folder.join("initdb").exists())
}

fn command(user: Option<&str>, program: &Path) -> Command {
    match user {
        Some(user) => {
            let mut command = Command::new("runuser");
            command.args(["-u", user, "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

fn start() -> Option<Postgres> {
    let binaries = binaries()?;
    // PostgreSQL refuses to run as root.
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let user = is_root.then_some("postgres");
    let folder = tempfile::tempdir().ok()?;
    let data = folder.path().join("data");
    if let Some(user) = user {
        let owned = Command::new("chown")
            .arg(user)
            .arg(folder.path())
            .status()
            .ok()?;
        if !owned.success() {
            return None;
        }
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .ok()?
        .local_addr()
        .ok()?
        .port();
    let made = command(user, &binaries.join("initdb"))
        .arg("-D")
        .arg(&data)
        .args([
            "-A",
            "trust",
            "-U",
            "herald",
            "--locale=C",
            "-E",
            "UTF8",
            "-N",
        ])
        .stdout(Stdio::null())
        .status()
        .ok()?;
    assert!(made.success(), "initdb is here and fails");
    let pg_ctl = binaries.join("pg_ctl");
    // Durability is for real use; a throwaway cluster is faster without. What it logs begins
    // with the name of the database.
    let options = format!(
        "-p {port} -k {} -c listen_addresses=127.0.0.1 -c fsync=off -c full_page_writes=off -c max_connections=400 \
         -c log_line_prefix=%d:",
        folder.path().display()
    );
    let started = command(user, &pg_ctl)
        .arg("-D")
        .arg(&data)
        .args(["-w", "-o", &options, "-l"])
        .arg(folder.path().join("log"))
        .arg("start")
        .stdout(Stdio::null())
        .status()
        .ok()?;
    assert!(started.success(), "PostgreSQL is here and does not start");
    Some(Postgres {
        server: format!("postgres://herald@127.0.0.1:{port}"),
        admin_database: "postgres".to_owned(),
        cluster: Some(Cluster {
            pg_ctl,
            data,
            user,
            folder: Mutex::new(Some(folder)),
        }),
    })
}

impl Postgres {
    /// The folder of the throwaway cluster's data; none, where a server is given.
    pub fn data(&self) -> Option<&Path> {
        self.cluster.as_ref().map(|cluster| cluster.data.as_path())
    }

    /// What the throwaway cluster has logged; none, where a server is given.
    pub fn log(&self) -> Option<String> {
        let folder = self.cluster.as_ref()?.folder.lock().unwrap();
        let log = folder.as_ref()?.path().join("log");
        Some(String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned())
    }
}

/// Stops and removes the throwaway cluster.
pub fn stop_postgres() {
    let Some(cluster) = postgres().and_then(|postgres| postgres.cluster.as_ref()) else {
        return;
    };
    let stopped = command(cluster.user, &cluster.pg_ctl)
        .arg("-D")
        .arg(&cluster.data)
        .args(["-m", "immediate", "-w", "stop"])
        .stdout(Stdio::null())
        .status();
    assert!(
        stopped.is_ok_and(|status| status.success()),
        "the throwaway PostgreSQL does not stop"
    );
    drop(cluster.folder.lock().unwrap().take());
}
