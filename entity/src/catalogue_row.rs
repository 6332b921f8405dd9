//! A row as a catalogue last wrote it: a later difference is a change made by hand.

use sea_orm::entity::prelude::*;

/// A row as a catalogue last wrote it: a later difference is a change made by hand.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "catalogue_row")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub name: String,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub catalogue: String,
    /// As JSON: only what the catalogue says of the row.
    #[sea_orm(column_type = "Text")]
    pub fields: String,
}

impl ActiveModelBehavior for ActiveModel {}
