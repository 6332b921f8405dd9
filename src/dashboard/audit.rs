//! Page of the audit log.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    act::SignedInUser,
    fault::DashboardScreenError,
    moment::DisplayTime,
    shell::{DashboardLayout, shown},
};
use crate::{domain::login::DashboardRole, state::AppState, store::audit};

/// Rows of a page.
const SHOWN: usize = 100;

#[derive(Debug, Deserialize)]
pub struct AuditLogSearch {
    subject: Option<String>,
    before: Option<Uuid>,
}

struct AuditLogScreenRow {
    at: DisplayTime,
    actor: String,
    action: String,
    subject: String,
    detail: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditLogScreen {
    shell: DashboardLayout,
    subject: String,
    rows: Vec<AuditLogScreenRow>,
    next: Option<Uuid>,
}

/// A detail without its brackets and quotes.
fn words(detail: &str) -> String {
    let Ok(serde_json::Value::Object(all)) = serde_json::from_str(detail) else {
        return detail.to_owned();
    };
    let parts: Vec<String> = all
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            format!("{}: {value}", name.replace('_', " "))
        })
        .collect();
    parts.join(", ")
}

pub async fn page(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
    search: web::Query<AuditLogSearch>,
) -> Result<HttpResponse, DashboardScreenError> {
    person.needs(DashboardRole::Admin)?;
    let shell = DashboardLayout::new(&request, &state, &person, "Audit", "/dashboard/audit")?;
    let subject = search
        .subject
        .clone()
        .unwrap_or_default()
        .trim()
        .replace('\0', "");
    let wanted = Some(subject.as_str()).filter(|subject| !subject.is_empty());
    let limit = u64::try_from(SHOWN).unwrap_or(100) + 1;
    let mut found = audit::newest(&state.engine.store, wanted, search.before, limit).await?;
    let more = found.len() > SHOWN;
    found.truncate(SHOWN);
    let page = AuditLogScreen {
        next: found.last().filter(|_| more).map(|row| row.id),
        rows: found
            .into_iter()
            .map(|row| AuditLogScreenRow {
                at: shell.zone.micros(row.created_at),
                actor: row.actor,
                action: row.action,
                subject: row.subject,
                detail: words(&row.detail),
            })
            .collect(),
        subject,
        shell,
    };
    shown(&page)
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn a_detail_is_told_in_words() {
        assert_eq!(
            words(r#"{"reason":"moving","held_since":null,"count":3}"#),
            "count: 3, reason: moving"
        );
        assert_eq!(words("{}"), "");
        assert_eq!(words("x"), "x");
    }
}
