//! Raises an event when a service window is about to close and when it has closed, once each.

use crate::{
    domain::{
        access::AccessBounds,
        own_event::{EventOccurrence, OwnEvent, OwnEventType, payload::WindowMoment},
        time::Timestamp,
        window::{self, WindowEvent},
    },
    engine::{Engine, intake, lifecycle::LifecycleReport},
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
            let mut report = LifecycleReport::default();
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
    window: &conversation::DueWindow,
    moment: WindowEvent,
    now: Timestamp,
) -> Result<LifecycleReport, StoreError> {
    let (name, kind) = match moment {
        WindowEvent::Closing => ("closing", OwnEventType::WindowClosing),
        WindowEvent::Closed => ("closed", OwnEventType::WindowClosed),
    };
    metrics::counter!("herald_windows_total", "moment" => name).increment(1);
    let routes = catalogue::routes(tx, &AccessBounds::All, kind.name()).await?;
    if routes.is_empty() {
        return Ok(LifecycleReport::default());
    }
    let person = people::contact(tx, window.contact).await?;
    let (handle, users) = people::names(tx, window.contact).await?;
    let sender = sender::find(tx, window.sender).await?;
    let data = WindowMoment {
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
        WindowEvent::Closing => OwnEvent::WindowClosing(data),
        WindowEvent::Closed => OwnEvent::WindowClosed(data),
    };
    let occurrence = EventOccurrence::Window {
        sender: window.sender,
        contact: window.contact,
        until: window.until,
    };
    intake::raise(engine, tx, &event, &occurrence, now).await
}
