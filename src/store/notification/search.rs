//! Searches notifications, for the dashboard and for the API.

use entity::notification;
use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement, sea_query::Query,
};
use uuid::Uuid;

use super::{NotificationRecord, open_status};
use crate::{
    domain::{
        access::AccessBounds,
        channel::MessageChannel,
        failure::DeliveryFailure,
        status::{NotificationStatus, StatusGroup},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, Store, StoreError,
        bounds::{SqlCondition, of_notifications},
        dialect::{SqlListFieldType, column, ids, matching, query, rows},
        first_id,
    },
};

/// One notification of the caller's.
pub async fn find(
    store: &Store,
    bounds: &AccessBounds,
    id: Uuid,
) -> Result<Option<notification::Model>, StoreError> {
    Ok(notification::Entity::find_by_id(id)
        .filter(of_notifications(bounds).condition())
        .one(store.reader())
        .await?)
}

/// Several notifications of the caller's, in order of id; those that are not there are left out.
pub async fn find_all(
    store: &Store,
    bounds: &AccessBounds,
    wanted: &[Uuid],
) -> Result<Vec<notification::Model>, StoreError> {
    let backend = store.backend();
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let SqlCondition { sql, values } = of_notifications(bounds).piece("n", 1);
    let statement = Statement::from_sql_and_values(
        backend,
        format!(
            "SELECT n.* FROM {} WHERE true{sql} ORDER BY n.id",
            matching(backend, &given, "notification", "n", "n.id = r.id")
        ),
        std::iter::once(ids(wanted.iter().copied())?).chain(values),
    );
    Ok(notification::Entity::find()
        .from_raw_sql(statement)
        .all(store.by_index())
        .await?)
}

/// The callbacks that the records of these notifications name.
pub async fn callbacks_of(store: &Store, wanted: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    let mut callbacks = Vec::new();
    for row in find_all(store, &AccessBounds::All, wanted).await? {
        let lines = NotificationRecord::of(&row)?.lines_of(&row)?;
        callbacks.extend(lines.into_iter().filter_map(|line| line.callback_id));
    }
    Ok(callbacks)
}

/// The filter of a list.
#[derive(Clone, Debug, Default)]
pub struct NotificationListFilter {
    pub statuses: Vec<NotificationStatus>,
    pub template: Option<String>,
    pub channel: Option<MessageChannel>,
    pub event_type: Option<String>,
    /// All must hold.
    pub labels: Vec<(String, String)>,
    /// Includes messages tried more than once, or about to be.
    pub retried: bool,
    pub reference: Option<String>,
    pub address: Option<String>,
    pub recipient: Option<String>,
    /// For this person.
    pub contact: Option<Uuid>,
    /// This sender; true: including unassigned messages.
    pub sender: Option<(Uuid, bool)>,
    /// Excludes messages that wait for a later time.
    pub due_by: Option<Timestamp>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub before: Option<Uuid>,
    pub limit: u64,
}

/// An id is made no longer before its row.
const ID_SLACK_SECONDS: i64 = 60;

/// The recipient is not just the number: the condition of an index.
const NAMED: &str = "(address IS NULL OR recipient <> address)";

