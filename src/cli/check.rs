//! `herald check`: checks whether this installation can work.

use anyhow::Context;
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::{ExitCodeError, say, values_beside_dev};
use crate::{
    app,
    config::{Config, setting},
    domain::credential,
    engine::{
        Engine,
        insight::check::{
            self, FindingSeverity, InstallationCheckInputs, InstallationCheckResult,
            InstallationCheckSide,
        },
        runtime::clock::OF_PROCESS,
    },
    state::{Clock, random_bytes},
    store::connect,
    telemetry,
};

/// Checks whether this installation can work: settings, database, workers, and whether Meta can
/// reach it; and at Meta: token, number, account, subscription, callback address, templates. Each
/// problem is shown with its remedy.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 all is well · 1 the check could not be run · 2 wrong settings ·\n\
                  3 something here fails · 4 something at Meta fails · 5 warnings only, with --strict\n\n\
                  Examples:\n  herald check\n  herald check --strict --json   (for a pipeline)"
)]
pub(super) struct InstallationCheckCommand {
    /// Treat warnings as failures.
    #[arg(long)]
    strict: bool,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    json: bool,
}

/// The purpose of each setting.
const NEEDED: [(&str, &str); 8] = [
    ("HERALD_SECRET_KEY", "serve, credentials"),
    ("DATABASE_URL", "PostgreSQL; absent: SQLite"),
    ("WHATSAPP_PHONE_NUMBER_ID", "sending"),
    ("WHATSAPP_ACCESS_TOKEN", "sending"),
    ("WHATSAPP_APP_SECRET", "callbacks"),
    ("WHATSAPP_WEBHOOK_VERIFY_TOKEN", "registering the webhook"),
    ("WHATSAPP_WABA_ID", "templates, subscription"),
    ("HERALD_PUBLIC_URL", "this check, links"),
];

/// The purpose of settings that are shown if they are set.
const OPTIONAL: [(&str, &str); 6] = [
    ("MYOPERATOR_PHONE_NUMBER", "sending by MyOperator"),
    ("MYOPERATOR_API_KEY", "sending by MyOperator"),
    ("MYOPERATOR_API_SECRET", "callbacks of MyOperator"),
    ("SMTP_URL", "e-mail"),
    ("SMTP_FROM", "e-mail"),
    ("SMTP_CA_FILE", "e-mail"),
];

impl InstallationCheckCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (values, strictness) = values_beside_dev()?;
        let config = values.config(strictness)?;
        // Findings are printed as rows; log lines would disturb them.
        telemetry::init_logs("off", false).map_err(anyhow::Error::msg)?;
        let rows = look(&config).await?;
        let settings: Vec<(&str, String, &str)> = NEEDED
            .iter()
            .map(|(name, needed)| (*name, shown(&values, name), *needed))
            .chain(OPTIONAL.iter().filter_map(|(name, needed)| {
                let value = shown(&values, name);
                (value != NOT_SET).then_some((*name, value, *needed))
            }))
            .collect();
        if self.json {
            let settings: serde_json::Map<_, _> = settings
                .iter()
                .map(|(name, value, _)| ((*name).to_owned(), json!(value)))
                .collect();
            let document = json!({ "valid": exit_code(&rows, self.strict) == 0, "settings": settings, "rows": rows });
            say(serde_json::to_string_pretty(&document)?);
        } else {
            print(&settings, &rows);
        }
        match exit_code(&rows, self.strict) {
            0 => Ok(()),
            code => Err(ExitCodeError(code).into()),
        }
    }
}

const NOT_SET: &str = "not set";

/// A setting's value; secrets masked.
fn shown(values: &std::collections::HashMap<String, String>, name: &str) -> String {
    let Some(setting) = setting(name) else {
        return NOT_SET.to_owned();
    };
    match setting.value_in(values) {
        None => NOT_SET.to_owned(),
        Some(value) if setting.secret => credential::masked(value),
        Some(value) => value.to_owned(),
    }
}

