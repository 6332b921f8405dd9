//! Statistics, read from counters, never by counting rows.

use actix_web::{HttpResponse, web};

use super::ProblemDocument;
use crate::{
    engine::insight::statistics::{self, Statistics, StatisticsQuery},
    http::{
        auth::{AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    state::AppState,
};

/// Figures of a period, of pending notifications, and the newest failed ones.
#[utoipa::path(
    get, path = "/api/v1/stats", operation_id = "get_statistics", tag = "stats", params(StatisticsQuery),
    responses((status = 200, body = Statistics), (status = 400, body = ProblemDocument), (status = 401, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn get(
    caller: AuthorizedApiClient<scope::StatisticsRead>,
    state: web::Data<AppState>,
    query: web::Query<StatisticsQuery>,
) -> Result<HttpResponse, ApiProblem> {
    let store = &state.engine.store;
    let now = state.clock.now();
    let question = query.into_inner().read(store, &caller.bounds, now).await?;
    let answer = statistics::answer(store, &question, now).await?;
    Ok(HttpResponse::Ok().json(answer))
}
