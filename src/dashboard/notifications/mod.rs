//! Page that lists and searches notifications.

mod bulk;
mod search;

pub use bulk::{bulk, planned};

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use self::search::NotificationsSearch;
use super::{
    act::SignedInUser,
    fault::DashboardScreenError,
    moment::DisplayTime,
    shell::{DashboardLayout, shown},
};
use crate::{
    domain::{
        access::AccessBounds,
        channel::MessageChannel,
        field_error::FieldError,
        login::DashboardRole,
        status::{NotificationStatus, StatusGroup},
    },
    state::AppState,
    store::{convert, notification as notifications},
};

/// Rows of a page.
const SHOWN: u64 = 50;

/// A notification in a list.
pub struct NotificationScreenRow {
    pub id: String,
    pub at: DisplayTime,
    pub status: &'static str,
    pub class: &'static str,
    pub recipient: String,
    pub channel: String,
    pub what: String,
    pub reason: String,
    pub reference: String,
}

/// The style class of a status.
pub const fn class(status: NotificationStatus) -> &'static str {
    match status.group() {
        StatusGroup::Pending => "wait",
        StatusGroup::Sent => "good",
        StatusGroup::Failed => "bad",
        StatusGroup::NotSent => "rest",
    }
}

#[derive(Template)]
#[template(path = "notifications.html")]
struct NotificationsScreen {
    shell: DashboardLayout,
    search: NotificationsSearch,
    wrong: Vec<FieldError>,
    rows: Vec<NotificationScreenRow>,
    next: Option<String>,
    statuses: Vec<&'static str>,
    many: bool,
}

impl NotificationsScreen {
    fn value(field: Option<&String>) -> &str {
        field.map(String::as_str).unwrap_or_default()
    }
}

fn listed(
    row: &entity::notification::Model,
    person: &SignedInUser,
    shell: &DashboardLayout,
) -> NotificationScreenRow {
    let status = convert::status(row.status);
    let whom = row.recipient.clone().or_else(|| row.address.clone());
    let whom = whom.unwrap_or_else(|| "unknown recipient".to_owned());
    let failure = notifications::read_failure(row.failure.as_deref());
    NotificationScreenRow {
        id: row.id.to_string(),
        at: shell.zone.micros(row.created_at),
        status: status.name(),
        class: class(status),
        recipient: person.sees(whom),
        channel: row.channel.clone(),
        what: if row.template.is_empty() {
            row.kind.clone()
        } else {
            row.template.clone()
        },
        reason: failure
            .map(|failure| match failure.code {
                Some(code) => format!("{code}: {}", failure.meaning),
                None => failure.meaning,
            })
            .or_else(|| row.reason.clone())
            .unwrap_or_default(),
        reference: row.reference.clone().unwrap_or_default(),
    }
}

pub async fn page(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
    search: web::Query<NotificationsSearch>,
) -> Result<HttpResponse, DashboardScreenError> {
    let shell = DashboardLayout::new(
        &request,
        &state,
        &person,
        "Notifications",
        "/dashboard/notifications",
    )?;
    let mut search = search.into_inner();
    let cursor = search.cursor.take();
    // A user who may not see people may not search for them either: a guess would be confirmed.
    let named = search
        .recipient
        .as_ref()
        .is_some_and(|text| !text.trim().is_empty());
    if named && !person.sees_people() {
        return Err(DashboardScreenError::Forbidden(
            DashboardRole::Operator.name(),
        ));
    }
    search.bound();
    let query = search.query();
    let (mut rows, wrong) = match search.filter(state.clock.now()) {
        Ok(filter) => {
            let filter = notifications::NotificationListFilter {
                before: cursor,
                limit: SHOWN + 1,
                ..filter
            };
            (
                notifications::search(&state.engine.store, &AccessBounds::All, &filter).await?,
                Vec::new(),
            )
        }
        Err(wrong) => (Vec::new(), wrong),
    };
    let shown_rows = usize::try_from(SHOWN).unwrap_or(50);
    let more = rows.len() > shown_rows;
    rows.truncate(shown_rows);
    let next = rows.last().filter(|_| more).map(|row| {
        let joint = if query.is_empty() { "" } else { "&" };
        format!("/dashboard/notifications?{query}{joint}cursor={}", row.id)
    });
    let page = NotificationsScreen {
        many: !query.is_empty() && !rows.is_empty(),
        rows: rows
            .iter()
            .map(|row| listed(row, &person, &shell))
            .collect(),
        search,
        wrong,
        next,
        statuses: NotificationStatus::ALL.map(NotificationStatus::name).into(),
        shell,
    };
    shown(&page)
}
