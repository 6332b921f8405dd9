//! An attempt whose call came back: its request and its answer.

use sea_orm::entity::prelude::*;

/// An attempt whose call came back: its request and its answer.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "attempt")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub notification_id: Uuid,
    pub sender_id: Uuid,
    pub number: i64,
    #[sea_orm(column_type = "Text")]
    pub outcome: Option<String>,
    pub answered_at: Option<i64>,
    pub http_status: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub provider_message_id: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub request: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub answer: Option<String>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
