//! A staff member, who may be linked to a contact.

use sea_orm::entity::prelude::*;

/// A staff member, who may be linked to a contact.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_account")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub name: String,
    pub contact_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub catalogue: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
