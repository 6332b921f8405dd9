//! Writes or removes one row of a catalogue.

use std::collections::BTreeMap;

use sea_orm::Value as Bound;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    RULE,
    rows::{
        CatalogueEventTypeRow, CatalogueMessageKindRow, CatalogueRouteRow, CatalogueRuleRow,
        CatalogueTemplateRow,
    },
    stored_rule,
    write_people::{contact, group, user},
};
use crate::{
    domain::{
        catalogue::{CatalogueFields, CatalogueRowId, CatalogueRowKind},
        rule::FollowUpRule,
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError,
        dialect::{execute, query_one},
        new_id,
        people::{self, StaffEntryKind},
    },
};

/// The catalogue that writes, and the time.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueActor<'a> {
    pub catalogue: &'a str,
    pub now: Timestamp,
}

/// Why a row cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueRowError {
    /// Its field, and what is wrong with that.
    #[error("{field}: {rule}")]
    Broken { field: &'static str, rule: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes a row, new or not.
pub async fn write(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    id: &CatalogueRowId,
    fields: &CatalogueFields,
) -> Result<(), CatalogueRowError> {
    let name = id.name.as_str();
    match id.kind {
        CatalogueRowKind::Contact => contact(tx, by, name, &row(id, fields)?).await,
        CatalogueRowKind::User => user(tx, by, name, &row(id, fields)?).await,
        CatalogueRowKind::Group => group(tx, by, name, &row(id, fields)?).await,
        CatalogueRowKind::MessageKind => Ok(message_kind(tx, by, name, row(id, fields)?).await?),
        CatalogueRowKind::Event => Ok(event(tx, by, name, row(id, fields)?).await?),
        CatalogueRowKind::Template => Ok(template(tx, by, name, row(id, fields)?).await?),
        CatalogueRowKind::Route => Ok(route(tx, by, name, row(id, fields)?).await?),
        CatalogueRowKind::Rule => Ok(rule(tx, by, name, row(id, fields)?).await?),
    }
}

fn row<T: DeserializeOwned>(
    id: &CatalogueRowId,
    fields: &CatalogueFields,
) -> Result<T, StoreError> {
    serde_json::from_value(Value::Object(fields.clone())).map_err(|_unreadable| {
        StoreError::Corrupt {
            table: "catalogue_row",
            row: id.to_string(),
            column: "fields",
        }
    })
}

async fn message_kind(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    name: &str,
    row: CatalogueMessageKindRow,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO message_kind (name, created_at, description, required, catalogue) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (name) DO UPDATE SET description = excluded.description, required = excluded.required, \
         catalogue = excluded.catalogue",
        [
            name.into(),
            by.now.micros().into(),
            row.description.into(),
            row.required.into(),
            by.catalogue.into(),
        ],
    )
    .await?;
    Ok(())
}

async fn event(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    name: &str,
    row: CatalogueEventTypeRow,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO event_type (name, created_at, description, sensitive, example, catalogue) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (name) DO UPDATE SET description = excluded.description, sensitive = excluded.sensitive, \
         example = excluded.example, catalogue = excluded.catalogue",
        [
            name.into(),
            by.now.micros().into(),
            row.description.into(),
            row.sensitive.into(),
            row.example.map(|example| example.to_string()).into(),
            by.catalogue.into(),
        ],
    )
    .await?;
    Ok(())
}

async fn template(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    named: &str,
    row: CatalogueTemplateRow,
) -> Result<(), StoreError> {
    let (name, language) = named.split_once(' ').unwrap_or((named, ""));
    execute(
        tx,
        "INSERT INTO template (id, created_at, name, language, category, parameter_format, body, version, catalogue, extras, ttl_seconds) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9, $10) ON CONFLICT (name, language) DO UPDATE SET \
         category = excluded.category, parameter_format = excluded.parameter_format, body = excluded.body, \
         catalogue = excluded.catalogue, extras = excluded.extras, ttl_seconds = excluded.ttl_seconds, \
         version = template.version + 1",
        [
            new_id(by.now).into(),
            by.now.micros().into(),
            name.into(),
            language.into(),
            row.category.into(),
            row.parameter_format.into(),
            row.body.into(),
            by.catalogue.into(),
            row.extras.map(|extras| extras.to_string()).into(),
            row.ttl_seconds.into(),
        ],
    )
    .await?;
    Ok(())
}

