//! `herald templates plan|sync|status|show|pull`: templates at Meta.

mod pull;
mod show;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{ExitCodeError, complain, say, settings};
use crate::{
    app,
    domain::template_status::{TemplateOutlook, TemplateStatus},
    engine::{
        Engine,
        delivery::templates::{
            self, AccountTemplateComparison, SampleFiles, TemplateSyncMode, TemplateSyncOutcome,
            TemplateSyncReport, TemplateSyncRequest,
        },
    },
    providers,
    state::Clock,
    store::{
        catalogue as rows,
        template_sync::{self, ReportedTemplateState},
    },
};

/// Templates at Meta: compares them with the catalogues, creates and changes them, and shows their
/// status.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 all is as wanted · 1 something failed or was refused · \
                        2 wrong use or wrong settings · 3 there are differences (plan)"
)]
pub(super) struct TemplatesCommand {
    #[command(subcommand)]
    action: TemplatesSubcommand,
}

#[derive(Debug, Subcommand)]
enum TemplatesSubcommand {
    /// Shows what sync would do, and changes nothing. Example: `herald templates plan`
    Plan(TemplateSelectArgs),
    /// Creates templates that an account lacks, changes those that differ, and reports on each; a
    /// failure does not stop the rest. Example: `herald templates sync --template welcome_message`
    Sync {
        #[command(flatten)]
        which: TemplateSelectArgs,
        /// Only print the templates as Meta wants them, for creating them by hand; no account is
        /// read.
        #[arg(long)]
        display_only: bool,
        /// Only read their status.
        #[arg(long)]
        check_status: bool,
        /// A picture, video or document that Meta's reviewers see as the header of a template.
        /// Example: `--sample invoice=sample.pdf`
        #[arg(long = "sample", value_name = "TEMPLATE=FILE")]
        samples: Vec<String>,
    },
    /// Shows the last known status of the templates. Example: `herald templates status
    /// --check-status`
    Status {
        #[command(flatten)]
        which: TemplateSelectArgs,
        /// Read it from Meta first.
        #[arg(long)]
        check_status: bool,
    },
    /// Shows a template with its examples, as WhatsApp would. Example: `herald templates show
    /// order_confirmation`
    Show {
        name: String,
        /// One translation; all, if absent.
        #[arg(long)]
        language: Option<String>,
        #[arg(long, value_enum, default_value_t = TemplatesOutputFormat::Text)]
        format: TemplatesOutputFormat,
    },
    /// Writes templates that are in no catalogue as a catalogue. Example: `herald templates pull
    /// --into pulled.toml`
    Pull {
        /// One template, by Meta's name.
        #[arg(long)]
        template: Option<String>,
        /// The name of the catalogue.
        #[arg(long, default_value = "pulled")]
        catalogue: String,
        /// A new file; without it, the catalogue is printed.
        #[arg(long)]
        into: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct TemplateSelectArgs {
    /// One template, by its name in the catalogue.
    #[arg(long)]
    template: Option<String>,
    #[arg(long, value_enum, default_value_t = TemplatesOutputFormat::Text)]
    format: TemplatesOutputFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TemplatesOutputFormat {
    Text,
    Json,
}

/// Exit code of `plan` if there are differences.
const DIFFERENCES: u8 = 3;

impl TemplatesCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        let engine = app::command_engine(&config, store).await?;
        let http = providers::http_client(config.calls.timeout, config.calls.connect_timeout)
            .context("no HTTP client can be made")?;
        match self.action {
            TemplatesSubcommand::Plan(which) => {
                known(&engine, which.template.as_deref()).await?;
                let looked = look(
                    &engine,
                    &http,
                    &which,
                    TemplateSyncMode::Plan,
                    &SampleFiles::new(),
                )
                .await?;
                print(&looked, which.format);
                ended(&looked, true)
            }
            TemplatesSubcommand::Sync {
                which,
                display_only,
                check_status,
                samples,
            } => {
                let samples = read(&engine, &samples).await?;
                known(&engine, which.template.as_deref()).await?;
                if display_only {
                    return display(&engine, &which).await;
                }
                if check_status {
                    return asked_status(&engine, &http, &which).await;
                }
                let looked = look(&engine, &http, &which, TemplateSyncMode::Sync, &samples).await?;
                print(&looked, which.format);
                ended(&looked, false)
            }
            TemplatesSubcommand::Status {
                which,
                check_status,
            } => {
                known(&engine, which.template.as_deref()).await?;
                if check_status {
                    return asked_status(&engine, &http, &which).await;
                }
                status(&engine, &which).await
            }
            TemplatesSubcommand::Show {
                name,
                language,
                format,
            } => show::show(&engine, &name, language.as_deref(), format).await,
            TemplatesSubcommand::Pull {
                template,
                catalogue,
                into,
            } => {
                pull::pull(
                    &engine,
                    &http,
                    template.as_deref(),
                    catalogue,
                    into.as_deref(),
                )
                .await
            }
        }
    }
}

/// A name that is in no catalogue is a mistake, not an empty result.
async fn known(engine: &Engine, name: Option<&str>) -> anyhow::Result<()> {
    let Some(name) = name else { return Ok(()) };
    if rows::translations(engine.store.reader(), name)
        .await?
        .is_empty()
    {
        bail!("no catalogue has a template {name}");
    }
    Ok(())
}

/// Reads `TEMPLATE=FILE`.
async fn read(engine: &Engine, samples: &[String]) -> anyhow::Result<SampleFiles> {
    let mut all = SampleFiles::new();
    for sample in samples {
        let (name, file) = sample
            .split_once('=')
            .context("--sample is written TEMPLATE=FILE")?;
        known(engine, Some(name)).await?;
        let bytes = std::fs::read(file).with_context(|| format!("{file} cannot be read"))?;
        let filename = Path::new(file).file_name().and_then(|it| it.to_str());
        let format = engine
            .providers()
            .template_format()
            .context("no provider reviews templates")?;
        let sample = format
            .sample(filename.unwrap_or(file), bytes)
            .map_err(|rule| anyhow!("{file}: {rule}"))?;
        all.insert(name.to_owned(), sample);
    }
    Ok(all)
}

async fn look(
    engine: &Engine,
    http: &providers::HttpClient,
    which: &TemplateSelectArgs,
    doing: TemplateSyncMode,
    samples: &SampleFiles,
) -> anyhow::Result<Vec<AccountTemplateComparison>> {
    let asked = TemplateSyncRequest {
        only: which.template.as_deref(),
        doing,
        samples,
    };
    let looked = templates::sync(engine, http, asked, Clock::System.now()).await?;
    if looked.is_empty() {
        bail!("there is no sender of Meta's: set WHATSAPP_PHONE_NUMBER_ID and WHATSAPP_WABA_ID");
    }
    Ok(looked)
}

fn ended(all: &[AccountTemplateComparison], differences_count: bool) -> anyhow::Result<()> {
    let reports = || {
        all.iter()
            .filter_map(|it| it.reports.as_ref().ok())
            .flatten()
    };
    let refused = all.iter().any(|it| it.reports.is_err());
    let failed = reports().any(|it| matches!(it.outcome, TemplateSyncOutcome::Failed(_)));
    if refused || failed {
        return Err(ExitCodeError(1).into());
    }
    if differences_count && reports().any(|it| it.outcome != TemplateSyncOutcome::Same) {
        return Err(ExitCodeError(DIFFERENCES).into());
    }
    Ok(())
}

fn print(all: &[AccountTemplateComparison], format: TemplatesOutputFormat) {
    if format == TemplatesOutputFormat::Json {
        let all: Vec<Value> = all.iter().map(as_json).collect();
        say(json!(all).to_string());
        return;
    }
    for looked in all {
        say(format!("sender {}", looked.account));
        match &looked.reports {
            Err(reason) => say(format!("  cannot be read: {reason}")),
            Ok(reports) => {
                for report in reports {
                    line(report);
                }
            }
        }
        if !looked.elsewhere.is_empty() {
            say("  made elsewhere, in no catalogue:");
            for (name, language, status) in &looked.elsewhere {
                say(format!("    {name} ({language}) {}", status.phrase()));
            }
        }
    }
}

fn line(report: &TemplateSyncReport) {
    let status = report
        .status
        .map(TemplateStatus::phrase)
        .unwrap_or_default();
    let reason = report
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    let (word, more) = match &report.outcome {
        TemplateSyncOutcome::Same => ("same", String::new()),
        TemplateSyncOutcome::WouldCreate => ("would create", String::new()),
        TemplateSyncOutcome::Created => ("created", String::new()),
        TemplateSyncOutcome::Adopted => ("adopted", String::new()),
        TemplateSyncOutcome::WouldChange => ("would change", String::new()),
        TemplateSyncOutcome::Changed => ("changed", String::new()),
        TemplateSyncOutcome::Stuck(why) => ("differs", why.clone()),
        TemplateSyncOutcome::Failed(why) => ("FAILED", why.clone()),
    };
    let id = report.id.as_deref().unwrap_or("");
    say(format!(
        "  {word:<13} {} ({}) {status}{reason} {id}",
        report.name, report.language
    ));
    if !more.is_empty() {
        say(format!("      {more}"));
    }
    for drift in &report.drift {
        say(format!(
            "      {}: {}",
            drift.part,
            drift.theirs.replace('\n', " / ")
        ));
        say(format!(
            "      {} → {}",
            " ".repeat(drift.part.len()),
            drift.ours.replace('\n', " / ")
        ));
    }
}

fn as_json(looked: &AccountTemplateComparison) -> Value {
    let reports: Vec<Value> = looked
        .reports
        .iter()
        .flatten()
        .map(|it| {
            let error = match &it.outcome {
                TemplateSyncOutcome::Stuck(why) | TemplateSyncOutcome::Failed(why) => Some(why),
                _ => None,
            };
            json!({
                "template": it.template, "name": it.name, "language": it.language,
                "outcome": it.outcome.name(), "error": error, "status": it.status,
                "reason": it.reason, "id": it.id,
                "differences": it.drift.iter()
                    .map(|it| json!({ "part": it.part, "ours": it.ours, "theirs": it.theirs }))
                    .collect::<Vec<_>>(),
            })
        })
        .collect();
    let elsewhere: Vec<Value> = looked
        .elsewhere
        .iter()
        .map(|(name, language, status)| json!({ "name": name, "language": language, "status": status }))
        .collect();
    json!({
        "sender": looked.account, "error": looked.reports.as_ref().err(),
        "templates": reports, "elsewhere": elsewhere,
    })
}

/// Prints the templates as Meta wants them.
async fn display(engine: &Engine, which: &TemplateSelectArgs) -> anyhow::Result<()> {
    let all = templates::definitions(engine, which.template.as_deref()).await?;
    let mut impossible = false;
    if which.format == TemplatesOutputFormat::Json {
        let documents: Vec<Value> = all
            .into_iter()
            .map(|(name, language, document)| match document {
                Ok(document) => document,
                Err(why) => {
                    impossible = true;
                    json!({ "name": name, "language": language, "error": why })
                }
            })
            .collect();
        say(serde_json::to_string_pretty(&documents)?);
    } else {
        for (name, language, document) in all {
            match document {
                Ok(document) => {
                    let text = |key: &str| document.get(key).and_then(Value::as_str).unwrap_or("");
                    say(format!(
                        "{} ({language}), {}",
                        text("name"),
                        text("category")
                    ));
                    let components = document.get("components").and_then(Value::as_array);
                    for component in components.into_iter().flatten() {
                        say(format!("  {component}"));
                    }
                }
                Err(why) => {
                    impossible = true;
                    say(format!(
                        "{name} ({language}) cannot be created over the API: {why}"
                    ));
                }
            }
        }
    }
    if impossible {
        Err(ExitCodeError(1).into())
    } else {
        Ok(())
    }
}

/// The status as each account reports it now. If an account does not answer, it is a failure: what
/// is printed of it is old.
async fn asked_status(
    engine: &Engine,
    http: &providers::HttpClient,
    which: &TemplateSelectArgs,
) -> anyhow::Result<()> {
    let done = templates::refresh(engine, http, Clock::System.now()).await?;
    for (sender, why) in &done.unread {
        complain(&format!("sender {sender} cannot be read: {why}"));
    }
    status(engine, which).await?;
    if done.unread.is_empty() {
        Ok(())
    } else {
        Err(ExitCodeError(1).into())
    }
}

/// The last known status.
async fn status(engine: &Engine, which: &TemplateSelectArgs) -> anyhow::Result<()> {
    let said = template_sync::all(&engine.store).await?;
    let names = rows::template_names(&engine.store).await?;
    let mut refused = false;
    let mut documents = Vec::new();
    for (name, language) in names {
        if which.template.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let heard: Vec<_> = said
            .iter()
            .filter(|row| row.name == name && row.language == language)
            .collect();
        if heard.is_empty() {
            documents.push(json!({ "name": name, "language": language, "status": null }));
        }
        for row in heard {
            let state = ReportedTemplateState::from(row);
            refused |= state.status.map(TemplateStatus::outlook) == Some(TemplateOutlook::Refused);
            documents.push(json!({
                "name": name, "language": language, "account": row.account_id, "status": state.status,
                "reason": row.status_reason, "category": state.category, "quality": state.quality,
                "id": row.provider_template_id,
            }));
        }
    }
    if which.format == TemplatesOutputFormat::Json {
        say(json!(documents).to_string());
    } else {
        for it in &documents {
            let text = |key: &str| it.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
            let status = match text("status") {
                status if status.is_empty() => "never reported".to_owned(),
                status => status.to_lowercase(),
            };
            let whole = format!("{} ({})", text("name"), text("language"));
            let more = ["category", "quality", "reason", "id", "account"].map(text);
            let more: Vec<String> = more.into_iter().filter(|it| !it.is_empty()).collect();
            say(format!("{whole:<56} {status:<14} {}", more.join(" ")));
        }
    }
    if refused {
        Err(ExitCodeError(1).into())
    } else {
        Ok(())
    }
}
