//! `bench disk`

mod faults;
mod place;
mod round;

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::{print, progress, verdict::Verdict};
use place::Site;

/// A disk that fails under load: while it does, nothing may be acknowledged; once it works
/// again, everything that was acknowledged must be there, and the server must go on.
#[derive(Debug, Args)]
pub struct Disk {
    /// Rounds of each fault that end with SIGTERM, and as many with kill -9.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// How long the disk fails.
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// Only this fault; may be given several times.
    #[arg(long = "fault", value_enum)]
    faults: Vec<Fault>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Where logs and ledgers go; a fresh folder if absent.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// How a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub enum Fault {
    /// SQLite: another file fills the file system.
    Full,
    /// SQLite: EIO from every write and sync.
    IoError,
    /// SQLite: EROFS, as after an error that made the file system read-only.
    ReadOnly,
    /// SQLite: writes succeed and fsync does not.
    SyncFails,
    /// SQLite: half of each write is done, then there is no room.
    ShortWrite,
    /// SQLite: the server starts on a full file system.
    StartFull,
    /// SQLite: the server starts on a read-only file system.
    StartReadOnly,
    /// PostgreSQL: the tablespace is full.
    Tablespace,
    /// PostgreSQL: `pg_wal` is full, which stops PostgreSQL.
    Wal,
}

impl Fault {
    const fn is_postgres(self) -> bool {
        matches!(self, Self::Tablespace | Self::Wal)
    }

    /// The disk fails before the server starts.
    const fn is_at_start(self) -> bool {
        matches!(self, Self::StartFull | Self::StartReadOnly)
    }

    /// What fits into files that exist can still be stored while it lasts: SQLite begins its log
    /// anew in the same file, PostgreSQL fills pages.
    const fn leaves_room(self) -> bool {
        matches!(self, Self::Full | Self::Tablespace)
    }

    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The sums of all rounds.
#[derive(Default)]
struct Sums {
    rounds: u32,
    kills: u32,
    verdict: Verdict,
    refused: usize,
    taken_while_failing: usize,
    ready_off_ms: u64,
    recovery_ms: u64,
    wrong: Vec<String>,
}

impl Disk {
    pub async fn run(self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let directory = self.directory.clone();
        let directory = directory.unwrap_or_else(|| folder.path().to_owned());
        std::fs::create_dir_all(&directory)?;
        let mut sums = Sums::default();
        for is_postgres in [false, true] {
            let faults = self.faults(is_postgres);
            if !faults.is_empty() {
                let mut site = Site::build(&directory, is_postgres).await?;
                for fault in faults {
                    self.play(&mut site, &directory, fault, &mut sums).await;
                }
            }
        }
        print(
            &json!({
                "rounds": sums.rounds,
                "kills": sums.kills,
                "acknowledged": sums.verdict.acknowledged,
                "accepted": sums.verdict.accepted,
                "missing_callbacks": sums.verdict.missing_callbacks,
                "missing_sends": sums.verdict.missing_sends,
                "doubled": sums.verdict.doubled,
                "undone": sums.verdict.undone,
                "unsent": sums.verdict.unsent,
                "gave_up": sums.verdict.gave_up,
                "refused_while_failing": sums.refused,
                "taken_while_failing": sums.taken_while_failing,
                "longest_until_not_ready_ms": sums.ready_off_ms,
                "longest_recovery_ms": sums.recovery_ms,
                "wrong": sums.wrong,
            }),
            self.json,
        );
        ensure!(
            sums.wrong.is_empty(),
            "{} things went wrong",
            sums.wrong.len()
        );
        Ok(())
    }

    fn faults(&self, is_postgres: bool) -> Vec<Fault> {
        let all = if self.faults.is_empty() {
            Fault::value_variants()
        } else {
            &self.faults
        };
        all.iter()
            .copied()
            .filter(|fault| fault.is_postgres() == is_postgres)
            .collect()
    }

    async fn play(&self, site: &mut Site, directory: &Path, fault: Fault, sums: &mut Sums) {
        for number in 0..self.rounds * 2 {
            let kills = number % 2 == 1;
            let name = format!(
                "{}-{}{}",
                fault.name(),
                number / 2 + 1,
                if kills { "-kill" } else { "" }
            );
            sums.rounds += 1;
            let folder = directory.join(&name);
            let plan = round::Plan {
                fault,
                seconds: self.seconds,
                kills,
                folder,
            };
            match plan.play(site).await {
                Ok(done) => {
                    progress(&format!("{name}: {}", done.summary()));
                    sums.kills += done.kills;
                    sums.verdict.add(&done.verdict);
                    sums.refused += done.refused;
                    sums.taken_while_failing += done.taken;
                    sums.ready_off_ms = sums.ready_off_ms.max(done.ready_off_ms);
                    sums.recovery_ms = sums.recovery_ms.max(done.recovery_ms);
                    let wrong = done.wrong.iter().map(|what| format!("{name}: {what}"));
                    sums.wrong.extend(wrong);
                }
                Err(error) => {
                    progress(&format!("{name}: {error:#}"));
                    sums.wrong.push(format!("{name}: {error:#}"));
                }
            }
        }
    }
}
