//! The ledger of deduplication keys: which notification a route has made for a key and a recipient.

use sea_orm::ConnectionTrait;
use serde::Serialize;
use uuid::Uuid;

use super::{
    StoreError,
    dialect::{HexUuid, SqlListFieldType, column, execute, list, matching, query, rows},
};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

/// A claim on a dedupe key.
#[derive(Clone, Debug, Serialize)]
pub struct DedupeClaim {
    pub dedupe_key: String,
    pub recipient: String,
    pub notification_id: HexUuid,
}

/// Claims deduplication keys of a route within a product. For keys that are taken it returns their
/// owners: (recipient, notification).
pub async fn claim(
    tx: &DatabaseTransaction,
    product: Option<&str>,
    route: &str,
    channel: &str,
    claims: &[DedupeClaim],
    now: Timestamp,
) -> Result<Vec<(String, Uuid)>, StoreError> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let given = rows(
        tx.get_database_backend(),
        &[
            ("dedupe_key", SqlListFieldType::Text),
            ("recipient", SqlListFieldType::Text),
            ("notification_id", SqlListFieldType::Uuid),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO dedupe (route, dedupe_key, recipient, channel, notification_id, created_at, product) \
             SELECT $2, r.dedupe_key, r.recipient, $3, r.notification_id, $4, $5 FROM {given} WHERE true \
             ON CONFLICT (route, dedupe_key, recipient, channel, product) DO NOTHING"
        ),
        [
            list(claims)?,
            route.into(),
            channel.into(),
            now.micros().into(),
            product.unwrap_or_default().into(),
        ],
    )
    .await?;
    let taken = matching(
        tx.get_database_backend(),
        &given,
        "dedupe",
        "d",
        "d.route = $2 AND d.dedupe_key = r.dedupe_key AND d.recipient = r.recipient AND d.channel = $3",
    );
    let taken = query(
        tx,
        format!(
            "SELECT d.recipient, d.notification_id FROM {taken} WHERE d.product = $4 AND d.notification_id <> r.notification_id"
        ),
        [
            list(claims)?,
            route.into(),
            channel.into(),
            product.unwrap_or_default().into(),
        ],
    )
    .await?;
    taken
        .iter()
        .map(|row| Ok((column(row, "recipient")?, column(row, "notification_id")?)))
        .collect()
}
