//! Catalogue entries: templates, people, routes, rules.

pub mod many;
mod present;
pub mod rows;
pub mod uses;
mod write;
mod write_people;

pub use present::{CatalogueReadScope, applied, fields, present};
pub use write::{
    CatalogueActor, CatalogueRowError, CatalogueRowHandover, hand_over, note, remove, write,
};
pub use write_people::groups_of_others;

use self::rows::CatalogueRouteRow;

use std::collections::BTreeSet;

use entity::{event_type, template};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult};
use uuid::Uuid;

use super::{
    StoreError,
    bounds::{SqlCondition, of_catalogue},
    dialect::{column, execute, nullable, query, query_one},
};
use crate::{
    domain::{
        access::AccessBounds,
        rule::{FollowUpRule, FollowUpRuleMessage},
        time::Timestamp,
        transition::{NotificationTransition, NotificationTransitionSet},
    },
    store::DatabaseTransaction,
};

/// A counter of changes to any catalogue: caches of rules compare it.
pub async fn revision(connection: &impl ConnectionTrait) -> Result<i64, StoreError> {
    let row = query_one(
        connection,
        "SELECT CAST(coalesce(sum(revision), 0) AS bigint) AS revision FROM catalogue",
        [],
    )
    .await?;
    row.map_or(Ok(0), |row| column(&row, "revision"))
}

/// Whether a catalogue of this name has been applied.
pub async fn exists(connection: &impl ConnectionTrait, name: &str) -> Result<bool, StoreError> {
    let row = query_one(
        connection,
        "SELECT name FROM catalogue WHERE name = $1",
        [name.into()],
    )
    .await?;
    Ok(row.is_some())
}

