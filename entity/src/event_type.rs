//! A kind of event, as a catalogue describes it.

use sea_orm::entity::prelude::*;

/// A kind of event, as a catalogue describes it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event_type")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub name: String,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub description: Option<String>,
    /// Its data are sealed, never shown, and wiped in the end.
    pub sensitive: bool,
    /// Data as a product posts them, in JSON.
    #[sea_orm(column_type = "Text")]
    pub example: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub catalogue: Option<String>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
