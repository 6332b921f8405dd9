//! A kind of message that a person may turn off, or may not.

use sea_orm::entity::prelude::*;

/// A kind of message that a person may turn off, or may not.
#[sea_orm::model]
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

impl ActiveModelBehavior for ActiveModel {}
