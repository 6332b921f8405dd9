//! A property of an account or of one of its numbers.

use sea_orm::entity::prelude::*;

/// A property of an account or of one of its numbers.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "account_fact")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub account_id: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub number: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub property: String,
    pub created_at: i64,
    pub provider_at: i64,
    #[sea_orm(column_type = "Text")]
    pub value: String,
    pub callback_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub hold_reason: Option<String>,
    pub hold_until: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
