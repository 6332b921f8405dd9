//! The bounds of what is sent by a key, for a product, or to staff.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    domain::access::{AccessBounds, ProductAccess},
    store::{DatabaseTransaction, StoreError, access},
};

/// The bounds of the key that posted something; of its product, if the key is not known.
pub async fn of_key(
    tx: &DatabaseTransaction,
    key: Option<Uuid>,
    product: Option<&str>,
) -> Result<AccessBounds, StoreError> {
    let row = match key.filter(|_| product.is_some()) {
        Some(id) => access::key(tx, id).await?,
        None => None,
    };
    match row {
        Some(row) => Ok(access::bounds(&row)),
        None => of_product(tx, product).await,
    }
}

/// The bounds of what is sent for a product, and not by one of its keys: the senders of all of them.
pub async fn of_product(
    tx: &DatabaseTransaction,
    product: Option<&str>,
) -> Result<AccessBounds, StoreError> {
    let Some(name) = product else {
        return Ok(AccessBounds::All);
    };
    let senders = access::senders_of_product(tx, name).await?;
    Ok(AccessBounds::Product(Arc::new(ProductAccess {
        name: name.to_owned(),
        senders,
        ..ProductAccess::default()
    })))
}

/// The bounds of what is sent to a recipient for a product. What alerts staff is Herald's own: it
/// leaves from any sender.
pub async fn of_recipient(
    tx: &DatabaseTransaction,
    product: Option<&str>,
    is_for_staff: bool,
) -> Result<AccessBounds, StoreError> {
    if is_for_staff {
        Ok(AccessBounds::of_product(product))
    } else {
        of_product(tx, product).await
    }
}
