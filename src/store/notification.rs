//! Notifications: loading them for a change, saving what changed, the queue, and lists.

use entity::notification;
use sea_orm::{ActiveEnum, ConnectionTrait, DatabaseTransaction, EntityTrait};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError, attempt,
    convert::{engine, stored_engine},
    dialect::{Columns, Id, Type, execute, ids, list, locking, query, rows},
};
use crate::domain::{
    failure::Failure,
    notification::{NotificationState, Policy},
    status::{EngineState, Group, Status},
    time::Timestamp,
    trigger::Triggers,
};

/// What of a notification never changes, and is needed to count and to follow up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facets {
    pub sender_id: Option<Uuid>,
    pub channel: String,
    pub template: String,
    pub depth: i64,
    pub contact_id: Option<Uuid>,
}

/// A notification under the row's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub state: NotificationState,
    pub facets: Facets,
}

const LOADED: &str = "n.id, n.created_at, n.category, n.engine_state, n.generation, n.triggered, n.replied, n.reason, \
     n.failure, n.due_at, n.leased_until, n.expires_at, n.sender_id, n.channel, n.template, n.depth, n.contact_id";

fn loaded(columns: &mut Columns<'_>) -> Result<Loaded, StoreError> {
    let id: Uuid = columns.take()?;
    let corrupt = |column| StoreError::Corrupt {
        table: "notification",
        row: id.to_string(),
        column,
    };
    let created_at = Timestamp::from_micros(columns.take()?);
    let category = columns.take()?;
    let stored: String = columns.take()?;
    let engine_state = notification::EngineState::try_from_value(&stored)
        .map_err(|_unreadable| corrupt("engine_state"))?;
    let state = NotificationState {
        id,
        created_at,
        category,
        engine: engine(engine_state),
        generation: columns.take()?,
        triggered: Triggers::from_mask(columns.take()?),
        replied: columns.take()?,
        reason: columns.take()?,
        failure: columns
            .take::<Option<String>>()?
            .map(|json| serde_json::from_str(&json).map_err(|_unreadable| corrupt("failure")))
            .transpose()?,
        due_at: columns.take::<Option<i64>>()?.map(Timestamp::from_micros),
        leased_until: columns.take::<Option<i64>>()?.map(Timestamp::from_micros),
        expires_at: columns.take::<Option<i64>>()?.map(Timestamp::from_micros),
        attempts: Vec::new(),
    };
    let facets = Facets {
        sender_id: columns.take()?,
        channel: columns.take()?,
        template: columns.take()?,
        depth: columns.take()?,
        contact_id: columns.take()?,
    };
    Ok(Loaded { state, facets })
}

/// Locks notifications in order of id.
pub async fn lock(tx: &DatabaseTransaction, wanted: &[Uuid]) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    let lock = locking(backend, "FOR UPDATE OF n");
    if lock.is_empty() {
        return Ok(());
    }
    let given = rows(backend, &[("id", Type::Uuid)]);
    let sql =
        format!("SELECT n.id FROM {given} JOIN notification n ON n.id = r.id ORDER BY n.id {lock}");
    query(tx, sql, [ids(wanted.iter().copied())?]).await?;
    Ok(())
}

/// Loads locked notifications with their attempts, in order of id. A statement
/// of its own after the lock: another process may have added facts until then.
pub async fn load(tx: &DatabaseTransaction, wanted: &[Uuid]) -> Result<Vec<Loaded>, StoreError> {
    let given = rows(tx.get_database_backend(), &[("id", Type::Uuid)]);
    let found = query(
        tx,
        format!(
            "SELECT {LOADED}, {} FROM {given} JOIN notification n ON n.id = r.id \
             LEFT JOIN attempt a ON a.notification_id = n.id",
            attempt::STATE
        ),
        [ids(wanted.iter().copied())?],
    )
    .await?;
    let mut all: Vec<Loaded> = Vec::with_capacity(wanted.len());
    for row in &found {
        let mut columns = Columns::of(row);
        let notification = loaded(&mut columns)?;
        let attempt = attempt::read(&mut columns)?;
        // The attempts of one notification come one after the other.
        match all.last_mut() {
            Some(last) if last.state.id == notification.state.id => {
                last.state.attempts.extend(attempt);
            }
            _ => {
                all.push(notification);
                if let Some(last) = all.last_mut() {
                    last.state.attempts.extend(attempt);
                }
            }
        }
    }
    all.sort_by_key(|loaded| loaded.state.id);
    // Should a plan ever mix them, they are brought together here.
    all.dedup_by(|later, first| {
        let same = later.state.id == first.state.id;
        if same {
            first.state.attempts.append(&mut later.state.attempts);
        }
        same
    });
    for loaded in &mut all {
        loaded.state.attempts.sort_by_key(|attempt| attempt.number);
    }
    Ok(all)
}

