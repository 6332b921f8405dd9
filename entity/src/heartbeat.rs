//! The last heartbeat of a worker.

use sea_orm::entity::prelude::*;

/// The last heartbeat of a worker.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "heartbeat")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub process: Uuid,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub worker: String,
    pub created_at: i64,
    pub seen_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
