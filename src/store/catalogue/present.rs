//! Reads the existing rows that a catalogue wants or owns.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, QueryResult};
use serde::Serialize;
use serde_json::Value;

use super::{
    ROUTE, read_json,
    rows::{
        CatalogueContactRow, CatalogueEventTypeRow, CatalogueGroupRow, CatalogueMessageKindRow,
        CatalogueRuleRow, CatalogueStaffMemberRow, CatalogueTemplateRow,
    },
    stored_route, stored_rule,
};
use crate::{
    domain::{
        catalogue::{CatalogueFields, CatalogueRowId, CatalogueRowKind, ExistingCatalogueRow},
        quiet::QuietHours,
    },
    store::{
        StoreError,
        dialect::{SqlListFieldType, column, list, nullable, query, rows},
    },
};

#[derive(Serialize)]
struct CatalogueEntryNameRow<'a> {
    name: &'a str,
}

/// Which rows of a catalogue are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogueReadScope {
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
    wanted: impl Iterator<Item = &CatalogueRowId> + Clone,
    scope: CatalogueReadScope,
) -> Result<BTreeMap<CatalogueRowId, ExistingCatalogueRow>, StoreError> {
    let mut all = BTreeMap::new();
    for kind in CatalogueRowKind::ALL {
        if scope == CatalogueReadScope::Contacts && kind != CatalogueRowKind::Contact {
            continue;
        }
        let names = wanted.clone().filter(|id| id.kind == kind).map(|id| {
            // Every translation of a template is of the same owner.
            let name = match kind {
                CatalogueRowKind::Template => id.name.split(' ').next().unwrap_or_default(),
                _ => id.name.as_str(),
            };
            CatalogueEntryNameRow { name }
        });
        let given = rows(
            connection.get_database_backend(),
            &[("name", SqlListFieldType::Text)],
        );
        let (columns, table, key, more) = source(kind);
        let by_name = format!("x.{key} IN (SELECT r.name FROM {given})");
        let names = list(&names.collect::<Vec<_>>())?;
        let (which, values) =
            if scope == CatalogueReadScope::Rest && kind == CatalogueRowKind::Contact {
                (by_name, vec![names])
            } else {
                let which = format!("(x.catalogue = $2 OR {by_name})");
                (which, vec![names, catalogue.into()])
            };
        let before = if kind == CatalogueRowKind::Route {
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
            let (name, there) = read(connection, kind, key, row).await?;
            all.insert(CatalogueRowId::new(kind, name), there);
        }
    }
    Ok(all)
}

/// Columns (the owner and the name among them), table, the column of the name, and a last condition.
const fn source(
    kind: CatalogueRowKind,
) -> (&'static str, &'static str, &'static str, &'static str) {
    match kind {
        CatalogueRowKind::Contact => (
            "x.catalogue, x.handle, x.name AS display_name, x.email, x.language, x.time_zone, x.quiet_from, x.quiet_until, \
             (SELECT min(a.value) FROM contact_alias a WHERE a.contact_id = x.id AND a.kind || '' = 'phone' AND a.superseded_at IS NULL) AS phone, \
             (SELECT max(a.value) FROM contact_alias a WHERE a.contact_id = x.id AND a.kind || '' IN ('bsuid', 'parent_bsuid') AND a.superseded_at IS NULL) AS user_id",
            "contact",
            "handle",
            " AND x.handle IS NOT NULL",
        ),
        CatalogueRowKind::User => (
            "x.catalogue, x.name, (SELECT c.handle FROM contact c WHERE c.id = x.contact_id) AS contact",
            "user_account",
            "name",
            "",
        ),
        CatalogueRowKind::Group => (
            "x.catalogue, x.name, x.description",
            "user_group",
            "name",
            "",
        ),
        CatalogueRowKind::MessageKind => (
            "x.catalogue, x.name, x.description, x.required",
            "message_kind",
            "name",
            "",
        ),
        CatalogueRowKind::Event => (
            "x.catalogue, x.name, x.description, x.sensitive, x.example",
            "event_type",
            "name",
            "",
        ),
        CatalogueRowKind::Template => (
            "x.catalogue, x.name, x.language, x.category, x.parameter_format, x.body, x.extras, x.ttl_seconds",
            "template",
            "name",
            "",
        ),
        CatalogueRowKind::Route => (ROUTE, "route", "name", ""),
        CatalogueRowKind::Rule => (
            "x.catalogue, x.id, x.name, x.active, x.on_trigger, x.condition, x.after_seconds, x.unless, x.send, x.chain",
            "rule",
            "name",
            " AND x.active = true",
        ),
    }
}

