//! Finding notifications, and doing something to all that were found.

use std::fmt::Write;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    act::{Form, Person},
    fault::{Fault, form_encoded},
    moment::Moment,
    shell::{Shell, answered, on_to, shown},
};
use crate::{
    domain::{
        login::Role,
        phone,
        status::{Group, Status},
        time::Timestamp,
    },
    engine::{
        accept::FieldError,
        inbox::ErrorChain,
        manual::{self, Action, Batch},
        matching::Match,
    },
    state::AppState,
    store::{convert, notification as notifications},
};

/// Rows of a page.
const SHOWN: u64 = 50;

/// How far back is looked for what has no index of its own.
const LOOKED_BACK: &str = "7d";

/// Chunks that are changed before the page says how far it is.
const CHUNKS: u64 = 20;

/// What is looked for, as the address says it: an address can be passed on.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Search {
    status: Option<String>,
    r#type: Option<String>,
    template: Option<String>,
    label: Option<String>,
    reference: Option<String>,
    recipient: Option<String>,
    /// `24h`, `7d`, or RFC 3339.
    since: Option<String>,
    until: Option<String>,
    cursor: Option<Uuid>,
}

/// Hours or days before now, or an instant.
fn instant(text: &str, now: Timestamp) -> Option<Timestamp> {
    let hours = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((number, "h")) => number.parse::<i64>().ok(),
        Some((number, "d")) => number
            .parse::<i64>()
            .ok()
            .map(|days| days.saturating_mul(24)),
        _ => None,
    };
    match hours {
        Some(hours) if (0..=24 * 4000).contains(&hours) => Some(now.plus_seconds(-hours * 3600)),
        _ => Timestamp::parse_rfc3339(text),
    }
}

