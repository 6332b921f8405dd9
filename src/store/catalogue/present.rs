//! What is there of what a catalogue wants or owns.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, QueryResult};
use serde::Serialize;
use serde_json::Value;

use super::{
    ROUTE, read_json,
    rows::{ContactRow, EventRow, GroupRow, MessageKindRow, RuleRow, TemplateRow, UserRow},
    stored_route, stored_rule,
};
use crate::{
    domain::{
        catalogue::{Fields, Id, Kind, Present},
        quiet::QuietHours,
    },
    store::{
        StoreError,
        dialect::{Columns, Type, list, query, rows},
    },
};

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

/// Which rows of a catalogue are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    /// Its contacts alone.
    Contacts,
    /// Everything else, and of its contacts those of the names that are wanted.
    Rest,
}

/// The rows of these names, and all that the catalogue owns.
pub async fn present(
    connection: &impl ConnectionTrait,
    catalogue: &str,
    wanted: impl Iterator<Item = &Id> + Clone,
    scope: Scope,
) -> Result<BTreeMap<Id, Present>, StoreError> {
    let mut all = BTreeMap::new();
    for kind in Kind::ALL {
        if scope == Scope::Contacts && kind != Kind::Contact {
            continue;
        }
        let names = wanted.clone().filter(|id| id.kind == kind).map(|id| {
            // Every translation of a template is of the same owner.
            let name = match kind {
                Kind::Template => id.name.split(' ').next().unwrap_or_default(),
                _ => id.name.as_str(),
            };
            Named { name }
        });
        let given = rows(connection.get_database_backend(), &[("name", Type::Text)]);
        let (columns, table, key, more) = source(kind);
        let by_name = format!("x.{key} IN (SELECT r.name FROM {given})");
        let names = list(&names.collect::<Vec<_>>())?;
        let (which, values) = if scope == Scope::Rest && kind == Kind::Contact {
            (by_name, vec![names])
        } else {
            let which = format!("(x.catalogue = $2 OR {by_name})");
            (which, vec![names, catalogue.into()])
        };
        let before = if kind == Kind::Route {
            "x.catalogue, x.name, "
        } else {
            ""
        };
        let found = query(
            connection,
            format!("SELECT {before}{columns} FROM {table} x WHERE {which}{more}"),
            values,
        )
        .await?;
        for row in &found {
            let (name, there) = read(connection, kind, row).await?;
            all.insert(Id::new(kind, name), there);
        }
    }
    Ok(all)
}

/// Columns (owner and name first), table, the column of the name, and a last condition.
const fn source(kind: Kind) -> (&'static str, &'static str, &'static str, &'static str) {
    match kind {
        Kind::Contact => (
            "x.catalogue, x.handle, x.name, x.language, x.time_zone, x.quiet_from, x.quiet_until, \
             (SELECT min(a.value) FROM contact_alias a WHERE a.contact_id = x.id AND a.kind = 'phone' AND a.superseded_at IS NULL), \
             (SELECT max(a.value) FROM contact_alias a WHERE a.contact_id = x.id AND a.kind IN ('bsuid', 'parent_bsuid') AND a.superseded_at IS NULL)",
            "contact",
            "handle",
            " AND x.handle IS NOT NULL",
        ),
        Kind::User => (
            "x.catalogue, x.name, (SELECT c.handle FROM contact c WHERE c.id = x.contact_id)",
            "user_account",
            "name",
            "",
        ),
        Kind::Group => (
            "x.catalogue, x.name, x.description",
            "user_group",
            "name",
            "",
        ),
        Kind::MessageKind => (
            "x.catalogue, x.name, x.description, x.required",
            "message_kind",
            "name",
            "",
        ),
        Kind::Event => (
            "x.catalogue, x.name, x.description, x.sensitive, x.example",
            "event_type",
            "name",
            "",
        ),
        Kind::Template => (
            "x.catalogue, x.name, x.language, x.category, x.parameter_format, x.body, x.extras, x.ttl_seconds",
            "template",
            "name",
            "",
        ),
        Kind::Route => (ROUTE, "route", "name", ""),
        Kind::Rule => (
            "x.catalogue, x.id, x.name, x.active, x.on_trigger, x.condition, x.after_seconds, x.unless, x.send, x.chain",
            "rule",
            "name",
            " AND x.active = true",
        ),
    }
}

