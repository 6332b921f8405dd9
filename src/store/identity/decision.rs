//! Operator decisions about aliases.

use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::{alias, values};
use crate::{
    domain::{
        identity::{AliasDecision, AliasVerdict, ContactAlias},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError,
        dialect::{SqlListFieldType, execute, list, matching, query, read_row, rows},
        new_id,
    },
};

/// A decision to be stored.
#[derive(Clone, Debug)]
pub struct NewIdentityDecision<'a> {
    pub decision: AliasDecision,
    pub actor: &'a str,
}

const fn word(verdict: &AliasVerdict) -> &'static str {
    match verdict {
        AliasVerdict::Link(..) => "link",
        AliasVerdict::Apart(..) => "apart",
        AliasVerdict::Cut { .. } => "cut",
    }
}

#[derive(FromQueryResult)]
struct IdentityDecisionRow {
    verdict: String,
    one_kind: String,
    one: String,
    other_kind: String,
    other: String,
    group_id: Uuid,
    decided_at: Timestamp,
}

impl TryFrom<IdentityDecisionRow> for AliasDecision {
    type Error = StoreError;

    fn try_from(row: IdentityDecisionRow) -> Result<Self, StoreError> {
        let table = "identity_decision";
        let name = row.one.clone();
        let one = alias(table, &row.one_kind, row.one)?;
        let verdict = match row.verdict.as_str() {
            "cut" => AliasVerdict::Cut {
                alias: one,
                group: row.group_id,
            },
            "link" => AliasVerdict::Link(one, alias(table, &row.other_kind, row.other)?),
            "apart" => AliasVerdict::Apart(one, alias(table, &row.other_kind, row.other)?),
            _ => {
                return Err(StoreError::Corrupt {
                    table,
                    row: name,
                    column: "verdict",
                });
            }
        };
        Ok(Self {
            at: row.decided_at,
            verdict,
        })
    }
}

/// Keeps a decision; the same one again changes its time.
pub async fn note(
    tx: &DatabaseTransaction,
    new: NewIdentityDecision<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let verdict = &new.decision.verdict;
    let (one, other) = verdict.aliases();
    let group = match verdict {
        AliasVerdict::Cut { group, .. } => *group,
        AliasVerdict::Link(..) | AliasVerdict::Apart(..) => Uuid::nil(),
    };
    execute(
        tx,
        "INSERT INTO identity_decision (id, created_at, verdict, one_kind, one, other_kind, other, group_id, decided_at, actor) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (one, other, verdict, group_id) DO UPDATE SET \
         decided_at = excluded.decided_at, actor = excluded.actor",
        [
            new_id(now).into(),
            now.micros().into(),
            word(verdict).into(),
            one.kind.name().into(),
            one.value.clone().into(),
            other.map_or("", |other| other.kind.name()).into(),
            other.map_or_else(String::new, |other| other.value.clone()).into(),
            group.into(),
            new.decision.at.micros().into(),
            new.actor.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Takes back that two aliases are of one person, or of two: another decision stands.
pub async fn forget(
    tx: &DatabaseTransaction,
    one: &ContactAlias,
    other: &ContactAlias,
) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM identity_decision WHERE verdict <> 'cut' AND ((one = $1 AND other = $2) OR (one = $2 AND other = $1))",
        [one.value.clone().into(), other.value.clone().into()],
    )
    .await?;
    Ok(())
}

/// Every decision that names one of these aliases; what names two of them may come twice.
pub async fn about(
    connection: &impl ConnectionTrait,
    aliases: &[ContactAlias],
) -> Result<Vec<AliasDecision>, StoreError> {
    if aliases.is_empty() {
        return Ok(Vec::new());
    }
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("value", SqlListFieldType::Text)]);
    let first = matching(backend, &given, "identity_decision", "d", "d.one = r.value");
    let second = matching(
        backend,
        &given,
        "identity_decision",
        "d",
        "d.other = r.value AND d.other <> ''",
    );
    let columns = "d.verdict, d.one_kind, d.one, d.other_kind, d.other, d.group_id, d.decided_at";
    let found = query(
        connection,
        format!("SELECT {columns} FROM {first} UNION ALL SELECT {columns} FROM {second}"),
        [list(&values(aliases))?],
    )
    .await?;
    found
        .iter()
        .map(|row| AliasDecision::try_from(read_row::<IdentityDecisionRow>(row)?))
        .collect()
}
