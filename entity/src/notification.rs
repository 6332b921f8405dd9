//! One message to one recipient on one channel.

use sea_orm::entity::prelude::*;

/// One message to one recipient on one channel.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notification")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    pub updated_at: i64,
    pub event_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub route: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub event_type: Option<String>,
    pub follow_up_id: Option<Uuid>,
    pub parent_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub rule: Option<String>,
    pub depth: i64,
    pub sender_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub channel: String,
    pub contact_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub recipient: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub address: Option<String>,
    pub subject_contact_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    #[sea_orm(column_type = "Text")]
    pub template: String,
    /// The template that it was made with, where another one took its place.
    #[sea_orm(column_type = "Text")]
    pub made_with: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub language: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub category: String,
    #[sea_orm(column_type = "Text")]
    pub params: String,
    #[sea_orm(column_type = "Text")]
    pub body: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub reference: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub labels: String,
    pub priority: i64,
    pub generation: i64,
    pub status: StoredNotificationStatus,
    #[sea_orm(column_type = "Text")]
    pub open_status: Option<String>,
    /// Computed by the database: `failed` or `not_sent`, once it is.
    #[sea_orm(column_type = "Text")]
    pub ended: Option<String>,
    pub engine_state: StoredEngineState,
    #[sea_orm(column_type = "Text")]
    pub reason: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub failure: Option<String>,
    pub triggered: i64,
    pub replied: bool,
    pub insists: bool,
    pub attempt_count: i64,
    pub due_at: Option<i64>,
    pub wake_at: Option<i64>,
    pub leased_until: Option<i64>,
    pub expires_at: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub held_for: Option<String>,
    pub lease_owner: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub reply_to: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub fallback: Option<String>,
    /// Which kind of message it is, of those that people may turn off.
    #[sea_orm(column_type = "Text")]
    pub message_kind: Option<String>,
    /// Its secret parameters, as a ciphertext; empty: they have been wiped.
    #[sea_orm(column_type = "Text")]
    pub sealed: Option<String>,
    /// The product that it belongs to, if it was made with a key that has bounds.
    #[sea_orm(column_type = "Text")]
    pub product: Option<String>,
    /// Its attempts with their facts, its planned follow-ups, and the newest lines of its timeline.
    pub record: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What is known of a notification, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum StoredNotificationStatus {
    #[sea_orm(string_value = "queued")]
    Queued,
    #[sea_orm(string_value = "held")]
    Held,
    #[sea_orm(string_value = "sending")]
    Sending,
    #[sea_orm(string_value = "retrying")]
    Retrying,
    #[sea_orm(string_value = "unknown")]
    Unknown,
    #[sea_orm(string_value = "accepted")]
    Accepted,
    #[sea_orm(string_value = "sent")]
    Sent,
    #[sea_orm(string_value = "delivered")]
    Delivered,
    #[sea_orm(string_value = "read")]
    Read,
    #[sea_orm(string_value = "played")]
    Played,
    #[sea_orm(string_value = "failed")]
    Failed,
    #[sea_orm(string_value = "expired")]
    Expired,
    #[sea_orm(string_value = "gave_up")]
    GaveUp,
    #[sea_orm(string_value = "skipped")]
    Skipped,
    #[sea_orm(string_value = "cancelled")]
    Cancelled,
}

/// What the engine has to do with a notification, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum StoredEngineState {
    #[sea_orm(string_value = "queued")]
    Queued,
    #[sea_orm(string_value = "held")]
    Held,
    #[sea_orm(string_value = "sending")]
    Sending,
    #[sea_orm(string_value = "retrying")]
    Retrying,
    #[sea_orm(string_value = "unknown")]
    Unknown,
    #[sea_orm(string_value = "settled")]
    Settled,
    #[sea_orm(string_value = "skipped")]
    Skipped,
    #[sea_orm(string_value = "cancelled")]
    Cancelled,
    #[sea_orm(string_value = "expired")]
    Expired,
    #[sea_orm(string_value = "gave_up")]
    GaveUp,
}
