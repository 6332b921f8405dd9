//! One decision of one rule about one notification.

use sea_orm::entity::prelude::*;

/// One decision of one rule about one notification.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "follow_up")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    pub notification_id: Uuid,
    pub generation: i64,
    pub rule_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub rule_name: String,
    #[sea_orm(column_type = "Text")]
    pub trigger_name: String,
    #[sea_orm(column_type = "Text")]
    pub occurrence: String,
    pub unless_mask: i64,
    pub state: FollowUpState,
    pub due_at: Option<i64>,
    pub settled_at: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub reason: Option<String>,
    /// How far it has come, while it is being worked through.
    #[sea_orm(column_type = "Text")]
    pub cursor_at: Option<String>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Where a follow-up stands, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum FollowUpState {
    #[sea_orm(string_value = "pending")]
    Pending,
    #[sea_orm(string_value = "fired")]
    Fired,
    #[sea_orm(string_value = "cancelled")]
    Cancelled,
    #[sea_orm(string_value = "skipped")]
    Skipped,
}
