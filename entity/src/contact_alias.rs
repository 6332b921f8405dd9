//! A phone number or user id that a contact is known by.

use sea_orm::entity::prelude::*;

/// A phone number or user id that a contact is known by.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "contact_alias")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub value: String,
    pub contact_id: Uuid,
    pub created_at: i64,
    pub superseded_at: Option<i64>,
    /// The contact has it from then on; 0: always.
    pub since: i64,
    /// By a person or a product, and not only by the provider.
    pub given: bool,
    /// When the provider first named it.
    pub seen_at: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
