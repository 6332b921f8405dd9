//! What people wrote to us.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::ProblemDocument;
use crate::{
    domain::{phone::Phone, time::Timestamp},
    engine::accept::FieldError,
    http::{auth::Client, problem::Problem},
    state::AppState,
    store::{inbound, people},
};

/// Which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// A number in E.164.
    phone: Option<String>,
    /// From `next` of the page before.
    cursor: Option<Uuid>,
    /// 1 to 200; 50 if absent.
    limit: Option<u64>,
}

/// A message of a person.
#[derive(Debug, Serialize, ToSchema)]
pub struct InboundView {
    id: Uuid,
    kind: String,
    text: Option<String>,
    /// What a tapped button carries.
    payload: Option<String>,
    contact: Option<Uuid>,
    /// The notification it answers.
    notification: Option<Uuid>,
    sent_at: String,
    received_at: String,
}

/// A page of messages, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct InboundPage {
    messages: Vec<InboundView>,
    next: Option<Uuid>,
}

/// What people wrote or tapped, newest first.
#[utoipa::path(
    get, path = "/api/v1/messages", tag = "messages", params(ListQuery),
    responses((status = 200, body = InboundPage), (status = 401, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn list(
    _client: Client,
    state: web::Data<AppState>,
    query: web::Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let store = &state.engine.store;
    let limit = query.limit.unwrap_or(50);
    let wrong = |pointer: &str, rule: String| {
        Problem::Invalid(vec![FieldError {
            pointer: pointer.to_owned(),
            rule,
        }])
    };
    if !(1..=200).contains(&limit) {
        return Err(wrong("limit", "1 to 200".to_owned()));
    }
    let contact = match &query.phone {
        None => None,
        Some(phone) => {
            let phone = Phone::parse(phone).map_err(|error| wrong("phone", error.to_string()))?;
            match people::contact_by_phone(store.reader(), &phone).await? {
                Some(person) => Some(person.contact_id),
                None => {
                    return Ok(HttpResponse::Ok().json(InboundPage {
                        messages: Vec::new(),
                        next: None,
                    }));
                }
            }
        }
    };
    let mut rows = inbound::newest(store, contact, query.cursor, limit + 1).await?;
    let more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if more {
        rows.pop();
    }
    let next = if more {
        rows.last().map(|row| row.id)
    } else {
        None
    };
    let messages = rows
        .into_iter()
        .map(|row| InboundView {
            id: row.id,
            kind: row.kind,
            text: row.text,
            payload: row.payload,
            contact: row.contact_id,
            notification: row.notification_id,
            sent_at: Timestamp::from_micros(row.sent_at).to_string(),
            received_at: Timestamp::from_micros(row.created_at).to_string(),
        })
        .collect();
    Ok(HttpResponse::Ok().json(InboundPage { messages, next }))
}
