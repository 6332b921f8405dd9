//! What products define: templates, people, routes, rules.

use std::collections::BTreeMap;

use entity::{route, template};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QueryResult,
};
use uuid::Uuid;

use super::{
    StoreError,
    dialect::{Columns, execute, query, query_one},
    new_id,
};
use crate::domain::{
    rule::{Rule, Send},
    time::Timestamp,
    trigger::{Trigger, Triggers},
};

/// Goes up with every change of any catalogue: whoever keeps rules in memory
/// asks for it.
pub async fn revision(connection: &impl ConnectionTrait) -> Result<i64, StoreError> {
    let row = query_one(
        connection,
        "SELECT CAST(coalesce(sum(revision), 0) AS bigint) FROM catalogue",
        [],
    )
    .await?;
    row.map_or(Ok(0), |row| Columns::of(&row).take())
}

/// The digest of a catalogue as it was last applied.
pub async fn digest(
    connection: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<String>, StoreError> {
    let row = query_one(
        connection,
        "SELECT digest FROM catalogue WHERE name = $1",
        [name.into()],
    )
    .await?;
    row.map(|row| Columns::of(&row).take()).transpose()
}

pub async fn set_digest(
    tx: &DatabaseTransaction,
    name: &str,
    digest: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO catalogue (name, created_at, applied_at, digest, revision) VALUES ($1, $2, $2, $3, 1) \
         ON CONFLICT (name) DO UPDATE SET applied_at = excluded.applied_at, digest = excluded.digest, \
         revision = catalogue.revision + 1",
        [name.into(), now.micros().into(), digest.into()],
    )
    .await?;
    Ok(())
}

/// Who owns a named row of a table, if it exists: `Some(None)` when nobody does.
pub async fn owner(
    tx: &DatabaseTransaction,
    table: Table,
    name: &str,
) -> Result<Option<Option<String>>, StoreError> {
    let (table, column) = table.names();
    let row = query_one(
        tx,
        format!("SELECT catalogue FROM {table} WHERE {column} = $1"),
        [name.into()],
    )
    .await?;
    row.map(|row| Columns::of(&row).take()).transpose()
}

/// Tables whose rows belong to catalogues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Contact,
    User,
    Group,
    Template,
    Route,
    Rule,
}

impl Table {
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Contact => ("contact", "handle"),
            Self::User => ("user_account", "name"),
            Self::Group => ("user_group", "name"),
            Self::Template => ("template", "name"),
            Self::Route => ("route", "name"),
            Self::Rule => ("rule", "name"),
        }
    }
}

/// The names of a catalogue's rows in a table.
pub async fn owned(
    tx: &DatabaseTransaction,
    table: Table,
    catalogue: &str,
) -> Result<Vec<String>, StoreError> {
    let (table, column) = table.names();
    let active = if table == "rule" {
        " AND active = true"
    } else {
        ""
    };
    let found = query(
        tx,
        format!("SELECT DISTINCT {column} FROM {table} WHERE catalogue = $1{active}"),
        [catalogue.into()],
    )
    .await?;
    found.iter().map(|row| Columns::of(row).take()).collect()
}

/// Removes a row that a catalogue no longer has. People are only let go of,
/// because notifications point at them.
pub async fn remove(tx: &DatabaseTransaction, table: Table, name: &str) -> Result<(), StoreError> {
    let statements: &[&str] = match table {
        Table::Contact => &["UPDATE contact SET handle = NULL, catalogue = NULL WHERE handle = $1"],
        Table::User => &[
            "DELETE FROM group_member WHERE user_id IN (SELECT id FROM user_account WHERE name = $1)",
            "DELETE FROM user_account WHERE name = $1",
        ],
        Table::Group => &[
            "DELETE FROM group_member WHERE group_id IN (SELECT id FROM user_group WHERE name = $1)",
            "DELETE FROM user_group WHERE name = $1",
        ],
        Table::Template => &["DELETE FROM template WHERE name = $1"],
        Table::Route => &["DELETE FROM route WHERE name = $1"],
        Table::Rule => &["UPDATE rule SET active = false WHERE name = $1"],
    };
    for statement in statements {
        execute(tx, *statement, [name.into()]).await?;
    }
    Ok(())
}

pub async fn upsert_contact(
    tx: &DatabaseTransaction,
    catalogue: &str,
    handle: &str,
    name: Option<&str>,
    language: Option<&str>,
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    execute(
        tx,
        "INSERT INTO contact (id, created_at, handle, name, language, catalogue) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (handle) DO UPDATE SET name = excluded.name, language = excluded.language, catalogue = excluded.catalogue",
        [
            new_id(now).into(),
            now.micros().into(),
            handle.into(),
            name.into(),
            language.into(),
            catalogue.into(),
        ],
    )
    .await?;
    id_of(tx, Table::Contact, handle).await
}

