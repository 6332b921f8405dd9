//! Reads one body.

use super::{CallbackBody, HEADS, claim::bodies, segment_id, segments};
use crate::{
    domain::callback_id::CallbackId,
    store::{Store, StoreError, dialect::column},
};

/// A body that is kept.
#[derive(Clone, Debug)]
pub struct StoredCallbackBody {
    /// Whose callback it is: the last part of the webhook's path.
    pub endpoint: String,
    pub content: CallbackBody,
}

/// The body of one callback, for replay and for people, with the labels of its signature. Its whole
/// segment is read.
pub async fn body(store: &Store, id: uuid::Uuid) -> Result<Option<StoredCallbackBody>, StoreError> {
    let Some(id) = CallbackId::read(id) else {
        return Ok(None);
    };
    let columns = format!("{HEADS}, s.endpoint, s.data");
    let found = segments(store.inbox().reader(), &columns, [id.segment]).await?;
    let Some(row) = found.first() else {
        return Ok(None);
    };
    let bodies = bodies(segment_id(row, "id")?, row)?;
    let position = usize::try_from(id.position).unwrap_or(usize::MAX);
    let Some(content) = bodies.into_iter().nth(position) else {
        return Ok(None);
    };
    Ok(Some(StoredCallbackBody {
        endpoint: column(row, "endpoint")?,
        content,
    }))
}