async fn read(
    connection: &impl ConnectionTrait,
    kind: Kind,
    row: &QueryResult,
) -> Result<(String, Present), StoreError> {
    let mut columns = Columns::of(row);
    let owner = columns.take()?;
    if kind == Kind::Rule {
        let stored = stored_rule(&mut columns)?.rule;
        let fields = fields(&RuleRow {
            on: stored.on,
            condition: stored.condition,
            after_seconds: stored.after_seconds,
            unless: stored.unless.iter().collect(),
            send: stored.send,
            chain: stored.chain,
        });
        return Ok((stored.name, Present { owner, fields }));
    }
    let mut name: String = columns.take()?;
    let fields = match kind {
        Kind::Contact => {
            let (display_name, language, time_zone) =
                (columns.take()?, columns.take()?, columns.take()?);
            let quiet_hours = QuietHours::stored(columns.take()?, columns.take()?);
            fields(&ContactRow {
                display_name,
                phone: columns.take()?,
                user_id: columns.take()?,
                language,
                time_zone,
                quiet_hours,
            })
        }
        Kind::User => fields(&UserRow {
            contact: columns.take()?,
        }),
        Kind::Group => {
            let members = query(
                connection,
                "SELECT u.name FROM user_group g JOIN group_member m ON m.group_id = g.id \
                 JOIN user_account u ON u.id = m.user_id WHERE g.name = $1 ORDER BY u.name",
                [name.clone().into()],
            )
            .await?;
            let mut names = members
                .iter()
                .map(|row| Columns::of(row).take())
                .collect::<Result<Vec<String>, _>>()?;
            names.sort_unstable();
            fields(&GroupRow {
                description: columns.take()?,
                members: Some(names),
            })
        }
        Kind::MessageKind => fields(&MessageKindRow {
            description: columns.take()?,
            required: columns.take()?,
        }),
        Kind::Event => fields(&EventRow {
            description: columns.take()?,
            sensitive: columns.take()?,
            example: json(columns.take()?),
        }),
        Kind::Template => {
            let language: String = columns.take()?;
            name = format!("{name} {language}");
            fields(&TemplateRow {
                category: columns.take()?,
                parameter_format: columns.take()?,
                body: columns.take()?,
                extras: json(columns.take()?),
                ttl_seconds: columns.take()?,
            })
        }
        Kind::Route => fields(&stored_route(&mut columns)?),
        Kind::Rule => Fields::new(),
    };
    Ok((name, Present { owner, fields }))
}

fn json(text: Option<String>) -> Option<Value> {
    text.and_then(|text| serde_json::from_str(&text).ok())
}

/// A row's fields.
pub fn fields(row: &impl Serialize) -> Fields {
    match serde_json::to_value(row) {
        Ok(Value::Object(fields)) => fields,
        _ => Fields::new(),
    }
}

/// What a catalogue wrote the last time, row by row. Of [`Scope::Rest`] the contacts are those
/// of the names that are wanted.
pub async fn applied(
    connection: &impl ConnectionTrait,
    catalogue: &str,
    wanted: impl Iterator<Item = &Id>,
    scope: Scope,
) -> Result<BTreeMap<Id, Fields>, StoreError> {
    const ROWS: &str = "SELECT kind, name, fields FROM catalogue_row";
    let mut found = Vec::new();
    match scope {
        Scope::All => {
            let sql = format!("{ROWS} WHERE catalogue = $1");
            found.extend(query(connection, sql, [catalogue.into()]).await?);
        }
        Scope::Contacts => {
            let sql = format!("{ROWS} WHERE catalogue = $1 AND kind = 'contact'");
            found.extend(query(connection, sql, [catalogue.into()]).await?);
        }
        Scope::Rest => {
            // By the key, kind for kind: the catalogue has many contacts.
            for kind in Kind::ALL.iter().filter(|kind| **kind != Kind::Contact) {
                let sql = format!("{ROWS} WHERE kind = $2 AND catalogue = $1");
                let values = [catalogue.into(), kind.name().into()];
                found.extend(query(connection, sql, values).await?);
            }
            let names = wanted.filter(|id| id.kind == Kind::Contact);
            let names: Vec<Named<'_>> = names.map(|id| Named { name: &id.name }).collect();
            let given = rows(connection.get_database_backend(), &[("name", Type::Text)]);
            let sql = format!(
                "SELECT x.kind, x.name, x.fields FROM {given} CROSS JOIN catalogue_row x \
                 WHERE x.kind = 'contact' AND x.name = r.name AND x.catalogue = $2"
            );
            found.extend(query(connection, sql, [list(&names)?, catalogue.into()]).await?);
        }
    }
    let mut all = BTreeMap::new();
    for row in &found {
        let mut columns = Columns::of(row);
        let (kind, name, fields): (String, String, Option<String>) =
            (columns.take()?, columns.take()?, columns.take()?);
        if let Some(kind) = Kind::parse(&kind) {
            all.insert(Id::new(kind, name), read_json(fields));
        }
    }
    Ok(all)
}
