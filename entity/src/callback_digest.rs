//! The ledger that detects repeated callbacks.

use sea_orm::entity::prelude::*;

/// The ledger that detects repeated callbacks.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "callback_digest")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub endpoint: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: Vec<u8>,
    pub callback_id: Uuid,
    pub created_at: i64,
    pub times_seen: i64,
}

impl ActiveModelBehavior for ActiveModel {}
