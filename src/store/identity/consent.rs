//! Statements of opt-out and consent by the alias that they came from. The one in force is stored
//! as the contact's `suppression`.

use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    domain::{
        identity::{ContactAlias, ContactAliasKind, consent::ConsentStatement},
        preference::ConsentScope,
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError,
        dialect::{
            SqlListFieldType, execute, ids, list, locking, matching, nil, query, read_row, rows,
        },
        new_id,
    },
};

/// A statement to be stored.
#[derive(Clone, Debug)]
pub struct NewConsentStatement<'a> {
    /// Its contact, whatever alias it came from; `None`: the present or former owner of the
    /// aliases.
    pub contact: Option<Uuid>,
    pub aliases: &'a [ContactAlias],
    pub statement: ConsentStatement,
    pub callback_id: Option<Uuid>,
}

/// A statement that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConsentStatement {
    pub contact: Option<Uuid>,
    /// The surest first.
    pub aliases: Vec<ContactAlias>,
    pub statement: ConsentStatement,
    pub callback_id: Option<Uuid>,
}

#[derive(FromQueryResult)]
struct ConsentStatementRow {
    id: Uuid,
    /// Nil: none.
    contact_id: Uuid,
    /// Empty: none; so are the others.
    user_id: String,
    phone: String,
    parent_user_id: String,
    scope: String,
    wanted: bool,
    source: String,
    provider_at: Timestamp,
    callback_id: Option<Uuid>,
}

impl From<ConsentStatementRow> for StoredConsentStatement {
    fn from(row: ConsentStatementRow) -> Self {
        let aliases = [
            (ContactAliasKind::UserId, row.user_id),
            (ContactAliasKind::Phone, row.phone),
            (ContactAliasKind::ParentUserId, row.parent_user_id),
        ];
        Self {
            contact: (!row.contact_id.is_nil()).then_some(row.contact_id),
            aliases: aliases
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(kind, value)| ContactAlias { kind, value })
                .collect(),
            statement: ConsentStatement {
                scope: if row.scope == ConsentScope::Marketing.name() {
                    ConsentScope::Marketing
                } else {
                    ConsentScope::All
                },
                is_wanted: row.wanted,
                source: row.source,
                at: row.provider_at,
            },
            callback_id: row.callback_id,
        }
    }
}

/// Stores a statement once. Returns whether it is new.
pub async fn note(
    tx: &DatabaseTransaction,
    new: &NewConsentStatement<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let value = |kind: ContactAliasKind| {
        new.aliases
            .iter()
            .find(|alias| alias.kind == kind)
            .map_or_else(String::new, |alias| alias.value.clone())
    };
    let statement = &new.statement;
    let added = execute(
        tx,
        "INSERT INTO consent (id, created_at, contact_id, user_id, phone, parent_user_id, scope, wanted, source, provider_at, callback_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT (phone, user_id, contact_id, parent_user_id, scope, provider_at, wanted) DO NOTHING",
        [
            new_id(now).into(),
            now.micros().into(),
            new.contact.unwrap_or(Uuid::nil()).into(),
            value(ContactAliasKind::UserId).into(),
            value(ContactAliasKind::Phone).into(),
            value(ContactAliasKind::ParentUserId).into(),
            statement.scope.name().into(),
            statement.is_wanted.into(),
            statement.source.clone().into(),
            statement.at.micros().into(),
            new.callback_id.into(),
        ],
    )
    .await?;
    Ok(added.rows_affected() > 0)
}

/// Every statement that came from one of these aliases, or is of one of these contacts.
pub async fn statements(
    connection: &impl ConnectionTrait,
    aliases: &[ContactAlias],
    contacts: &[Uuid],
) -> Result<Vec<StoredConsentStatement>, StoreError> {
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("value", SqlListFieldType::Text)]);
    let columns = "s.id, s.contact_id, s.user_id, s.phone, s.parent_user_id, s.scope, s.wanted, s.source, s.provider_at, s.callback_id";
    let by_phone = matching(
        backend,
        &given,
        "consent",
        "s",
        "s.phone = r.value AND s.phone <> ''",
    );
    let by_id = matching(
        backend,
        &given,
        "consent",
        "s",
        "s.user_id = r.value AND s.user_id <> ''",
    );
    let mut found = query(
        connection,
        format!("SELECT {columns} FROM {by_phone} UNION SELECT {columns} FROM {by_id}"),
        [list(&super::values(aliases))?],
    )
    .await?;
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let by_contact = matching(backend, &given, "consent", "s", "s.contact_id = r.id");
    found.extend(
        query(
            connection,
            format!(
                "SELECT {columns} FROM {by_contact} WHERE s.contact_id <> {}",
                nil(backend)
            ),
            [ids(contacts.iter().copied())?],
        )
        .await?,
    );
    let mut all = found
        .iter()
        .map(read_row)
        .collect::<Result<Vec<ConsentStatementRow>, _>>()?;
    all.sort_by_key(|row| row.id);
    all.dedup_by_key(|row| row.id);
    Ok(all.into_iter().map(StoredConsentStatement::from).collect())
}

#[derive(Debug, Serialize)]
struct SuppressionRow<'a> {
    scope: &'static str,
    wanted: bool,
    source: &'a str,
    provider_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<crate::store::dialect::HexUuid>,
}

/// Puts what holds for a contact in the place of what held.
pub async fn state_again(
    tx: &DatabaseTransaction,
    contact: Uuid,
    holds: &[(ConsentStatement, Option<Uuid>)],
    now: Timestamp,
) -> Result<(), StoreError> {
    // Concurrent readers of the consent wait for it.
    let lock = locking(tx.get_database_backend(), "FOR UPDATE");
    query(
        tx,
        format!("SELECT scope FROM suppression WHERE contact_id = $1 {lock}"),
        [contact.into()],
    )
    .await?;
    execute(
        tx,
        "DELETE FROM suppression WHERE contact_id = $1",
        [contact.into()],
    )
    .await?;
    if holds.is_empty() {
        return Ok(());
    }
    let described: Vec<SuppressionRow<'_>> = holds
        .iter()
        .map(|(statement, callback)| SuppressionRow {
            scope: statement.scope.name(),
            wanted: statement.is_wanted,
            source: &statement.source,
            provider_at: statement.at.micros(),
            callback: callback.map(crate::store::dialect::HexUuid),
        })
        .collect();
    let given = rows(
        tx.get_database_backend(),
        &[
            ("scope", SqlListFieldType::Text),
            ("wanted", SqlListFieldType::Bool),
            ("source", SqlListFieldType::Text),
            ("provider_at", SqlListFieldType::Int),
            ("callback", SqlListFieldType::Uuid),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO suppression (contact_id, scope, created_at, wanted, source, provider_at, callback_id) \
             SELECT $2, r.scope, $3, r.wanted, r.source, r.provider_at, r.callback FROM {given}"
        ),
        [list(&described)?, contact.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}
