//! A kind of message, which recipients may turn off unless it is required.

use sea_orm::entity::prelude::*;

/// A kind of message, which recipients may turn off unless it is required.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "message_kind")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub name: String,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub description: Option<String>,
    /// It cannot be turned off.
    pub required: bool,
    #[sea_orm(column_type = "Text")]
    pub catalogue: Option<String>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
