//! Two contacts that may be one person according to the evidence.

use sea_orm::entity::prelude::*;

/// Two contacts that may be one person according to the evidence.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "contact_conflict")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    #[sea_orm(column_type = "Text")]
    pub value: String,
    pub contact_id: Uuid,
    pub other_id: Uuid,
    pub callback_id: Option<Uuid>,
    /// `question`, `contradiction` or `linked`.
    #[sea_orm(column_type = "Text")]
    pub state: String,
    pub since: i64,
    /// When a question counts as a move.
    pub due_at: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