impl Search {
    fn fields(&self) -> [(&'static str, &Option<String>); 8] {
        [
            ("status", &self.status),
            ("type", &self.r#type),
            ("template", &self.template),
            ("label", &self.label),
            ("reference", &self.reference),
            ("recipient", &self.recipient),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }

    fn of(form: &mut Form) -> Self {
        Self {
            status: form.take("status"),
            r#type: form.take("type"),
            template: form.take("template"),
            label: form.take("label"),
            reference: form.take("reference"),
            recipient: form.take("recipient"),
            since: form.take("since"),
            until: form.take("until"),
            cursor: None,
        }
    }

    /// What was said, without what was left empty.
    fn said(&self) -> Vec<(&'static str, String)> {
        self.fields()
            .into_iter()
            .filter_map(|(name, value)| {
                Some((
                    name,
                    value.clone().filter(|value| !value.trim().is_empty())?,
                ))
            })
            .collect()
    }

    /// What has no index of its own is looked for in the last days, unless something else
    /// is said: the page shows it.
    fn bound(&mut self) {
        let said =
            |value: &Option<String>| value.as_ref().is_some_and(|text| !text.trim().is_empty());
        let narrow = [
            &self.reference,
            &self.recipient,
            &self.label,
            &self.since,
            &self.until,
        ];
        let few = self.status.as_deref().is_some_and(|status| {
            status.split(',').all(|name| {
                Status::parse(name.trim())
                    .is_none_or(|status| !matches!(status.group(), Group::Sent))
            })
        });
        let broad = said(&self.template) || said(&self.r#type) || (said(&self.status) && !few);
        if broad && !few && !narrow.into_iter().any(said) {
            self.since = Some(LOOKED_BACK.to_owned());
        }
    }

    /// The same as the end of an address.
    fn query(&self) -> String {
        let parts: Vec<String> = self
            .said()
            .into_iter()
            .map(|(name, value)| format!("{name}={}", form_encoded(value.trim())))
            .collect();
        parts.join("&")
    }

    fn filter(&self, now: Timestamp) -> Result<notifications::Filter, Vec<FieldError>> {
        let said = |value: &Option<String>| {
            value
                .as_ref()
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let when = |value: &Option<String>| {
            said(value).map(|text| instant(&text, now).map_or(text, |at| at.to_string()))
        };
        Match {
            status: said(&self.status),
            r#type: said(&self.r#type),
            template: said(&self.template),
            label: said(&self.label),
            reference: said(&self.reference),
            recipient: said(&self.recipient),
            since: when(&self.since),
            until: when(&self.until),
        }
        .read("")
    }
}

/// A notification of a list.
pub struct Listed {
    pub id: String,
    pub at: Moment,
    pub status: &'static str,
    pub class: &'static str,
    pub recipient: String,
    pub what: String,
    pub reason: String,
    pub reference: String,
}

/// The colour of a status.
pub const fn class(status: Status) -> &'static str {
    match status.group() {
        Group::Pending => "wait",
        Group::Sent => "good",
        Group::Failed => "bad",
        Group::NotSent => "rest",
    }
}

#[derive(Template)]
#[template(path = "notifications.html")]
struct Page {
    shell: Shell,
    search: Search,
    wrong: Vec<FieldError>,
    rows: Vec<Listed>,
    next: Option<String>,
    statuses: Vec<&'static str>,
    many: bool,
}

impl Page {
    fn value(field: Option<&String>) -> &str {
        field.map(String::as_str).unwrap_or_default()
    }
}

fn listed(row: &entity::notification::Model, person: &Person, shell: &Shell) -> Listed {
    let status = convert::status(row.status);
    let whom = row.recipient.clone().or_else(|| row.address.clone());
    let whom = whom.unwrap_or_else(|| "somebody".to_owned());
    let failure = notifications::read_failure(row.failure.as_deref());
    Listed {
        id: row.id.to_string(),
        at: shell.zone.micros(row.created_at),
        status: status.name(),
        class: class(status),
        recipient: if person.sees_people() {
            whom
        } else {
            phone::masked(&whom)
        },
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
    person: Person,
    request: HttpRequest,
    state: web::Data<AppState>,
    search: web::Query<Search>,
) -> Result<HttpResponse, Fault> {
    let shell = Shell::new(
        &request,
        &state,
        &person,
        "Notifications",
        "/dashboard/notifications",
    )?;
    let mut search = search.into_inner();
    let cursor = search.cursor.take();
    // Who may not see people may not find them either: a guess would be confirmed.
    let named = search
        .recipient
        .as_ref()
        .is_some_and(|text| !text.trim().is_empty());
    if named && !person.sees_people() {
        return Err(Fault::Forbidden(Role::Operator.name()));
    }
    search.bound();
    let query = search.query();
    let (mut rows, wrong) = match search.filter(state.clock.now()) {
        Ok(filter) => {
            let filter = notifications::Filter {
                before: cursor,
                limit: SHOWN + 1,
                ..filter
            };
            (
                notifications::search(&state.engine.store, &filter).await?,
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
    let page = Page {
        many: !query.is_empty() && !rows.is_empty(),
        rows: rows
            .iter()
            .map(|row| listed(row, &person, &shell))
            .collect(),
        search,
        wrong,
        next,
        statuses: Status::ALL.map(Status::name).into(),
        shell,
    };
    shown(&page)
}

#[derive(Template)]
#[template(path = "bulk.html")]
struct BulkPage {
    shell: Shell,
    action: &'static str,
    verb: &'static str,
    said: Vec<(&'static str, String)>,
    query: String,
    even_if_delivered: bool,
    /// Nothing was changed yet.
    preview: bool,
    matched: u64,
    changed: u64,
    left_alone: Vec<(String, u64)>,
    /// Where it goes on; none: it is done.
    next: Option<Uuid>,
}

fn action(name: &str, even_if_delivered: bool) -> Option<(Action, &'static str, &'static str)> {
    match name {
        "retry" => Some((Action::Retry { even_if_delivered }, "retry", "sent again")),
        "cancel" => Some((Action::Cancel, "cancel", "cancelled")),
        "send-now" => Some((Action::SendNow, "send-now", "sent now")),
        _ => None,
    }
}

/// What is to be done to many, as the address says it.
#[derive(Debug, Deserialize)]
pub struct Planned {
    action: String,
    even_if_delivered: Option<String>,
    /// How far it has come: then nothing is looked at before it goes on.
    matched: Option<u64>,
    changed: Option<u64>,
    #[serde(flatten)]
    search: Search,
}

/// Does it to the next chunks of what matches; or says what would happen.
async fn chunks(
    state: &AppState,
    search: &Search,
    action: Action,
    cursor: Option<Uuid>,
    form: Option<&Form>,
) -> Result<Batch, Fault> {
    let preview = form.is_none();
    let now = state.clock.now();
    let (Ok(mut filter), false) = (search.filter(now), search.said().is_empty()) else {
        // All there are is not what anybody means by a page without a filter.
        return Err(Fault::Form);
    };
    let mut all = Batch {
        next: cursor,
        ..Batch::default()
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
        let done = manual::chunk(&state.engine, &filter, action, preview, key.as_ref(), now).await;
        let batch = match done {
            Ok(Ok(batch)) => batch,
            Ok(Err(manual::KeyReused)) => return Err(Fault::Form),
            // What was done is done and noted; the page says where it goes on.
            Err(error) if all.matched > 0 && all.next.is_some() => {
                tracing::error!(event = "dashboard.error", error = %ErrorChain(&error), "a bulk change stopped");
                break;
            }
            Err(error) => return Err(error.into()),
        };
        all.add(batch);
        if all.next.is_none() {
            break;
        }
    }
    Ok(all)
}

/// What would happen, or how far it has come.
pub async fn planned(
    person: Person,
    request: HttpRequest,
    state: web::Data<AppState>,
    planned: web::Query<Planned>,
) -> Result<HttpResponse, Fault> {
    person.needs(Role::Operator)?;
    let planned = planned.into_inner();
    let even_if_delivered = planned.even_if_delivered.is_some();
    let Some((action, name, verb)) = action(&planned.action, even_if_delivered) else {
        return Err(Fault::Form);
    };
    let search = planned.search;
    let batch = match search.cursor {
        Some(cursor) => Batch {
            matched: planned.matched.unwrap_or(0),
            changed: planned.changed.unwrap_or(0),
            next: Some(cursor),
            ..Batch::default()
        },
        None => chunks(&state, &search, action, None, None).await?,
    };
    let shell = Shell::new(
        &request,
        &state,
        &person,
        "Many at once",
        "/dashboard/notifications",
    )?;
    let page = BulkPage {
        shell,
        action: name,
        verb,
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

/// Does it, some thousands at a time.
pub async fn bulk(
    mut form: Form,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Fault> {
    form.person.needs(Role::Operator)?;
    let even_if_delivered = form.text("even_if_delivered").is_some();
    let Some((action, name, verb)) = form
        .text("action")
        .and_then(|name| action(name, even_if_delivered))
    else {
        return Err(Fault::Form);
    };
    let number = |name: &str| {
        form.text(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    let (matched, changed): (u64, u64) = (number("matched"), number("changed"));
    let cursor = form.text("cursor").and_then(|text| text.parse().ok());
    let search = Search::of(&mut form);
    let batch = chunks(&state, &search, action, cursor, Some(&form)).await?;
    let query = search.query();
    let (actor, now) = (form.person.actor(), state.clock.now());
    manual::note(&state.engine, &actor, action, &query, batch.changed, now).await?;
    let (matched, changed) = (matched + batch.matched, changed + batch.changed);
    if let Some(next) = batch.next {
        let even = if even_if_delivered {
            "&even_if_delivered=yes"
        } else {
            ""
        };
        return Ok(on_to(&format!(
            "/dashboard/notifications/bulk?{query}&action={name}{even}&cursor={next}&matched={matched}&changed={changed}"
        )));
    }
    let mut done = format!("{changed} of {matched} were {verb}.");
    for (reason, count) in &batch.left_alone {
        let _ = write!(done, " {count} were left as they are: {reason}.");
    }
    answered(
        &request,
        &format!("/dashboard/notifications?{query}"),
        Ok(done),
    )
}

#[cfg(test)]
mod tests {
    use super::instant;
    use crate::domain::time::Timestamp;

    #[test]
    fn a_time_is_hours_days_or_an_instant() {
        let now = Timestamp::from_unix_seconds(1_000_000);
        assert_eq!(instant("24h", now), Some(now.plus_seconds(-86_400)));
        assert_eq!(instant("7d", now), Some(now.plus_seconds(-7 * 86_400)));
        assert_eq!(
            instant("1970-01-01T00:00:01Z", now),
            Some(Timestamp::from_unix_seconds(1))
        );
        for wrong in ["", "h", "-1h", "99999999999999999999d", "yesterday", "ü"] {
            assert_eq!(instant(wrong, now), None, "{wrong}");
        }
    }
}
