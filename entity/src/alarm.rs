//! An alarm, raised or cleared.

use sea_orm::entity::prelude::*;

/// An alarm, raised or cleared.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alarm")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub subject: String,
    pub created_at: i64,
    pub raised_at: i64,
    pub cleared_at: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub summary: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
