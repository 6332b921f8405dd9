//! Where the rounds happen: a database for each on a disk that can fail.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use sea_orm::{ConnectOptions, ConnectionTrait, Database};

use super::{
    Fault,
    faults::{Ballast, Failure, SmallDisk, Switch},
};
use crate::{
    Common,
    cluster::{Cluster, Owner},
    database::{self, Fresh},
    server,
    system::empty_folder,
};

/// Notifications whose statuses come in.
pub const NOTIFICATIONS: u64 = 8_000;

/// Room for a database, its log, and what a round adds.
const DISK_MIB: u64 = 128;

/// Room for the log of a PostgreSQL that keeps 8 MiB of it.
const WAL_MIB: u64 = 48;

/// What all rounds on one kind of database share: the seed they start from.
pub struct Site {
    seed: Fresh,
    pub key: String,
    switch: Switch,
    /// With the folder of its tablespaces.
    cluster: Option<(Cluster, SmallDisk)>,
    owner: Owner,
    round: u32,
}

/// A database on a disk that can fail.
pub struct Place {
    pub url: String,
    /// What the server gets as its data directory.
    pub data: PathBuf,
    /// For the server, so that its disk can fail.
    pub settings: Vec<(&'static str, String)>,
    fault: Fault,
    ballast: Option<Ballast>,
    disk: SmallDisk,
}

impl Site {
    pub async fn build(directory: &Path, is_postgres: bool) -> anyhow::Result<Self> {
        let owner = Owner::find()?;
        let cluster = if is_postgres {
            // PostgreSQL has to get there.
            owner.give(directory)?;
            Some(cluster(directory, owner)?)
        } else {
            None
        };
        let common = Common {
            database: cluster.as_ref().map(|(it, _)| it.url("postgres")),
            seconds: 0,
            json: false,
            directory: Some(directory.join("seed")),
        };
        let seed = Fresh::make(&common, "disk").await?;
        let words = ["keys", "create", "bench", "--all"];
        let key = server::command(&seed.url, &seed.directory, &words)?;
        // Last: it leaves nothing in SQLite's log, so that the file alone can be copied.
        database::seed_of_sender(&seed, NOTIFICATIONS).await?;
        Ok(Self {
            seed,
            key,
            switch: Switch::build(directory)?,
            cluster,
            owner,
            round: 0,
        })
    }

    /// A copy of the seed on a disk of its own.
    pub async fn place(&mut self, fault: Fault, folder: &Path) -> anyhow::Result<Place> {
        self.round += 1;
        let disk = SmallDisk::mount(folder.join("disk"), DISK_MIB)?;
        let data = disk.path.join("data");
        std::fs::create_dir_all(&data)?;
        let (url, data) = if let Some((cluster, _)) = &self.cluster {
            let name = format!("round_{}", self.round);
            self.owner.give(&data)?;
            let (_, seed) = self.seed.url.rsplit_once('/').context("no database")?;
            let admin = Database::connect(cluster.url("postgres")).await?;
            let tablespace = format!("CREATE TABLESPACE {name} LOCATION '{}'", data.display());
            admin.execute_unprepared(&tablespace).await?;
            let database = format!("CREATE DATABASE {name} TEMPLATE {seed} TABLESPACE {name}");
            admin.execute_unprepared(&database).await?;
            admin.close().await?;
            (cluster.url(&name), folder.to_owned())
        } else {
            let file = data.join("herald.sqlite");
            for name in ["herald.sqlite", "herald.sqlite.inbox"] {
                std::fs::copy(self.seed.directory.join(name), data.join(name))?;
            }
            (format!("sqlite:{}", file.display()), data)
        };
        let settings = match fault {
            Fault::IoError | Fault::ReadOnly | Fault::SyncFails | Fault::ShortWrite => {
                self.switch.settings(&data)
            }
            _ => Vec::new(),
        };
        Ok(Place {
            url,
            data,
            settings,
            fault,
            ballast: None,
            disk,
        })
    }

