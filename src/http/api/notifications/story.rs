//! The story of a notification, in sentences.

use actix_web::{HttpResponse, web};
use uuid::Uuid;

use crate::{
    engine::insight::story::{self, NotificationStory},
    http::{
        api::ProblemDocument,
        auth::{AllowedClient, scope},
        problem::Problem,
    },
    state::AppState,
};

/// The story of a notification.
///
/// Its origin, what happened to it and why, what it waits for, what rules have planned, and which
/// actions are possible now.
#[utoipa::path(
    get, path = "/api/v1/notifications/{id}/story", operation_id = "get_notification_story", tag = "notifications", params(("id" = Uuid, Path)),
    responses((status = 200, body = NotificationStory), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    caller: AllowedClient<scope::NotificationsRead>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    let store = &state.engine.store;
    let told = story::of(store, &caller.bounds, id.into_inner(), state.clock.now())
        .await?
        .ok_or(Problem::NotFound)?;
    Ok(HttpResponse::Ok().json(told))
}
