//! A dashboard session; only the digest of the browser's session id is stored.

use sea_orm::entity::prelude::*;

/// A dashboard session.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "session")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: Vec<u8>,
    pub created_at: i64,
    pub login_id: Option<Uuid>,
    #[sea_orm(column_type = "Text")]
    pub state: String,
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
