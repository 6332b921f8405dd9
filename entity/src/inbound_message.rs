//! An inbound message or voice call.

use sea_orm::entity::prelude::*;

/// An inbound message or voice call.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inbound_message")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    pub callback_id: Uuid,
    pub sender_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub endpoint_id: String,
    pub contact_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub provider_message_id: String,
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    #[sea_orm(column_type = "Text")]
    pub text: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub payload: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub context_message_id: Option<String>,
    pub notification_id: Option<Uuid>,
    pub sent_at: i64,
    #[sea_orm(column_type = "Text")]
    pub item: String,
    #[sea_orm(column_type = "Text")]
    pub group_id: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub media_id: Option<String>,
    pub read_due_at: Option<i64>,
    /// The aliases that it came from.
    #[sea_orm(column_type = "Text")]
    pub from_phone: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub from_user_id: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub from_parent_user_id: Option<String>,
    /// Until when it opened the service window.
    pub window_until: Option<i64>,
    /// Until when it made messages free.
    pub free_entry_until: Option<i64>,
    /// When its content was erased, as its author was deleted.
    pub erased_at: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
