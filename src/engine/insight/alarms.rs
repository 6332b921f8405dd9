//! Raises and clears alarms, once each, as events that routes can answer.

use serde_json::json;

use super::attention::{self, Finding};
use crate::{
    domain::{
        alarm::{Measure, Turn},
        time::Timestamp,
    },
    engine::{
        Engine,
        intake::{self, NewEvent},
        lifecycle::Report,
        runtime::own_event::SOURCE,
    },
    store::{StoreError, alarm},
};

/// Measures everything, raises `herald.alarm.raised` for what has become wrong and
/// `herald.alarm.cleared` for what is right again. Says how many.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    // Whose clock is wrong measures wrong.
    if !engine.may_claim() {
        return Ok(0);
    }
    let mut found = attention::measure(engine, now).await?;
    found.retain(|finding| !finding.is_local);
    let mut changed: Vec<(Finding, Turn)> = found
        .iter()
        .map(|finding| {
            let turn = finding.measure.turn(finding.raised_at.is_some());
            (finding.clone(), turn)
        })
        .filter(|(_, turn)| *turn != Turn::Stay)
        .collect();
    // What is gone is wrong no more: a removed credential, a template that was deleted.
    for row in alarm::raised(&engine.store).await? {
        let known = found
            .iter()
            .any(|finding| finding.kind == row.kind && finding.subject == row.subject);
        if !known {
            changed.push((gone(&row), Turn::Clear));
        }
    }
    tell_metrics(&found, &changed);
    if changed.is_empty() {
        return Ok(0);
    }
    let (told, report) = engine
        .store
        .write(async |tx| {
            let (mut told, mut report) = (Vec::new(), Report::default());
            for (finding, turn) in &changed {
                let (kind, subject) = (finding.kind, finding.subject.as_str());
                let (word, is_new) = if *turn == Turn::Raise {
                    let is_new = alarm::raise(tx, kind, subject, &finding.summary, now).await?;
                    ("raised", is_new)
                } else {
                    ("cleared", alarm::clear(tx, kind, subject, now).await?)
                };
                if !is_new {
                    continue;
                }
                told.push((kind.to_owned(), word));
                let event = NewEvent {
                    id: format!("alarm/{word}/{kind}/{subject}/{}", now.micros()),
                    source: SOURCE.to_owned(),
                    event_type: format!("herald.alarm.{word}"),
                    subject: None,
                    time: None,
                    data: json!({
                        "alarm": kind,
                        "subject": subject,
                        "summary": finding.summary,
                        "meaning": finding.meaning,
                        "remedy": finding.remedy,
                    }),
                };
                report.add(intake::raise(engine, tx, &event, now).await?);
            }
            Ok((told, report))
        })
        .await?;
    report.publish(engine);
    for (kind, word) in &told {
        if *word == "raised" {
            tracing::warn!(event = "alarm.raised", kind, "alarm raised");
        } else {
            tracing::info!(event = "alarm.cleared", kind, "it is right again");
        }
    }
    Ok(told.len())
}

/// An alarm of something that is not there any more.
fn gone(row: &entity::alarm::Model) -> Finding {
    Finding {
        kind: KINDS
            .into_iter()
            .find(|kind| *kind == row.kind)
            .unwrap_or("unknown"),
        subject: row.subject.clone(),
        urgency: attention::Urgency::Soon,
        measure: Measure::flag(false),
        summary: row.summary.clone(),
        meaning: "",
        remedy: String::new(),
        raised_at: Some(Timestamp::from_micros(row.raised_at)),
        is_local: false,
    }
}

/// Every kind of alarm there is.
pub const KINDS: [&str; 16] = [
    "sending_held",
    "no_sender",
    "sender_held",
    "silence",
    "credential_expiring",
    "credential_old",
    "worker_dead",
    "queue_age",
    "callbacks_waiting",
    "backlog_full",
    "dead_letters",
    "parked_statuses",
    "failure_rate",
    "stale_rate",
    "account_restricted",
    "template_unusable",
];

/// One gauge for each kind: how many are raised.
fn tell_metrics(found: &[Finding], changed: &[(Finding, Turn)]) {
    for kind in KINDS {
        let raised = found
            .iter()
            .filter(|finding| finding.kind == kind)
            .filter(|finding| finding.measure.is_wrong(finding.raised_at.is_some()))
            .count();
        let raised = i32::try_from(raised).unwrap_or(i32::MAX);
        metrics::gauge!("herald_alarms", "alarm" => kind).set(f64::from(raised));
    }
    for (finding, turn) in changed {
        if *turn == Turn::Raise {
            metrics::counter!("herald_alarms_raised_total", "alarm" => finding.kind).increment(1);
        }
    }
}
