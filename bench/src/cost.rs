//! What storing and applying costs: CPU time, bytes written, and how much the database grows.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use serde_json::{Map, Value, json};

use crate::database;

/// Linux tells programs CPU time in hundredths of a second, whatever it counts in itself.
const TICK_MICROS: u64 = 10_000;

/// What every process of PostgreSQL is called.
const POSTGRES: &str = "postgres";

/// Measures from the moment it was made.
pub struct Meter {
    /// The server's process.
    server: u32,
    kind: Kind,
    before: Reading,
    bytes_before: u64,
}

enum Kind {
    Sqlite,
    /// With its processes, if they are on this machine.
    Postgres(Option<Cluster>),
}

/// What was used up to some moment; nothing where it cannot be read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    server_micros: Option<u64>,
    /// Of the database's processes: none on SQLite.
    database_micros: Option<u64>,
    written: Option<u64>,
}

impl Meter {
    pub async fn start(connection: &DatabaseConnection, server: u32) -> anyhow::Result<Self> {
        let kind = if connection.get_database_backend() == DbBackend::Postgres {
            // What is counted meanwhile is not to have helpers, whose time would be counted, too.
            connection
                .execute_unprepared("SET max_parallel_workers_per_gather = 0")
                .await?;
            Kind::Postgres(Cluster::of(connection).await?)
        } else {
            Kind::Sqlite
        };
        let bytes_before = bytes(connection).await?;
        let before = read(connection, server, &kind).await?;
        Ok(Self {
            server,
            kind,
            before,
            bytes_before,
        })
    }

    pub async fn read(&self, connection: &DatabaseConnection) -> anyhow::Result<Reading> {
        read(connection, self.server, &self.kind).await
    }

    /// What was used until `after`, by each status that was applied until then; and how much the
    /// database has grown until now, by each that is stored.
    pub async fn keys(
        &self,
        connection: &DatabaseConnection,
        after: Reading,
        applied: u64,
        stored: u64,
    ) -> anyhow::Result<Value> {
        let server = spent(self.before.server_micros, after.server_micros);
        let database = spent(self.before.database_micros, after.database_micros);
        let both = server
            .zip(database)
            .map(|(server, database)| server + database);
        let written = spent(self.before.written, after.written);
        let grown = bytes(connection).await?.saturating_sub(self.bytes_before);
        let mut keys = Map::new();
        for (name, amount, statuses) in [
            ("cpu_micros_per_applied", both, applied),
            ("server_cpu_micros_per_applied", server, applied),
            ("written_bytes_per_applied", written, applied),
            ("database_bytes_per_applied", Some(grown), stored),
        ] {
            if let Some(each) = amount.and_then(|amount| each(amount, statuses)) {
                keys.insert(name.to_owned(), json!(each));
            }
        }
        Ok(Value::Object(keys))
    }
}

fn spent(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    let (before, after) = before.zip(after)?;
    Some(after.saturating_sub(before))
}

/// Rounded; nothing where there are no statuses.
fn each(amount: u64, statuses: u64) -> Option<u64> {
    (amount + statuses / 2).checked_div(statuses)
}

async fn read(
    connection: &DatabaseConnection,
    server: u32,
    kind: &Kind,
) -> anyhow::Result<Reading> {
    let (database_micros, written) = match kind {
        Kind::Sqlite => {
            let io = std::fs::read_to_string(format!("/proc/{server}/io"));
            (Some(0), io.ok().and_then(|io| written_bytes(&io)))
        }
        Kind::Postgres(cluster) => {
            let position = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
            let position = u64::try_from(database::number(connection, position).await?)?;
            let micros = cluster.as_ref().and_then(Cluster::micros);
            (micros, Some(position))
        }
    };
    Ok(Reading {
        server_micros: running(server).map(|process| process.ticks * TICK_MICROS),
        database_micros,
        written,
    })
}

/// The size of the database; on SQLite of both files, with what is in their logs only.
async fn bytes(connection: &DatabaseConnection) -> anyhow::Result<u64> {
    let sql = if connection.get_database_backend() == DbBackend::Postgres {
        "SELECT pg_database_size(current_database())"
    } else {
        "SELECT m.page_count * p.page_size + i.page_count * p.page_size \
         FROM pragma_page_count('main') AS m, pragma_page_count('inbox') AS i, pragma_page_size('main') AS p"
    };
    Ok(u64::try_from(database::number(connection, sql).await?)?)
}

