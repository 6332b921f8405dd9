//! Page of one notification: its story, its message, and the possible actions.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use uuid::Uuid;

use super::{
    act::{Form, Person},
    fault::Fault,
    moment::Moment,
    notifications::class,
    shell::{Shell, answered, shown},
};
use crate::{
    domain::{access::Bounds, login::Role, status::Status, story::ManualAction},
    engine::{
        admin::operator_actions::{self, Action, Done},
        insight::story::{self, Story},
    },
    state::AppState,
    store::notification,
};

#[derive(Template)]
#[template(path = "notification.html")]
struct Page {
    shell: Shell,
    story: Story,
    class: &'static str,
    /// The text as the recipient reads it.
    bubble: Option<String>,
    lines: Vec<(Moment, Option<Moment>, String, Option<Uuid>)>,
    calls: Vec<Call>,
    created: Moment,
    expires: Option<Moment>,
    buttons: Vec<Button>,
}

/// A button for something that can be done.
struct Button {
    action: &'static str,
    label: &'static str,
    /// It says that a second copy is welcome.
    even_if_delivered: bool,
}

impl Button {
    fn of(possible: ManualAction) -> Self {
        let action = Action::from(possible);
        Self {
            action: action.name(),
            label: label(action),
            even_if_delivered: possible == ManualAction::RetryInsisting,
        }
    }
}

/// What a button for this says.
pub(super) const fn label(action: Action) -> &'static str {
    match action {
        Action::Retry { .. } => "Send again",
        Action::Cancel | Action::Discard => "Cancel",
        Action::SendNow => "Send now",
    }
}

struct Call {
    number: i64,
    at: Moment,
    text: String,
    request: Option<String>,
    answer: Option<String>,
}

pub async fn page(
    person: Person,
    request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Fault> {
    let id = *id;
    let engine = &state.engine;
    let (Some(mut story), Some(row)) = (
        story::of(&engine.store, &Bounds::All, id, state.clock.now()).await?,
        notification::find(&engine.store, &Bounds::All, id).await?,
    ) else {
        return Err(Fault::NotFound);
    };
    if !person.sees_people() {
        story.mask();
    }
    let shell = Shell::new(
        &request,
        &state,
        &person,
        "Notification",
        "/dashboard/notifications",
    )?;
    let zone = shell.zone;
    let status = Status::parse(story.status);
    let page = Page {
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
            .map(|attempt| Call {
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
            .map(|it| Button::of(it.action))
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
    form: Form,
    request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Fault> {
    form.person.needs(Role::Operator)?;
    let even_if_delivered = form.text("even_if_delivered").is_some();
    let named = form.text("action");
    let Some(action) = named.and_then(|name| Action::parse(name, even_if_delivered)) else {
        return Err(Fault::Form);
    };
    let done = match action {
        Action::Retry { .. } => "Queued again.",
        Action::Cancel | Action::Discard => "Cancelled.",
        Action::SendNow => "Due now.",
    };
    let now = state.clock.now();
    let once = form.once(&format!("{}/{id}", action.name()));
    let said =
        match operator_actions::one(&state.engine, &Bounds::All, *id, action, once.as_ref(), now)
            .await?
        {
            Done::Yes => {
                let actor = form.person.actor();
                operator_actions::note(&state.engine, &actor, action, &id.to_string(), 1, now)
                    .await?;
                Ok(done.to_owned())
            }
            Done::No(reason) => Err(vec![reason.to_owned()]),
            Done::NotFound => return Err(Fault::NotFound),
            Done::KeyReused => return Err(Fault::Form),
        };
    answered(&request, &format!("/dashboard/notifications/{id}"), said)
}
