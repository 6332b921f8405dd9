//! Numbers, from counters: never from counting history.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ProblemDocument;
use crate::{
    domain::status::{Group, Status},
    engine::accept::FieldError,
    http::{auth::Client, problem::Problem},
    state::AppState,
    store::{counter, notification},
};

/// Which time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct StatsQuery {
    /// Notifications created in this many hours, to the quarter of an hour; 24 if absent.
    hours: Option<i64>,
}

/// Numbers of the notifications created in a time, and of what is open now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    since: String,
    total: i64,
    accepted: i64,
    sent: i64,
    delivered: i64,
    read: i64,
    played: i64,
    replied: i64,
    failed: i64,
    skipped: i64,
    cancelled: i64,
    /// Failures by code, or by name where there is no code.
    failures: BTreeMap<String, i64>,
    by_template: BTreeMap<String, BTreeMap<String, i64>>,
    /// What was billed, each message once: messages by `category/type/country`.
    priced: BTreeMap<String, i64>,
    /// What is waiting now, whenever it was created.
    pending_now: i64,
    open_now: BTreeMap<String, i64>,
}

/// Numbers of the last hours.
#[utoipa::path(
    get, path = "/api/v1/stats", tag = "stats", params(StatsQuery),
    responses((status = 200, body = Stats), (status = 401, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn get(
    _client: Client,
    state: web::Data<AppState>,
    query: web::Query<StatsQuery>,
) -> Result<HttpResponse, Problem> {
    let hours = query.hours.unwrap_or(24);
    if !(1..=24 * 400).contains(&hours) {
        let wrong = FieldError {
            pointer: "hours".to_owned(),
            rule: "1 to 9600".to_owned(),
        };
        return Err(Problem::Invalid(vec![wrong]));
    }
    let store = &state.engine.store;
    let since = state.clock.now().plus_seconds(-hours * 3600).bucket();
    let sums = counter::sums_since(store, since).await?;
    let total = |fact: &str| {
        sums.iter()
            .filter(|sum| sum.fact == fact)
            .map(|sum| sum.count)
            .sum()
    };
    let mut failures = BTreeMap::new();
    let mut priced = BTreeMap::new();
    let mut by_template: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for sum in &sums {
        if sum.fact == "failed" {
            *failures.entry(sum.code.clone()).or_default() += sum.count;
        }
        if sum.fact == counter::PRICED {
            *priced.entry(sum.code.clone()).or_default() += sum.count;
            continue;
        }
        *by_template
            .entry(sum.template.clone())
            .or_default()
            .entry(sum.fact.clone())
            .or_default() += sum.count;
    }
    let open_now: BTreeMap<String, i64> = notification::open_counts(store)
        .await?
        .into_iter()
        .collect();
    let pending_now = open_now
        .iter()
        .filter(|(name, _)| {
            Status::parse(name).is_some_and(|status| status.group() == Group::Pending)
        })
        .map(|(_, count)| count)
        .sum();
    Ok(HttpResponse::Ok().json(Stats {
        since: since.to_string(),
        total: total("created"),
        accepted: total("accepted"),
        sent: total("sent"),
        delivered: total("delivered"),
        read: total("read"),
        played: total("played"),
        replied: total("replied"),
        failed: total("failed"),
        skipped: total("skipped"),
        cancelled: total("cancelled"),
        failures,
        by_template,
        priced,
        pending_now,
        open_now,
    }))
}
