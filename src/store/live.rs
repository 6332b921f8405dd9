//! Whether anything has changed that a page may show.

use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{Columns, query_one},
    first_id,
};
use crate::domain::{horizon::TOLERANCE_MICROS, time::Timestamp};

/// The newest of everything that makes a difference; equal as long as nothing new came.
/// The newest up to now: what a clock that was ahead has made would hide all that comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor([Option<Uuid>; 5], i64, i64);

/// Reads it: the last entry of five primary keys, and two counts of open rows.
pub async fn cursor(store: &Store, now: Timestamp) -> Result<Cursor, StoreError> {
    let newest =
        |table: &str| format!("(SELECT id FROM {table} WHERE id < $1 ORDER BY id DESC LIMIT 1)");
    let newest: Vec<String> = ["notification", "attempt", "callback", "audit", "follow_up"]
        .map(newest)
        .into();
    let row = query_one(
        store.reader(),
        format!(
            "SELECT {}, (SELECT count(*) FROM callback WHERE processed_at IS NULL), \
             (SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL)",
            newest.join(", ")
        ),
        [first_id(now.plus_micros(TOLERANCE_MICROS)).into()],
    )
    .await?;
    let Some(row) = row else {
        return Ok(Cursor::default());
    };
    let mut columns = Columns::of(&row);
    let mut newest = [None; 5];
    for newest in &mut newest {
        *newest = columns.take()?;
    }
    Ok(Cursor(newest, columns.take()?, columns.take()?))
}