/// Records that a catalogue has changed.
pub async fn count_change(
    tx: &DatabaseTransaction,
    name: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO catalogue (name, created_at, applied_at, revision) VALUES ($1, $2, $2, 1) \
         ON CONFLICT (name) DO UPDATE SET applied_at = excluded.applied_at, revision = catalogue.revision + 1",
        [name.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

/// Name and language of every template that a catalogue has, regardless of bounds.
pub async fn template_names(store: &super::Store) -> Result<Vec<(String, String)>, StoreError> {
    let found = super::dialect::query(
        store.reader(),
        "SELECT DISTINCT name, language FROM template ORDER BY name, language",
        [],
    )
    .await?;
    found
        .iter()
        .map(|row| Ok((column(row, "name")?, column(row, "language")?)))
        .collect()
}

/// Every template in every language, by name.
pub async fn templates(store: &super::Store) -> Result<Vec<template::Model>, StoreError> {
    Ok(template::Entity::find()
        .order_by_asc(template::Column::Name)
        .order_by_asc(template::Column::Language)
        .all(store.reader())
        .await?)
}

/// The translations of a template, by language.
pub async fn translations(
    connection: &impl ConnectionTrait,
    name: &str,
) -> Result<Vec<template::Model>, StoreError> {
    Ok(template::Entity::find()
        .filter(template::Column::Name.eq(name))
        .order_by_asc(template::Column::Language)
        .all(connection)
        .await?)
}

/// Types of events whose data are secret.
pub async fn sensitive_events(
    connection: &impl ConnectionTrait,
) -> Result<BTreeSet<String>, StoreError> {
    let found = query(
        connection,
        "SELECT name FROM event_type WHERE sensitive",
        [],
    )
    .await?;
    found.iter().map(|row| column(row, "name")).collect()
}

/// Event types in the caller's catalogue, by name.
pub async fn event_types(
    store: &super::Store,
    bounds: &AccessBounds,
) -> Result<Vec<event_type::Model>, StoreError> {
    Ok(event_type::Entity::find()
        .filter(of_catalogue(bounds).condition())
        .order_by_asc(event_type::Column::Name)
        .all(store.reader())
        .await?)
}

/// A route as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoute {
    pub name: String,
    pub catalogue: Option<String>,
    pub route: CatalogueRouteRow,
}

/// Routes of an event type that apply to the caller's events, by name.
pub async fn routes(
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
    event_type: &str,
) -> Result<Vec<StoredRoute>, StoreError> {
    let SqlCondition { sql, values } = of_catalogue(bounds).piece("x", 1);
    let found = query(
        connection,
        format!(
            "SELECT x.name, x.catalogue, {ROUTE} FROM route x WHERE x.event_type = $1{sql} ORDER BY x.name"
        ),
        std::iter::once(event_type.into()).chain(values),
    )
    .await?;
    found
        .iter()
        .map(|row| {
            Ok(StoredRoute {
                name: column(row, "name")?,
                catalogue: nullable(row, "catalogue")?,
                route: stored_route(row)?,
            })
        })
        .collect()
}

/// Columns of a route but its name.
const ROUTE: &str = "x.event_type, x.condition, x.recipients, x.about, x.template, x.language, x.channel, \
     x.params, x.labels, x.reference, x.dedupe_key, x.priority, x.expires_after_seconds, x.sender, \
     x.message_kind, x.mode, x.fallback_template, x.next_channels, x.fallback_after_seconds";

fn stored_route(row: &QueryResult) -> Result<CatalogueRouteRow, StoreError> {
    Ok(CatalogueRouteRow {
        event_type: column(row, "event_type")?,
        condition: nullable(row, "condition")?,
        recipients: read_json(nullable(row, "recipients")?),
        about: nullable(row, "about")?,
        template: column(row, "template")?,
        language: nullable(row, "language")?,
        channel: column(row, "channel")?,
        params: read_json(nullable(row, "params")?),
        labels: read_json(nullable(row, "labels")?),
        reference: nullable(row, "reference")?,
        dedupe_key: nullable(row, "dedupe_key")?,
        priority: column(row, "priority")?,
        expires_after_seconds: nullable(row, "expires_after_seconds")?,
        sender: nullable(row, "sender")?,
        message_kind: nullable(row, "message_kind")?,
        mode: column(row, "mode")?,
        fallback_template: nullable(row, "fallback_template")?,
        next_channels: read_json(nullable(row, "next_channels")?),
        fallback_after_seconds: nullable(row, "fallback_after_seconds")?,
    })
}

/// Invalid JSON that was written by hand reads as empty: it differs from the wanted value.
fn read_json<T: serde::de::DeserializeOwned + Default>(text: Option<String>) -> T {
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// A rule with the row that holds this version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRule {
    pub id: Uuid,
    pub active: bool,
    pub rule: FollowUpRule,
}

const RULE: &str = "id, name, active, on_trigger, condition, after_seconds, unless, send, chain";

fn stored_rule(row: &QueryResult) -> Result<StoredRule, StoreError> {
    let id: Uuid = column(row, "id")?;
    let corrupt = |column| StoreError::Corrupt {
        table: "rule",
        row: id.to_string(),
        column,
    };
    let on: String = column(row, "on_trigger")?;
    let unless: String = column(row, "unless")?;
    let unless: Vec<NotificationTransition> =
        serde_json::from_str(&unless).map_err(|_unreadable| corrupt("unless"))?;
    let send: String = column(row, "send")?;
    let send: FollowUpRuleMessage =
        serde_json::from_str(&send).map_err(|_unreadable| corrupt("send"))?;
    Ok(StoredRule {
        id,
        active: column(row, "active")?,
        rule: FollowUpRule {
            name: column(row, "name")?,
            on: NotificationTransition::parse(&on).ok_or_else(|| corrupt("on_trigger"))?,
            condition: nullable(row, "condition")?,
            after_seconds: column(row, "after_seconds")?,
            unless: unless.into_iter().collect::<NotificationTransitionSet>(),
            send,
            chain: column(row, "chain")?,
        },
    })
}

/// Every version of every rule.
pub async fn rules(connection: &impl ConnectionTrait) -> Result<Vec<StoredRule>, StoreError> {
    let found = query(
        connection,
        format!("SELECT {RULE} FROM rule ORDER BY name, version"),
        [],
    )
    .await?;
    found.iter().map(stored_rule).collect()
}

/// One version of a rule.
pub async fn rule(
    connection: &impl ConnectionTrait,
    id: Uuid,
) -> Result<Option<StoredRule>, StoreError> {
    let row = query_one(
        connection,
        format!("SELECT {RULE} FROM rule WHERE id = $1"),
        [id.into()],
    )
    .await?;
    row.as_ref().map(stored_rule).transpose()
}
