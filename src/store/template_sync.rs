//! Status, quality and category of templates as accounts report them, each with its newest value.

use entity::template_sync;
use sea_orm::{ConnectionTrait, EntityTrait, FromQueryResult, QueryOrder};

use super::{
    Store, StoreError,
    dialect::{column, execute, query, query_one, read_row},
};
use crate::{
    domain::{
        category::TemplateCategory, quality::QualityRating, template_status::TemplateStatus,
        time::Timestamp,
    },
    store::DatabaseTransaction,
};

/// The reported property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateSyncProperty {
    Status,
    Quality,
    Category,
    /// The future category.
    CategoryDue,
    /// The digest of the reported text and buttons.
    Components,
}

impl TemplateSyncProperty {
    const fn column(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Quality => "quality",
            Self::Category => "category",
            Self::CategoryDue => "category_due",
            Self::Components => "components",
        }
    }
}

/// The name of a template in an account.
#[derive(Clone, Copy, Debug)]
pub struct AccountTemplateName<'a> {
    pub account_id: &'a str,
    pub name: &'a str,
    pub language: &'a str,
}

/// Makes the row, if there is none.
pub async fn ensure(
    tx: &DatabaseTransaction,
    template: AccountTemplateName<'_>,
    provider_id: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO template_sync (account_id, name, language, created_at, updated_at, provider_template_id) \
         VALUES ($1, $2, $3, $4, $4, $5) ON CONFLICT (account_id, name, language) DO UPDATE SET \
         updated_at = excluded.updated_at, \
         provider_template_id = coalesce(excluded.provider_template_id, template_sync.provider_template_id)",
        [
            template.account_id.into(),
            template.name.into(),
            template.language.into(),
            now.micros().into(),
            provider_id.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Stores a property unless a newer value is known. Returns whether it is the newest. Of two values
/// with the same time the greater text wins, whichever came first.
pub async fn set(
    tx: &DatabaseTransaction,
    template: AccountTemplateName<'_>,
    part: TemplateSyncProperty,
    value: &str,
    reason: Option<&str>,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let column = part.column();
    let reason_too = if part == TemplateSyncProperty::Status {
        ", status_reason = $6"
    } else {
        ", status_reason = coalesce(status_reason, $6)"
    };
    // Only a status has a reason.
    let reason = reason.filter(|_| part == TemplateSyncProperty::Status);
    let set = execute(
        tx,
        format!(
            "UPDATE template_sync SET {column} = $4, {column}_at = $5{reason_too} \
             WHERE account_id = $1 AND name = $2 AND language = $3 \
             AND ({column}_at IS NULL OR {column}_at < $5 OR ({column}_at = $5 AND {column} < $4))"
        ),
        [
            template.account_id.into(),
            template.name.into(),
            template.language.into(),
            value.into(),
            at.micros().into(),
            reason.into(),
        ],
    )
    .await?;
    Ok(set.rows_affected() > 0)
}

/// A template as reported by an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromQueryResult)]
pub struct ReportedTemplateRow {
    pub status: Option<TemplateStatus>,
    pub category: Option<TemplateCategory>,
    pub quality: Option<QualityRating>,
}

/// What this account has reported about this template; `None`: nothing.
pub async fn said(
    connection: &impl ConnectionTrait,
    template: AccountTemplateName<'_>,
) -> Result<Option<ReportedTemplateRow>, StoreError> {
    let row = query_one(
        connection,
        "SELECT status, category, quality FROM template_sync WHERE account_id = $1 AND name = $2 AND language = $3",
        [
            template.account_id.into(),
            template.name.into(),
            template.language.into(),
        ],
    )
    .await?;
    row.as_ref().map(read_row).transpose()
}

/// The state of a template.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct ReportedTemplateState {
    pub status: Option<TemplateStatus>,
    #[sea_orm(from_alias = "status_reason")]
    pub reason: Option<String>,
    pub category: Option<TemplateCategory>,
    /// The future category.
    pub category_due: Option<TemplateCategory>,
    pub quality: Option<QualityRating>,
}

impl From<&template_sync::Model> for ReportedTemplateState {
    fn from(row: &template_sync::Model) -> Self {
        let category = |word: &str| TemplateCategory::parse(word).unwrap_or_default();
        let quality = row.quality.as_deref();
        let status = row.status.as_deref();
        Self {
            status: status.map(|word| TemplateStatus::parse(word).unwrap_or_default()),
            reason: row.status_reason.clone(),
            category: row.category.as_deref().map(category),
            category_due: row.category_due.as_deref().map(category),
            quality: quality.map(|word| QualityRating::parse(word).unwrap_or_default()),
        }
    }
}

/// The state of a template in the account of a sender; if that is unknown, in the only account
/// there is. `None`: nothing has been reported.
pub async fn standing(
    connection: &impl ConnectionTrait,
    account_id: Option<&str>,
    name: &str,
    language: &str,
) -> Result<Option<ReportedTemplateState>, StoreError> {
    let row = query_one(
        connection,
        "SELECT status, status_reason, category, category_due, quality FROM template_sync \
         WHERE name = $2 AND language = $3 AND (account_id = $1 OR $1 IS NULL AND NOT EXISTS \
         (SELECT 1 FROM template_sync o WHERE o.account_id <> template_sync.account_id)) \
         ORDER BY (status_at IS NULL), status_at DESC LIMIT 1",
        [account_id.into(), name.into(), language.into()],
    )
    .await?;
    row.as_ref().map(read_row).transpose()
}

/// All reported templates.
pub async fn all(store: &Store) -> Result<Vec<template_sync::Model>, StoreError> {
    Ok(template_sync::Entity::find()
        .order_by_asc(template_sync::Column::Name)
        .order_by_asc(template_sync::Column::Language)
        .all(store.reader())
        .await?)
}

/// How many templates there are of each status, in any account.
pub async fn counts(store: &Store) -> Result<Vec<(String, i64)>, StoreError> {
    let found = query(
        store.reader(),
        "SELECT status AS status_name, count(*) AS count FROM template_sync WHERE status IS NOT NULL GROUP BY status",
        [],
    )
    .await?;
    found
        .iter()
        .map(|row| Ok((column(row, "status_name")?, column(row, "count")?)))
        .collect()
}
