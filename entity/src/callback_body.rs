//! The raw bytes of a callback.

use sea_orm::entity::prelude::*;

/// The raw bytes of a callback.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "callback_body")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub callback_id: Uuid,
    pub body: Vec<u8>,
}

impl ActiveModelBehavior for ActiveModel {}
