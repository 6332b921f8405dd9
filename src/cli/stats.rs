//! `herald stats`: statistics of a period.

use std::{collections::BTreeMap, fmt::Write as _};

use clap::Args;

use super::{say, settings};
use crate::{
    app,
    domain::{access::AccessBounds, phone},
    engine::{
        InputError,
        insight::statistics::{self, LatencyPercentiles, Statistics, StatisticsQuery},
    },
    state::Clock,
};

/// Prints statistics of the notifications created in a period, and of those waiting now.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  herald stats\n  herald stats --hours 720 --step day --zone Asia/Kolkata\n  \
    herald stats --by event_type --sender support\n  herald stats --json | jq .failures\n\nRates are of the notifications created in this period."
)]
pub struct StatsCommand {
    /// How many hours to look back; 24 if absent.
    #[arg(long)]
    hours: Option<i64>,
    /// Created at or after, instead of --hours (RFC 3339).
    #[arg(long)]
    since: Option<String>,
    /// Created before; now if absent (RFC 3339).
    #[arg(long)]
    until: Option<String>,
    /// Only one sender, by name or id.
    #[arg(long)]
    sender: Option<String>,
    /// Only one channel.
    #[arg(long)]
    channel: Option<String>,
    /// Only one template.
    #[arg(long)]
    template: Option<String>,
    /// Only one event type.
    #[arg(long)]
    event_type: Option<String>,
    /// Group by: template, sender, channel or event_type.
    #[arg(long, default_value = "template")]
    by: String,
    /// One point of the curves: quarter, hour or day.
    #[arg(long, default_value = "hour")]
    step: String,
    /// Time zone of the days.
    #[arg(long, default_value = "UTC")]
    zone: String,
    /// Number of failed notifications shown.
    #[arg(long, default_value_t = 10)]
    failed: u64,
    /// Show numbers in full.
    #[arg(long)]
    show: bool,
    /// Print the API's answer as JSON.
    #[arg(long)]
    json: bool,
}

impl StatsCommand {
    pub async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        let now = Clock::System.now();
        let asked = StatisticsQuery {
            hours: self.hours,
            since: self.since,
            until: self.until,
            sender: self.sender,
            channel: self.channel,
            template: self.template,
            event_type: self.event_type,
            by: Some(self.by.clone()),
            step: Some(self.step),
            zone: Some(self.zone),
            failed: Some(self.failed),
        };
        let question = asked
            .read(&store, &AccessBounds::All, now)
            .await
            .map_err(|error| match error {
                InputError::Invalid(wrong) => {
                    let wrong: Vec<String> = wrong
                        .iter()
                        .map(|field| {
                            format!("--{}: {}", field.pointer.replace('_', "-"), field.rule)
                        })
                        .collect();
                    anyhow::anyhow!("{}", wrong.join("\n  "))
                }
                InputError::Store(error) => error.into(),
            })?;
        let mut answer = statistics::answer(&store, &question, now).await?;
        if !self.show {
            for failed in &mut answer.failed_newest {
                failed.recipient = failed.recipient.as_deref().map(phone::masked);
                failed.address = failed.address.as_deref().map(phone::masked);
            }
        }
        if self.json {
            say(serde_json::to_string_pretty(&answer)?);
        } else {
            say(readable(&answer, &self.by).trim_end());
        }
        Ok(())
    }
}

