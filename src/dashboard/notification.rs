//! Page of one notification: its story, its message, and the possible actions.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use uuid::Uuid;

use super::{
    act::{DashboardForm, SignedInUser},
    fault::DashboardScreenError,
    moment::DisplayTime,
    notifications::class,
    shell::{DashboardLayout, answered, shown},
};
use crate::{
    domain::{
        access::AccessBounds, login::DashboardRole, status::NotificationStatus, story::ManualAction,
    },
    engine::{
        admin::operator_actions::{self, OperatorAction, OperatorActionOutcome},
        insight::story::{self, NotificationHistory},
    },
    state::AppState,
    store::notification,
};

#[derive(Template)]
#[template(path = "notification.html")]
struct NotificationDetailScreen {
    shell: DashboardLayout,
    story: NotificationHistory,
    class: &'static str,
    /// The text as the recipient reads it.
    bubble: Option<String>,
    lines: Vec<(DisplayTime, Option<DisplayTime>, String, Option<Uuid>)>,
    calls: Vec<ProviderCallScreenRow>,
    created: DisplayTime,
    expires: Option<DisplayTime>,
    buttons: Vec<ManualActionButton>,
}

/// A button for something that can be done.
struct ManualActionButton {
    action: &'static str,
    label: &'static str,
    /// It says that a second copy is welcome.
    even_if_delivered: bool,
}

impl ManualActionButton {
    fn of(possible: ManualAction) -> Self {
        let action = OperatorAction::from(possible);
        Self {
            action: action.name(),
            label: label(action),
            even_if_delivered: possible == ManualAction::RetryInsisting,
        }
    }
}

/// What a button for this says.
pub(super) const fn label(action: OperatorAction) -> &'static str {
    match action {
        OperatorAction::Retry { .. } => "Send again",
        OperatorAction::Cancel | OperatorAction::Discard => "Cancel",
        OperatorAction::SendNow => "Send now",
    }
}

struct ProviderCallScreenRow {
    number: i64,
    at: DisplayTime,
    text: String,
    request: Option<String>,
    answer: Option<String>,
}

pub async fn page(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, DashboardScreenError> {
    let id = *id;
    let engine = &state.engine;
    let (Some(mut story), Some(row)) = (
        story::of(&engine.store, &AccessBounds::All, id, state.clock.now()).await?,
        notification::find(&engine.store, &AccessBounds::All, id).await?,
    ) else {
        return Err(DashboardScreenError::NotFound);
    };
    if !person.sees_people() {
        story.mask();
    }
    let shell = DashboardLayout::new(
        &request,
        &state,
        &person,
        "Notification",
        "/dashboard/notifications",
    )?;
    let zone = shell.zone;
    let status = NotificationStatus::parse(story.status);
    let page = NotificationDetailScreen {
        class: status.map_or("rest", class),
        bubble: row.body.filter(|_| person.sees_people()),
        lines: story
            .lines
            .iter()
            .map(|line| {
                (
                    zone.written(&line.at),
                    line.provider_at.as_deref().map(|at| zone.written(at)),
                    line.text.clone(),
                    line.callback.filter(|_| shell.may_operate),
                )
            })
            .collect(),
        calls: story
            .attempts
            .iter()
            .map(|attempt| ProviderCallScreenRow {
                number: attempt.number,
                at: zone.written(&attempt.at),
                text: attempt.text.clone(),
                request: attempt
                    .request
                    .as_ref()
                    .and_then(|request| serde_json::to_string_pretty(request).ok()),
                answer: attempt.answer.as_deref().map(pretty),
            })
            .collect(),
        created: zone.written(&story.created_at),
        expires: story.expires_at.as_deref().map(|at| zone.written(at)),
        buttons: story
            .can_do
            .iter()
            .map(|it| ManualActionButton::of(it.action))
            .collect(),
        story,
        shell,
    };
    shown(&page)
}

fn pretty(text: &str) -> String {
    serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|value| serde_json::to_string_pretty(&value).ok())
        .unwrap_or_else(|| text.to_owned())
}

pub async fn act(
    form: DashboardForm,
    request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, DashboardScreenError> {
    form.person.needs(DashboardRole::Operator)?;
    let even_if_delivered = form.text("even_if_delivered").is_some();
    let named = form.text("action");
    let Some(action) = named.and_then(|name| OperatorAction::parse(name, even_if_delivered)) else {
        return Err(DashboardScreenError::Form);
    };
    let done = match action {
        OperatorAction::Retry { .. } => "Queued again.",
        OperatorAction::Cancel | OperatorAction::Discard => "Cancelled.",
        OperatorAction::SendNow => "Due now: it is sent as soon as the pace of its sender allows.",
    };
    let now = state.clock.now();
    let once = form.once(&format!("{}/{id}", action.name()));
    let said = match operator_actions::one(
        &state.engine,
        &AccessBounds::All,
        *id,
        action,
        once.as_ref(),
        now,
    )
    .await?
    {
        OperatorActionOutcome::Yes => {
            let actor = form.person.actor();
            operator_actions::note(&state.engine, &actor, action, &id.to_string(), 1, now).await?;
            Ok(done.to_owned())
        }
        OperatorActionOutcome::No(reason) => Err(vec![reason.to_owned()]),
        OperatorActionOutcome::NotFound => return Err(DashboardScreenError::NotFound),
        OperatorActionOutcome::KeyReused => return Err(DashboardScreenError::Form),
    };
    answered(&request, &format!("/dashboard/notifications/{id}"), said)
}
