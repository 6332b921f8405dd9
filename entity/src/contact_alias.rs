//! A phone number, `wa_id` or other name a contact is known by.

use sea_orm::entity::prelude::*;

/// A phone number, `wa_id` or other name a contact is known by.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "contact_alias")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub value: String,
    pub contact_id: Uuid,
    pub created_at: i64,
    pub superseded_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
