//! `Prefer: wait=N` (RFC 7240): waits for the provider's answer.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use tokio::time::Instant;

use super::{SendNotificationResponse, SendNotificationResponseItem};
use crate::{
    domain::{access::AccessBounds, facts::DeliveryFact, status::StatusGroup},
    engine::{intake::StoredNotificationRequest, runtime::send_waiters::SendResult},
    http::problem::ApiProblem,
    state::AppState,
    store::{
        convert,
        notification::{self as notifications, NotificationRecord},
    },
};

/// Longest wait, in seconds.
const MAX_WAIT_SECONDS: u64 = 60;

/// Another process may send the message: the database is polled this often.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How long the caller would wait, in seconds. Other preferences are ignored.
pub(super) fn preference(request: &HttpRequest) -> Result<Option<u64>, ApiProblem> {
    let wanted = request
        .headers()
        .get_all("Prefer")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|part| {
            let (name, value) = part.trim().split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("wait")
                .then(|| value.trim().to_owned())
        });
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    match wanted.parse::<u64>() {
        Ok(seconds) if (1..=MAX_WAIT_SECONDS).contains(&seconds) => Ok(Some(seconds)),
        _ => Err(ApiProblem::Malformed(format!(
            "Prefer: wait=N, 1 to {MAX_WAIT_SECONDS} seconds"
        ))),
    }
}

/// Waits until the provider has answered for all of them, or the time is up. The sender's worker
/// makes the calls: a client that hangs up changes nothing.
pub(super) async fn answer(
    state: &web::Data<AppState>,
    bounds: &AccessBounds,
    stored: &StoredNotificationRequest,
    seconds: u64,
) -> Result<HttpResponse, ApiProblem> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let ids = &stored.ids;
    // A new request has no result in the database yet.
    let mut wait_first = stored.fresh;
    loop {
        let mut known: Option<Vec<SendResult>> = None;
        if std::mem::take(&mut wait_first) {
            tokio::select! {
                () = stored.waiter.notified() => {
                    known = ids.iter().map(|id| stored.waiter.news_of(*id)).collect();
                }
                () = tokio::time::sleep_until(until.min(Instant::now() + LOOK_AGAIN)) => {}
            }
        }
        let known = match known {
            Some(known) => known,
            None => look(state, bounds, stored).await?,
        };
        let decided = known
            .iter()
            .all(|result| convert::status(result.row.status).group() != StatusGroup::Pending);
        if decided || Instant::now() >= until {
            let notifications = known
                .iter()
                .map(|result| {
                    SendNotificationResponseItem::accepted_at(&result.row, result.accepted_at)
                })
                .collect();
            let mut response = if decided {
                HttpResponse::Ok()
            } else {
                HttpResponse::Accepted()
            };
            return Ok(response
                .insert_header(("Preference-Applied", format!("wait={seconds}")))
                .json(SendNotificationResponse { notifications }));
        }
        wait_first = true;
    }
}

/// Their state in the database.
async fn look(
    state: &web::Data<AppState>,
    bounds: &AccessBounds,
    stored: &StoredNotificationRequest,
) -> Result<Vec<SendResult>, ApiProblem> {
    let store = &state.engine.store;
    let mut known = Vec::with_capacity(stored.ids.len());
    for row in notifications::find_all(store, bounds, &stored.ids).await? {
        let result = stored.waiter.news_of(row.id);
        let accepted_at = match result.and_then(|result| result.accepted_at) {
            Some(at) => Some(at),
            // Another process sent it, or the request is a repeat.
            None => NotificationRecord::of(&row)?
                .attempts
                .iter()
                .rev()
                .find_map(|attempt| attempt.facts.get(DeliveryFact::Accepted))
                .map(|accepted| accepted.at),
        };
        known.push(SendResult { row, accepted_at });
    }
    Ok(known)
}
