//! `herald retry|cancel|send-now`: operator actions on one notification, or on all that match.

use anyhow::{bail, ensure};
use clap::Args;
use uuid::Uuid;

use super::{say, settings};
use crate::{
    app,
    domain::{access::AccessBounds, time::Timestamp},
    engine::{
        Engine,
        admin::operator_actions::{
            self, BulkActionError, BulkActionReport, OperatorAction, OperatorActionOutcome,
        },
        insight::notification_filter::{LabelFilter, NotificationCriteria},
    },
    state::Clock,
    store::hold,
};

/// Queues failed notifications again, in a new generation.
/// Examples: `herald retry 01a1fd51-1932-7b47-8061-a8647eec1a86` ·
/// `herald retry --status failed --label class_id=7 --label test=maths --dry-run`
#[derive(Debug, Args)]
pub(super) struct RetryCommand {
    #[command(flatten)]
    which: NotificationSelectArgs,
    /// Also messages that were or may have been delivered: recipients may get a second copy.
    #[arg(long)]
    even_if_delivered: bool,
}

/// Cancels waiting notifications for good. Example: `herald cancel --status queued,retrying
/// --template spring_offer`
#[derive(Debug, Args)]
pub(super) struct CancelCommand {
    #[command(flatten)]
    which: NotificationSelectArgs,
}

/// Ends the back-off of notifications, or their scheduled wait. The pace still applies. Example:
/// `herald send-now --status retrying --since 2026-01-01T00:00:00Z`
#[derive(Debug, Args)]
pub(super) struct SendNowCommand {
    #[command(flatten)]
    which: NotificationSelectArgs,
}

/// Selects notifications: one by its id, or all that match.
#[derive(Debug, Args)]
struct NotificationSelectArgs {
    /// The notification's id.
    #[arg(conflicts_with_all = ["status", "type", "template", "channel", "label", "reference", "recipient", "since", "until", "all", "dry_run"])]
    id: Option<Uuid>,
    /// Statuses, separated by commas. pending, sent, failed and not_sent are groups, as the
    /// statistics count them (sent includes delivered and read); status:sent and status:failed are
    /// these statuses alone; retried is whatever was tried more than once.
    #[arg(long)]
    status: Option<String>,
    /// An event type.
    #[arg(long)]
    r#type: Option<String>,
    #[arg(long)]
    template: Option<String>,
    /// A channel, such as email.
    #[arg(long)]
    channel: Option<String>,
    /// `name=value`; if given several times, all must match.
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    #[arg(long)]
    reference: Option<String>,
    /// A number in E.164, user:NAME or contact:NAME.
    #[arg(long)]
    recipient: Option<String>,
    /// Created at or after this time (RFC 3339).
    #[arg(long)]
    since: Option<String>,
    /// Created before this time (RFC 3339).
    #[arg(long)]
    until: Option<String>,
    /// All notifications.
    #[arg(long)]
    all: bool,
    /// Only report what would happen.
    #[arg(long)]
    dry_run: bool,
}

impl RetryCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let action = OperatorAction::Retry {
            even_if_delivered: self.even_if_delivered,
        };
        self.which.run(action).await
    }
}

impl CancelCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        self.which.run(OperatorAction::Cancel).await
    }
}

impl SendNowCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        self.which.run(OperatorAction::SendNow).await
    }
}

/// What was done, and what would be done, in words.
const fn words(action: OperatorAction) -> (&'static str, &'static str) {
    match action {
        OperatorAction::Retry { .. } => ("queued again", "would be queued again"),
        OperatorAction::Cancel => ("cancelled", "would be cancelled"),
        OperatorAction::Discard => ("discarded", "would be discarded"),
        OperatorAction::SendNow => ("due now", "would be due now"),
    }
}

impl NotificationSelectArgs {
    async fn run(self, action: OperatorAction) -> anyhow::Result<()> {
        let config = settings()?;
        let engine = app::command_engine(&config, app::command_store(&config).await?).await?;
        let sends = matches!(
            action,
            OperatorAction::Retry { .. } | OperatorAction::SendNow
        );
        if sends && hold::get(engine.store.reader()).await?.is_some() {
            say(
                "Sending is on hold: nothing is sent before `herald hold release` (`herald hold show` lists what waits).",
            );
        }
        if let Some(id) = self.id {
            return one(&engine, id, action).await;
        }
        let filter = NotificationCriteria {
            status: self.status,
            r#type: self.r#type,
            template: self.template,
            channel: self.channel,
            label: LabelFilter(self.label),
            reference: self.reference,
            recipient: self.recipient,
            since: self.since,
            until: self.until,
        };
        ensure!(
            !filter.is_empty() || self.all,
            "which ones? Give an id, a filter such as --status failed, or --all"
        );
        many(&engine, filter, action, self.dry_run).await
    }
}

async fn one(engine: &Engine, id: Uuid, action: OperatorAction) -> anyhow::Result<()> {
    match operator_actions::one(
        engine,
        &AccessBounds::All,
        id,
        action,
        None,
        Clock::System.now(),
    )
    .await?
    {
        OperatorActionOutcome::Yes => say(format!("1 {}.", words(action).0)),
        OperatorActionOutcome::No(reason) => bail!("nothing changed: {reason}"),
        OperatorActionOutcome::NotFound => bail!("there is no notification {id}"),
        OperatorActionOutcome::KeyReused => bail!("this key was used before"),
    }
    Ok(())
}

async fn many(
    engine: &Engine,
    filter: NotificationCriteria,
    action: OperatorAction,
    dry_run: bool,
) -> anyhow::Result<()> {
    let mut filter = filter.read("--").map_err(|wrong| {
        let rules: Vec<String> = wrong
            .into_iter()
            .map(|error| format!("{}: {}", error.pointer, error.rule))
            .collect();
        anyhow::anyhow!("{}", rules.join("; "))
    })?;
    // Notifications created from now on are not included.
    let started = Clock::System.now();
    let until: Timestamp = filter.until.map_or(started, |until| until.min(started));
    filter.until = Some(until.plus_micros(1));
    let (done, would) = words(action);
    let word = if dry_run { would } else { done };
    let mut total = BulkActionReport::default();
    loop {
        let batch = operator_actions::chunk(
            engine,
            &AccessBounds::All,
            &filter,
            action,
            dry_run,
            None,
            Clock::System.now(),
        )
        .await
        .map_err(|error| match error {
            BulkActionError::KeyReused => anyhow::anyhow!("this key was used before"),
            BulkActionError::Store(error) => error.into(),
        })?;
        total.add(batch);
        filter.before = total.next;
        if total.next.is_none() {
            break;
        }
        say(format!(
            "{} examined, {} {word} …",
            total.matched, total.changed
        ));
    }
    say(format!(
        "{} matched, {} {word}.",
        total.matched, total.changed
    ));
    for (reason, count) in &total.left_alone {
        say(format!("{count} left unchanged: {reason}"));
    }
    Ok(())
}