/// Notifications of the caller's that match, newest first.
pub async fn search(
    store: &Store,
    bounds: &AccessBounds,
    filter: &NotificationListFilter,
) -> Result<Vec<notification::Model>, StoreError> {
    let mut select = notification::Entity::find()
        .filter(of_notifications(bounds).condition())
        .order_by_desc(notification::Column::Id)
        .limit(filter.limit);
    let names: Vec<&str> = filter.statuses.iter().map(|status| status.name()).collect();
    if filter.retried {
        select = select.filter(
            sea_orm::Condition::any()
                .add(notification::Column::AttemptCount.gt(1))
                .add(notification::Column::OpenStatus.eq(NotificationStatus::Retrying.name()))
                .add(notification::Column::Status.is_in(names)),
        );
    } else if !names.is_empty() {
        // Those that failed or were not sent are few among many, and have an index.
        for group in [StatusGroup::Failed, StatusGroup::NotSent] {
            if filter.statuses.iter().all(|status| status.group() == group) {
                select = select.filter(notification::Column::Ended.eq(group.name()));
            }
        }
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
    if let Some(due_by) = filter.due_by {
        select = select.filter(
            sea_orm::Condition::any()
                .add(notification::Column::DueAt.is_null())
                .add(notification::Column::DueAt.lte(due_by.micros())),
        );
    }
    if let Some((sender, or_none)) = filter.sender {
        let mut of_sender =
            sea_orm::Condition::any().add(notification::Column::SenderId.eq(sender));
        if or_none {
            of_sender = of_sender.add(notification::Column::SenderId.is_null());
        }
        select = select.filter(of_sender);
    }
    if let Some(channel) = filter.channel {
        select = select.filter(notification::Column::Channel.eq(channel.name()));
    }
    if let Some(contact) = filter.contact {
        select = select.filter(notification::Column::ContactId.eq(contact));
    }
    if filter.recipient.is_some() {
        select = select.filter(sea_orm::sea_query::Expr::cust(NAMED));
    }
    for (column, value) in [
        (notification::Column::EventType, &filter.event_type),
        (notification::Column::Reference, &filter.reference),
        (notification::Column::Address, &filter.address),
        (notification::Column::Recipient, &filter.recipient),
    ] {
        if let Some(value) = value {
            select = select.filter(column.eq(value.as_str()));
        }
    }
    if let Some(template) = &filter.template {
        select = select.filter(
            sea_orm::Condition::any()
                .add(notification::Column::Template.eq(template.as_str()))
                .add(notification::Column::MadeWith.eq(template.as_str())),
        );
    }
    for (name, value) in &filter.labels {
        let labelled = Query::select()
            .column(entity::notification_label::Column::NotificationId)
            .from(entity::notification_label::Entity)
            .and_where(entity::notification_label::Column::Name.eq(name.as_str()))
            .and_where(entity::notification_label::Column::Value.eq(value.as_str()))
            .to_owned();
        select = select.filter(notification::Column::Id.in_subquery(labelled));
    }
    // Ids are in order of creation, up to the time that a request waits to be stored: older rows
    // are not read.
    if let Some(since) = filter.since {
        select = select
            .filter(notification::Column::CreatedAt.gte(since.micros()))
            .filter(notification::Column::Id.gte(first_id(since.plus_seconds(-ID_SLACK_SECONDS))));
    }
    if let Some(until) = filter.until {
        select = select
            .filter(notification::Column::CreatedAt.lt(until.micros()))
            .filter(notification::Column::Id.lt(first_id(until.plus_seconds(ID_SLACK_SECONDS))));
    }
    if let Some(before) = filter.before {
        select = select.filter(notification::Column::Id.lt(before));
    }
    Ok(select.all(store.reader()).await?)
}

/// How many open notifications of the caller's there are of each status. From an index of open
/// rows, never from history.
pub async fn open_counts(
    store: &Store,
    bounds: &AccessBounds,
) -> Result<Vec<(String, i64)>, StoreError> {
    let SqlCondition { sql, values } = of_notifications(bounds).piece("n", 0);
    let found = query(
        store.reader(),
        format!(
            "SELECT n.open_status, count(*) AS count FROM notification n WHERE n.open_status IS NOT NULL{sql} \
             GROUP BY n.open_status"
        ),
        values,
    )
    .await?;
    found
        .iter()
        .map(|row| Ok((column(row, "open_status")?, column(row, "count")?)))
        .collect()
}

/// A failure as it is stored with a notification.
pub fn read_failure(json: Option<&str>) -> Option<DeliveryFailure> {
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
    found.iter().map(|row| column(row, "id")).collect()
}
