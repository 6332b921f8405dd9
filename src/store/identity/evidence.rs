//! Evidence about aliases from providers. Rows are only added, and their times widened.

use sea_orm::{ConnectionTrait, FromQueryResult, QueryResult};
use serde::Serialize;
use uuid::Uuid;

use super::{alias, values};
use crate::{
    domain::{
        identity::{ContactAlias, ContactAliasFact, ContactAliasObservation},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError,
        dialect::{
            HexUuid, SqlListFieldType, column, execute, list, matching, nullable, query, read_row,
            rows,
        },
        new_id,
    },
};

/// Where evidence comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityEvidenceSource {
    /// A message or a call of the person.
    Message,
    /// A status of a message to the person.
    Status,
    /// The provider's answer to a call of ours.
    Answer,
    /// A `system` message about a changed number or id.
    System,
    /// A card that answers a request for contact information.
    Card,
    /// A preference of a person (`user_preferences`).
    Preference,
    /// A user of ours.
    Person,
}

impl IdentityEvidenceSource {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Status => "status",
            Self::Answer => "answer",
            Self::System => "system",
            Self::Card => "card",
            Self::Preference => "preference",
            Self::Person => "person",
        }
    }
}

/// One observation that is to be kept.
#[derive(Clone, Debug)]
pub struct NewIdentityEvidence {
    pub observation: ContactAliasObservation,
    pub source: IdentityEvidenceSource,
    pub callback_id: Option<Uuid>,
}

/// Result of storing evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdentityEvidenceStoreOutcome {
    /// It was not known, or is older than was known.
    pub is_news: bool,
    /// It is later than was known.
    pub is_later: bool,
}

/// A fact as it was stored.
fn fact(
    kind: &str,
    one: ContactAlias,
    other: Option<ContactAlias>,
) -> Result<ContactAliasFact, StoreError> {
    let row = one.value.clone();
    Ok(match (kind, other) {
        ("seen", None) => ContactAliasFact::Seen(one),
        ("together", Some(id)) => ContactAliasFact::Together { phone: one, id },
        ("parent", Some(parent)) => ContactAliasFact::Parent { id: one, parent },
        ("replaced", Some(new)) => ContactAliasFact::Replaced { old: one, new },
        ("rotated", Some(id)) => ContactAliasFact::Rotated { phone: one, id },
        ("moved", Some(to)) => ContactAliasFact::Moved { from: one, to },
        ("variant", Some(answered)) => ContactAliasFact::Variant {
            sent: one,
            answered,
        },
        _ => {
            return Err(StoreError::Corrupt {
                table: "identity_evidence",
                row,
                column: "kind",
            });
        }
    })
}

/// When it happened, for what can happen again between the same aliases.
const fn changed_at(observation: &ContactAliasObservation) -> i64 {
    match observation.fact {
        ContactAliasFact::Moved { .. }
        | ContactAliasFact::Replaced { .. }
        | ContactAliasFact::Rotated { .. } => observation.first.micros(),
        ContactAliasFact::Seen(_)
        | ContactAliasFact::Together { .. }
        | ContactAliasFact::Parent { .. }
        | ContactAliasFact::Variant { .. } => 0,
    }
}

#[derive(Debug, Serialize)]
struct IdentityEvidenceInsertRow<'a> {
    id: HexUuid,
    kind: &'static str,
    scope: &'a str,
    one_kind: &'static str,
    one: &'a str,
    other_kind: &'static str,
    other: &'a str,
    changed_at: i64,
    first_at: i64,
    last_at: i64,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<HexUuid>,
}

const ROW: [(&str, SqlListFieldType); 12] = [
    ("id", SqlListFieldType::Uuid),
    ("kind", SqlListFieldType::Text),
    ("scope", SqlListFieldType::Text),
    ("one_kind", SqlListFieldType::Text),
    ("one", SqlListFieldType::Text),
    ("other_kind", SqlListFieldType::Text),
    ("other", SqlListFieldType::Text),
    ("changed_at", SqlListFieldType::Int),
    ("first_at", SqlListFieldType::Int),
    ("last_at", SqlListFieldType::Int),
    ("source", SqlListFieldType::Text),
    ("callback", SqlListFieldType::Uuid),
];

const KEY: &str = "e.one = r.one AND e.other = r.other AND e.kind = r.kind AND e.scope = r.scope \
                   AND e.changed_at = r.changed_at";

