//! A template as its account reports it.

use sea_orm::entity::prelude::*;

/// A template as its account reports it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "template_sync")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub account_id: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub name: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub language: String,
    pub created_at: i64,
    pub updated_at: i64,
    #[sea_orm(column_type = "Text")]
    pub provider_template_id: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub status: Option<String>,
    pub status_at: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub status_reason: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub quality: Option<String>,
    pub quality_at: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub category: Option<String>,
    pub category_at: Option<i64>,
    /// What the category is going to be.
    #[sea_orm(column_type = "Text")]
    pub category_due: Option<String>,
    pub category_due_at: Option<i64>,
    /// The digest of what was last said of its components.
    #[sea_orm(column_type = "Text")]
    pub components: Option<String>,
    pub components_at: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
