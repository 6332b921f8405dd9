//! The command line: one file per command. Commands work on the database through `engine`, with the
//! settings of `serve`.

mod backup;
mod bounce;
mod built_in;
mod by_hand;
mod callbacks;
mod catalogue;
mod check;
mod contacts;
mod dev;
mod dev_file;
mod events;
mod explain;
mod groups;
mod hold;
mod keys;
mod migrate;
mod people;
mod restore;
mod sandbox;
mod scenario;
mod send;
mod senders;
mod serve;
mod stats;
mod suppressions;
mod templates;
mod users;

use std::{io::Write, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    app::CommittedDataLostError,
    config::{self, Config, ConfigError, SecretStrictness},
    domain::text::for_terminal,
    store::{
        StoreError,
        backup::BackupError,
        connect::DatabaseOpenError,
        sqlite_file::{DamagedDatabaseFileError, DatabaseFileCheckError},
    },
    telemetry,
};

/// Sends WhatsApp notifications and tracks their delivery.
#[derive(Debug, Parser)]
#[command(
    name = "herald",
    version,
    about,
    after_help = "Exit codes: 0 done · 1 failed or refused · 2 wrong use or wrong settings · 6 the database or a backup is damaged"
)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    Serve(serve::ServeCommand),
    Dev(dev::DevCommand),
    Migrate(migrate::MigrateCommand),
    Backup(backup::BackupCommand),
    Restore(restore::RestoreCommand),
    Hold(hold::SendingHoldCommand),
    Plan(catalogue::CataloguePlanCommand),
    Apply(catalogue::CatalogueApplyCommand),
    Keys(keys::ApiKeysCommand),
    Callbacks(callbacks::CallbacksCommand),
    Check(check::InstallationCheckCommand),
    Events(events::EventsCommand),
    Explain(explain::ExplainCommand),
    Retry(by_hand::RetryCommand),
    Cancel(by_hand::CancelCommand),
    #[command(name = "send-now")]
    SendNow(by_hand::SendNowCommand),
    Senders(senders::SendersCommand),
    Stats(stats::StatsCommand),
    Users(users::UsersCommand),
    Groups(groups::StaffGroupsCommand),
    Templates(templates::TemplatesCommand),
    Contacts(contacts::ContactsCommand),
    Send(send::SendCommand),
    Bounce(bounce::BounceCommand),
    Suppressions(suppressions::SuppressionsCommand),
    Sandbox(sandbox::SandboxCommand),
}

/// Exit code of a server whose commits are missing in the database (sysexits.h: EX_IOERR).
const COMMITS_MISSING: u8 = 74;

/// Parses the command line, runs the command, and returns the exit code.
pub fn main() -> ExitCode {
    main_from(std::env::args_os())
}

/// Like [`main`], with the given words: the first is the program's name.
pub fn main_from(words: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    // One TLS implementation for the process; an error means it is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let cli = Cli::parse_from(words);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("herald cannot start: {error}"));
            return ExitCode::from(1);
        }
    };
    // Not dropped: threads that a second signal left running would panic without it.
    let runtime = std::mem::ManuallyDrop::new(runtime);
    match runtime.block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The error has been printed already.
            if let Some(ExitCodeError(code)) = error.downcast_ref() {
                return ExitCode::from(*code);
            }
            complain(&format!("herald: {}", chain(&error)));
            if finds_damage(&error) {
                complain(
                    "The database file is damaged: restore a backup with `herald restore FILE --replace`, which keeps the damaged file beside it (docs/backup.md).",
                );
            }
            ExitCode::from(exit_code(&error))
        }
    }
}

/// This exit code tells a supervisor that an operator must act: a restart does not help.
const DAMAGED: u8 = 6;

