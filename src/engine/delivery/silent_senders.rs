//! Raises an alarm for senders that accept messages but receive no callbacks.

use crate::{
    domain::{
        own_event::{EventDeduplicationKey, HeraldEvent, payload::SenderSilenceData},
        time::Timestamp,
    },
    engine::{Engine, intake, lifecycle::NotificationLifecycleReport},
    store::{StoreError, sender},
};

/// Raises `herald.silence` for a sender that has accepted messages for some time without any
/// callback: the webhook is not registered, or callbacks do not arrive. Raised once until a
/// callback comes. Returns the number of events.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let since = now.plus_seconds(-engine.settings.alarms.silent_after_seconds);
    if !sender::any_silent(&engine.store, since).await? {
        return Ok(0);
    }
    let (count, report) = engine
        .store
        .write(async |tx| {
            let silent = sender::silent(tx, since, now).await?;
            let mut report = NotificationLifecycleReport::default();
            for row in &silent {
                let since = row.unheard_since.map(Timestamp::from_micros);
                let event = HeraldEvent::SenderSilent(SenderSilenceData {
                    sender: row.name.clone(),
                    since: since.map(|since| since.to_string()),
                    remedy: SenderSilenceData::REMEDY.to_owned(),
                });
                let occurrence = EventDeduplicationKey::Silence { sender: row.id, since };
                report.add(intake::raise(engine, tx, &event, &occurrence, now).await?);
            }
            Ok((silent, report))
        })
        .await
        .map(|(silent, report)| {
            for row in &silent {
                tracing::warn!(event = "sender.silent", sender.id = %row.id, "no callbacks for accepted messages: check the webhook registration");
            }
            (silent.len(), report)
        })?;
    report.publish(engine);
    Ok(count)
}
