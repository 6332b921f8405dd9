//! A number or user id at which a product knows a contact.

use sea_orm::entity::prelude::*;

/// A number or user id at which a product knows a contact.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "product_address")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub product: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub contact_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub address: String,
    pub created_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