async fn read(
    connection: &impl ConnectionTrait,
    kind: CatalogueRowKind,
    key: &str,
    row: &QueryResult,
) -> Result<(String, ExistingCatalogueRow), StoreError> {
    let owner = nullable(row, "catalogue")?;
    let mut name: String = column(row, key)?;
    let fields = match kind {
        CatalogueRowKind::Contact => fields(&CatalogueContactRow {
            display_name: nullable(row, "display_name")?,
            phone: nullable(row, "phone")?,
            user_id: nullable(row, "user_id")?,
            email: nullable(row, "email")?,
            language: nullable(row, "language")?,
            time_zone: nullable(row, "time_zone")?,
            quiet_hours: QuietHours::stored(
                nullable(row, "quiet_from")?,
                nullable(row, "quiet_until")?,
            ),
        }),
        CatalogueRowKind::User => fields(&CatalogueStaffMemberRow {
            contact: nullable(row, "contact")?,
        }),
        CatalogueRowKind::Group => {
            let members = query(
                connection,
                "SELECT u.name FROM user_group g JOIN group_member m ON m.group_id = g.id \
                 JOIN user_account u ON u.id = m.user_id WHERE g.name = $1 ORDER BY u.name",
                [name.clone().into()],
            )
            .await?;
            let mut names = members
                .iter()
                .map(|row| column(row, "name"))
                .collect::<Result<Vec<String>, _>>()?;
            names.sort_unstable();
            fields(&CatalogueGroupRow {
                description: nullable(row, "description")?,
                members: Some(names),
            })
        }
        CatalogueRowKind::MessageKind => fields(&CatalogueMessageKindRow {
            description: nullable(row, "description")?,
            required: column(row, "required")?,
        }),
        CatalogueRowKind::Event => fields(&CatalogueEventTypeRow {
            description: nullable(row, "description")?,
            sensitive: column(row, "sensitive")?,
            example: json(nullable(row, "example")?),
        }),
        CatalogueRowKind::Template => {
            let language: String = column(row, "language")?;
            name = format!("{name} {language}");
            fields(&CatalogueTemplateRow {
                category: column(row, "category")?,
                parameter_format: column(row, "parameter_format")?,
                body: column(row, "body")?,
                extras: json(nullable(row, "extras")?),
                ttl_seconds: nullable(row, "ttl_seconds")?,
            })
        }
        CatalogueRowKind::Route => fields(&stored_route(row)?),
        CatalogueRowKind::Rule => {
            let stored = stored_rule(row)?.rule;
            fields(&CatalogueRuleRow {
                on: stored.on,
                condition: stored.condition,
                after_seconds: stored.after_seconds,
                unless: stored.unless.iter().collect(),
                send: stored.send,
                chain: stored.chain,
            })
        }
    };
    Ok((name, ExistingCatalogueRow { owner, fields }))
}

fn json(text: Option<String>) -> Option<Value> {
    text.and_then(|text| serde_json::from_str(&text).ok())
}

/// A row's fields.
pub fn fields(row: &impl Serialize) -> CatalogueFields {
    match serde_json::to_value(row) {
        Ok(Value::Object(fields)) => fields,
        _ => CatalogueFields::new(),
    }
}

/// The version of each row that the catalogue wrote last. With [`CatalogueReadScope::Rest`] only contacts of the
/// wanted names.
pub async fn applied(
    connection: &impl ConnectionTrait,
    catalogue: &str,
    wanted: impl Iterator<Item = &CatalogueRowId>,
    scope: CatalogueReadScope,
) -> Result<BTreeMap<CatalogueRowId, CatalogueFields>, StoreError> {
    const ROWS: &str = "SELECT kind, name, fields FROM catalogue_row";
    let mut found = Vec::new();
    match scope {
        CatalogueReadScope::All => {
            let sql = format!("{ROWS} WHERE catalogue = $1");
            found.extend(query(connection, sql, [catalogue.into()]).await?);
        }
        CatalogueReadScope::Contacts => {
            let sql = format!("{ROWS} WHERE catalogue = $1 AND kind = 'contact'");
            found.extend(query(connection, sql, [catalogue.into()]).await?);
        }
        CatalogueReadScope::Rest => {
            // By the key, kind for kind: the catalogue has many contacts.
            for kind in CatalogueRowKind::ALL
                .iter()
                .filter(|kind| **kind != CatalogueRowKind::Contact)
            {
                let sql = format!("{ROWS} WHERE kind = $2 AND catalogue = $1");
                let values = [catalogue.into(), kind.name().into()];
                found.extend(query(connection, sql, values).await?);
            }
            let names = wanted.filter(|id| id.kind == CatalogueRowKind::Contact);
            let names: Vec<CatalogueEntryNameRow<'_>> = names
                .map(|id| CatalogueEntryNameRow { name: &id.name })
                .collect();
            let given = rows(
                connection.get_database_backend(),
                &[("name", SqlListFieldType::Text)],
            );
            let sql = format!(
                "SELECT x.kind, x.name, x.fields FROM {given} CROSS JOIN catalogue_row x \
                 WHERE x.kind = 'contact' AND x.name = r.name AND x.catalogue = $2"
            );
            found.extend(query(connection, sql, [list(&names)?, catalogue.into()]).await?);
        }
    }
    let mut all = BTreeMap::new();
    for row in &found {
        let kind: String = column(row, "kind")?;
        if let Some(kind) = CatalogueRowKind::parse(&kind) {
            let name: String = column(row, "name")?;
            all.insert(
                CatalogueRowId::new(kind, name),
                read_json(nullable(row, "fields")?),
            );
        }
    }
    Ok(all)
}
