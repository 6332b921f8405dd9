//! A PostgreSQL of our own, from the binaries on this machine.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

/// The user that PostgreSQL runs as where we are root, which it refuses to be.
const USER: &str = "postgres";

/// Who PostgreSQL runs as: the user of this process, or `postgres`.
#[derive(Clone, Copy, Debug)]
pub struct Owner(Option<(u32, u32)>);

impl Owner {
    pub fn find() -> anyhow::Result<Self> {
        if id(&["-u"])? != 0 {
            return Ok(Self(None));
        }
        Ok(Self(Some((id(&["-u", USER])?, id(&["-g", USER])?))))
    }

    /// Gives it a file or folder.
    pub fn give(self, path: &Path) -> anyhow::Result<()> {
        if let Some((user, group)) = self.0 {
            std::os::unix::fs::chown(path, Some(user), Some(group))?;
        }
        Ok(())
    }
}

fn id(words: &[&str]) -> anyhow::Result<u32> {
    let output = Command::new("id").args(words).output()?;
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().context("PostgreSQL needs its user")
}

/// The folder of `initdb`: where distributions put it, the newest first.
fn binaries() -> anyhow::Result<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| folder.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().context("PostgreSQL is not installed")
}

/// A cluster. Dropped, it is stopped at once; its folder belongs to the caller.
pub struct Cluster {
    binaries: PathBuf,
    owner: Owner,
    pub data: PathBuf,
    pub host: String,
    pub port: u16,
    /// Words before each command: into a network of its own.
    within: Vec<String>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.stop("immediate"));
    }
}

impl Cluster {
    /// A cluster that is not made yet: `data` under a folder of `owner`.
    pub fn at(
        data: PathBuf,
        host: &str,
        port: u16,
        within: &[&str],
        owner: Owner,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            binaries: binaries()?,
            owner,
            data,
            host: host.to_owned(),
            port,
            within: within.iter().map(|word| (*word).to_owned()).collect(),
        })
    }

    /// Makes it, with settings and more words for `initdb`.
    pub fn make(&self, words: &[&str], settings: &str) -> anyhow::Result<()> {
        let data = self.data.display().to_string();
        let mut all = vec!["-D", &data, "-A", "trust", "-U", "herald", "--locale=C"];
        all.extend(["-E", "UTF8", "-N"]);
        all.extend(words);
        self.run("initdb", &all)?;
        self.configure(settings)?;
        let file = self.data.join("pg_hba.conf");
        let mut rules = std::fs::read_to_string(&file)?;
        rules.push_str("host all all all trust\nhost replication all all trust\n");
        Ok(std::fs::write(file, rules)?)
    }

    /// Adds settings to its file; the last one holds.
    pub fn configure(&self, settings: &str) -> anyhow::Result<()> {
        let file = self.data.join("postgresql.conf");
        let mut text = std::fs::read_to_string(&file)?;
        writeln!(
            text,
            "\nlisten_addresses = '{}'\nport = {}\nunix_socket_directories = ''\n{settings}",
            self.host, self.port
        )?;
        Ok(std::fs::write(file, text)?)
    }

    pub fn start(&self) -> anyhow::Result<()> {
        let log = self.data.with_extension("log").display().to_string();
        self.control(&["-w", "-t", "60", "-l", &log, "start"])
    }

    /// Stops it: `fast` or `immediate`.
    pub fn stop(&self, mode: &str) -> anyhow::Result<()> {
        self.control(&["-w", "-m", mode, "stop"])
    }

    pub fn is_running(&self) -> bool {
        self.control(&["status"]).is_ok()
    }

    pub fn control(&self, words: &[&str]) -> anyhow::Result<()> {
        let data = self.data.display().to_string();
        let mut all = vec!["-D", &data];
        all.extend(words);
        self.run("pg_ctl", &all)
    }

    /// Runs one of its programs to its end.
    pub fn run(&self, program: &str, words: &[&str]) -> anyhow::Result<()> {
        let program = self.binaries.join(program).display().to_string();
        let mut all = self.within.clone();
        if let Some((user, group)) = self.owner.0 {
            all.extend(["setpriv".to_owned(), format!("--reuid={user}")]);
            all.extend([format!("--regid={group}"), "--clear-groups".to_owned()]);
        }
        all.push(program.clone());
        let (first, rest) = all.split_first().context("no program")?;
        let status = Command::new(first)
            .args(rest)
            .args(words)
            .current_dir("/")
            // The server that pg_ctl starts keeps open what it inherits.
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("{first} cannot be run"))?;
        ensure!(status.success(), "{program} {} failed", words.join(" "));
        Ok(())
    }

    /// The address of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://herald@{}:{}/{database}", self.host, self.port)
    }
}
