//! Addresses that messages of a channel are not sent to, until someone lifts it.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::Serialize;

use super::{
    Store, StoreError,
    dialect::{
        SqlListFieldType, begins_with, column, execute, list, matching, query, query_one, read_row,
        rows,
    },
};
use crate::{
    domain::{channel::MessageChannel, time::Timestamp, word_enum::words},
    store::DatabaseTransaction,
};

words! {
    /// Why an address gets nothing.
    pub enum AddressSuppressionReason {
        /// There is no such mailbox.
        Bounced = "bounced",
        /// Its owner wants no more messages by this channel, but those that cannot be refused.
        Unsubscribed = "unsubscribed",
    }
}

/// A suppressed address.
#[derive(Clone, Debug, FromQueryResult)]
pub struct SuppressedAddress {
    pub channel: String,
    /// In small letters.
    pub address: String,
    pub created_at: Timestamp,
    pub reason: String,
    pub detail: Option<String>,
}

/// Suppresses an address. An earlier reason stays.
pub async fn add(
    tx: &DatabaseTransaction,
    channel: MessageChannel,
    address: &str,
    reason: AddressSuppressionReason,
    detail: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let added = execute(
        tx,
        "INSERT INTO address_suppression (channel, address, created_at, reason, detail) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (channel, address) DO NOTHING",
        [
            channel.name().into(),
            address.to_ascii_lowercase().into(),
            now.micros().into(),
            reason.name().into(),
            detail.map(str::to_owned).into(),
        ],
    )
    .await?;
    Ok(added.rows_affected() > 0)
}

/// Lifts a suppression. False if there is none.
pub async fn lift(
    tx: &DatabaseTransaction,
    channel: MessageChannel,
    address: &str,
) -> Result<bool, StoreError> {
    let lifted = execute(
        tx,
        "DELETE FROM address_suppression WHERE channel = $1 AND address = $2",
        [channel.name().into(), address.to_ascii_lowercase().into()],
    )
    .await?;
    Ok(lifted.rows_affected() > 0)
}

#[derive(Serialize)]
struct AskedAddress {
    address: String,
}

/// Those of these addresses of a channel that are suppressed, by their lower-case form.
pub async fn among(
    connection: &impl ConnectionTrait,
    channel: MessageChannel,
    addresses: &[String],
) -> Result<HashMap<String, AddressSuppressionReason>, StoreError> {
    if addresses.is_empty() {
        return Ok(HashMap::new());
    }
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("address", SqlListFieldType::Text)]);
    let known = matching(
        backend,
        &given,
        "address_suppression",
        "s",
        "s.channel = $2 AND s.address = r.address",
    );
    let asked: Vec<AskedAddress> = addresses
        .iter()
        .map(|address| AskedAddress {
            address: address.to_ascii_lowercase(),
        })
        .collect();
    let found = query(
        connection,
        format!("SELECT s.address, s.reason FROM {known}"),
        [list(&asked)?, channel.name().into()],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let reason: String = column(row, "reason")?;
            let reason = AddressSuppressionReason::parse(&reason);
            // One that this version does not know stops messages as well.
            Ok((
                column(row, "address")?,
                reason.unwrap_or(AddressSuppressionReason::Bounced),
            ))
        })
        .collect()
}

/// Why an address gets nothing by a channel, if so.
pub async fn find(
    connection: &impl ConnectionTrait,
    channel: MessageChannel,
    address: &str,
) -> Result<Option<SuppressedAddress>, StoreError> {
    let row = query_one(
        connection,
        "SELECT * FROM address_suppression WHERE channel = $1 AND address = $2",
        [channel.name().into(), address.to_ascii_lowercase().into()],
    )
    .await?;
    row.as_ref().map(read_row).transpose()
}

/// The newest suppressed addresses; of those that begin so, if `beginning` is not empty.
pub async fn newest(
    store: &Store,
    beginning: &str,
    limit: u64,
) -> Result<Vec<SuppressedAddress>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = query(
        store.reader(),
        "SELECT * FROM address_suppression WHERE address LIKE $2 ESCAPE '\\' ORDER BY created_at DESC, address LIMIT $1",
        [
            limit.into(),
            begins_with(&beginning.to_ascii_lowercase()).into(),
        ],
    )
    .await?;
    found.iter().map(read_row).collect()
}