fn described(all: &[NewIdentityEvidence], now: Timestamp) -> Vec<IdentityEvidenceInsertRow<'_>> {
    all.iter()
        .map(|new| {
            let (one, other) = new.observation.fact.aliases();
            IdentityEvidenceInsertRow {
                id: HexUuid(new_id(now)),
                kind: new.observation.fact.name(),
                scope: &new.observation.scope,
                one_kind: one.kind.name(),
                one: &one.value,
                other_kind: other.map_or("", |other| other.kind.name()),
                other: other.map_or("", |other| other.value.as_str()),
                changed_at: changed_at(&new.observation),
                first_at: new.observation.first.micros(),
                last_at: new.observation.last.micros(),
                source: new.source.name(),
                callback: new.callback_id.map(HexUuid),
            }
        })
        .collect()
}

/// The pieces that are new.
async fn compared(
    connection: &impl ConnectionTrait,
    described: &[IdentityEvidenceInsertRow<'_>],
) -> Result<Vec<IdentityEvidenceStoreOutcome>, StoreError> {
    let backend = connection.get_database_backend();
    let given = rows(backend, &ROW);
    let known = matching(backend, &given, "identity_evidence", "e", KEY);
    let found = query(
        connection,
        format!("SELECT r.id, e.first_at, e.last_at FROM {known}"),
        [list(described)?],
    )
    .await?;
    let mut known = std::collections::HashMap::with_capacity(found.len());
    for row in &found {
        let id: Uuid = column(row, "id")?;
        let times: (i64, i64) = (column(row, "first_at")?, column(row, "last_at")?);
        known.insert(id, times);
    }
    Ok(described
        .iter()
        .map(|row| match known.get(&row.id.0) {
            None => IdentityEvidenceStoreOutcome {
                is_news: true,
                is_later: false,
            },
            Some((first, last)) => IdentityEvidenceStoreOutcome {
                is_news: row.first_at < *first,
                is_later: row.last_at > *last,
            },
        })
        .collect())
}

/// Whether all of these are known, and not earlier than was known.
pub async fn are_noted(
    connection: &impl ConnectionTrait,
    all: &[NewIdentityEvidence],
) -> Result<bool, StoreError> {
    let described = described(all, Timestamp::default());
    let noted = compared(connection, &described).await?;
    Ok(noted.iter().all(|noted| !noted.is_news))
}

/// Stores evidence, and returns for each piece whether it is new. Nothing is written for known
/// evidence.
pub async fn note(
    tx: &DatabaseTransaction,
    all: &[NewIdentityEvidence],
    now: Timestamp,
) -> Result<Vec<IdentityEvidenceStoreOutcome>, StoreError> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let described = described(all, now);
    let noted = compared(tx, &described).await?;
    let mut changed: Vec<&IdentityEvidenceInsertRow<'_>> = described
        .iter()
        .zip(&noted)
        .filter(|(_, noted)| noted.is_news || noted.is_later)
        .map(|(row, _)| row)
        .collect();
    // In one order, so that two transactions wait for each other and do not lock; one statement
    // may not touch a row twice, so the same fact twice goes in two.
    changed.sort_by_key(|row| (row.one, row.other, row.kind, row.scope, row.changed_at));
    while !changed.is_empty() {
        let mut again = Vec::new();
        let mut once: Vec<&IdentityEvidenceInsertRow<'_>> = Vec::with_capacity(changed.len());
        for row in changed {
            let key = |row: &IdentityEvidenceInsertRow<'_>| {
                (
                    row.one.to_owned(),
                    row.other.to_owned(),
                    row.kind,
                    row.scope.to_owned(),
                    row.changed_at,
                )
            };
            if once.last().is_some_and(|last| key(last) == key(row)) {
                again.push(row);
            } else {
                once.push(row);
            }
        }
        write(tx, &once, now).await?;
        changed = again;
    }
    Ok(noted)
}

/// Keeps evidence about aliases of which there was none: each names others than all before it.
pub async fn add(
    tx: &DatabaseTransaction,
    all: &[NewIdentityEvidence],
    now: Timestamp,
) -> Result<(), StoreError> {
    if all.is_empty() {
        return Ok(());
    }
    let described = described(all, now);
    let mut sorted: Vec<&IdentityEvidenceInsertRow<'_>> = described.iter().collect();
    // The order of `note`.
    sorted.sort_by_key(|row| (row.one, row.other, row.kind, row.scope, row.changed_at));
    write(tx, &sorted, now).await
}