#[derive(Serialize)]
struct SavedRow {
    id: Id,
    engine: &'static str,
    status: &'static str,
    open: Option<&'static str>,
    generation: i64,
    triggered: i64,
    replied: bool,
    reason: Option<String>,
    failure: Option<String>,
    due: Option<i64>,
    wake: Option<i64>,
    lease: Option<i64>,
}

/// A status that people look for because something is still to happen or went wrong.
pub const fn open_status(status: Status) -> Option<&'static str> {
    match status.group() {
        Group::Pending | Group::Failed => Some(status.name()),
        Group::Sent | Group::NotSent => None,
    }
}

fn saved(state: &NotificationState, policy: &Policy) -> SavedRow {
    let status = state.status();
    SavedRow {
        id: Id(state.id),
        engine: stored_engine(state.engine),
        status: status.name(),
        open: open_status(status),
        generation: state.generation,
        triggered: state.triggered.mask(),
        replied: state.replied,
        reason: state.reason.clone(),
        failure: if status.group() == Group::Failed || status == Status::Retrying {
            state
                .present_failure()
                .and_then(|failure| serde_json::to_string(failure).ok())
        } else {
            None
        },
        due: state.due_at.map(Timestamp::micros),
        wake: state.wake_at(policy).map(Timestamp::micros),
        lease: state.leased_until.map(Timestamp::micros),
    }
}

/// Saves what changed, notifications first, then their attempts.
pub async fn save(
    tx: &DatabaseTransaction,
    changed: &[(&NotificationState, &NotificationState)],
    policy: &Policy,
    now: Timestamp,
) -> Result<(), StoreError> {
    let changed_rows: Vec<SavedRow> = changed
        .iter()
        .filter(|(before, after)| before != after)
        .map(|(_, after)| saved(after, policy))
        .collect();
    if !changed_rows.is_empty() {
        let given = rows(
            tx.get_database_backend(),
            &[
                ("id", Type::Uuid),
                ("engine", Type::Text),
                ("status", Type::Text),
                ("open", Type::Text),
                ("generation", Type::Int),
                ("triggered", Type::Int),
                ("replied", Type::Bool),
                ("reason", Type::Text),
                ("failure", Type::Text),
                ("due", Type::Int),
                ("wake", Type::Int),
                ("lease", Type::Int),
            ],
        );
        execute(
            tx,
            format!(
                "UPDATE notification SET updated_at = $2, engine_state = r.engine, status = r.status, \
                 open_status = r.open, generation = r.generation, triggered = r.triggered, replied = r.replied, \
                 reason = r.reason, failure = r.failure, due_at = r.due, wake_at = r.wake, leased_until = r.lease \
                 FROM {given} WHERE notification.id = r.id"
            ),
            [list(&changed_rows)?, now.micros().into()],
        )
        .await?;
    }
    attempt::save(tx, changed).await
}

