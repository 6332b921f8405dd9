//! Load, crash and speed programs anyone can run. They keep ledgers of their
//! own and compare those with the database; what is measured does not write
//! the meter.

mod backlog;
mod behind;
mod chaos;
mod cluster;
mod cost;
mod crash;
mod database;
mod disk;
mod failover;
mod fanout;
mod ingest;
mod load;
mod memory;
mod network;
mod outbound;
mod pace;
mod query;
mod record;
mod send;
mod server;
mod siege;
mod steady;
mod system;
mod traffic;
mod verdict;
mod waiting;
mod year;

use std::{io::Write, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// Measures Herald on this machine.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Signed callbacks into the real server: durable, one transaction per request, bare.
    Ingest(ingest::Ingest),
    /// More callbacks than can be applied, and then fewer: what is refused, lost and late.
    Backlog(backlog::Backlog),
    /// Kills the server again and again under load, and looks for what was lost.
    Crash(crash::Crash),
    /// A disk that is full or fails, again and again under load.
    Disk(disk::Disk),
    /// PostgreSQL's host disappears under load, and its standby is promoted.
    Failover(failover::Failover),
    /// A bad day at the provider, and a process killed every few seconds.
    Chaos(chaos::Chaos),
    /// Messages out, against the sandbox.
    Send(send::Send),
    /// An event to 100,000 people in 50 groups, while callbacks come in.
    Fanout(fanout::Fanout),
    /// Messages to others, beside a million that wait for one person or a template.
    Waiting(waiting::Waiting),
    /// How well the pace of a number is kept and used.
    Pace(pace::Pace),
    /// How long pages and statistics take with few notifications and with many.
    Query(query::Query),
    /// Good callbacks beside hostile connections, with and without a proxy.
    Siege(siege::Command),
    /// The server's memory under the largest bodies, and over a long queue.
    Memory(memory::Memory),
    /// How large a year is, with what is old deleted.
    Year(year::Year),
}

/// What every program takes.
#[derive(Clone, Debug, Args)]
struct Common {
    /// `postgres://…`: a fresh database is made there. Default: a SQLite file in a fresh folder.
    #[arg(long)]
    database: Option<String>,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Where ledgers and SQLite files go; a fresh folder if absent.
    #[arg(long)]
    directory: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    // The program starts itself as the server: one build measures what it runs.
    let words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "herald") {
        return herald::cli::main_from(words.into_iter().skip(1));
    }
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(1)
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(async {
            match cli.command {
                Command::Ingest(command) => command.run().await,
                Command::Backlog(command) => command.run().await,
                Command::Crash(command) => command.run().await,
                Command::Disk(command) => command.run().await,
                Command::Failover(command) => command.run().await,
                Command::Chaos(command) => command.run().await,
                Command::Send(command) => command.run().await,
                Command::Fanout(command) => command.run().await,
                Command::Waiting(command) => command.run().await,
                Command::Pace(command) => command.run().await,
                Command::Memory(command) => command.run().await,
                Command::Siege(command) => command.run().await,
                Command::Query(command) => command.run().await,
                Command::Year(command) => command.run().await,
            }
        }),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "bench: {error:#}"));
            ExitCode::from(1)
        }
    }
}

/// Prints the result: one JSON object, or a line a key.
fn print(result: &serde_json::Value, json: bool) {
    let mut out = std::io::stdout();
    if json {
        drop(writeln!(out, "{result}"));
    } else if let Some(object) = result.as_object() {
        for (key, value) in object {
            drop(writeln!(out, "{key:<28} {value}"));
        }
    }
}

/// Says what is going on, beside the result.
fn progress(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