async fn write(
    tx: &DatabaseTransaction,
    described: &[&IdentityEvidenceInsertRow<'_>],
    now: Timestamp,
) -> Result<(), StoreError> {
    let given = rows(tx.get_database_backend(), &ROW);
    execute(
        tx,
        format!(
            "INSERT INTO identity_evidence (id, created_at, kind, scope, one_kind, one, other_kind, other, changed_at, \
             first_at, last_at, source, callback_id) \
             SELECT r.id, $2, r.kind, r.scope, r.one_kind, r.one, r.other_kind, r.other, r.changed_at, r.first_at, r.last_at, \
             r.source, r.callback FROM {given} WHERE true \
             ON CONFLICT (one, other, kind, scope, changed_at) DO UPDATE SET \
             first_at = CASE WHEN excluded.first_at < identity_evidence.first_at THEN excluded.first_at ELSE identity_evidence.first_at END, \
             last_at = CASE WHEN excluded.last_at > identity_evidence.last_at THEN excluded.last_at ELSE identity_evidence.last_at END"
        ),
        [list(described)?, now.micros().into()],
    )
    .await?;
    Ok(())
}

const COLUMNS: &str =
    "e.kind, e.scope, e.one_kind, e.one, e.other_kind, e.other, e.first_at, e.last_at";

/// The columns of [`COLUMNS`].
#[derive(FromQueryResult)]
struct IdentityEvidenceRow {
    kind: String,
    scope: String,
    one_kind: String,
    one: String,
    other_kind: String,
    /// Empty: none.
    other: String,
    first_at: Timestamp,
    last_at: Timestamp,
}

impl TryFrom<IdentityEvidenceRow> for ContactAliasObservation {
    type Error = StoreError;

    fn try_from(row: IdentityEvidenceRow) -> Result<Self, StoreError> {
        let other = if row.other.is_empty() {
            None
        } else {
            Some(alias("identity_evidence", &row.other_kind, row.other)?)
        };
        let one = alias("identity_evidence", &row.one_kind, row.one)?;
        Ok(Self {
            fact: fact(&row.kind, one, other)?,
            scope: row.scope,
            first: row.first_at,
            last: row.last_at,
        })
    }
}

fn observation(row: &QueryResult) -> Result<ContactAliasObservation, StoreError> {
    read_row::<IdentityEvidenceRow>(row)?.try_into()
}

/// Everything that names one of these aliases; what names two of them may come twice.
pub async fn about(
    connection: &impl ConnectionTrait,
    aliases: &[ContactAlias],
) -> Result<Vec<ContactAliasObservation>, StoreError> {
    if aliases.is_empty() {
        return Ok(Vec::new());
    }
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("value", SqlListFieldType::Text)]);
    let first = matching(backend, &given, "identity_evidence", "e", "e.one = r.value");
    let second = matching(
        backend,
        &given,
        "identity_evidence",
        "e",
        "e.other = r.value AND e.other <> ''",
    );
    let found = query(
        connection,
        format!("SELECT {COLUMNS} FROM {first} UNION ALL SELECT {COLUMNS} FROM {second}"),
        [list(&values(aliases))?],
    )
    .await?;
    found.iter().map(observation).collect()
}

/// One piece of evidence as it is shown.
#[derive(Clone, Debug)]
pub struct IdentityEvidenceListRow {
    pub observation: ContactAliasObservation,
    pub source: String,
    pub callback_id: Option<Uuid>,
}

/// Evidence about these aliases, as it is shown: the newest first.
pub async fn listed(
    connection: &impl ConnectionTrait,
    aliases: &[ContactAlias],
) -> Result<Vec<IdentityEvidenceListRow>, StoreError> {
    if aliases.is_empty() {
        return Ok(Vec::new());
    }
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("value", SqlListFieldType::Text)]);
    let found = query(
        connection,
        format!(
            "SELECT {COLUMNS}, e.source, e.callback_id FROM identity_evidence e WHERE e.one IN (SELECT r.value FROM {given}) \
             OR (e.other <> '' AND e.other IN (SELECT r.value FROM {given})) ORDER BY e.last_at DESC, e.id DESC LIMIT 200"
        ),
        [list(&values(aliases))?],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            Ok(IdentityEvidenceListRow {
                observation: observation(row)?,
                source: column(row, "source")?,
                callback_id: nullable(row, "callback_id")?,
            })
        })
        .collect()
}
