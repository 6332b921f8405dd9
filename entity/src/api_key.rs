//! An API key; only its digest is stored.

use sea_orm::entity::prelude::*;

/// An API key; only its digest is stored.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    /// The product that it is for.
    #[sea_orm(column_type = "Text")]
    pub name: String,
    #[sea_orm(column_type = "Text")]
    pub prefix: String,
    pub digest: Vec<u8>,
    pub revoked_at: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub role: String,
    /// Words with blanks between them; none: all of its role.
    #[sea_orm(column_type = "Text")]
    pub scopes: Option<String>,
    /// It posts events of this source, or of what begins with it.
    #[sea_orm(column_type = "Text")]
    pub source: Option<String>,
    /// A JSON list of ids: it sends with these senders only.
    #[sea_orm(column_type = "Text")]
    pub senders: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub catalogue: Option<String>,
    pub expires_at: Option<i64>,
    /// To the minute.
    pub last_used_at: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
