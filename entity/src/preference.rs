//! Whether a person wants a kind of message on a channel.

use sea_orm::entity::prelude::*;

/// Whether a person wants a kind of message on a channel.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "preference")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub contact_id: Uuid,
    /// Empty: every kind.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub message_kind: String,
    /// Empty: every channel.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub channel: String,
    /// The product that set it; empty: the person, or an operator.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub product: String,
    pub created_at: i64,
    pub updated_at: i64,
    pub wanted: bool,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
