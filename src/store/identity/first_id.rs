//! Pairs of a number and a user id about which nothing is known yet.

use serde::Serialize;

use crate::store::{
    ConnectionTrait, DatabaseTransaction, StoreError,
    dialect::{SqlListFieldType, column, list, query, rows},
};

/// A number and a user id that were seen together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PhoneUserIdPair<'a> {
    /// Where it stands in the caller's list.
    pub position: usize,
    pub phone: &'a str,
    pub id: &'a str,
}

/// The positions of those pairs of which neither is named by any evidence, but that it was seen,
/// nor by any decision.
pub async fn unmentioned(
    tx: &DatabaseTransaction,
    pairs: &[PhoneUserIdPair<'_>],
) -> Result<Vec<usize>, StoreError> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let given = rows(
        tx.get_database_backend(),
        &[
            ("position", SqlListFieldType::Int),
            ("phone", SqlListFieldType::Text),
            ("id", SqlListFieldType::Text),
        ],
    );
    // One look into an index for each: without the offset, PostgreSQL may join all of the table.
    let none = |table: &str, column: &str, alias: &str, rest: &str| {
        format!(
            "NOT EXISTS (SELECT 1 FROM {table} e WHERE e.{column} = r.{alias}{rest} LIMIT 1 OFFSET 0)"
        )
    };
    let mut conditions = Vec::with_capacity(8);
    for alias in ["phone", "id"] {
        let named = " AND e.other <> ''";
        conditions.push(none(
            "identity_evidence",
            "one",
            alias,
            " AND e.kind <> 'seen'",
        ));
        conditions.push(none("identity_evidence", "other", alias, named));
        conditions.push(none("identity_decision", "one", alias, ""));
        conditions.push(none("identity_decision", "other", alias, named));
    }
    let found = query(
        tx,
        format!(
            "SELECT r.position FROM {given} WHERE {}",
            conditions.join(" AND ")
        ),
        [list(pairs)?],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let position: i64 = column(row, "position")?;
            Ok(usize::try_from(position).unwrap_or(usize::MAX))
        })
        .collect()
}
