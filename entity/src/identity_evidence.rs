//! Evidence about aliases from a provider.

use sea_orm::entity::prelude::*;

/// Evidence about aliases from a provider.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_evidence")]
pub struct Model {
    pub id: Uuid,
    pub created_at: i64,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub scope: String,
    #[sea_orm(column_type = "Text")]
    pub one_kind: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub one: String,
    #[sea_orm(column_type = "Text")]
    pub other_kind: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub other: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub changed_at: i64,
    pub first_at: i64,
    pub last_at: i64,
    #[sea_orm(column_type = "Text")]
    pub source: String,
    pub callback_id: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