/// A notification to be stored for the first time.
#[derive(Clone, Debug)]
pub struct NewNotification {
    pub id: Uuid,
    pub event_id: Option<Uuid>,
    pub route: Option<String>,
    pub event_type: Option<String>,
    pub follow_up_id: Option<Uuid>,
    pub parent_id: Option<Uuid>,
    pub rule: Option<String>,
    pub depth: i64,
    pub sender_id: Option<Uuid>,
    pub channel: String,
    pub contact_id: Option<Uuid>,
    /// Who it is for, in words: `user:NAME`, `contact:NAME` or a number. Unique in a follow-up.
    pub recipient: String,
    pub address: Option<String>,
    pub subject_contact_id: Option<Uuid>,
    /// `template` or `text`.
    pub kind: &'static str,
    pub template: String,
    pub language: Option<String>,
    pub category: String,
    pub params: serde_json::Value,
    pub body: Option<String>,
    pub reference: Option<String>,
    pub labels: std::collections::BTreeMap<String, String>,
    pub priority: i64,
    /// Why it is not sent, when it is not.
    pub skipped: Option<String>,
    pub expires_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct NewRow<'a> {
    id: Id,
    event_id: Option<Id>,
    route: Option<&'a str>,
    event_type: Option<&'a str>,
    follow_up_id: Option<Id>,
    parent_id: Option<Id>,
    rule: Option<&'a str>,
    depth: i64,
    sender_id: Option<Id>,
    channel: &'a str,
    contact_id: Option<Id>,
    recipient: &'a str,
    address: Option<&'a str>,
    subject: Option<Id>,
    kind: &'a str,
    template: &'a str,
    language: Option<&'a str>,
    category: &'a str,
    params: String,
    body: Option<&'a str>,
    reference: Option<&'a str>,
    labels: String,
    priority: i64,
    state: &'static str,
    open: Option<&'static str>,
    reason: Option<&'a str>,
    due: Option<i64>,
    expires: Option<i64>,
}

#[derive(Serialize)]
struct LabelRow<'a> {
    name: &'a str,
    value: &'a str,
    id: Id,
}

/// The state of a notification that was just made.
pub fn fresh_state(new: &NewNotification, now: Timestamp) -> NotificationState {
    NotificationState {
        id: new.id,
        created_at: now,
        category: new.category.clone(),
        engine: if new.skipped.is_some() {
            EngineState::Skipped
        } else {
            EngineState::Queued
        },
        generation: 1,
        triggered: Triggers::NONE,
        replied: false,
        reason: new.skipped.clone(),
        failure: None,
        due_at: new.skipped.is_none().then_some(now),
        leased_until: None,
        expires_at: new.expires_at,
        attempts: Vec::new(),
    }
}