/// Names a contact that exists already, because somebody wrote to it or from it.
pub async fn adopt_contact(
    tx: &DatabaseTransaction,
    catalogue: &str,
    contact: Uuid,
    handle: &str,
    name: Option<&str>,
    language: Option<&str>,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE contact SET handle = $2, name = coalesce($3, name), language = $4, catalogue = $5 WHERE id = $1",
        [contact.into(), handle.into(), name.into(), language.into(), catalogue.into()],
    )
    .await?;
    Ok(())
}

pub async fn upsert_user(
    tx: &DatabaseTransaction,
    catalogue: &str,
    name: &str,
    contact: Option<Uuid>,
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    execute(
        tx,
        "INSERT INTO user_account (id, created_at, name, contact_id, catalogue) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (name) DO UPDATE SET contact_id = excluded.contact_id, catalogue = excluded.catalogue",
        [new_id(now).into(), now.micros().into(), name.into(), contact.into(), catalogue.into()],
    )
    .await?;
    id_of(tx, Table::User, name).await
}

pub async fn upsert_group(
    tx: &DatabaseTransaction,
    catalogue: &str,
    name: &str,
    description: Option<&str>,
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    execute(
        tx,
        "INSERT INTO user_group (id, created_at, name, description, catalogue) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (name) DO UPDATE SET description = excluded.description, catalogue = excluded.catalogue",
        [new_id(now).into(), now.micros().into(), name.into(), description.into(), catalogue.into()],
    )
    .await?;
    id_of(tx, Table::Group, name).await
}

async fn id_of(tx: &DatabaseTransaction, table: Table, name: &str) -> Result<Uuid, StoreError> {
    let (table, column) = table.names();
    let row = query_one(
        tx,
        format!("SELECT id FROM {table} WHERE {column} = $1"),
        [name.into()],
    )
    .await?;
    match row {
        Some(row) => Columns::of(&row).take(),
        None => Err(StoreError::Corrupt {
            table: "catalogue",
            row: name.to_owned(),
            column: "id",
        }),
    }
}

/// Makes these users the members of a group.
pub async fn set_members(
    tx: &DatabaseTransaction,
    group: Uuid,
    users: &[Uuid],
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM group_member WHERE group_id = $1",
        [group.into()],
    )
    .await?;
    for user in users {
        execute(
            tx,
            "INSERT INTO group_member (group_id, user_id, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            [group.into(), (*user).into(), now.micros().into()],
        )
        .await?;
    }
    Ok(())
}

/// A template as a catalogue defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTemplate {
    pub name: String,
    pub language: String,
    pub category: String,
    pub parameter_format: String,
    pub body: String,
    /// Header, footer and buttons, as JSON.
    pub extras: Option<String>,
    pub ttl_seconds: Option<i64>,
}

