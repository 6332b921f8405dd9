//! One version of a follow-up rule.

use sea_orm::entity::prelude::*;

/// One version of a follow-up rule.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "rule")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub name: String,
    pub version: i64,
    pub active: bool,
    #[sea_orm(column_type = "Text")]
    pub on_trigger: String,
    #[sea_orm(column_type = "Text")]
    pub condition: Option<String>,
    pub after_seconds: i64,
    #[sea_orm(column_type = "Text")]
    pub unless: String,
    #[sea_orm(column_type = "Text")]
    pub send: String,
    pub chain: bool,
    #[sea_orm(column_type = "Text")]
    pub catalogue: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
