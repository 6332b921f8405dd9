//! Properties of accounts and their numbers, each with its newest value.

use entity::account_fact;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::{Store, StoreError, dialect::execute};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

/// The property that says whether an account may send.
pub const STANDING: &str = "standing";

/// A value of a property.
#[derive(Clone, Debug)]
pub struct NewProviderAccountFact<'a> {
    pub account_id: &'a str,
    /// Empty for the account itself.
    pub number: &'a str,
    pub property: &'a str,
    pub value: &'a str,
    pub at: Timestamp,
    pub callback_id: Uuid,
    /// Why, and until when, the account may not send; absent when it may.
    pub hold: Option<(&'a str, Option<Timestamp>)>,
}

/// Stores a value unless a newer one is known. Returns whether it is the newest. Of two values with
/// the same time the greater text wins, whichever came first.
pub async fn set(
    tx: &DatabaseTransaction,
    new: NewProviderAccountFact<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let set = execute(
        tx,
        "INSERT INTO account_fact (account_id, number, property, created_at, provider_at, value, callback_id, hold_reason, hold_until) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (account_id, number, property) DO UPDATE SET \
         provider_at = excluded.provider_at, value = excluded.value, callback_id = excluded.callback_id, \
         hold_reason = excluded.hold_reason, hold_until = excluded.hold_until \
         WHERE account_fact.provider_at < excluded.provider_at \
         OR (account_fact.provider_at = excluded.provider_at AND account_fact.value < excluded.value)",
        [
            new.account_id.into(),
            new.number.into(),
            new.property.into(),
            now.micros().into(),
            new.at.micros().into(),
            new.value.into(),
            new.callback_id.into(),
            new.hold.map(|(reason, _)| reason).into(),
            new.hold
                .and_then(|(_, until)| until)
                .map(Timestamp::micros)
                .into(),
        ],
    )
    .await?;
    Ok(set.rows_affected() > 0)
}

/// Everything that is known of the accounts.
pub async fn all(store: &Store) -> Result<Vec<account_fact::Model>, StoreError> {
    Ok(account_fact::Entity::find()
        .order_by_asc(account_fact::Column::AccountId)
        .order_by_asc(account_fact::Column::Number)
        .order_by_asc(account_fact::Column::Property)
        .all(store.reader())
        .await?)
}

/// Why, and until when, a number of an account may not send; `None` if it may. A value of the whole
/// account applies to each of its numbers, unless the account may send and the number has a newer
/// value. A number is given as displayed, or by its id.
pub async fn standing(
    tx: &DatabaseTransaction,
    account_id: &str,
    numbers: &[&str],
) -> Result<Option<(String, Option<Timestamp>)>, StoreError> {
    let facts = account_fact::Entity::find()
        .filter(account_fact::Column::AccountId.eq(account_id))
        .filter(account_fact::Column::Property.eq(STANDING))
        .all(tx)
        .await?;
    let of_account = facts.iter().find(|fact| fact.number.is_empty());
    let since = of_account.map_or(i64::MIN, |fact| fact.provider_at);
    let held = of_account
        .filter(|fact| fact.hold_reason.is_some())
        .or_else(|| {
            facts
                .iter()
                .filter(|fact| numbers.contains(&fact.number.as_str()))
                .filter(|fact| fact.provider_at >= since)
                .max_by_key(|fact| (fact.provider_at, fact.hold_reason.is_some()))
        });
    Ok(held.and_then(|fact| {
        let until = fact.hold_until.map(Timestamp::from_micros);
        Some((fact.hold_reason.clone()?, until))
    }))
}
