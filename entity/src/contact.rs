//! A contact, who can receive messages. Addresses are [aliases](super::contact_alias), never the key.

use sea_orm::entity::prelude::*;

/// A contact, who can receive messages. Addresses are [aliases](super::contact_alias), never the key.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "contact")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
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
    #[sea_orm(column_type = "Text")]
    pub catalogue: Option<String>,
    /// Nothing is left of this person but what notifications point at.
    pub deleted_at: Option<i64>,
    /// It is the person that had this alias at `anchor_at`.
    #[sea_orm(column_type = "Text")]
    pub anchor_kind: Option<String>,
    #[sea_orm(column_type = "Text")]
    pub anchor: Option<String>,
    pub anchor_at: Option<i64>,
    /// The contact that it has become a part of.
    pub merged_into: Option<Uuid>,
    pub merged_at: Option<i64>,
    /// What it had of its own when it became a part of another, as JSON.
    #[sea_orm(column_type = "Text")]
    pub merged_detail: Option<String>,
    /// Contacts that stay two and act as one have the same one.
    pub identity_id: Option<Uuid>,
    /// It is not decided whose one of its numbers is.
    pub unsettled: bool,
    /// What the person calls themselves.
    #[sea_orm(column_type = "Text")]
    pub profile_name: Option<String>,
    pub profile_name_at: Option<i64>,
    /// For display and search only: it can pass to another person.
    #[sea_orm(column_type = "Text")]
    pub username: Option<String>,
    pub username_at: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
