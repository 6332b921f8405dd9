//! A key that may use the API; only its digest is kept.

use sea_orm::entity::prelude::*;

/// A key that may use the API; only its digest is kept.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub name: String,
    #[sea_orm(column_type = "Text")]
    pub prefix: String,
    pub digest: Vec<u8>,
    pub revoked_at: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub role: String,
}

impl ActiveModelBehavior for ActiveModel {}
