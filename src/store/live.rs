//! Detects changes that a dashboard page may show.

use uuid::Uuid;

use super::{
    Store, StoreError,
    callback::{self, CallbackChangeCursor},
    dialect::{column, nullable, query_one},
    first_id,
};
use crate::domain::{callback_id::CallbackSegmentId, horizon::TOLERANCE_MICROS, time::Timestamp};

/// The newest ids of everything that a page may show; equal as long as nothing new came. Ids in the
/// future are left out: rows made by a clock that was ahead would hide all later ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DashboardChangeCursor {
    newest: [Option<Uuid>; NEWEST.len()],
    inbox: CallbackChangeCursor,
    dead_letters: i64,
}

/// The tables of which the newest row is read.
const NEWEST: [&str; 4] = ["notification", "attempt", "audit", "follow_up"];

/// Reads it: the last entry of five primary keys, and two counts of open rows.
pub async fn cursor(store: &Store, now: Timestamp) -> Result<DashboardChangeCursor, StoreError> {
    let newest = NEWEST.map(|table| {
        format!("(SELECT id FROM {table} WHERE id < $1 ORDER BY id DESC LIMIT 1) AS newest_{table}")
    });
    let before = first_id(now.plus_micros(TOLERANCE_MICROS));
    let row = query_one(
        store.reader(),
        format!(
            "SELECT {}, (SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL) AS dead_letters",
            newest.join(", ")
        ),
        [before.into()],
    )
    .await?;
    let Some(row) = row else {
        return Ok(DashboardChangeCursor::default());
    };
    let mut newest = [None; NEWEST.len()];
    for (newest, table) in newest.iter_mut().zip(NEWEST) {
        *newest = nullable(&row, &format!("newest_{table}"))?;
    }
    let before = CallbackSegmentId::of(before);
    let inbox = callback::change_cursor(store.inbox().reader(), before).await?;
    Ok(DashboardChangeCursor {
        newest,
        inbox,
        dead_letters: column(&row, "dead_letters")?,
    })
}
