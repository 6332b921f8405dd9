//! Raises an event when a service window is about to close and when it has closed, once each.

use crate::{
    domain::{
        access::AccessBounds,
        own_event::{
            EventDeduplicationKey, HeraldEvent, HeraldEventType, payload::ServiceWindowEndData,
        },
        time::Timestamp,
        window::{self, ServiceWindowEvent},
    },
    engine::{Engine, intake, lifecycle::NotificationLifecycleReport},
    store::{DatabaseTransaction, StoreError, catalogue, conversation, people, sender},
};

/// Windows per transaction.
const BATCH: i64 = 100;

/// Raises the events that are due. Returns the number of windows examined.
///
/// If a window has both neared its end and closed since the last run, only the end is reported. An
/// event is made only if a route listens to it: there are as many windows as conversations.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    if !conversation::any_woken(&engine.store, now).await? {
        return Ok(0);
    }
    let (count, report) = engine
        .store
        .write(async |tx| {
            let woken = conversation::woken(tx, now, BATCH).await?;
            let mut report = NotificationLifecycleReport::default();
            for window in &woken {
                let (moment, next) = window::due(
                    window.until,
                    engine.settings.people.window_closing_seconds,
                    now,
                );
                if let Some(moment) = moment {
                    report.add(tell(engine, tx, window, moment, now).await?);
                }
                conversation::set_wake(tx, window.sender, window.contact, next).await?;
            }
            Ok((woken.len(), report))
        })
        .await?;
    report.publish(engine);
    Ok(count)
}

async fn tell(
    engine: &Engine,
    tx: &DatabaseTransaction,
    window: &conversation::DueServiceWindow,
    moment: ServiceWindowEvent,
    now: Timestamp,
) -> Result<NotificationLifecycleReport, StoreError> {
    let (name, kind) = match moment {
        ServiceWindowEvent::Closing => ("closing", HeraldEventType::WindowClosing),
        ServiceWindowEvent::Closed => ("closed", HeraldEventType::WindowClosed),
    };
    metrics::counter!("herald_windows_total", "moment" => name).increment(1);
    let routes = catalogue::routes(tx, &AccessBounds::All, kind.name()).await?;
    if routes.is_empty() {
        return Ok(NotificationLifecycleReport::default());
    }
    let person = people::contact(tx, window.contact).await?;
    let (handle, users) = people::names(tx, window.contact).await?;
    let sender = sender::find(tx, window.sender).await?;
    let data = ServiceWindowEndData {
        contact: window.contact,
        name: person.as_ref().and_then(|person| person.name.clone()),
        phone: person.as_ref().and_then(|person| person.phone.clone()),
        handle,
        staff: !users.is_empty(),
        users,
        sender: sender.map(|sender| sender.name),
        until: window.until.to_string(),
    };
    let event = match moment {
        ServiceWindowEvent::Closing => HeraldEvent::WindowClosing(data),
        ServiceWindowEvent::Closed => HeraldEvent::WindowClosed(data),
    };
    let occurrence = EventDeduplicationKey::Window {
        sender: window.sender,
        contact: window.contact,
        until: window.until,
    };
    intake::raise(engine, tx, &event, &occurrence, now).await
}