/// PostgreSQL's processes on this machine.
struct Cluster {
    postmaster: u32,
    /// The one that answers this program: its time is not counted.
    own: u32,
}

impl Cluster {
    /// The processes behind a connection, unless they are somewhere else.
    async fn of(connection: &DatabaseConnection) -> anyhow::Result<Option<Self>> {
        let own = "SELECT pg_backend_pid()::bigint";
        let own = u32::try_from(database::number(connection, own).await?)?;
        let postgres = |pid: u32| running(pid).filter(|process| process.name == POSTGRES);
        let parent = postgres(own).map(|process| process.parent);
        let postmaster = parent.filter(|parent| postgres(*parent).is_some());
        Ok(postmaster.map(|postmaster| Self { postmaster, own }))
    }

    /// CPU time of the postmaster and its children, those that have ended included.
    fn micros(&self) -> Option<u64> {
        let postmaster = running(self.postmaster)?;
        let mut ticks = postmaster.ticks + postmaster.ticks_of_ended;
        for entry in std::fs::read_dir("/proc").ok()? {
            let name = entry.ok()?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            if pid != self.own
                && let Some(process) = running(pid)
                && process.parent == self.postmaster
                && process.name == POSTGRES
            {
                ticks += process.ticks;
            }
        }
        Some(ticks * TICK_MICROS)
    }
}

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    name: String,
    parent: u32,
    /// CPU time of its own.
    ticks: u64,
    /// CPU time of its children that have ended.
    ticks_of_ended: u64,
}

fn running(pid: u32) -> Option<Process> {
    process(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads a line of `/proc/PID/stat`: `PID (NAME) STATE PARENT …`, where a name may have
/// parentheses and spaces.
fn process(line: &str) -> Option<Process> {
    let (before, after) = line.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Process {
        name: name.to_owned(),
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)?,
        ticks_of_ended: number(13)? + number(14)?,
    })
}

/// Reads from `/proc/PID/io` what a process had written to a disk.
fn written_bytes(io: &str) -> Option<u64> {
    io.lines()
        .find_map(|line| line.strip_prefix("write_bytes:"))
        .and_then(|bytes| bytes.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{Process, each, process, spent, written_bytes};

    #[test]
    fn a_process_is_read_from_its_line() {
        let line = "3349 (postgres) S 32139 3349 3349 0 -1 4194304 100 0 0 0 250 30 7 8 20 0 1 0 553629 3133440 383\n";
        let read = Process {
            name: "postgres".to_owned(),
            parent: 32_139,
            ticks: 280,
            ticks_of_ended: 15,
        };
        assert_eq!(process(line), Some(read));
    }

    #[test]
    fn a_name_may_look_like_the_end_of_a_name() {
        let line = "7 (a) R 9 (b c)) S 1 7 7 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 5 6 7";
        let read = Process {
            name: "a) R 9 (b c)".to_owned(),
            parent: 1,
            ticks: 3,
            ticks_of_ended: 7,
        };
        assert_eq!(process(line), Some(read));
    }

    #[test]
    fn a_line_that_ends_too_early_is_no_process() {
        assert_eq!(process(""), None);
        assert_eq!(process("7 (cat"), None);
        assert_eq!(process("7 (cat) R 1 7 7 0 -1 0 0 0 0 0 1 2 3"), None);
    }

    #[test]
    fn what_was_written_is_not_what_was_cancelled() {
        let io =
            "rchar: 6976\nwchar: 1\nread_bytes: 3\ncancelled_write_bytes: 5\nwrite_bytes: 4096\n";
        assert_eq!(written_bytes(io), Some(4096));
        assert_eq!(written_bytes("cancelled_write_bytes: 5\n"), None);
    }

    #[test]
    fn nothing_is_said_of_what_is_not_known() {
        assert_eq!(spent(Some(3), Some(10)), Some(7));
        assert_eq!(spent(None, Some(10)), None);
        assert_eq!(each(7, 2), Some(4));
        assert_eq!(each(7, 0), None);
    }
}