fn exit_code(error: &anyhow::Error) -> u8 {
    let damaged = error.is::<DamagedDatabaseFileError>()
        || matches!(
            error.downcast_ref(),
            Some(DatabaseFileCheckError::Damaged(_))
        )
        || matches!(error.downcast_ref(), Some(DatabaseOpenError::Damaged(_)))
        || error.downcast_ref().is_some_and(BackupError::is_damage);
    if damaged || finds_damage(error) {
        DAMAGED
    } else if error.is::<ConfigError>() {
        2
    } else if error.is::<CommittedDataLostError>() {
        COMMITS_MISSING
    } else {
        1
    }
}

/// Whether SQLite reported its file as malformed or not a database during a command.
fn finds_damage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let backup = cause.downcast_ref().and_then(BackupError::store_error);
        cause
            .downcast_ref()
            .or(backup)
            .is_some_and(StoreError::is_damage)
    })
}

/// Exit code of a command that has printed its findings already.
#[derive(Debug, thiserror::Error)]
#[error("ended with {0}")]
struct ExitCodeError(u8);

async fn run(command: CliCommand) -> anyhow::Result<()> {
    match command {
        CliCommand::Serve(command) => command.run().await,
        CliCommand::Dev(command) => command.run().await,
        CliCommand::Migrate(command) => command.run().await,
        CliCommand::Backup(command) => command.run().await,
        CliCommand::Restore(command) => command.run().await,
        CliCommand::Hold(command) => command.run().await,
        CliCommand::Plan(command) => command.run().await,
        CliCommand::Apply(command) => command.run().await,
        CliCommand::Keys(command) => command.run().await,
        CliCommand::Callbacks(command) => command.run().await,
        CliCommand::Check(command) => command.run().await,
        CliCommand::Events(command) => command.run().await,
        CliCommand::Explain(command) => command.run().await,
        CliCommand::Retry(command) => command.run().await,
        CliCommand::Cancel(command) => command.run().await,
        CliCommand::SendNow(command) => command.run().await,
        CliCommand::Senders(command) => command.run().await,
        CliCommand::Stats(command) => command.run().await,
        CliCommand::Users(command) => command.run().await,
        CliCommand::Groups(command) => command.run().await,
        CliCommand::Templates(command) => command.run().await,
        CliCommand::Contacts(command) => command.run().await,
        CliCommand::Send(command) => command.run().await,
        CliCommand::Bounce(command) => command.run().await,
        CliCommand::Suppressions(command) => command.run().await,
        CliCommand::Sandbox(command) => command.run().await,
    }
}

/// An error and its causes, one a line.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        text.push_str("\n  because ");
        text.push_str(&cause.to_string());
    }
    text
}

/// The settings of a command, with logging started: those of a running `herald dev` if there is
/// one.
fn settings() -> anyhow::Result<Config> {
    let (values, strictness) = values_beside_dev()?;
    with_logs(values.config(strictness)?)
}

/// The settings of a server, with logging started: only its own.
fn own_settings() -> anyhow::Result<Config> {
    with_logs(config::from_environment()?.config(SecretStrictness::Production)?)
}

fn values_beside_dev() -> anyhow::Result<(config::SettingValues, SecretStrictness)> {
    let mut values = config::from_environment()?;
    let strictness = if dev_file::fill(&mut values) {
        SecretStrictness::Development
    } else {
        SecretStrictness::Production
    };
    Ok((values, strictness))
}

fn with_logs(config: Config) -> anyhow::Result<Config> {
    telemetry::init_logs(&config.log.filter, config.log.json)
        .map_err(|mistake| ConfigError(vec![mistake]))?;
    Ok(config)
}

/// Prints a line for people. Everything that commands print goes through here, so that no foreign
/// name changes a terminal. A closed pipe is not an error.
fn say(text: impl AsRef<str>) {
    drop(writeln!(
        std::io::stdout(),
        "{}",
        for_terminal(text.as_ref())
    ));
}

fn complain(text: &str) {
    drop(writeln!(std::io::stderr(), "{}", for_terminal(text)));
}
