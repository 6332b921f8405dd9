//! What a person wants to receive, or no more.

use sea_orm::entity::prelude::*;

/// What a person wants to receive, or no more.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "suppression")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub contact_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub scope: String,
    pub created_at: i64,
    pub wanted: bool,
    #[sea_orm(column_type = "Text")]
    pub source: String,
    pub provider_at: i64,
    pub callback_id: Option<Uuid>,
}

impl ActiveModelBehavior for ActiveModel {}