    /// Lets the disk fail from now on.
    pub async fn fail(&self, place: &mut Place) -> anyhow::Result<()> {
        match (place.fault, &self.cluster) {
            (Fault::Full | Fault::StartFull | Fault::Tablespace, _) => {
                place.ballast = Some(Ballast::fill(&place.disk.path)?);
            }
            (Fault::StartReadOnly, _) => place.disk.read_only()?,
            (Fault::Wal, Some((cluster, wal))) => {
                place.ballast = Some(Ballast::fill(&wal.path)?);
                use_up_wal(cluster).await;
            }
            (fault, _) => {
                self.switch.set(match fault {
                    Fault::IoError => Failure::IoError,
                    Fault::ReadOnly => Failure::ReadOnly,
                    Fault::SyncFails => Failure::SyncFails,
                    _ => Failure::ShortWrite,
                })?;
            }
        }
        Ok(())
    }

    /// Lets it work again.
    pub async fn mend(&self, place: &mut Place) -> anyhow::Result<()> {
        place.ballast = None;
        self.switch.set(Failure::Nothing)?;
        if place.fault == Fault::StartReadOnly {
            place.disk.writable()?;
        }
        let Some((cluster, _)) = &self.cluster else {
            return Ok(());
        };
        let started = Instant::now();
        let mut options = ConnectOptions::new(cluster.url("postgres"));
        options.acquire_timeout(Duration::from_secs(1));
        loop {
            // Without room for its log it ends while it starts again.
            if !cluster.is_running() {
                cluster.start()?;
            }
            if Database::connect(options.clone()).await.is_ok() {
                return Ok(());
            }
            ensure!(
                started.elapsed() < Duration::from_secs(30),
                "PostgreSQL does not answer"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How often the library let something fail.
    pub fn strikes(&self) -> anyhow::Result<u32> {
        self.switch.strikes()
    }

    /// Ends a round: its tablespace goes with its disk.
    pub async fn clear(&self, place: Place) -> anyhow::Result<()> {
        if let Some((cluster, _)) = &self.cluster {
            let (_, name) = place.url.rsplit_once('/').context("no database")?;
            let admin = Database::connect(cluster.url("postgres")).await?;
            for sql in [
                format!("DROP DATABASE {name} WITH (FORCE)"),
                format!("DROP TABLESPACE {name}"),
            ] {
                admin.execute_unprepared(&sql).await?;
            }
            admin.close().await?;
        }
        Ok(())
    }
}

/// A PostgreSQL whose log is on a small disk and soon needs a new file.
fn cluster(directory: &Path, owner: Owner) -> anyhow::Result<(Cluster, SmallDisk)> {
    let folder = directory.join("postgres");
    empty_folder(&folder)?;
    let wal = SmallDisk::mount(folder.join("wal"), WAL_MIB)?;
    owner.give(&folder)?;
    let pg_wal = wal.path.join("pg_wal");
    std::fs::create_dir(&pg_wal)?;
    owner.give(&pg_wal)?;
    let port = server::free_address()?.port();
    let cluster = Cluster::at(folder.join("data"), "127.0.0.1", port, &[], owner)?;
    let place = format!("--waldir={}", pg_wal.display());
    cluster.make(
        &[&place, "--wal-segsize=1"],
        "max_wal_size = '8MB'\nmin_wal_size = '2MB'\nmax_connections = 60",
    )?;
    cluster.start()?;
    Ok((cluster, wal))
}

/// Uses up the files of the log that are there for later.
async fn use_up_wal(cluster: &Cluster) {
    let Ok(admin) = Database::connect(cluster.url("postgres")).await else {
        return;
    };
    for _ in 0..200 {
        let sql =
            "SELECT pg_logical_emit_message(true, 'bench', repeat('x', 100000)), pg_switch_wal()";
        if admin.execute_unprepared(sql).await.is_err() {
            return;
        }
    }
}
