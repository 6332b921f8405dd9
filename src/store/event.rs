//! Events and their expansion cursor.

use entity::event;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError,
    bounds::{SqlCondition, of_events, of_notifications},
    dialect::{SqlListFieldType, column, execute, ids, list, locking, query, query_one, rows},
    first_id,
};
use crate::{
    domain::{access::AccessBounds, route::RouteOutcome, time::Timestamp},
    store::DatabaseTransaction,
};

/// An event to be stored.
#[derive(Clone, Debug)]
pub struct NewEventRow<'a> {
    pub id: Uuid,
    pub source: &'a str,
    pub external_id: &'a str,
    pub event_type: &'a str,
    pub subject: Option<&'a str>,
    pub occurred_at: Option<Timestamp>,
    /// As JSON, or a ciphertext of that.
    pub data: &'a str,
    pub sealed: bool,
    pub digest: Vec<u8>,
    /// The product that posts it, and the key, if that has bounds.
    pub product: Option<&'a str>,
    pub key_id: Option<Uuid>,
}

/// Stores an event unless (source, id) is taken. Says whether it did.
pub async fn insert(
    tx: &DatabaseTransaction,
    new: NewEventRow<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let inserted = execute(
        tx,
        "INSERT INTO event (id, created_at, source, external_id, event_type, subject, occurred_at, data, digest, state, routes, sealed, product, key_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'expanding', '[]', $10, $11, $12) ON CONFLICT (source, external_id) DO NOTHING",
        [
            new.id.into(),
            now.micros().into(),
            new.source.into(),
            new.external_id.into(),
            new.event_type.into(),
            new.subject.into(),
            new.occurred_at.map(Timestamp::micros).into(),
            new.data.into(),
            new.digest.into(),
            new.sealed.into(),
            new.product.into(),
            new.key_id.into(),
        ],
    )
    .await?;
    Ok(inserted.rows_affected() > 0)
}

pub async fn by_external_id(
    connection: &impl ConnectionTrait,
    source: &str,
    external_id: &str,
) -> Result<Option<event::Model>, StoreError> {
    Ok(event::Entity::find()
        .filter(event::Column::Source.eq(source))
        .filter(event::Column::ExternalId.eq(external_id))
        .one(connection)
        .await?)
}

/// One event, regardless of bounds; to answer a caller, use [`shown`].
pub async fn find(
    connection: &DatabaseTransaction,
    id: Uuid,
) -> Result<Option<event::Model>, StoreError> {
    Ok(event::Entity::find_by_id(id).one(connection).await?)
}

/// Locks an event within the caller's bounds, to change its results.
pub async fn lock(
    tx: &DatabaseTransaction,
    bounds: &AccessBounds,
    id: Uuid,
) -> Result<Option<event::Model>, StoreError> {
    let lock = locking(tx.get_database_backend(), "FOR UPDATE");
    let SqlCondition { sql, values } = of_events(bounds).piece("e", 1);
    let sql = format!("SELECT e.id FROM event e WHERE e.id = $1{sql} {lock}");
    let values = std::iter::once(id.into()).chain(values);
    match query_one(tx, sql, values).await? {
        Some(_) => find(tx, id).await,
        None => Ok(None),
    }
}

/// One event of the caller's.
pub async fn shown(
    store: &Store,
    bounds: &AccessBounds,
    id: Uuid,
) -> Result<Option<event::Model>, StoreError> {
    Ok(event::Entity::find_by_id(id)
        .filter(of_events(bounds).condition())
        .one(store.reader())
        .await?)
}

/// Which events.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventListFilter {
    /// Of which a route could not be evaluated.
    pub errors: bool,
    /// Of types that no route listens to.
    pub unrouted: bool,
}

/// The stored routes of an event whose type has no route.
const NO_ROUTES: &str = "[]";

/// Newest events that are looked at for types without a route.
const LOOKED_AT: i64 = 10_000;

