//! Writes many contacts of a catalogue in few statements.

use std::collections::BTreeSet;

use sea_orm::ConnectionTrait;
use serde::Serialize;

pub use super::write_people::aliases;
use super::{
    rows::CatalogueContactRow,
    write::{CatalogueActor, CatalogueRowError},
    write_people::contact,
};
use crate::{
    domain::{
        catalogue::{CatalogueFields, CatalogueRowId, CatalogueRowKind},
        identity::{AliasDecision, AliasVerdict, ContactAliasKind},
        quiet::QuietHours,
    },
    store::{
        DatabaseTransaction, StoreError, TransactionWorkError,
        dialect::{self, SqlListFieldType, column, execute, list, query, query_one, rows},
        identity::{self, NewIdentityDecision},
        new_id,
    },
};

/// A contact as a catalogue wants it: its handle and its fields.
pub type CatalogueContactSpec<'a> = (&'a str, CatalogueContactRow);

/// A name of a contact that is to be written.
#[derive(Debug, Serialize)]
struct CatalogueContactAliasRow<'a> {
    name: &'a str,
    kind: ContactAliasKind,
    value: String,
}

const CLAIM: [(&str, SqlListFieldType); 3] = [
    ("name", SqlListFieldType::Text),
    ("kind", SqlListFieldType::Text),
    ("value", SqlListFieldType::Text),
];

fn claims<'a>(wanted: &[CatalogueContactSpec<'a>]) -> Vec<CatalogueContactAliasRow<'a>> {
    let of_one = |(name, row): &CatalogueContactSpec<'a>| {
        let name = *name;
        aliases(row)
            .into_iter()
            .map(move |(_, alias)| CatalogueContactAliasRow {
                name,
                kind: alias.kind,
                value: alias.value,
            })
    };
    wanted.iter().flat_map(of_one).collect()
}

/// How many contacts a catalogue has.
pub async fn count_contacts(
    connection: &impl ConnectionTrait,
    catalogue: &str,
) -> Result<i64, StoreError> {
    let row = query_one(
        connection,
        "SELECT count(*) AS contacts FROM catalogue_row WHERE catalogue = $1 AND kind = 'contact'",
        [catalogue.into()],
    )
    .await?;
    row.map_or(Ok(0), |row| column(&row, "contacts"))
}

/// Contacts whose number or user id belongs to another named contact: (name, kind).
pub async fn claimed(
    connection: &impl ConnectionTrait,
    wanted: &[CatalogueContactSpec<'_>],
) -> Result<Vec<(String, String)>, StoreError> {
    let given = rows(connection.get_database_backend(), &CLAIM);
    let found = query(
        connection,
        format!(
            "SELECT r.name, r.kind FROM {given} CROSS JOIN contact_alias k CROSS JOIN contact c \
             WHERE k.kind = r.kind AND k.value = r.value AND k.superseded_at IS NULL AND c.id = k.contact_id \
             AND c.deleted_at IS NULL AND c.handle IS NOT NULL AND c.handle <> r.name"
        ),
        [list(&claims(wanted))?],
    )
    .await?;
    found
        .iter()
        .map(|row| Ok((column(row, "name")?, column(row, "kind")?)))
        .collect()
}

#[derive(Serialize)]
struct CatalogueContactNameRow<'a> {
    name: &'a str,
}

fn named<'a>(names: impl Iterator<Item = &'a str>) -> Result<sea_orm::Value, StoreError> {
    list(
        &names
            .map(|name| CatalogueContactNameRow { name })
            .collect::<Vec<_>>(),
    )
}

/// Which of these are new to us, with all they are known by.
async fn known(
    tx: &DatabaseTransaction,
    wanted: &[CatalogueContactSpec<'_>],
) -> Result<BTreeSet<String>, StoreError> {
    let backend = tx.get_database_backend();
    let given = rows(backend, &[("name", SqlListFieldType::Text)]);
    let by_name = query(
        tx,
        format!("SELECT r.name FROM {given} CROSS JOIN contact c WHERE c.handle = r.name"),
        [named(wanted.iter().map(|(name, _)| *name))?],
    )
    .await?;
    let given = rows(backend, &CLAIM);
    let by_alias = query(
        tx,
        format!(
            "SELECT r.name FROM {given} CROSS JOIN contact_alias k WHERE k.kind = r.kind AND k.value = r.value"
        ),
        [list(&claims(wanted))?],
    )
    .await?;
    by_name
        .iter()
        .chain(&by_alias)
        .map(|row| column(row, "name"))
        .collect()
}

#[derive(Serialize)]
struct NewCatalogueContactRow<'a> {
    id: dialect::HexUuid,
    handle: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quiet_from: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quiet_until: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor_kind: Option<ContactAliasKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<String>,
}

#[derive(Serialize)]
struct NewCatalogueAliasRow {
    contact: dialect::HexUuid,
    kind: ContactAliasKind,
    value: String,
}

