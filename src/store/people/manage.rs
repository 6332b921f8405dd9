//! Contacts as they are managed and listed.

use crate::store::DatabaseTransaction;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::{PERSON, Person, person};
use crate::{
    domain::quiet::QuietHours,
    store::{
        Store, StoreError,
        dialect::{Columns, execute, query, query_one},
    },
};

/// What is known of a contact beside its aliases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    pub name: Option<String>,
    pub handle: Option<String>,
    pub language: Option<String>,
    pub time_zone: Option<String>,
    pub quiet_hours: Option<QuietHours>,
    pub catalogue: Option<String>,
}

/// Nothing of who was deleted.
pub async fn details(
    connection: &impl ConnectionTrait,
    contact: Uuid,
) -> Result<Option<Details>, StoreError> {
    let row = query_one(
        connection,
        "SELECT name, handle, language, time_zone, quiet_from, quiet_until, catalogue FROM contact \
         WHERE id = $1 AND deleted_at IS NULL",
        [contact.into()],
    )
    .await?;
    row.map(|row| {
        let mut columns = Columns::of(&row);
        Ok(Details {
            name: columns.take()?,
            handle: columns.take()?,
            language: columns.take()?,
            time_zone: columns.take()?,
            quiet_hours: QuietHours::stored(columns.take()?, columns.take()?),
            catalogue: columns.take()?,
        })
    })
    .transpose()
}

pub async fn set_details(
    tx: &DatabaseTransaction,
    contact: Uuid,
    details: &Details,
) -> Result<(), StoreError> {
    let (from, until) = details
        .quiet_hours
        .map(QuietHours::minutes)
        .map_or((None, None), |(from, until)| (Some(from), Some(until)));
    execute(
        tx,
        "UPDATE contact SET name = $2, handle = $3, language = $4, time_zone = $5, quiet_from = $6, quiet_until = $7 WHERE id = $1",
        [
            contact.into(),
            details.name.clone().into(),
            details.handle.clone().into(),
            details.language.clone().into(),
            details.time_zone.clone().into(),
            from.into(),
            until.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Contacts after an id, in its order. With a text: whose name, handle or number begins
/// with it.
pub async fn page(
    store: &Store,
    text: Option<&str>,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<Person>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let after = after.unwrap_or(Uuid::nil());
    let found = match text.map(beginning) {
        None => {
            query(
                store.reader(),
                format!("SELECT {PERSON} FROM contact c WHERE c.id > $1 AND c.deleted_at IS NULL ORDER BY c.id LIMIT $2"),
                [after.into(), limit.into()],
            )
            .await?
        }
        Some(beginning) => {
            query(
                store.reader(),
                format!(
                    "SELECT {PERSON} FROM contact c WHERE c.id > $1 AND c.deleted_at IS NULL AND (lower(c.name) LIKE lower($3) ESCAPE '\\' \
                     OR lower(c.handle) LIKE lower($3) ESCAPE '\\' OR c.id IN (SELECT a.contact_id FROM contact_alias a \
                     WHERE a.kind = 'phone' AND a.value LIKE $3 ESCAPE '\\')) ORDER BY c.id LIMIT $2"
                ),
                [after.into(), limit.into(), beginning.into()],
            )
            .await?
        }
    };
    found.iter().map(person).collect()
}

/// A pattern of LIKE, with `\\` as its escape: whatever begins with a text.
pub(super) fn beginning(text: &str) -> String {
    let text = text
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    format!("{text}%")
}
