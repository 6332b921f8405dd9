//! A product's data about a contact: no other product reads or changes them.

use sea_orm::entity::prelude::*;

/// A product's data about a contact: no other product reads or changes them.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "product_contact")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub product: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub contact_id: Uuid,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub name: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub handle: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub language: Option<String>,
    /// As in the tz database.
    #[sea_orm(column_type = "Text")]
    pub time_zone: Option<String>,
    /// Quiet hours, in minutes after midnight of that zone.
    pub quiet_from: Option<i64>,
    pub quiet_until: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
