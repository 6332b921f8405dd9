//! A credential, encrypted; it is never returned in clear.

use sea_orm::entity::prelude::*;

/// A credential, encrypted; it is never returned in clear.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "credential")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    pub updated_at: i64,
    #[sea_orm(column_type = "Text")]
    pub scope: String,
    #[sea_orm(column_type = "Text")]
    pub kind: String,
    #[sea_orm(column_type = "Text")]
    pub sealed: String,
    pub active: bool,
    pub expires_at: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub added_by: String,
    pub age_told_at: Option<i64>,
    pub expiry_told_at: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
