//! One person's number or id that became another.

use sea_orm::entity::prelude::*;

/// One person's number or id that became another.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_change")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub old_value: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub new_value: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub at: i64,
    pub created_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
