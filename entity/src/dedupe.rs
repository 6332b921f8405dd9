//! The ledger of deduplication keys: a route notifies once for each.

use sea_orm::entity::prelude::*;

/// The ledger of deduplication keys: a route notifies once for each.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "dedupe")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub route: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub dedupe_key: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub recipient: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub channel: String,
    /// Empty: of no product.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub product: String,
    pub notification_id: Uuid,
    pub created_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
