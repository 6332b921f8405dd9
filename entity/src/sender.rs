//! A sender: its account, pace and state.

use sea_orm::entity::prelude::*;

/// A sender: its account, pace and state.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sender")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    pub updated_at: i64,
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    #[sea_orm(column_type = "Text")]
    pub name: String,
    #[sea_orm(column_type = "Text")]
    /// What its provider's callbacks call it.
    pub endpoint_id: Option<String>,
    #[sea_orm(column_type = "Text")]
    /// The account at its provider that it is in.
    pub account_id: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub credentials: Option<String>,
    pub is_default: bool,
    #[sea_orm(column_type = "Text")]
    pub state: String,
    #[sea_orm(column_type = "Text")]
    pub state_reason: Option<String>,
    pub pace_per_second: i64,
    pub pace_next_at: i64,
    pub failures_in_row: i64,
    pub probe_at: Option<i64>,
    pub unheard_since: Option<i64>,
    pub silent_at: Option<i64>,
    pub account_held_at: Option<i64>,
    pub slowed_to: i64,
    pub slowed_at: i64,
    pub marketing_held_until: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub app_id: Option<String>,
    pub off_at: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub off_reason: Option<String>,
    pub credentials_at: i64,
    pub revision: i64,
    pub pace_set: Option<i64>,
    pub pace_reported: Option<i64>,
    pub pace_asked_at: Option<i64>,
    /// In E.164 without its `+`, once the provider has said it.
    #[sea_orm(column_type = "Text")]
    pub display_number: Option<String>,
    /// What its kind of provider needs, as a JSON object of texts.
    #[sea_orm(column_type = "Text")]
    pub settings: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