async fn route(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    name: &str,
    row: CatalogueRouteRow,
) -> Result<(), StoreError> {
    execute(tx, "DELETE FROM route WHERE name = $1", [name.into()]).await?;
    let next_channels =
        (!row.next_channels.is_empty()).then(|| json!(row.next_channels).to_string());
    let values: [Bound; 23] = [
        new_id(by.now).into(),
        by.now.micros().into(),
        name.into(),
        row.event_type.into(),
        row.condition.into(),
        json!(row.recipients).to_string().into(),
        row.about.into(),
        row.template.into(),
        row.language.into(),
        row.channel.into(),
        json!(row.params).to_string().into(),
        json!(row.labels).to_string().into(),
        row.reference.into(),
        row.dedupe_key.into(),
        row.priority.into(),
        row.expires_after_seconds.into(),
        by.catalogue.into(),
        row.sender.into(),
        row.message_kind.into(),
        row.mode.into(),
        row.fallback_template.into(),
        next_channels.into(),
        row.fallback_after_seconds.into(),
    ];
    execute(
        tx,
        "INSERT INTO route (id, created_at, name, event_type, condition, recipients, about, template, language, channel, \
         params, labels, reference, dedupe_key, priority, expires_after_seconds, catalogue, sender, message_kind, mode, \
         fallback_template, next_channels, fallback_after_seconds) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)",
        values,
    )
    .await?;
    Ok(())
}

