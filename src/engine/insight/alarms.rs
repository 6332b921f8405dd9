//! Raises and clears alarms, once each, as events that routes can use.

use super::attention::{self, AttentionFinding};
use crate::{
    domain::{
        alarm::{AlarmKind, AlarmMeasure, AlarmTransition},
        own_event::{EventDeduplicationKey, HeraldEvent, payload::AlarmChangeData},
        time::Timestamp,
    },
    engine::{Engine, intake, lifecycle::NotificationLifecycleReport},
    store::{StoreError, alarm},
};

/// Measures everything, raises `herald.alarm.raised` for new problems and `herald.alarm.cleared`
/// for those that are over. Returns the number of events.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    // With a wrong clock the measurements would be wrong.
    if !engine.may_claim() {
        return Ok(0);
    }
    let mut found = attention::measure(engine, now).await?;
    found.retain(|finding| !finding.is_local);
    let mut changed: Vec<(AttentionFinding, AlarmTransition)> = found
        .iter()
        .map(|finding| {
            let turn = finding.measure.turn(finding.raised_at.is_some());
            (finding.clone(), turn)
        })
        .filter(|(_, turn)| *turn != AlarmTransition::Stay)
        .collect();
    // The subject is gone: a removed credential, a deleted template.
    for row in alarm::raised(&engine.store).await? {
        let known = found
            .iter()
            .any(|finding| finding.kind.name() == row.kind && finding.subject == row.subject);
        // What another version has raised is another version's to clear.
        if let Some(kind) = AlarmKind::parse(&row.kind).filter(|_| !known) {
            changed.push((gone(kind, &row), AlarmTransition::Clear));
        }
    }
    tell_metrics(&found, &changed);
    if changed.is_empty() {
        return Ok(0);
    }
    let (announced, report) = engine
        .store
        .write(async |tx| {
            let (mut announced, mut report) = (Vec::new(), NotificationLifecycleReport::default());
            for (finding, turn) in &changed {
                let (kind, subject) = (finding.kind, finding.subject.as_str());
                let (word, is_new) = if *turn == AlarmTransition::Raise {
                    let is_new = alarm::raise(tx, kind, subject, &finding.summary, now).await?;
                    ("raised", is_new)
                } else {
                    ("cleared", alarm::clear(tx, kind, subject, now).await?)
                };
                if !is_new {
                    continue;
                }
                announced.push((kind, word));
                let data = AlarmChangeData {
                    alarm: kind,
                    subject: subject.to_owned(),
                    summary: finding.summary.clone(),
                    meaning: finding.meaning.to_owned(),
                    remedy: finding.remedy.clone(),
                };
                let event = if *turn == AlarmTransition::Raise {
                    HeraldEvent::AlarmRaised(data)
                } else {
                    HeraldEvent::AlarmCleared(data)
                };
                let at = now;
                let occurrence = EventDeduplicationKey::Alarm { kind, subject, at };
                report.add(intake::raise(engine, tx, &event, &occurrence, now).await?);
            }
            Ok((announced, report))
        })
        .await?;
    report.publish(engine);
    for (kind, word) in &announced {
        if *word == "raised" {
            tracing::warn!(
                event = "alarm.raised",
                kind = kind.name(),
                "alarm raised: the dashboard's Overview and `herald check` say what it means and what to do"
            );
        } else {
            tracing::info!(
                event = "alarm.cleared",
                kind = kind.name(),
                "alarm cleared: the problem is over"
            );
        }
    }
    Ok(announced.len())
}

/// The finding that clears an alarm whose subject no longer exists.
fn gone(kind: AlarmKind, row: &entity::alarm::Model) -> AttentionFinding {
    AttentionFinding {
        kind,
        subject: row.subject.clone(),
        urgency: attention::FindingUrgency::Soon,
        measure: AlarmMeasure::flag(false),
        summary: row.summary.clone(),
        meaning: "",
        remedy: String::new(),
        raised_at: Some(Timestamp::from_micros(row.raised_at)),
        is_local: false,
    }
}

/// Sets one gauge per kind: the number of raised alarms.
fn tell_metrics(found: &[AttentionFinding], changed: &[(AttentionFinding, AlarmTransition)]) {
    for kind in AlarmKind::ALL
        .iter()
        .copied()
        .filter(|kind| !kind.is_local())
    {
        let raised = found
            .iter()
            .filter(|finding| finding.kind == kind)
            .filter(|finding| finding.measure.is_wrong(finding.raised_at.is_some()))
            .count();
        let raised = i32::try_from(raised).unwrap_or(i32::MAX);
        metrics::gauge!("herald_alarms", "alarm" => kind.name()).set(f64::from(raised));
    }
    for (finding, turn) in changed {
        if *turn == AlarmTransition::Raise {
            metrics::counter!("herald_alarms_raised_total", "alarm" => finding.kind.name())
                .increment(1);
        }
    }
}
