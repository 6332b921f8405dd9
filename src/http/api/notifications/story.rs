//! The story of a notification, in sentences.

use actix_web::{HttpResponse, web};
use uuid::Uuid;

use crate::{
    engine::insight::story::{self, NotificationHistory},
    http::{
        api::ProblemDocument,
        auth::{AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    state::AppState,
};

/// The story of a notification.
///
/// Its origin, what happened to it and why, what it waits for, what rules have planned, and which
/// actions are possible now.
#[utoipa::path(
    get, path = "/api/v1/notifications/{id}/story", operation_id = "get_notification_story", tag = "notifications", params(("id" = Uuid, Path)),
    responses((status = 200, body = NotificationHistory), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    caller: AuthorizedApiClient<scope::NotificationsRead>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    let store = &state.engine.store;
    let document = story::of(store, &caller.bounds, id.into_inner(), state.clock.now())
        .await?
        .ok_or(ApiProblem::NotFound)?;
    Ok(HttpResponse::Ok().json(document))
}