/// Types of other sources' events since then that have no route, with their counts, the most
/// frequent first.
pub async fn unrouted_types(
    store: &Store,
    own_source: &str,
    since: Timestamp,
    limit: i64,
) -> Result<Vec<(String, i64)>, StoreError> {
    let found = query(
        store.reader(),
        "SELECT n.event_type, count(*) AS count FROM (SELECT event_type, routes, state, source FROM event WHERE id >= $1 \
         ORDER BY id DESC LIMIT $2) AS n WHERE n.routes = $3 AND n.state = 'expanded' AND n.source <> $4 \
         GROUP BY n.event_type ORDER BY count(*) DESC, n.event_type LIMIT $5",
        [
            first_id(since).into(),
            LOOKED_AT.into(),
            NO_ROUTES.into(),
            own_source.into(),
            limit.into(),
        ],
    )
    .await?;
    found
        .iter()
        .map(|row| Ok((column(row, "event_type")?, column(row, "count")?)))
        .collect()
}

/// Events of the caller's, newest first.
pub async fn newest(
    store: &Store,
    bounds: &AccessBounds,
    kind: Option<&str>,
    only: EventListFilter,
    limit: i64,
) -> Result<Vec<event::Model>, StoreError> {
    let mut found = event::Entity::find().filter(of_events(bounds).condition());
    if let Some(kind) = kind {
        found = found.filter(event::Column::EventType.eq(kind));
    }
    if only.unrouted {
        found = found
            .filter(event::Column::Routes.eq(NO_ROUTES))
            .filter(event::Column::State.eq("expanded"));
    }
    if only.errors {
        let error = format!(r#""outcome":"{}""#, RouteOutcome::Error);
        found = found.filter(event::Column::Routes.contains(&error));
    }
    Ok(found
        .order_by_desc(event::Column::Id)
        .limit(u64::try_from(limit).unwrap_or(1))
        .all(store.reader())
        .await?)
}

/// Locks one event that is not fully expanded. Events locked by another process are skipped.
pub async fn next_unexpanded(tx: &DatabaseTransaction) -> Result<Option<event::Model>, StoreError> {
    let skip = locking(tx.get_database_backend(), "FOR UPDATE SKIP LOCKED");
    let row = query_one(
        tx,
        format!("SELECT id FROM event WHERE state = 'expanding' ORDER BY id LIMIT 1 {skip}"),
        [],
    )
    .await?;
    match row {
        Some(row) => find(tx, column(&row, "id")?).await,
        None => Ok(None),
    }
}

/// Stores the progress of an expansion.
pub async fn set_progress(
    tx: &DatabaseTransaction,
    id: Uuid,
    state: &str,
    cursor: Option<String>,
    routes: String,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE event SET state = $2, cursor_at = $3, routes = $4 WHERE id = $1",
        [id.into(), state.into(), cursor.into(), routes.into()],
    )
    .await?;
    Ok(())
}

