//! Endpoints about the provider's notices and templates of an account.

use std::collections::HashSet;

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{ProblemDocument, cut, page_size};
use crate::{
    domain::{
        access::AccessBounds, category::TemplateCategory, quality::QualityRating,
        template_status::TemplateStatus, time::Timestamp,
    },
    engine::runtime::template_status::{TemplateSendability, sendable},
    http::{
        auth::{AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    state::AppState,
    store::{Store, catalogue, notice, sender, template_sync},
};

fn text(at: Option<i64>) -> Option<String> {
    at.map(|at| Timestamp::from_micros(at).to_string())
}

/// Filter of notices.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ProviderNoticesQuery {
    /// The provider's field, such as `account_update`.
    field: Option<String>,
    /// `next` of the previous page.
    cursor: Option<Uuid>,
    /// 1 to 200; 50 if absent.
    limit: Option<u64>,
}

/// An item from the provider that is neither a message nor a status, or that was not applied.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderNoticeView {
    id: Uuid,
    field: String,
    account: Option<String>,
    /// In plain words.
    summary: String,
    /// `applied`; `not_applied`: it has no effect; `duplicate_differs`: another item has its id; or
    /// why it was ignored.
    outcome: String,
    /// As received; null if it is longer than 64 KiB: it is in its callback.
    #[schema(value_type = Object)]
    value: Value,
    /// The callback, and the item's position in it (a JSON pointer): `herald callbacks show`.
    callback: Uuid,
    pointer: String,
    at: Option<String>,
    received_at: String,
}

/// A page of notices, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderNoticeListResponse {
    notices: Vec<ProviderNoticeView>,
    next: Option<Uuid>,
}

/// What the provider reported, newest first.
///
/// It concerns whole accounts: a key with bounds gets nothing.
#[utoipa::path(
    get, path = "/api/v1/notices", operation_id = "list_notices", tag = "account", params(ProviderNoticesQuery),
    responses((status = 200, body = ProviderNoticeListResponse), (status = 422, body = ProblemDocument))
)]
pub async fn notices(
    caller: AuthorizedApiClient<scope::AccountRead>,
    state: web::Data<AppState>,
    query: web::Query<ProviderNoticesQuery>,
) -> Result<HttpResponse, ApiProblem> {
    let limit = page_size(query.limit)?;
    let mut rows = notice::newest(
        &state.engine.store,
        &caller.bounds,
        query.field.as_deref(),
        query.cursor,
        limit + 1,
    )
    .await?;
    let next = cut(&mut rows, limit, |row| row.id);
    let notices = rows
        .into_iter()
        .map(|row| ProviderNoticeView {
            id: row.id,
            field: row.field,
            account: row.account_id,
            summary: row.summary,
            outcome: row.outcome,
            value: serde_json::from_str(&row.item).unwrap_or(Value::Null),
            callback: row.callback_id,
            pointer: row.pointer,
            at: text(row.provider_at),
            received_at: Timestamp::from_micros(row.created_at).to_string(),
        })
        .collect();
    Ok(HttpResponse::Ok().json(ProviderNoticeListResponse { notices, next }))
}

/// A template in an account.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountTemplateView {
    account: String,
    name: String,
    language: String,
    status: Option<TemplateStatus>,
    reason: Option<String>,
    quality: Option<QualityRating>,
    category: Option<TemplateCategory>,
    /// The category that Meta has announced for the future.
    category_due: Option<TemplateCategory>,
    /// `yes`, `later` or `never`.
    sendable: &'static str,
    status_at: Option<String>,
}

/// The templates that a caller may see.
struct VisibleTemplatesFilter {
    /// Those of its catalogue; `None`: of any.
    names: Option<HashSet<String>>,
    /// Those of its senders; `None`: of any.
    accounts: Option<HashSet<String>>,
}

impl VisibleTemplatesFilter {
    fn has(&self, row: &entity::template_sync::Model) -> bool {
        let names = self.names.as_ref();
        let accounts = self.accounts.as_ref();
        names.is_none_or(|names| names.contains(&row.name))
            && accounts.is_none_or(|accounts| accounts.contains(&row.account_id))
    }
}

async fn own_templates(
    store: &Store,
    bounds: &AccessBounds,
) -> Result<Option<VisibleTemplatesFilter>, ApiProblem> {
    if bounds.product().is_none() {
        return Ok(None);
    }
    let names = match bounds.catalogue() {
        None => None,
        Some(_) => Some(
            catalogue::templates(store)
                .await?
                .into_iter()
                .filter(|row| bounds.has_catalogue(row.catalogue.as_deref()))
                .map(|row| row.name)
                .collect(),
        ),
    };
    let accounts = match bounds.senders() {
        [] => None,
        _ => Some(
            sender::all(store)
                .await?
                .into_iter()
                .filter(|row| bounds.has_sender(row.id))
                .filter_map(|row| row.account_id)
                .collect(),
        ),
    };
    Ok(Some(VisibleTemplatesFilter { names, accounts }))
}

/// Templates as their accounts report them.
#[utoipa::path(
    get, path = "/api/v1/templates", operation_id = "list_templates", tag = "account",
    responses((status = 200, body = Vec<AccountTemplateView>))
)]
pub async fn templates(
    caller: AuthorizedApiClient<scope::CatalogueRead>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiProblem> {
    let store = &state.engine.store;
    let own = own_templates(store, &caller.bounds).await?;
    let found: Vec<AccountTemplateView> = template_sync::all(store)
        .await?
        .into_iter()
        .filter(|row| own.as_ref().is_none_or(|own| own.has(row)))
        .map(|row| {
            let standing = template_sync::ReportedTemplateState::from(&row);
            let sendable = match sendable(&row.name, Some(&standing)) {
                TemplateSendability::Yes => "yes",
                TemplateSendability::Later(_) => "later",
                TemplateSendability::Never(_) => "never",
            };
            AccountTemplateView {
                account: row.account_id,
                name: row.name,
                language: row.language,
                status: standing.status,
                reason: row.status_reason,
                quality: standing.quality,
                category_due: standing
                    .category_due
                    .filter(|due| Some(*due) != standing.category),
                category: standing.category,
                sendable,
                status_at: text(row.status_at),
            }
        })
        .collect();
    Ok(HttpResponse::Ok().json(found))
}
