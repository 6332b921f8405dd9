//! Counters of a cohort by code.

use sea_orm::entity::prelude::*;

/// Counters of a cohort by code.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "counter")]
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
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub fact: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub code: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub slot: i64,
    pub created_at: i64,
    pub count: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
