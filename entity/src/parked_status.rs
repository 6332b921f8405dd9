//! A status whose message is not known (yet).

use sea_orm::entity::prelude::*;

/// A status whose message is not known (yet).
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "parked_status")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    pub callback_id: Uuid,
    #[sea_orm(column_type = "Text")]
    pub pointer: String,
    #[sea_orm(column_type = "Text")]
    pub endpoint_id: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub provider_message_id: String,
    pub our_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub update_json: String,
    #[sea_orm(column_type = "Text")]
    pub state: String,
}

impl ActiveModelBehavior for ActiveModel {}
