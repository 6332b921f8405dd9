//! Pages of callbacks: the inbox, dead letters, and searching both.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::{
    act::{DashboardForm, SignedInUser},
    fault::DashboardScreenError,
    moment::DisplayTime,
    shell::{DashboardLayout, answered, shown},
};
use crate::{
    domain::{audit_action::AuditAction, login::DashboardRole},
    engine::{
        admin::operator_actions,
        ingest::{self, CallbackReplayOutcome},
    },
    state::AppState,
    store::{audit, callback, dead_letter},
};

/// Rows of each list.
const SHOWN: u64 = 50;

/// Most callbacks replayed at once.
const REPLAYED: u64 = 200;

#[derive(Debug, Deserialize)]
pub struct CallbacksSearch {
    /// A wamid, a number in E.164, or the id of a notification or a callback.
    q: Option<String>,
    before: Option<Uuid>,
}

#[derive(Template)]
#[template(path = "callbacks.html")]
struct CallbacksScreen {
    shell: DashboardLayout,
    q: String,
    found: bool,
    rows: Vec<CallbackScreenRow>,
    next: Option<Uuid>,
    dead: Vec<DeadLetterScreenRow>,
    dead_count: i64,
    waiting: i64,
}

struct CallbackScreenRow {
    id: Uuid,
    at: DisplayTime,
    size: i64,
    processed: bool,
    erased: bool,
    items: i64,
    dead: i64,
}

struct DeadLetterScreenRow {
    callback: Uuid,
    at: DisplayTime,
    pointer: String,
    reason: String,
}

pub async fn page(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
    search: web::Query<CallbacksSearch>,
) -> Result<HttpResponse, DashboardScreenError> {
    let search = search.into_inner();
    let shell = DashboardLayout::new(
        &request,
        &state,
        &person,
        "Callbacks",
        "/dashboard/callbacks",
    )?;
    let store = &state.engine.store;
    let q = search.q.unwrap_or_default().trim().replace('\0', "");
    // A user who may not see people may not search for them either.
    let q = if person.sees_people() {
        q
    } else {
        String::new()
    };
    let limit = i64::try_from(SHOWN).unwrap_or(50);
    let mut listed = if q.is_empty() {
        callback::before(store, search.before, limit + 1).await?
    } else {
        callback::about(store, &q, limit).await?
    };
    let more = listed.len() > usize::try_from(SHOWN).unwrap_or(50);
    listed.truncate(usize::try_from(SHOWN).unwrap_or(50));
    let waiting = callback::waiting(store.inbox().reader(), store.reader())
        .await?
        .callbacks;
    let page = CallbacksScreen {
        found: !q.is_empty(),
        q,
        next: listed.last().filter(|_| more).map(|listed| listed.id),
        rows: listed
            .into_iter()
            .map(|listed| CallbackScreenRow {
                id: listed.id,
                at: shell.zone.moment(listed.received_at),
                size: listed.size_bytes,
                processed: listed.processed,
                erased: listed.erased,
                items: listed.items.unwrap_or(0),
                dead: listed.dead_items.unwrap_or(0),
            })
            .collect(),
        dead: dead_letter::open(store, None, SHOWN)
            .await?
            .into_iter()
            .map(|letter| DeadLetterScreenRow {
                callback: letter.callback_id,
                at: shell.zone.micros(letter.created_at),
                pointer: letter.pointer,
                reason: letter.reason,
            })
            .collect(),
        dead_count: dead_letter::count_open(store).await?,
        waiting,
        shell,
    };
    shown(&page)
}

/// Replays dead letters: of one callback, or of all.
pub async fn replay(
    form: DashboardForm,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, DashboardScreenError> {
    form.person.needs(DashboardRole::Operator)?;
    let (engine, now) = (&state.engine, state.clock.now());
    let mut ids: Vec<Uuid> = match form.text("callback") {
        Some("all") => dead_letter::open(&engine.store, None, REPLAYED)
            .await?
            .into_iter()
            .map(|letter| letter.callback_id)
            .collect(),
        Some(id) => vec![
            id.parse()
                .map_err(|_unreadable| DashboardScreenError::Form)?,
        ],
        None => return Err(DashboardScreenError::Form),
    };
    ids.sort_unstable();
    ids.dedup();
    let (mut items, mut dead, mut gone) = (0, 0, 0);
    for id in &ids {
        match ingest::replay(engine, *id, now).await? {
            CallbackReplayOutcome::Applied(applied) => {
                items += applied.items;
                dead += applied.dead;
            }
            CallbackReplayOutcome::Erased | CallbackReplayOutcome::NotFound => gone += 1,
        }
    }
    let replayed = u64::try_from(ids.len()).unwrap_or(0);
    operator_actions::note_replay(engine, &form.person.actor(), &ids, replayed, now).await?;
    let said = if dead == 0 && gone == 0 {
        Ok(format!(
            "{items} items of {replayed} callbacks were applied."
        ))
    } else {
        let older = if gone > 0 {
            format!(" {gone} callbacks cannot be replayed: their bodies have been deleted.")
        } else {
            String::new()
        };
        Err(vec![format!(
            "{items} items were applied, {dead} still cannot be applied: see their reasons.{older}"
        )])
    };
    answered(&request, "/dashboard/callbacks", said)
}

#[derive(Template)]
#[template(path = "callback.html")]
struct CallbackDetailScreen {
    shell: DashboardLayout,
    row: CallbackScreenRow,
    dead: Vec<DeadLetterScreenRow>,
    body: Option<String>,
}

/// One callback. Its body, which contains numbers and texts, is for admins only, and each view is
/// audited.
pub async fn one(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, DashboardScreenError> {
    person.needs(DashboardRole::Operator)?;
    let store = &state.engine.store;
    let Some(listed) = callback::one(store, *id).await? else {
        return Err(DashboardScreenError::NotFound);
    };
    let shell = DashboardLayout::new(
        &request,
        &state,
        &person,
        "Callback",
        "/dashboard/callbacks",
    )?;
    let body = if person.role >= DashboardRole::Admin && !listed.erased {
        callback::body(store, *id).await?
    } else {
        None
    };
    if body.is_some() {
        let (actor, subject) = (person.actor(), id.to_string());
        let (action, now) = (AuditAction::CallbackRead, state.clock.now());
        audit::note_alone(store, &actor, action, &subject, &json!({}), now).await?;
    }
    let page = CallbackDetailScreen {
        row: CallbackScreenRow {
            id: listed.id,
            at: shell.zone.moment(listed.received_at),
            size: listed.size_bytes,
            processed: listed.processed,
            erased: listed.erased,
            items: listed.items.unwrap_or(0),
            dead: listed.dead_items.unwrap_or(0),
        },
        dead: dead_letter::open(store, Some(*id), 1_000)
            .await?
            .into_iter()
            .map(|letter| DeadLetterScreenRow {
                callback: letter.callback_id,
                at: shell.zone.micros(letter.created_at),
                pointer: letter.pointer,
                reason: letter.reason,
            })
            .collect(),
        body: body.map(|body| {
            serde_json::from_slice::<serde_json::Value>(&body.content.body)
                .ok()
                .and_then(|value| serde_json::to_string_pretty(&value).ok())
                .unwrap_or_else(|| String::from_utf8_lossy(&body.content.body).into_owned())
        }),
        shell,
    };
    shown(&page)
}
