//! An entry in the timeline of a notification, applied or ignored.

use sea_orm::entity::prelude::*;

/// An entry in the timeline of a notification, applied or ignored.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "timeline")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub notification_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub at: i64,
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    pub provider_at: Option<i64>,
    pub attempt_id: Option<Uuid>,
    pub callback_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub detail: Option<String>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
