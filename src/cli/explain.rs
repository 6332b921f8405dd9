//! `herald explain`: the story of one notification.

use clap::Args;
use uuid::Uuid;

use super::{say, settings};
use crate::{
    app,
    domain::access::AccessBounds,
    engine::insight::story::{self, NotificationHistory},
    state::Clock,
};

/// Tells the story of a notification: its origin, what happened to it and why, what it waits for,
/// and which actions are possible now.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  herald explain 01990f2e-0000-7000-8000-000000000000\n  herald explain 01990f2e-0000-7000-8000-000000000000 --json --show"
)]
pub struct ExplainCommand {
    /// The notification's id.
    notification: Uuid,
    /// Show numbers in full.
    #[arg(long)]
    show: bool,
    /// Print the API's answer as JSON; without --show, without requests and responses.
    #[arg(long)]
    json: bool,
}

impl ExplainCommand {
    pub async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        let id = self.notification;
        let Some(mut document) =
            story::of(&store, &AccessBounds::All, id, Clock::System.now()).await?
        else {
            anyhow::bail!("there is no notification {id}");
        };
        if !self.show {
            document.mask();
        }
        if self.json {
            say(serde_json::to_string_pretty(&document)?);
        } else {
            say(readable(&document).trim_end());
        }
        Ok(())
    }
}

/// The story for people.
fn readable(story: &NotificationHistory) -> String {
    let mut lines = vec![
        format!("{}  {}", story.id, story.status),
        story.standing.clone(),
        String::new(),
        format!(
            "To {}{}",
            story.recipient.as_deref().unwrap_or("no recipient"),
            story
                .template
                .as_deref()
                .map_or_else(String::new, |template| format!(", template {template}"))
        ) + &story
            .fallback_template
            .as_deref()
            .map_or_else(String::new, |template| format!(", sent as {template}")),
        story.origin.text.clone(),
    ];
    for route in &story.origin.routes {
        let reason = route
            .reason
            .as_deref()
            .map_or_else(String::new, |reason| format!(": {reason}"));
        lines.push(format!(
            "  route {}: {}{reason}",
            route.route,
            route.outcome.text()
        ));
    }
    for left_out in &story.origin.left_out {
        lines.push(format!(
            "  left out: {}: {}",
            left_out.recipient.as_deref().unwrap_or("unknown recipient"),
            left_out.reason.as_deref().unwrap_or("no reason was given")
        ));
    }
    lines.push("\nWhat happened".to_owned());
    for line in &story.lines {
        let by_provider = line.provider_at.as_deref().map_or_else(String::new, |at| {
            format!(" (by the provider's clock at {})", second(at))
        });
        lines.push(format!(
            "  {}  {}{by_provider}",
            second(&line.at),
            line.text
        ));
    }
    if story.lines.is_empty() {
        lines.push("  Its entries have been deleted.".to_owned());
    }
    if !story.attempts.is_empty() {
        lines.push("\nCalls".to_owned());
    }
    for attempt in &story.attempts {
        lines.push(format!(
            "  {}  {}. {}",
            second(&attempt.at),
            attempt.number,
            attempt.text
        ));
        if let Some(request) = &attempt.request {
            lines.push(format!("      request: {request}"));
        }
        if let Some(answer) = &attempt.answer {
            lines.push(format!("      response: {answer}"));
        }
    }
    if !story.follow_ups.is_empty() {
        lines.push("\nFollow-ups".to_owned());
    }
    for follow_up in &story.follow_ups {
        lines.push(format!("  {}", follow_up.text));
    }
    if let Some(failure) = &story.failure {
        let code = failure
            .code
            .map_or_else(String::new, |code| format!(" (code {code})"));
        lines.push(format!("\nWhat went wrong{code}"));
        lines.push(format!("  {}", failure.meaning));
        lines.push(format!("  Herald: {}", failure.action));
        lines.push(format!("  You: {}", failure.remedy));
    }
    if !story.can_do.is_empty() {
        lines.push("\nWhat can be done now".to_owned());
    }
    for deed in &story.can_do {
        lines.push(format!("  {}\n      {}", deed.text, deed.command));
    }
    lines.join("\n")
}

/// An instant to the second.
fn second(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}
