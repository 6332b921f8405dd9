//! An event posted by a product.

use sea_orm::entity::prelude::*;

/// An event posted by a product.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    #[sea_orm(column_type = "Text")]
    pub source: String,
    #[sea_orm(column_type = "Text")]
    pub external_id: String,
    #[sea_orm(column_type = "Text")]
    pub event_type: String,
    #[sea_orm(column_type = "Text")]
    pub subject: Option<String>,
    pub occurred_at: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub data: String,
    /// Whether `data` is a ciphertext. Empty data were one, and have been wiped.
    pub sealed: bool,
    pub digest: Vec<u8>,
    #[sea_orm(column_type = "Text")]
    pub state: String,
    #[sea_orm(column_type = "Text")]
    pub cursor_at: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub routes: String,
    /// The product that posted it, with a key that has bounds.
    #[sea_orm(column_type = "Text")]
    pub product: Option<String>,
    /// The key that it was posted with, if that has bounds.
    pub key_id: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