/// The contacts among these that already have a notification of this event and route.
pub async fn reached_already(
    tx: &DatabaseTransaction,
    event: Uuid,
    route: &str,
    contacts: &[Uuid],
) -> Result<Vec<Uuid>, StoreError> {
    let given = rows(tx.get_database_backend(), &[("id", SqlListFieldType::Uuid)]);
    // `OFFSET 0` keeps PostgreSQL from making a join of it that walks the whole event.
    let found = query(
        tx,
        format!(
            "SELECT r.id FROM {given} WHERE EXISTS (SELECT 1 FROM notification n WHERE n.event_id = $2 \
             AND n.contact_id = r.id AND n.route = $3 LIMIT 1 OFFSET 0)"
        ),
        [ids(contacts.iter().copied())?, event.into(), route.into()],
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// The unknown recipients among these that already have a notification of this event and route.
pub async fn named_already(
    tx: &DatabaseTransaction,
    event: Uuid,
    route: &str,
    recipients: &[&str],
) -> Result<Vec<String>, StoreError> {
    let condition = "n.event_id = $2 AND n.contact_id IS NULL AND n.recipient = r.name";
    already_reached(tx, event, route, recipients, condition).await
}

/// The addresses among these at which a contact that has been deleted since has a notification of
/// this event and route.
pub async fn reached_as_deleted(
    tx: &DatabaseTransaction,
    event: Uuid,
    route: &str,
    addresses: &[&str],
) -> Result<Vec<String>, StoreError> {
    // By the index of addresses, never by that of the event, which may have made 100,000; and
    // nothing that PostgreSQL can make a join with all contacts of.
    let condition = "n.address = r.name AND coalesce(n.event_id, n.id) = $2 \
         AND (SELECT c.deleted_at FROM contact c WHERE c.id = n.contact_id) IS NOT NULL";
    already_reached(tx, event, route, addresses, condition).await
}

async fn already_reached(
    tx: &DatabaseTransaction,
    event: Uuid,
    route: &str,
    names: &[&str],
    condition: &str,
) -> Result<Vec<String>, StoreError> {
    #[derive(Serialize)]
    struct RecipientNameRow<'a> {
        name: &'a str,
    }
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<RecipientNameRow<'_>> =
        names.iter().map(|name| RecipientNameRow { name }).collect();
    let given = rows(
        tx.get_database_backend(),
        &[("name", SqlListFieldType::Text)],
    );
    let found = query(
        tx,
        format!(
            "SELECT r.name FROM {given} WHERE EXISTS (SELECT 1 FROM notification n WHERE {condition} \
             AND n.route = $3 LIMIT 1 OFFSET 0)"
        ),
        [list(&names)?, event.into(), route.into()],
    )
    .await?;
    found.iter().map(|row| column(row, "name")).collect()
}

/// The notifications of an event that are the caller's, oldest first, at most `limit`.
pub async fn notifications(
    store: &Store,
    bounds: &AccessBounds,
    event: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let SqlCondition { sql, values } = of_notifications(bounds).piece("n", 2);
    let found = query(
        store.reader(),
        format!(
            "SELECT n.id FROM notification n WHERE n.event_id = $1{sql} ORDER BY n.id LIMIT $2"
        ),
        [event.into(), limit.into()].into_iter().chain(values),
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// Counts an event's own messages within the caller's bounds by stored status, without those that
/// rules made from them.
pub async fn messages_by_status(
    store: &Store,
    bounds: &AccessBounds,
    event: Uuid,
) -> Result<Vec<(String, i64)>, StoreError> {
    let SqlCondition { sql, values } = of_notifications(bounds).piece("n", 1);
    let found = query(
        store.reader(),
        format!(
            "SELECT n.status, count(*) AS count FROM notification n WHERE n.event_id = $1 AND n.parent_id IS NULL{sql} \
             GROUP BY n.status"
        ),
        std::iter::once(event.into()).chain(values),
    )
    .await?;
    found
        .iter()
        .map(|row| Ok((column(row, "status")?, column(row, "count")?)))
        .collect()
}

/// The first of an event's own messages that were skipped, of the caller's.
pub async fn skipped(
    store: &Store,
    bounds: &AccessBounds,
    event: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let SqlCondition { sql, values } = of_notifications(bounds).piece("n", 2);
    let found = query(
        store.reader(),
        format!(
            "SELECT n.id FROM notification n WHERE n.event_id = $1 AND n.parent_id IS NULL \
             AND n.status = 'skipped'{sql} ORDER BY n.id LIMIT $2"
        ),
        [event.into(), limit.into()].into_iter().chain(values),
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// Events received by then that are not fully expanded, oldest first.
pub async fn unexpanded_before(store: &Store, before: Timestamp) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        store.reader(),
        "SELECT id FROM event WHERE state = 'expanding' AND created_at <= $1 ORDER BY id LIMIT 100",
        [before.micros().into()],
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// Whether an event waits for its expansion.
pub async fn any_unexpanded(store: &Store) -> Result<bool, StoreError> {
    Ok(query_one(
        store.by_index(),
        "SELECT id FROM event WHERE state = 'expanding' ORDER BY id LIMIT 1",
        [],
    )
    .await?
    .is_some())
}
