//! Senders of which nothing is heard although they accept.

use serde_json::json;

use crate::{
    domain::time::Timestamp,
    engine::{
        Engine,
        intake::{self, NewEvent},
        lifecycle::Report,
        runtime::own_event::SOURCE,
    },
    store::{StoreError, sender},
};

/// Raises `herald.silence` for a sender that has accepted messages for some time
/// while no callback came: the webhook is not registered, or does not arrive.
/// Raised once, until something is heard. Says how many.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let since = now.plus_seconds(-engine.settings.alarms.silent_after_seconds);
    if !sender::any_silent(&engine.store, since).await? {
        return Ok(0);
    }
    let (count, report) = engine
        .store
        .write(async |tx| {
            let silent = sender::silent(tx, since, now).await?;
            let mut report = Report::default();
            for row in &silent {
                let unheard_since = row.unheard_since.map(Timestamp::from_micros);
                let event = NewEvent {
                    id: format!("silence/{}/{}", row.id, row.unheard_since.unwrap_or(0)),
                    source: SOURCE.to_owned(),
                    event_type: "herald.silence".to_owned(),
                    subject: None,
                    time: None,
                    data: json!({
                        "sender": row.name,
                        "since": unheard_since.map(|since| since.to_string()),
                        "remedy": "Check that the app is subscribed to the account and that its callback URL reaches this server.",
                    }),
                };
                report.add(intake::raise(engine, tx, &event, now).await?);
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
