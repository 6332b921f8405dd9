//! A catalogue file that was applied, and how often its rows have changed.

use sea_orm::entity::prelude::*;

/// A catalogue file that was applied, and how often its rows have changed.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "catalogue")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub name: String,
    pub created_at: i64,
    pub applied_at: i64,
    pub revision: i64,
}

impl ActiveModelBehavior for ActiveModel {}
