//! Page for an action on all notifications that match a search, after a preview.

use std::fmt::Write;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::search::NotificationsSearch;
use crate::{
    dashboard::{
        act::{DashboardForm, SignedInUser},
        fault::DashboardScreenError,
        notification::label,
        shell::{DashboardLayout, answered, on_to, shown},
    },
    domain::{access::AccessBounds, login::DashboardRole},
    engine::admin::operator_actions::{self, BulkActionError, BulkActionReport, OperatorAction},
    error::ErrorChain,
    state::AppState,
};

/// Chunks that are changed before the page reports its progress.
const CHUNKS: u64 = 20;

#[derive(Template)]
#[template(path = "bulk.html")]
struct BulkActionScreen {
    shell: DashboardLayout,
    action: &'static str,
    /// What a button for it says.
    label: &'static str,
    verb: &'static str,
    said: Vec<(&'static str, String)>,
    query: String,
    even_if_delivered: bool,
    /// Only a preview: nothing was changed yet.
    preview: bool,
    matched: u64,
    changed: u64,
    left_alone: Vec<(String, u64)>,
    /// Cursor of the next chunk; `None` when finished.
    next: Option<Uuid>,
}

/// What messages were, when it was done to them.
const fn verb(action: OperatorAction) -> &'static str {
    match action {
        OperatorAction::Retry { .. } => "sent again",
        OperatorAction::Cancel | OperatorAction::Discard => "cancelled",
        OperatorAction::SendNow => "sent now",
    }
}

/// An action on many notifications, from the address.
#[derive(Debug, Deserialize)]
pub struct BulkActionQuery {
    action: String,
    even_if_delivered: Option<String>,
    /// Progress so far; if present, there is no preview before it continues.
    matched: Option<u64>,
    changed: Option<u64>,
    #[serde(flatten)]
    search: NotificationsSearch,
}

/// Changes the next chunks, or reports what would happen.
async fn chunks(
    state: &AppState,
    search: &NotificationsSearch,
    action: OperatorAction,
    cursor: Option<Uuid>,
    form: Option<&DashboardForm>,
) -> Result<BulkActionReport, DashboardScreenError> {
    let preview = form.is_none();
    let now = state.clock.now();
    let (Ok(mut filter), false) = (search.filter(now), search.said().is_empty()) else {
        // A page without a filter does not mean all notifications.
        return Err(DashboardScreenError::Form);
    };
    let mut all = BulkActionReport {
        next: cursor,
        ..BulkActionReport::default()
    };
    for _ in 0..CHUNKS {
        filter.before = all.next;
        let about = format!(
            "{}/{}",
            action.name(),
            all.next
                .map_or_else(String::new, |cursor| cursor.to_string())
        );
        let key = form.and_then(|form| form.once(&about));
        let done = operator_actions::chunk(
            &state.engine,
            &AccessBounds::All,
            &filter,
            action,
            preview,
            key.as_ref(),
            now,
        )
        .await;
        let batch = match done {
            Ok(batch) => batch,
            Err(BulkActionError::KeyReused) => return Err(DashboardScreenError::Form),
            // Finished chunks are done and audited; the page offers to continue.
            Err(BulkActionError::Store(error)) if all.matched > 0 && all.next.is_some() => {
                tracing::error!(event = "dashboard.error", error = %ErrorChain(&error), "an action on many notifications was stopped midway by a database error: what was done stays done, and the page offers to continue");
                break;
            }
            Err(BulkActionError::Store(error)) => return Err(error.into()),
        };
        all.add(batch);
        if all.next.is_none() {
            break;
        }
    }
    Ok(all)
}

/// The preview, or the progress.
pub async fn planned(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
    planned: web::Query<BulkActionQuery>,
) -> Result<HttpResponse, DashboardScreenError> {
    person.needs(DashboardRole::Operator)?;
    let planned = planned.into_inner();
    let even_if_delivered = planned.even_if_delivered.is_some();
    let Some(action) = OperatorAction::parse(&planned.action, even_if_delivered) else {
        return Err(DashboardScreenError::Form);
    };
    let search = planned.search;
    let batch = match search.cursor {
        Some(cursor) => BulkActionReport {
            matched: planned.matched.unwrap_or(0),
            changed: planned.changed.unwrap_or(0),
            next: Some(cursor),
            ..BulkActionReport::default()
        },
        None => chunks(&state, &search, action, None, None).await?,
    };
    let shell = DashboardLayout::new(
        &request,
        &state,
        &person,
        "Many at once",
        "/dashboard/notifications",
    )?;
    let page = BulkActionScreen {
        shell,
        action: action.name(),
        label: label(action),
        verb: verb(action),
        said: search.said(),
        query: search.query(),
        even_if_delivered,
        preview: search.cursor.is_none(),
        matched: batch.matched,
        changed: batch.changed,
        left_alone: batch.left_alone.into_iter().collect(),
        next: batch.next,
    };
    shown(&page)
}

/// Performs the action, some thousands at a time.
pub async fn bulk(
    mut form: DashboardForm,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, DashboardScreenError> {
    form.person.needs(DashboardRole::Operator)?;
    let even_if_delivered = form.text("even_if_delivered").is_some();
    let Some(action) = form
        .text("action")
        .and_then(|name| OperatorAction::parse(name, even_if_delivered))
    else {
        return Err(DashboardScreenError::Form);
    };
    let number = |name: &str| {
        form.text(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    let (matched, changed): (u64, u64) = (number("matched"), number("changed"));
    let cursor = form.text("cursor").and_then(|text| text.parse().ok());
    let search = NotificationsSearch::of(&mut form);
    let batch = chunks(&state, &search, action, cursor, Some(&form)).await?;
    let query = search.query();
    let (actor, now) = (form.person.actor(), state.clock.now());
    operator_actions::note(&state.engine, &actor, action, &query, batch.changed, now).await?;
    let (matched, changed) = (matched + batch.matched, changed + batch.changed);
    if let Some(next) = batch.next {
        let even = if even_if_delivered {
            "&even_if_delivered=yes"
        } else {
            ""
        };
        return Ok(on_to(&format!(
            "/dashboard/notifications/bulk?{query}&action={}{even}&cursor={next}&matched={matched}&changed={changed}",
            action.name()
        )));
    }
    let mut done = format!("{changed} of {matched} were {}.", verb(action));
    for (reason, count) in &batch.left_alone {
        let _ = write!(done, " {count} were left unchanged: {reason}.");
    }
    answered(
        &request,
        &format!("/dashboard/notifications?{query}"),
        Ok(done),
    )
}