pub async fn upsert_template(
    tx: &DatabaseTransaction,
    catalogue: &str,
    new: &NewTemplate,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO template (id, created_at, name, language, category, parameter_format, body, version, catalogue, extras, ttl_seconds) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9, $10) ON CONFLICT (name, language) DO UPDATE SET \
         category = excluded.category, parameter_format = excluded.parameter_format, body = excluded.body, \
         catalogue = excluded.catalogue, extras = excluded.extras, ttl_seconds = excluded.ttl_seconds, \
         version = template.version + 1",
        [
            new_id(now).into(),
            now.micros().into(),
            new.name.clone().into(),
            new.language.clone().into(),
            new.category.clone().into(),
            new.parameter_format.clone().into(),
            new.body.clone().into(),
            catalogue.into(),
            new.extras.clone().into(),
            new.ttl_seconds.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Name and language of every template that a catalogue has.
pub async fn template_names(store: &super::Store) -> Result<Vec<(String, String)>, StoreError> {
    let found = super::dialect::query(
        store.reader(),
        "SELECT DISTINCT name, language FROM template ORDER BY name, language",
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

/// Removes the translations of a template that a catalogue no longer has. Gives back their
/// languages.
pub async fn keep_translations(
    tx: &DatabaseTransaction,
    name: &str,
    languages: &[&str],
) -> Result<Vec<String>, StoreError> {
    let mut gone = Vec::new();
    for row in translations(tx, name).await? {
        if !languages.contains(&row.language.as_str()) {
            execute(
                tx,
                "DELETE FROM template WHERE name = $1 AND language = $2",
                [name.into(), row.language.clone().into()],
            )
            .await?;
            gone.push(row.language);
        }
    }
    Ok(gone)
}

/// Routes of an event type, by name.
pub async fn routes(
    connection: &impl ConnectionTrait,
    event_type: &str,
) -> Result<Vec<route::Model>, StoreError> {
    Ok(route::Entity::find()
        .filter(route::Column::EventType.eq(event_type))
        .order_by_asc(route::Column::Name)
        .all(connection)
        .await?)
}

/// A route as a catalogue defines it.
#[derive(Clone, Debug)]
pub struct NewRoute {
    pub name: String,
    pub event_type: String,
    pub condition: Option<String>,
    pub recipients: Vec<String>,
    pub about: Option<String>,
    pub template: String,
    pub language: Option<String>,
    pub channel: String,
    pub params: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub reference: Option<String>,
    pub dedupe_key: Option<String>,
    pub priority: String,
    pub expires_after_seconds: Option<i64>,
    pub sender: Option<String>,
}

pub async fn upsert_route(
    tx: &DatabaseTransaction,
    catalogue: &str,
    new: &NewRoute,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM route WHERE name = $1",
        [new.name.clone().into()],
    )
    .await?;
    execute(
        tx,
        "INSERT INTO route (id, created_at, name, event_type, condition, recipients, about, template, language, channel, \
         params, labels, reference, dedupe_key, priority, expires_after_seconds, catalogue, sender) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        [
            new_id(now).into(),
            now.micros().into(),
            new.name.clone().into(),
            new.event_type.clone().into(),
            new.condition.clone().into(),
            serde_json::json!(new.recipients).to_string().into(),
            new.about.clone().into(),
            new.template.clone().into(),
            new.language.clone().into(),
            new.channel.clone().into(),
            serde_json::json!(new.params).to_string().into(),
            serde_json::json!(new.labels).to_string().into(),
            new.reference.clone().into(),
            new.dedupe_key.clone().into(),
            new.priority.clone().into(),
            new.expires_after_seconds.into(),
            catalogue.into(),
            new.sender.clone().into(),
        ],
    )
    .await?;
    Ok(())
}

/// A rule with the row that holds this version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRule {
    pub id: Uuid,
    pub active: bool,
    pub rule: Rule,
}

const RULE: &str = "id, name, active, on_trigger, condition, after_seconds, unless, send, chain";

fn stored_rule(row: &QueryResult) -> Result<StoredRule, StoreError> {
    let mut columns = Columns::of(row);
    let id: Uuid = columns.take()?;
    let corrupt = |column| StoreError::Corrupt {
        table: "rule",
        row: id.to_string(),
        column,
    };
    let name = columns.take()?;
    let active = columns.take()?;
    let on: String = columns.take()?;
    let condition = columns.take()?;
    let after_seconds = columns.take()?;
    let unless: String = columns.take()?;
    let unless: Vec<Trigger> =
        serde_json::from_str(&unless).map_err(|_unreadable| corrupt("unless"))?;
    let send: String = columns.take()?;
    let send: Send = serde_json::from_str(&send).map_err(|_unreadable| corrupt("send"))?;
    let chain = columns.take()?;
    Ok(StoredRule {
        id,
        active,
        rule: Rule {
            name,
            on: Trigger::parse(&on).ok_or_else(|| corrupt("on_trigger"))?,
            condition,
            after_seconds,
            unless: unless.into_iter().collect::<Triggers>(),
            send,
            chain,
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

/// Puts a new version of a rule in force, unless the present one says the same.
pub async fn upsert_rule(
    tx: &DatabaseTransaction,
    catalogue: &str,
    rule: &Rule,
    now: Timestamp,
) -> Result<(), StoreError> {
    let present = query_one(
        tx,
        format!("SELECT {RULE} FROM rule WHERE name = $1 AND active = true ORDER BY version DESC LIMIT 1"),
        [rule.name.clone().into()],
    )
    .await?;
    if let Some(present) = present
        && stored_rule(&present)?.rule == *rule
    {
        return Ok(());
    }
    execute(
        tx,
        "UPDATE rule SET active = false WHERE name = $1",
        [rule.name.clone().into()],
    )
    .await?;
    let unless: Vec<Trigger> = rule.unless.iter().collect();
    execute(
        tx,
        "INSERT INTO rule (id, created_at, name, version, active, on_trigger, condition, after_seconds, unless, send, chain, catalogue) \
         SELECT $1, $2, $3, coalesce(max(version), 0) + 1, true, $4, $5, $6, $7, $8, $9, $10 FROM rule WHERE name = $3",
        [
            new_id(now).into(),
            now.micros().into(),
            rule.name.clone().into(),
            rule.on.name().into(),
            rule.condition.clone().into(),
            rule.after_seconds.into(),
            serde_json::json!(unless).to_string().into(),
            serde_json::json!(rule.send).to_string().into(),
            rule.chain.into(),
            catalogue.into(),
        ],
    )
    .await?;
    Ok(())
}
