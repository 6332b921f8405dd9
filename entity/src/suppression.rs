//! An opt-out or opt-in of a contact.

use sea_orm::entity::prelude::*;

/// An opt-out or opt-in of a contact.
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

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
