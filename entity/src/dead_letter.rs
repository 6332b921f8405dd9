//! One item of a callback that cannot be applied.

use sea_orm::entity::prelude::*;

/// One item of a callback that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "dead_letter")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    pub callback_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub pointer: String,
    #[sea_orm(column_type = "Text")]
    pub reason: String,
    pub replayed_at: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
