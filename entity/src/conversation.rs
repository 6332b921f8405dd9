//! The conversation of a sender and a contact: the end of the service window.

use sea_orm::entity::prelude::*;

/// The conversation of a sender and a contact: the end of the service window.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "conversation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub sender_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub contact_id: Uuid,
    pub created_at: i64,
    pub last_inbound_at: Option<i64>,
    pub window_until: Option<i64>,
    pub pair_next_at: Option<i64>,
    pub reminder_at: Option<i64>,
    pub free_entry_until: Option<i64>,
    pub wake_at: Option<i64>,
    pub turn_at: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
