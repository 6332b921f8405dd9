//! An item from a provider that is neither a message nor a status.

use sea_orm::entity::prelude::*;

/// An item from a provider that is neither a message nor a status.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notice")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    pub callback_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub pointer: String,
    #[sea_orm(column_type = "Text")]
    pub field: String,
    #[sea_orm(column_type = "Text")]
    pub account_id: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub summary: String,
    #[sea_orm(column_type = "Text")]
    pub outcome: String,
    pub provider_at: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub item: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