async fn look(config: &Config) -> anyhow::Result<Vec<InstallationCheckResult>> {
    // Checked before it is opened, which closes our own files to others.
    let files = connect::sqlite_file(&config.database_url()).map(check::files);
    let opened = app::open_database(config, connect::ConnectPurpose::Command).await;
    let store = match opened {
        Ok(store) => store,
        Err(error) => return Ok(vec![check::database(&error.to_string())]),
    };
    if let Err(error) = OF_PROCESS.follow(&store).await {
        return Ok(vec![check::database(&error.to_string())]);
    }
    let (mut rows, readable) = check::of_database(&store).await;
    rows.extend(files);
    if !readable {
        return Ok(rows);
    }
    let engine = match app::command_engine(config, store).await {
        Ok(engine) => engine,
        Err(error) => {
            rows.push(
                InstallationCheckResult::new(InstallationCheckSide::Ours, "secret_key", FindingSeverity::Failed, error.to_string())
                    .helps("Set the key that this database was made with, or it and the new one as HERALD_SECRET_KEY_PREVIOUS and HERALD_SECRET_KEY."),
            );
            return Ok(rows);
        }
    };
    rows.extend(look_with(config, &engine, None).await?);
    Ok(rows)
}

/// The checks after the database is known to be good: of one sender, or of all.
pub(super) async fn look_with(
    config: &Config,
    engine: &Engine,
    sender: Option<Uuid>,
) -> anyhow::Result<Vec<InstallationCheckResult>> {
    let random: [u8; 16] = random_bytes().context("the system gives no random bytes")?;
    let asked = InstallationCheckInputs {
        public_url: config.server.public_url.clone(),
        nonce: hex::encode(random),
        timeout: config.calls.timeout,
        is_enabled: config.engine.sending.enabled,
        sender,
    };
    Ok(check::run(engine, &asked, Clock::System.now()).await?)
}

/// The exit code, by the side that can fix the problem.
fn exit_code(rows: &[InstallationCheckResult], strict: bool) -> u8 {
    let fails = |area: InstallationCheckSide| {
        rows.iter()
            .any(|row| row.area == area && row.verdict == FindingSeverity::Failed)
    };
    if fails(InstallationCheckSide::Ours) {
        3
    } else if fails(InstallationCheckSide::Provider) {
        4
    } else if strict
        && rows
            .iter()
            .any(|row| row.verdict == FindingSeverity::Warning)
    {
        5
    } else {
        0
    }
}

fn print(settings: &[(&str, String, &str)], rows: &[InstallationCheckResult]) {
    say("Settings");
    for (name, value, needed) in settings {
        say(format!("  {name:<30} {value:<28} for {needed}"));
    }
    for (area, title) in [
        (InstallationCheckSide::Ours, "Here"),
        (InstallationCheckSide::Provider, "At the provider"),
    ] {
        let of_area: Vec<&InstallationCheckResult> =
            rows.iter().filter(|row| row.area == area).collect();
        if of_area.is_empty() {
            continue;
        }
        say(format!("\n{title}"));
        for row in of_area {
            let mark = match row.verdict {
                FindingSeverity::Ok => "ok     ",
                FindingSeverity::Skipped => "-      ",
                FindingSeverity::Warning => "WARNING",
                FindingSeverity::Failed => "FAILED ",
            };
            let about = row
                .about
                .as_ref()
                .map_or_else(String::new, |about| format!("{about}: "));
            say(format!("  {mark}  {:<20} {about}{}", row.name, row.found));
            if !row.remedy.is_empty() {
                say(format!("           {:<20} -> {}", "", row.remedy));
            }
        }
    }
    let count = |verdict: FindingSeverity| rows.iter().filter(|row| row.verdict == verdict).count();
    let (failed, warnings) = (
        count(FindingSeverity::Failed),
        count(FindingSeverity::Warning),
    );
    say(match (failed, warnings) {
        (0, 0) => "\nVALID: all is well.".to_owned(),
        (0, 1) => "\nVALID, with 1 warning.".to_owned(),
        (0, warnings) => format!("\nVALID, with {warnings} warnings."),
        (1, warnings) => format!("\nNOT VALID: 1 thing fails, {warnings} warnings."),
        (failed, warnings) => format!("\nNOT VALID: {failed} things fail, {warnings} warnings."),
    });
}
