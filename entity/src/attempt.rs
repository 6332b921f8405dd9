//! An attempt: one call to a provider, committed before it is made, and its facts.

use sea_orm::entity::prelude::*;

/// An attempt: one call to a provider, committed before it is made, and its facts.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "attempt")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    pub notification_id: Uuid,
    pub number: i64,
    pub generation: i64,
    pub sender_id: Uuid,
    pub lease_token: Uuid,
    #[sea_orm(column_type = "Text")]
    pub outcome: Option<String>,
    pub answered_at: Option<i64>,
    pub http_status: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub provider_message_id: Option<String>,
    pub accepted_at: Option<i64>,
    pub sent_at: Option<i64>,
    pub delivered_at: Option<i64>,
    pub read_at: Option<i64>,
    pub played_at: Option<i64>,
    pub failed_at: Option<i64>,
    pub implied: i64,
    #[sea_orm(column_type = "Text")]
    pub failure: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub pricing: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub request: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub answer: Option<String>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