/// The statistics for people.
fn readable(answer: &Statistics, by: &str) -> String {
    let mut text = String::new();
    let percent = |rate: Option<f64>| {
        rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.1} %", rate * 100.0))
    };
    let group = |name: &str| answer.groups.get(name).copied().unwrap_or(0);
    let _ = write!(
        text,
        "{} to {} ({})\n\n{} notifications: {} sent, {} pending, {} failed, {} skipped or cancelled\n\
         delivered {} of accepted, read {} of delivered, failed {} of all\n",
        minute(&answer.since),
        minute(&answer.until),
        answer.zone,
        answer.total,
        group("sent"),
        group("pending"),
        group("failed"),
        group("not_sent"),
        percent(answer.rates.delivery),
        percent(answer.rates.read),
        percent(answer.rates.failure),
    );
    for (name, latency) in [
        ("accepted to sent", answer.latency.accepted_to_sent),
        ("sent to delivered", answer.latency.sent_to_delivered),
        ("delivered to read", answer.latency.delivered_to_read),
    ] {
        if let Some(LatencyPercentiles {
            count,
            p50_ms,
            p90_ms,
            p99_ms,
        }) = latency
        {
            let _ = writeln!(
                text,
                "{name}: half within {}, 90 % within {}, 99 % within {} ({count} messages)",
                span(p50_ms),
                span(p90_ms),
                span(p99_ms)
            );
        }
    }
    let codes = &answer.verifications;
    if codes.started > 0 {
        let _ = writeln!(
            text,
            "\n{} one-time passwords: {} approved ({}), {} pending, {} expired, {} ended by wrong codes, {} cancelled; {} messages",
            codes.started,
            codes.approved,
            percent(codes.conversion),
            codes.pending(),
            codes.expired,
            codes.too_many,
            codes.cancelled,
            codes.sent
        );
    }
    if let Some(series) = &answer.series {
        text.push('\n');
        for fact in ["created", "delivered", "read", "failed"] {
            let counts: Vec<i64> = series
                .iter()
                .map(|point| point.counts.get(fact).copied().unwrap_or(0))
                .collect();
            let most = counts.iter().copied().max().unwrap_or(0);
            let _ = writeln!(text, "{fact:<10} {} peak {most}", sparkline(&counts));
        }
    }
    let told_apart = [
        &answer.by_template,
        &answer.by_sender,
        &answer.by_channel,
        &answer.by_event_type,
    ];
    for groups in told_apart.into_iter().flatten() {
        text.push('\n');
        text.push_str(&table(groups, by));
    }
    if !answer.priced.is_empty() {
        text.push_str("\nBy Meta's price category, free ones included (category/type/country)\n");
        for (what, count) in &answer.priced {
            let _ = writeln!(text, "  {count:>8}  {what}");
        }
    }
    if !answer.failures.is_empty() {
        text.push_str("\nFailures by code\n");
        for (code, count) in &answer.failures {
            let _ = writeln!(text, "  {count:>8}  {code}");
        }
    }
    if !answer.failed_newest.is_empty() {
        text.push_str("\nThe newest that failed\n");
        for failed in &answer.failed_newest {
            let _ = writeln!(
                text,
                "  {}  {}  {}  {}\n      {}",
                minute(&failed.created_at),
                failed.id,
                failed.recipient.as_deref().unwrap_or("-"),
                failed.code.as_deref().unwrap_or(failed.status),
                failed.reason.as_deref().unwrap_or("no reason was given")
            );
        }
    }
    let due = match answer.queue_age_seconds {
        0 => String::new(),
        seconds => format!(", the longest due for {}", span(seconds * 1000)),
    };
    let _ = write!(
        text,
        "\nNow: {} waiting{due}; {} callbacks waiting, {} dead letters\n",
        answer.pending_now, answer.callbacks.waiting, answer.callbacks.dead_letters
    );
    text
}

/// A time to the minute.
fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

/// A duration in a suitable unit.
fn span(millis: i64) -> String {
    match millis {
        ..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{} s", millis / 1_000),
        60_000..3_600_000 => format!("{} min", millis / 60_000),
        _ => format!("{} h", millis / 3_600_000),
    }
}

/// A bar of eight heights; zero is a space.
fn sparkline(counts: &[i64]) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().copied().max().unwrap_or(0);
    counts
        .iter()
        .map(|count| {
            if *count <= 0 || most <= 0 {
                return ' ';
            }
            let height = usize::try_from((count * 8 - 1) / most).unwrap_or(0);
            HEIGHTS.get(height.min(7)).copied().unwrap_or('█')
        })
        .collect()
}

fn table(groups: &BTreeMap<String, BTreeMap<String, i64>>, by: &str) -> String {
    const FACTS: [&str; 6] = ["created", "accepted", "sent", "delivered", "read", "failed"];
    let shown = |name: &str| {
        if name.is_empty() {
            "(none)".to_owned()
        } else {
            name.to_owned()
        }
    };
    let width = groups
        .keys()
        .map(|name| shown(name).chars().count())
        .chain([by.chars().count()])
        .max()
        .unwrap_or(0);
    let mut text = format!("{by:<width$}");
    for fact in FACTS {
        let _ = write!(text, "  {fact:>9}");
    }
    text.push('\n');
    for (name, counts) in groups {
        let _ = write!(text, "{:<width$}", shown(name));
        for fact in FACTS {
            let _ = write!(text, "  {:>9}", counts.get(fact).copied().unwrap_or(0));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{span, sparkline};

    #[test]
    fn a_sparkline_has_a_mark_for_everything_but_nothing() {
        assert_eq!(sparkline(&[0, 1, 4, 8]), " ▁▄█");
        assert_eq!(sparkline(&[1, 1_000]), "▁█");
        assert_eq!(sparkline(&[0, 0]), "  ");
    }

    #[test]
    fn a_span_has_the_unit_that_suits_it() {
        assert_eq!(
            [999, 1_000, 61_000, 7_200_000].map(span),
            ["999 ms", "1 s", "1 min", "2 h"]
        );
    }
}
