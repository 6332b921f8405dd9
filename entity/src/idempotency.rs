//! The ledger of `Idempotency-Key`s.

use sea_orm::entity::prelude::*;

/// The ledger of `Idempotency-Key`s.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub client: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub idempotency_key: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub operation: String,
    pub fingerprint: Vec<u8>,
    pub resource_id: Uuid,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub answer: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
