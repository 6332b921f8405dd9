//! One callback body in the inbox. The body itself is a row of its own, in `callback_body`.

use sea_orm::entity::prelude::*;

/// One callback body in the inbox. The body itself is a row of its own, in `callback_body`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "callback")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub endpoint: String,
    pub size_bytes: i64,
    pub owner: Uuid,
    pub leased_until: i64,
    pub tries: i64,
    pub processed_at: Option<i64>,
    pub items: Option<i64>,
    pub dead_items: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub signed_by: Option<String>,
    pub urgent: bool,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