/// Inserts notifications with their labels. A child of a follow-up that is
/// there already is left out; the ids of what was inserted come back.
pub async fn insert(
    tx: &DatabaseTransaction,
    new: &[NewNotification],
    now: Timestamp,
) -> Result<Vec<Uuid>, StoreError> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let described: Vec<NewRow<'_>> = new
        .iter()
        .map(|new| {
            let status = if new.skipped.is_some() {
                Status::Skipped
            } else {
                Status::Queued
            };
            NewRow {
                id: Id(new.id),
                event_id: new.event_id.map(Id),
                route: new.route.as_deref(),
                event_type: new.event_type.as_deref(),
                follow_up_id: new.follow_up_id.map(Id),
                parent_id: new.parent_id.map(Id),
                rule: new.rule.as_deref(),
                depth: new.depth,
                sender_id: new.sender_id.map(Id),
                channel: &new.channel,
                contact_id: new.contact_id.map(Id),
                recipient: &new.recipient,
                address: new.address.as_deref(),
                subject: new.subject_contact_id.map(Id),
                kind: new.kind,
                template: &new.template,
                language: new.language.as_deref(),
                category: &new.category,
                params: new.params.to_string(),
                body: new.body.as_deref(),
                reference: new.reference.as_deref(),
                labels: serde_json::json!(new.labels).to_string(),
                priority: new.priority,
                state: status.name(),
                open: open_status(status),
                reason: new.skipped.as_deref(),
                due: new.skipped.is_none().then(|| now.micros()),
                expires: new.expires_at.map(Timestamp::micros),
            }
        })
        .collect();
    let text = |name| (name, Type::Text);
    let backend = tx.get_database_backend();
    let given = rows(
        backend,
        &[
            ("id", Type::Uuid),
            ("event_id", Type::Uuid),
            text("route"),
            text("event_type"),
            ("follow_up_id", Type::Uuid),
            ("parent_id", Type::Uuid),
            text("rule"),
            ("depth", Type::Int),
            ("sender_id", Type::Uuid),
            text("channel"),
            ("contact_id", Type::Uuid),
            text("recipient"),
            text("address"),
            ("subject", Type::Uuid),
            text("kind"),
            text("template"),
            text("language"),
            text("category"),
            text("params"),
            text("body"),
            text("reference"),
            text("labels"),
            ("priority", Type::Int),
            text("state"),
            text("open"),
            text("reason"),
            ("due", Type::Int),
            ("expires", Type::Int),
        ],
    );
    let inserted = query(
        tx,
        format!(
            "INSERT INTO notification (id, created_at, updated_at, event_id, route, event_type, follow_up_id, parent_id, \
             rule, depth, sender_id, channel, contact_id, recipient, address, subject_contact_id, kind, template, \
             language, category, params, body, reference, labels, priority, generation, status, open_status, \
             engine_state, reason, triggered, replied, attempt_count, due_at, wake_at, expires_at) \
             SELECT r.id, $2, $2, r.event_id, r.route, r.event_type, r.follow_up_id, r.parent_id, \
             r.rule, r.depth, r.sender_id, r.channel, r.contact_id, r.recipient, r.address, r.subject, r.kind, r.template, \
             r.language, r.category, r.params, r.body, r.reference, r.labels, r.priority, 1, r.state, r.open, \
             r.state, r.reason, 0, false, 0, r.due, CASE WHEN r.due IS NULL THEN NULL ELSE r.expires END, r.expires \
             FROM {given} WHERE true ON CONFLICT DO NOTHING RETURNING id"
        ),
        [list(&described)?, now.micros().into()],
    )
    .await?;
    let inserted = inserted
        .iter()
        .map(|row| Columns::of(row).take())
        .collect::<Result<Vec<Uuid>, _>>()?;
    let labels: Vec<LabelRow<'_>> = new
        .iter()
        .filter(|new| inserted.contains(&new.id))
        .flat_map(|new| {
            new.labels.iter().map(|(name, value)| LabelRow {
                name,
                value,
                id: Id(new.id),
            })
        })
        .collect();
    if !labels.is_empty() {
        let given = rows(backend, &[text("name"), text("value"), ("id", Type::Uuid)]);
        execute(
            tx,
            format!("INSERT INTO notification_label (name, value, notification_id) SELECT r.name, r.value, r.id FROM {given}"),
            [list(&labels)?],
        )
        .await?;
    }
    Ok(inserted)
}

/// A notification taken out of the queue to be sent.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub id: Uuid,
    pub contact_id: Option<Uuid>,
    pub address: Option<String>,
    pub kind: String,
    pub template: String,
    pub language: Option<String>,
    pub category: String,
    pub params: String,
    pub body: Option<String>,
    pub generation: i64,
    pub attempt_count: i64,
    pub created_at: Timestamp,
    pub follow_up_id: Option<Uuid>,
    pub subject_contact_id: Option<Uuid>,
}

