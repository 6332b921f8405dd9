//! A statement of opt-out or consent, by the alias that it came from.

use sea_orm::entity::prelude::*;

/// A statement of opt-out or consent, by the alias that it came from.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "consent")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    pub contact_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub user_id: String,
    #[sea_orm(column_type = "Text")]
    pub phone: String,
    #[sea_orm(column_type = "Text")]
    pub parent_user_id: String,
    #[sea_orm(column_type = "Text")]
    pub scope: String,
    pub wanted: bool,
    #[sea_orm(column_type = "Text")]
    pub source: String,
    pub provider_at: i64,
    pub callback_id: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
