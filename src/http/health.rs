//! Health and metrics: `/livez`, `/readyz`, `/metrics`, and the list of problems.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::problem::ApiProblem;
use crate::{
    domain::{access::AccessBounds, template_status::TemplateStatus, time::Timestamp},
    state::{AppState, ClientAddress},
    store::{StoreError, callback, migrate, notification, parked, template_sync},
};

/// The process answers. `proxy` says how this request arrived, for `herald check`.
pub async fn live(state: web::Data<AppState>, caller: web::ReqData<ClientAddress>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "status": "ok",
        "uptime_seconds": uptime(&state),
        "proxy": caller.proxy,
    }))
}

/// The database answers, its schema is current, and it accepts writes. A failing worker is an
/// alarm, not a reason to reject callbacks.
pub async fn ready(state: web::Data<AppState>) -> HttpResponse {
    let migrations = match migrate::is_current(&state.engine.store).await {
        Ok(true) if state.engine.store.is_writable().await => Ok(()),
        Ok(true) => Err(("takes no writes", "current")),
        Ok(false) => Err(("ok", "pending: run `herald migrate up`")),
        Err(_) => Err(("unreachable", "unknown")),
    };
    let (database, schema) = migrations.err().unwrap_or(("ok", "current"));
    let body = json!({
        "status": if migrations.is_ok() { "ready" } else { "not ready" },
        "database": database,
        "migrations": schema,
        "durability": state.durability.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "uptime_seconds": uptime(&state),
    });
    if migrations.is_ok() {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}

fn uptime(state: &AppState) -> i64 {
    state.clock.now().micros_since(state.started_at) / 1_000_000
}

/// Time limit for reading the gauges: metrics matter most when the database is unavailable.
const GAUGES_WITHIN: Duration = Duration::from_secs(2);

/// The gauges are shared by the whole process: while one response is being written, no other
/// request may change them.
static GAUGES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Prometheus metrics. Gauges are read at the time of the request.
pub async fn metrics(state: web::Data<AppState>) -> HttpResponse {
    let _alone = GAUGES.lock().await;
    let read = tokio::time::timeout(GAUGES_WITHIN, read_gauges(&state)).await;
    metrics::gauge!("herald_database_up").set(if matches!(read, Ok(Ok(()))) { 1.0 } else { 0.0 });
    metrics::counter!("herald_database_statements_total").absolute(state.engine.store.statements());
    state.metrics.run_upkeep();
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4")
        .body(state.metrics.render())
}

async fn read_gauges(state: &AppState) -> Result<(), StoreError> {
    let store = &state.engine.store;
    let now = state.clock.now();
    let age = |since: Option<Timestamp>| {
        f64::from(
            i32::try_from(since.map_or(0, |since| now.micros_since(since).max(0) / 1_000_000))
                .unwrap_or(i32::MAX),
        )
    };
    let count = |count: i64| f64::from(i32::try_from(count).unwrap_or(i32::MAX));
    for status in crate::domain::status::NotificationStatus::ALL {
        if notification::open_status(status).is_some() {
            metrics::gauge!("herald_open_notifications", "status" => status.name()).set(0.0);
        }
    }
    for (status, number) in notification::open_counts(store, &AccessBounds::All).await? {
        metrics::gauge!("herald_open_notifications", "status" => status).set(count(number));
    }
    metrics::gauge!("herald_queue_age_seconds").set(age(notification::oldest_due(
        store,
        &AccessBounds::All,
        now,
    )
    .await?));
    for status in TEMPLATE_STATUSES {
        metrics::gauge!("herald_templates", "status" => status.name()).set(0.0);
    }
    for (status, number) in template_sync::counts(store).await? {
        metrics::gauge!("herald_templates", "status" => status).set(count(number));
    }
    let waiting = callback::waiting(store.inbox().reader(), store.reader()).await?;
    metrics::gauge!("herald_callbacks_waiting").set(count(waiting.callbacks));
    metrics::gauge!("herald_apply_lag_seconds").set(age(waiting.oldest));
    metrics::gauge!("herald_parked_statuses").set(count(parked::count(store).await?));
    metrics::gauge!("herald_statuses_not_ours").set(count(parked::count_not_ours(store).await?));
    Ok(())
}

/// Statuses of templates that are reported as 0 if there are none: alert rules refer to them.
const TEMPLATE_STATUSES: [TemplateStatus; 5] = [
    TemplateStatus::Approved,
    TemplateStatus::Pending,
    TemplateStatus::Rejected,
    TemplateStatus::Paused,
    TemplateStatus::Disabled,
];

/// Every problem that the API can answer with.
pub async fn problems() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "problems": ApiProblem::CODES }))
}