/// Why contacts cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueContactsError {
    /// The first that cannot be written, its field, and what is wrong with that.
    #[error("{name}: {field}: {rule}")]
    Broken {
        name: String,
        field: &'static str,
        rule: String,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TransactionWorkError for CatalogueContactsError {
    fn into_store(self) -> Result<StoreError, Self> {
        match self {
            Self::Store(error) => Ok(error),
            refused @ Self::Broken { .. } => Err(refused),
        }
    }
}

/// Writes contacts, new or not.
pub async fn write_contacts(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    wanted: &[CatalogueContactSpec<'_>],
) -> Result<(), CatalogueContactsError> {
    let known = known(tx, wanted).await?;
    let mut new = Vec::new();
    let mut new_aliases = Vec::new();
    let mut links = Vec::new();
    for (handle, row) in wanted.iter().filter(|(name, _)| !known.contains(*name)) {
        let id = dialect::HexUuid(new_id(by.now));
        let minutes = row.quiet_hours.map(QuietHours::minutes);
        new.push(NewCatalogueContactRow {
            id,
            handle,
            name: row.display_name.as_deref(),
            language: row.language.as_deref(),
            time_zone: row.time_zone.as_deref(),
            quiet_from: minutes.map(|(from, _)| from),
            quiet_until: minutes.map(|(_, until)| until),
            anchor_kind: aliases(row).first().map(|(_, alias)| alias.kind),
            anchor: aliases(row).first().map(|(_, alias)| alias.value.clone()),
        });
        if let [(_, one), (_, other)] = aliases(row).as_slice() {
            links.push(AliasVerdict::Link(one.clone(), other.clone()));
        }
        new_aliases.extend(
            aliases(row)
                .into_iter()
                .map(|(_, alias)| NewCatalogueAliasRow {
                    contact: id,
                    kind: alias.kind,
                    value: alias.value,
                }),
        );
    }
    insert(tx, by, &new, &new_aliases).await?;
    for verdict in links {
        let decision = AliasDecision {
            at: by.now,
            verdict,
        };
        let actor = "";
        identity::note_decision(tx, NewIdentityDecision { decision, actor }, by.now).await?;
    }
    for (name, row) in wanted.iter().filter(|(name, _)| known.contains(*name)) {
        contact(tx, by, name, row)
            .await
            .map_err(|error| match error {
                CatalogueRowError::Broken { field, rule } => CatalogueContactsError::Broken {
                    name: (*name).to_owned(),
                    field,
                    rule,
                },
                CatalogueRowError::Store(error) => error.into(),
            })?;
    }
    Ok(())
}

async fn insert(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    new: &[NewCatalogueContactRow<'_>],
    aliases: &[NewCatalogueAliasRow],
) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    let given = rows(
        backend,
        &[
            ("id", SqlListFieldType::Uuid),
            ("handle", SqlListFieldType::Text),
            ("name", SqlListFieldType::Text),
            ("language", SqlListFieldType::Text),
            ("time_zone", SqlListFieldType::Text),
            ("quiet_from", SqlListFieldType::Int),
            ("quiet_until", SqlListFieldType::Int),
            ("anchor_kind", SqlListFieldType::Text),
            ("anchor", SqlListFieldType::Text),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO contact (id, created_at, handle, catalogue, name, language, time_zone, quiet_from, quiet_until, \
             anchor_kind, anchor, anchor_at) SELECT r.id, $2, r.handle, $3, r.name, r.language, r.time_zone, r.quiet_from, \
             r.quiet_until, r.anchor_kind, r.anchor, CASE WHEN r.anchor IS NOT NULL THEN $2 END FROM {given}"
        ),
        [list(new)?, by.now.micros().into(), by.catalogue.into()],
    )
    .await?;
    let given = rows(
        backend,
        &[
            ("contact", SqlListFieldType::Uuid),
            ("kind", SqlListFieldType::Text),
            ("value", SqlListFieldType::Text),
        ],
    );
    let written = execute(
        tx,
        format!(
            "INSERT INTO contact_alias (kind, value, contact_id, created_at) \
             SELECT r.kind, r.value, r.contact, $2 FROM {given} WHERE true ON CONFLICT (kind, value) DO NOTHING"
        ),
        [list(aliases)?, by.now.micros().into()],
    )
    .await?;
    // A concurrent inbound message has created one of these aliases: it is looked up again.
    if usize::try_from(written.rows_affected()) != Ok(aliases.len()) {
        return Err(StoreError::Conflict);
    }
    Ok(())
}

#[derive(Serialize)]
struct CatalogueContactFieldsRow<'a> {
    name: &'a str,
    fields: String,
}

/// Stores the catalogue's version of contacts, as [`super::note`] does row by row.
pub async fn note_contacts<'a>(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    wanted: impl Iterator<Item = (&'a CatalogueRowId, &'a CatalogueFields)>,
) -> Result<(), StoreError> {
    let noted: Vec<CatalogueContactFieldsRow<'_>> = wanted
        .map(|(id, fields)| CatalogueContactFieldsRow {
            name: &id.name,
            fields: serde_json::Value::Object(fields.clone()).to_string(),
        })
        .collect();
    let given = rows(
        tx.get_database_backend(),
        &[
            ("name", SqlListFieldType::Text),
            ("fields", SqlListFieldType::Text),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO catalogue_row (kind, name, created_at, catalogue, fields) \
             SELECT $4, r.name, $2, $3, r.fields FROM {given} WHERE true \
             ON CONFLICT (kind, name) DO UPDATE SET catalogue = excluded.catalogue, fields = excluded.fields"
        ),
        [
            list(&noted)?,
            by.now.micros().into(),
            by.catalogue.into(),
            CatalogueRowKind::Contact.name().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Lets go of contacts that a catalogue no longer has, as [`super::remove`] does one by one.
pub async fn remove_contacts<'a>(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), StoreError> {
    let given = rows(
        tx.get_database_backend(),
        &[("name", SqlListFieldType::Text)],
    );
    let names = named(names)?;
    execute(
        tx,
        format!(
            "UPDATE contact SET handle = NULL, catalogue = NULL \
             WHERE catalogue = $2 AND handle IN (SELECT r.name FROM {given})"
        ),
        [names.clone(), by.catalogue.into()],
    )
    .await?;
    execute(
        tx,
        format!(
            "DELETE FROM catalogue_row WHERE kind = 'contact' AND catalogue = $2 AND name IN (SELECT r.name FROM {given})"
        ),
        [names, by.catalogue.into()],
    )
    .await?;
    Ok(())
}
