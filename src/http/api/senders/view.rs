//! Senders as the API shows them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    domain::{
        access::{AccessBounds, ApiKeyScope},
        pace,
        time::Timestamp,
    },
    engine::{
        admin::senders::{self, MaskedCredential},
        runtime::access::ApiKeyRole,
    },
    http::{auth::AuthenticatedApiClient, problem::ApiProblem},
    state::AppState,
    store::{account_fact, audit, sender},
};

/// A sender.
#[derive(Debug, Serialize, ToSchema)]
pub struct SenderView {
    id: Uuid,
    name: String,
    kind: String,
    phone_number_id: Option<String>,
    /// The displayed number, digits only, once Meta has reported it.
    number: Option<String>,
    /// Meta's id of the business account.
    account: Option<String>,
    /// Meta's id of the app whose secrets sign its callbacks.
    app: Option<String>,
    /// Version of the Graph API that it uses; absent: `WHATSAPP_API_VERSION`.
    api_version: Option<String>,
    /// Address of the Graph API for it; absent: `WHATSAPP_API_BASE`.
    api_base: Option<String>,
    /// What its kind of provider needs, by name.
    settings: BTreeMap<String, String>,
    updated_at: String,
    /// The last person who changed it: `key:PREFIX`, `login:NAME` or `cli:NAME`. Absent for keys
    /// without `audit:read`.
    changed_by: Option<String>,
    changed_at: Option<String>,
    /// It is the default sender.
    default: bool,
    /// `active`; `held`: its provider refuses or is unavailable; `off`: held by an operator;
    /// `blocked`: something is missing.
    state: &'static str,
    /// Why it is not active.
    reason: Option<String>,
    /// Since when an operator holds it.
    off_since: Option<String>,
    /// When the next probe may be made, while it is held.
    probe_at: Option<String>,
    /// Since when it has accepted messages without any callback.
    unheard_since: Option<String>,
    /// 0: unlimited.
    messages_per_second: i64,
    /// The origin of the limit: `sender`, `setting`, `provider`, or `usual` for the default.
    messages_per_second_by: &'static str,
    /// What the provider reports about its account and numbers, the newest of each.
    facts: Vec<AccountPropertyView>,
    /// For admin keys only.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<Vec<CredentialView>>,
}

/// A property of an account or of one of its numbers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountPropertyView {
    property: String,
    number: Option<String>,
    #[schema(value_type = Object)]
    value: Value,
    at: String,
}

/// A credential, as far as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct CredentialView {
    /// Absent: it comes from the environment.
    id: Option<Uuid>,
    kind: &'static str,
    source: &'static str,
    /// First 8 … last 3 characters; absent when it was encrypted with another key.
    masked: Option<String>,
    /// Whether it is active.
    active: bool,
    created_at: Option<String>,
    expires_at: Option<String>,
    added_by: Option<String>,
}

impl From<MaskedCredential> for CredentialView {
    fn from(shown: MaskedCredential) -> Self {
        Self {
            id: shown.id,
            kind: shown.kind.name(),
            source: if shown.id.is_some() {
                "database"
            } else {
                "environment"
            },
            masked: shown.masked,
            active: shown.active,
            created_at: shown.created_at.map(|at| at.to_string()),
            expires_at: shown.expires_at.map(|at| at.to_string()),
            added_by: shown.added_by,
        }
    }
}

/// All senders, as this caller may see them.
pub(super) async fn all(
    state: &AppState,
    client: &AuthenticatedApiClient,
) -> Result<Vec<SenderView>, ApiProblem> {
    let mut views = Vec::new();
    let facts = account_fact::all(&state.engine.store).await?;
    let rows = sender::all(&state.engine.store).await?.into_iter();
    for row in rows.filter(|row| client.bounds.has_sender(row.id)) {
        views.push(view(state, client, row, &facts).await?);
    }
    Ok(views)
}

/// One sender, as this caller may see it.
pub(super) async fn one(
    state: &AppState,
    client: &AuthenticatedApiClient,
    row: entity::sender::Model,
) -> Result<SenderView, ApiProblem> {
    let facts = account_fact::all(&state.engine.store).await?;
    view(state, client, row, &facts).await
}

/// Whether a caller may see a fact of an account: of other numbers, only those it may use.
fn is_known(
    bounds: &AccessBounds,
    fact: &entity::account_fact::Model,
    row: &entity::sender::Model,
) -> bool {
    bounds.senders().is_empty() || fact.number.is_empty() || sender::is_called(row, &fact.number)
}

async fn view(
    state: &AppState,
    client: &AuthenticatedApiClient,
    row: entity::sender::Model,
    facts: &[entity::account_fact::Model],
) -> Result<SenderView, ApiProblem> {
    let credentials = match client.role {
        ApiKeyRole::Admin => {
            let shown = senders::shown(&state.engine, &row).await?;
            Some(shown.into_iter().map(CredentialView::from).collect())
        }
        ApiKeyRole::Product => None,
    };
    let changed = if client.scopes.has(ApiKeyScope::AuditRead) {
        audit::newest_of_sender(&state.engine.store, &row.name).await?
    } else {
        None
    };
    let text = |at: Option<i64>| at.map(|at| Timestamp::from_micros(at).to_string());
    let of_all = state.engine.settings.sending.per_second;
    let settings = sender::settings_of(&row);
    let (state_name, reason) = senders::standing(&state.engine, &row);
    Ok(SenderView {
        id: row.id,
        facts: facts
            .iter()
            .filter(|fact| Some(&fact.account_id) == row.account_id.as_ref())
            .filter(|fact| is_known(&client.bounds, fact, &row))
            .map(|fact| AccountPropertyView {
                property: fact.property.clone(),
                number: (!fact.number.is_empty()).then(|| fact.number.clone()),
                value: serde_json::from_str(&fact.value).unwrap_or(Value::Null),
                at: Timestamp::from_micros(fact.provider_at).to_string(),
            })
            .collect(),
        messages_per_second: pace::allowed(row.pace_set, of_all, row.pace_reported),
        messages_per_second_by: pace::allowed_by(row.pace_set, of_all, row.pace_reported),
        state: state_name,
        reason,
        off_since: text(row.off_at),
        probe_at: text(row.probe_at),
        unheard_since: text(row.unheard_since),
        name: row.name,
        kind: row.kind,
        api_version: settings.get("api_version").cloned(),
        api_base: settings.get("api_base").cloned(),
        settings,
        updated_at: Timestamp::from_micros(row.updated_at).to_string(),
        changed_at: text(changed.as_ref().map(|entry| entry.created_at)),
        changed_by: changed.map(|entry| entry.actor),
        phone_number_id: row.endpoint_id,
        number: row.display_number,
        account: row.account_id,
        app: row.app_id,
        default: row.is_default,
        credentials,
    })
}
