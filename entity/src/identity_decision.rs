//! An operator's decision about aliases.

use sea_orm::entity::prelude::*;

/// An operator's decision about aliases.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_decision")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub verdict: String,
    #[sea_orm(column_type = "Text")]
    pub one_kind: String,
    #[sea_orm(column_type = "Text")]
    pub one: String,
    #[sea_orm(column_type = "Text")]
    pub other_kind: String,
    #[sea_orm(column_type = "Text")]
    pub other: String,
    pub group_id: Uuid,
    pub decided_at: i64,
    #[sea_orm(column_type = "Text")]
    pub actor: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