/// Takes up to `limit` due notifications for a sender: by priority, then by when they are due.
pub async fn claim(
    tx: &DatabaseTransaction,
    sender: Uuid,
    owner: Uuid,
    leased_until: Timestamp,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Claimed>, StoreError> {
    let backend = tx.get_database_backend();
    let skip = locking(backend, "FOR UPDATE SKIP LOCKED");
    let claimed = query(
        tx,
        format!(
            "UPDATE notification SET engine_state = 'sending', status = 'sending', open_status = 'sending', \
             sender_id = $1, lease_owner = $2, leased_until = $3, wake_at = $3, due_at = NULL, updated_at = $4, \
             attempt_count = attempt_count + 1 WHERE id IN \
             (SELECT id FROM notification WHERE due_at IS NOT NULL AND due_at <= $4 AND channel = 'whatsapp' \
              AND (sender_id = $1 OR sender_id IS NULL) AND (expires_at IS NULL OR expires_at > $4) \
              ORDER BY priority, due_at LIMIT $5 {skip}) \
             RETURNING id, contact_id, address, kind, template, language, category, params, body, generation, \
             attempt_count, created_at, follow_up_id, subject_contact_id"
        ),
        [sender.into(), owner.into(), leased_until.micros().into(), now.micros().into(), limit.into()],
    )
    .await?;
    let mut all = claimed
        .iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok(Claimed {
                id: columns.take()?,
                contact_id: columns.take()?,
                address: columns.take()?,
                kind: columns.take()?,
                template: columns.take()?,
                language: columns.take()?,
                category: columns.take()?,
                params: columns.take()?,
                body: columns.take()?,
                generation: columns.take()?,
                attempt_count: columns.take()?,
                created_at: Timestamp::from_micros(columns.take()?),
                follow_up_id: columns.take()?,
                subject_contact_id: columns.take()?,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    all.sort_by_key(|claimed| claimed.id);
    Ok(all)
}

/// Notifications that somebody must look at: a lease, a decision, an expiry.
pub async fn woken(
    tx: &DatabaseTransaction,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let skip = locking(tx.get_database_backend(), "FOR UPDATE SKIP LOCKED");
    let found = query(
        tx,
        format!("SELECT id FROM notification WHERE wake_at IS NOT NULL AND wake_at <= $1 ORDER BY wake_at LIMIT $2 {skip}"),
        [now.micros().into(), limit.into()],
    )
    .await?;
    found.iter().map(|row| Columns::of(row).take()).collect()
}

/// Moves queued messages out of the due queue, because their sender cannot send.
/// Says how many.
pub async fn hold(
    tx: &DatabaseTransaction,
    reason: &str,
    now: Timestamp,
    limit: i64,
) -> Result<u64, StoreError> {
    let skip = locking(tx.get_database_backend(), "FOR UPDATE SKIP LOCKED");
    let held = execute(
        tx,
        format!(
            "UPDATE notification SET engine_state = 'held', status = 'held', open_status = 'held', reason = $1, \
             due_at = NULL, updated_at = $2 WHERE id IN \
             (SELECT id FROM notification WHERE due_at IS NOT NULL AND due_at <= $2 AND channel = 'whatsapp' \
              ORDER BY priority, due_at LIMIT $3 {skip})"
        ),
        [reason.into(), now.micros().into(), limit.into()],
    )
    .await?;
    Ok(held.rows_affected())
}

/// Puts held messages back into the queue. Says how many.
pub async fn release(
    tx: &DatabaseTransaction,
    now: Timestamp,
    limit: i64,
) -> Result<u64, StoreError> {
    let skip = locking(tx.get_database_backend(), "FOR UPDATE SKIP LOCKED");
    let released = execute(
        tx,
        format!(
            "UPDATE notification SET engine_state = 'queued', status = 'queued', open_status = 'queued', reason = NULL, \
             due_at = $1, updated_at = $1 WHERE id IN \
             (SELECT id FROM notification WHERE open_status = 'held' ORDER BY id LIMIT $2 {skip})"
        ),
        [now.micros().into(), limit.into()],
    )
    .await?;
    Ok(released.rows_affected())
}

/// Notifications of a contact and sender that a message of `at` may answer.
pub async fn answerable(
    tx: &DatabaseTransaction,
    sender: Uuid,
    contact: Uuid,
    at: Timestamp,
    not_before: Timestamp,
) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        tx,
        "SELECT id FROM notification WHERE contact_id = $1 AND sender_id = $2 AND replied = false \
         AND created_at >= $3 AND created_at <= $4 AND status IN ('accepted', 'sent', 'delivered', 'read', 'played') \
         ORDER BY id DESC LIMIT 50",
        [contact.into(), sender.into(), not_before.micros().into(), at.micros().into()],
    )
    .await?;
    found.iter().map(|row| Columns::of(row).take()).collect()
}

/// One notification.
pub async fn find(store: &Store, id: Uuid) -> Result<Option<notification::Model>, StoreError> {
    Ok(notification::Entity::find_by_id(id)
        .one(store.reader())
        .await?)
}

/// What a list asks for.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub statuses: Vec<Status>,
    pub template: Option<String>,
    pub event_type: Option<String>,
    pub label: Option<(String, String)>,
    pub reference: Option<String>,
    pub address: Option<String>,
    pub recipient: Option<String>,
    pub since: Option<Timestamp>,
    pub before: Option<Uuid>,
    pub limit: u64,
}

