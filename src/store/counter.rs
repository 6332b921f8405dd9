//! Counters: quarter-hour cohorts of notifications by their creation.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{Columns, Id, Type, execute, list, query, rows},
};
use crate::domain::time::Timestamp;

/// The fact of a price: its code is `category/type/country`.
pub const PRICED: &str = "priced";

/// What is counted; ordered, so that processes lock rows in one order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub bucket: Timestamp,
    pub sender_id: Uuid,
    pub channel: String,
    pub template: String,
    pub fact: &'static str,
    pub code: String,
}

/// Differences to be added.
pub type Changes = BTreeMap<Key, i64>;

#[derive(Serialize)]
struct Row<'a> {
    bucket: i64,
    sender: Id,
    channel: &'a str,
    template: &'a str,
    fact: &'a str,
    code: &'a str,
    delta: i64,
}

/// Adds differences under this process's slot.
pub async fn add(
    tx: &DatabaseTransaction,
    changes: &Changes,
    slot: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let different: Vec<Row<'_>> = changes
        .iter()
        .filter(|(_, delta)| **delta != 0)
        .map(|(key, delta)| Row {
            bucket: key.bucket.micros(),
            sender: Id(key.sender_id),
            channel: &key.channel,
            template: &key.template,
            fact: key.fact,
            code: &key.code,
            delta: *delta,
        })
        .collect();
    if different.is_empty() {
        return Ok(());
    }
    let given = rows(
        tx.get_database_backend(),
        &[
            ("bucket", Type::Int),
            ("sender", Type::Uuid),
            ("channel", Type::Text),
            ("template", Type::Text),
            ("fact", Type::Text),
            ("code", Type::Text),
            ("delta", Type::Int),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO counter (bucket, sender_id, channel, template, fact, code, slot, created_at, count) \
             SELECT r.bucket, r.sender, r.channel, r.template, r.fact, r.code, $2, $3, r.delta FROM {given} WHERE true \
             ON CONFLICT (bucket, sender_id, channel, template, fact, code, slot) \
             DO UPDATE SET count = counter.count + excluded.count"
        ),
        [list(&different)?, slot.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

/// A sum over the slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sum {
    pub fact: String,
    pub channel: String,
    pub template: String,
    pub code: String,
    pub count: i64,
}

/// Sums since a bucket.
pub async fn sums_since(store: &Store, since: Timestamp) -> Result<Vec<Sum>, StoreError> {
    let found = query(
        store.reader(),
        "SELECT fact, channel, template, code, CAST(sum(count) AS bigint) FROM counter WHERE bucket >= $1 \
         GROUP BY fact, channel, template, code HAVING sum(count) <> 0 ORDER BY fact, channel, template, code",
        [since.bucket().micros().into()],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok(Sum {
                fact: columns.take()?,
                channel: columns.take()?,
                template: columns.take()?,
                code: columns.take()?,
                count: columns.take()?,
            })
        })
        .collect()
}
