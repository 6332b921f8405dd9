//! A route: turns events of a type into messages.

use sea_orm::entity::prelude::*;

/// A route: turns events of a type into messages.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "route")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub name: String,
    #[sea_orm(column_type = "Text")]
    pub event_type: String,
    #[sea_orm(column_type = "Text")]
    pub condition: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub recipients: String,
    #[sea_orm(column_type = "Text")]
    pub about: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub template: String,
    #[sea_orm(column_type = "Text")]
    pub language: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub channel: String,
    #[sea_orm(column_type = "Text")]
    pub params: String,
    #[sea_orm(column_type = "Text")]
    pub labels: String,
    #[sea_orm(column_type = "Text")]
    pub reference: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub dedupe_key: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub priority: String,
    pub expires_after_seconds: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub sender: Option<String>,
    /// Which kind of message it makes.
    #[sea_orm(column_type = "Text")]
    pub message_kind: Option<String>,
    /// `template`, `auto` or `text`.
    #[sea_orm(column_type = "Text")]
    pub mode: String,
    /// What takes its place outside the window.
    #[sea_orm(column_type = "Text")]
    pub fallback_template: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub catalogue: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
