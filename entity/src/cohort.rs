//! Counters of a cohort.

use sea_orm::entity::prelude::*;

/// Counters of a cohort.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "cohort")]
pub struct Model {
    /// The length of the cohort in seconds.
    #[sea_orm(primary_key, auto_increment = false)]
    pub grain: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub bucket: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub sender_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub channel: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub template: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub event_type: String,
    /// Empty: of no product.
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub product: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub slot: i64,
    pub created_at: i64,
    pub created: i64,
    pub accepted: i64,
    pub sent: i64,
    pub delivered: i64,
    pub read: i64,
    pub played: i64,
    pub replied: i64,
    pub out: i64,
    pub skipped: i64,
    pub cancelled: i64,
    pub stale: i64,
    pub failed: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
