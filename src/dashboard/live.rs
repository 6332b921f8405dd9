//! Notifies an open page of changes; the page then reloads its content.

use std::time::Duration;

use actix_web::{Responder, web};
use actix_web_lab::sse;
use futures_util::stream;

use super::act::SignedInUser;
use crate::state::AppState;

/// A proxy closes a connection that is silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// After this time the page connects again, and its session is checked again.
const LONGEST: Duration = Duration::from_mins(10);

/// `GET /dashboard/live`: an event for each change, without its content.
pub async fn stream(_person: SignedInUser, state: web::Data<AppState>) -> impl Responder {
    let changes = state.engine.live.listen();
    let until = tokio::time::Instant::now() + LONGEST;
    let events = stream::unfold(changes, move |mut changes| async move {
        let waited = tokio::time::timeout_at(until, changes.changed()).await;
        let Ok(Ok(())) = waited else { return None };
        let count = (*changes.borrow_and_update())?;
        let event = sse::Data::new(count.to_string()).event("changed");
        Some((event.into(), changes))
    });
    sse::Sse::from_infallible_stream(events)
        .with_keep_alive(KEEP_ALIVE)
        .with_retry_duration(Duration::from_secs(3))
}