/// Notifications that match, newest first.
pub async fn search(
    store: &Store,
    filter: &Filter,
) -> Result<Vec<notification::Model>, StoreError> {
    use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Query};
    let mut select = notification::Entity::find()
        .order_by_desc(notification::Column::Id)
        .limit(filter.limit);
    if !filter.statuses.is_empty() {
        let names: Vec<&str> = filter.statuses.iter().map(|status| status.name()).collect();
        // Open statuses have an index of their own.
        let column = if filter
            .statuses
            .iter()
            .all(|status| open_status(*status).is_some())
        {
            notification::Column::OpenStatus
        } else {
            notification::Column::Status
        };
        select = select.filter(column.is_in(names));
    }
    for (column, value) in [
        (notification::Column::Template, &filter.template),
        (notification::Column::EventType, &filter.event_type),
        (notification::Column::Reference, &filter.reference),
        (notification::Column::Address, &filter.address),
        (notification::Column::Recipient, &filter.recipient),
    ] {
        if let Some(value) = value {
            select = select.filter(column.eq(value.as_str()));
        }
    }
    if let Some((name, value)) = &filter.label {
        let labelled = Query::select()
            .column(entity::notification_label::Column::NotificationId)
            .from(entity::notification_label::Entity)
            .and_where(entity::notification_label::Column::Name.eq(name.as_str()))
            .and_where(entity::notification_label::Column::Value.eq(value.as_str()))
            .to_owned();
        select = select.filter(notification::Column::Id.in_subquery(labelled));
    }
    if let Some(since) = filter.since {
        select = select.filter(notification::Column::CreatedAt.gte(since.micros()));
    }
    if let Some(before) = filter.before {
        select = select.filter(notification::Column::Id.lt(before));
    }
    Ok(select.all(store.reader()).await?)
}

/// How many open notifications there are of each status, and when the oldest
/// queued one was due. From the index of open rows, never from history.
pub async fn open_counts(store: &Store) -> Result<Vec<(String, i64)>, StoreError> {
    let found = query(
        store.reader(),
        "SELECT open_status, count(*) FROM notification WHERE open_status IS NOT NULL GROUP BY open_status",
        [],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok((columns.take()?, columns.take()?))
        })
        .collect()
}

/// When the longest-waiting due message was due.
pub async fn oldest_due(store: &Store, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let found = query(
        store.reader(),
        "SELECT min(due_at) FROM notification WHERE due_at IS NOT NULL AND due_at <= $1",
        [now.micros().into()],
    )
    .await?;
    let Some(row) = found.first() else {
        return Ok(None);
    };
    Ok(Columns::of(row)
        .take::<Option<i64>>()?
        .map(Timestamp::from_micros))
}

/// A failure as it is stored with a notification.
pub fn read_failure(json: Option<&str>) -> Option<Failure> {
    json.and_then(|json| serde_json::from_str(json).ok())
}

/// One notification, inside a transaction.
pub async fn in_transaction(
    tx: &DatabaseTransaction,
    id: Uuid,
) -> Result<Option<notification::Model>, StoreError> {
    Ok(notification::Entity::find_by_id(id).one(tx).await?)
}

/// The notifications of one direct request, oldest first. They carry its id
/// where others carry their event's.
pub async fn of_request(tx: &DatabaseTransaction, request: Uuid) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        tx,
        "SELECT id FROM notification WHERE event_id = $1 ORDER BY id",
        [request.into()],
    )
    .await?;
    found.iter().map(|row| Columns::of(row).take()).collect()
}

/// Whether anything is due to be looked at.
pub async fn any_woken(store: &Store, now: Timestamp) -> Result<bool, StoreError> {
    let found = query(
        store.reader(),
        "SELECT id FROM notification WHERE wake_at IS NOT NULL AND wake_at <= $1 LIMIT 1",
        [now.micros().into()],
    )
    .await?;
    Ok(!found.is_empty())
}

/// Gives a notification that expired, or is about to, a new expiry.
pub async fn extend(
    tx: &DatabaseTransaction,
    id: Uuid,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE notification SET expires_at = $2 WHERE id = $1 AND expires_at <= $3 AND due_at IS NULL",
        [id.into(), until.micros().into(), now.micros().into()],
    )
    .await?;
    Ok(())
}