/// Puts a new version of a rule in force, unless the present one says the same.
async fn rule(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    name: &str,
    row: CatalogueRuleRow,
) -> Result<(), StoreError> {
    let rule = FollowUpRule {
        name: name.to_owned(),
        on: row.on,
        condition: row.condition,
        after_seconds: row.after_seconds,
        unless: row.unless.into_iter().collect(),
        send: row.send,
        chain: row.chain,
    };
    let present = query_one(
        tx,
        format!("SELECT {RULE} FROM rule WHERE name = $1 AND active = true ORDER BY version DESC LIMIT 1"),
        [name.into()],
    )
    .await?;
    if let Some(present) = present {
        let stored = stored_rule(&present)?;
        if stored.rule == rule {
            execute(
                tx,
                "UPDATE rule SET catalogue = $2 WHERE id = $1",
                [stored.id.into(), by.catalogue.into()],
            )
            .await?;
            return Ok(());
        }
    }
    execute(
        tx,
        "UPDATE rule SET active = false WHERE name = $1",
        [name.into()],
    )
    .await?;
    let unless: Vec<_> = rule.unless.iter().collect();
    execute(
        tx,
        "INSERT INTO rule (id, created_at, name, version, active, on_trigger, condition, after_seconds, unless, send, chain, catalogue) \
         SELECT $1, $2, $3, coalesce(max(version), 0) + 1, true, $4, $5, $6, $7, $8, $9, $10 FROM rule WHERE name = $3",
        [
            new_id(by.now).into(),
            by.now.micros().into(),
            name.into(),
            rule.on.name().into(),
            rule.condition.into(),
            rule.after_seconds.into(),
            json!(unless).to_string().into(),
            json!(rule.send).to_string().into(),
            rule.chain.into(),
            by.catalogue.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Removes a row that a catalogue no longer has. People are only let go of, because
/// notifications point at them.
pub async fn remove(tx: &DatabaseTransaction, id: &CatalogueRowId) -> Result<(), StoreError> {
    let (name, language) = match id.kind {
        CatalogueRowKind::Template => id.name.split_once(' ').unwrap_or((&id.name, "")),
        _ => (id.name.as_str(), ""),
    };
    let statement = match id.kind {
        CatalogueRowKind::Contact => {
            "UPDATE contact SET handle = NULL, catalogue = NULL WHERE handle = $1"
        }
        CatalogueRowKind::User => {
            return people::delete_staff(tx, StaffEntryKind::User, name).await;
        }
        CatalogueRowKind::Group => {
            return people::delete_staff(tx, StaffEntryKind::Group, name).await;
        }
        CatalogueRowKind::MessageKind => "DELETE FROM message_kind WHERE name = $1",
        CatalogueRowKind::Event => "DELETE FROM event_type WHERE name = $1",
        CatalogueRowKind::Template => "DELETE FROM template WHERE name = $1 AND language = $2",
        CatalogueRowKind::Route => "DELETE FROM route WHERE name = $1",
        CatalogueRowKind::Rule => "UPDATE rule SET active = false WHERE name = $1",
    };
    let mut values: Vec<Bound> = vec![name.into()];
    if id.kind == CatalogueRowKind::Template {
        values.push(language.into());
    }
    execute(tx, statement, values).await?;
    Ok(())
}

/// Where a row goes that a catalogue has let go of.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueRowHandover<'a> {
    pub from: &'a str,
    pub to: &'a str,
    /// The other catalogue wants it: it becomes unowned, unchanged. Otherwise the other catalogue
    /// gets it to remove.
    pub is_wanted: bool,
}

/// Hands a row over from one catalogue to another, with its last applied version.
pub async fn hand_over(
    tx: &DatabaseTransaction,
    id: &CatalogueRowId,
    over: CatalogueRowHandover<'_>,
) -> Result<(), StoreError> {
    let (name, language) = match id.kind {
        CatalogueRowKind::Template => id.name.split_once(' ').unwrap_or((&id.name, "")),
        _ => (id.name.as_str(), ""),
    };
    let row = match id.kind {
        CatalogueRowKind::Contact => "contact SET catalogue = $3 WHERE handle",
        CatalogueRowKind::User => "user_account SET catalogue = $3 WHERE name",
        CatalogueRowKind::Group => "user_group SET catalogue = $3 WHERE name",
        CatalogueRowKind::MessageKind => "message_kind SET catalogue = $3 WHERE name",
        CatalogueRowKind::Event => "event_type SET catalogue = $3 WHERE name",
        CatalogueRowKind::Template => "template SET catalogue = $3 WHERE language = $4 AND name",
        CatalogueRowKind::Route => "route SET catalogue = $3 WHERE name",
        CatalogueRowKind::Rule => "rule SET catalogue = $3 WHERE active = true AND name",
    };
    let owner = (!over.is_wanted).then(|| over.to.to_owned());
    let mut values: Vec<Bound> = vec![name.into(), over.from.into(), owner.into()];
    if id.kind == CatalogueRowKind::Template {
        values.push(language.into());
    }
    let sql = format!("UPDATE {row} = $1 AND catalogue = $2");
    execute(tx, sql, values).await?;
    execute(
        tx,
        "UPDATE catalogue_row SET catalogue = $4 WHERE kind = $1 AND name = $2 AND catalogue = $3",
        [
            id.kind.name().into(),
            id.name.clone().into(),
            over.from.into(),
            over.to.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Stores the catalogue's version of each row: a later difference is a change made by hand.
pub async fn note(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    wanted: &BTreeMap<CatalogueRowId, CatalogueFields>,
    applied: &BTreeMap<CatalogueRowId, CatalogueFields>,
) -> Result<(), StoreError> {
    for (id, fields) in wanted {
        if applied.get(id) == Some(fields) {
            continue;
        }
        execute(
            tx,
            "INSERT INTO catalogue_row (kind, name, created_at, catalogue, fields) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (kind, name) DO UPDATE SET catalogue = excluded.catalogue, fields = excluded.fields",
            [
                id.kind.name().into(),
                id.name.clone().into(),
                by.now.micros().into(),
                by.catalogue.into(),
                Value::Object(fields.clone()).to_string().into(),
            ],
        )
        .await?;
    }
    for id in applied.keys().filter(|id| !wanted.contains_key(*id)) {
        execute(
            tx,
            "DELETE FROM catalogue_row WHERE kind = $1 AND name = $2 AND catalogue = $3",
            [
                id.kind.name().into(),
                id.name.clone().into(),
                by.catalogue.into(),
            ],
        )
        .await?;
    }
    Ok(())
}
