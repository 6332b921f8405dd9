//! Page of addresses that get nothing by a channel, and of lifting that.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::HERE;
use crate::{
    dashboard::{
        act::{DashboardForm, SignedInUser},
        fault::DashboardScreenError,
        moment::DisplayTime,
        shell::{DashboardLayout, answered, shown},
    },
    domain::{channel::MessageChannel, email::EmailAddress, login::DashboardRole},
    engine::people::suppressions,
    state::AppState,
    store::address_suppression::{self, AddressSuppressionReason, SuppressedAddress},
};

/// Address of this page.
const ADDRESS: &str = "/dashboard/contacts/suppressed";

/// Rows of the page; others are found by their beginning.
const SHOWN: u64 = 200;

#[derive(Debug, Deserialize)]
pub struct SuppressedAddressesSearch {
    text: Option<String>,
}

/// A suppressed address.
pub struct SuppressedAddressScreenRow {
    pub channel: String,
    /// As it is shown.
    pub address: String,
    /// As the form sends it; empty for who does not see addresses.
    pub value: String,
    pub why: &'static str,
    pub detail: String,
    pub since: DisplayTime,
}

impl SuppressedAddressScreenRow {
    pub fn of(row: SuppressedAddress, person: &SignedInUser, shell: &DashboardLayout) -> Self {
        let masked = EmailAddress::parse(&row.address);
        let masked = masked.map_or_else(|_| "…".to_owned(), |it| it.to_string());
        let sees = person.sees_people();
        Self {
            channel: row.channel,
            value: if sees {
                row.address.clone()
            } else {
                String::new()
            },
            address: if sees { row.address } else { masked },
            why: match AddressSuppressionReason::parse(&row.reason) {
                Some(AddressSuppressionReason::Bounced) => "there is no such mailbox",
                Some(AddressSuppressionReason::Unsubscribed) => "unsubscribed",
                None => "for a reason of a later version",
            },
            detail: row.detail.filter(|_| sees).unwrap_or_default(),
            since: shell.zone.moment(row.created_at),
        }
    }
}

#[derive(Template)]
#[template(path = "suppressed.html")]
struct SuppressedAddressesScreen {
    shell: DashboardLayout,
    text: String,
    rows: Vec<SuppressedAddressScreenRow>,
    is_full: bool,
}

pub async fn page(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
    search: web::Query<SuppressedAddressesSearch>,
) -> Result<HttpResponse, DashboardScreenError> {
    let text = search.into_inner().text.unwrap_or_default();
    let text = text.trim().replace('\0', "");
    // Who may not see addresses may not search for them either: a guess would be confirmed.
    if !text.is_empty() {
        person.needs(DashboardRole::Operator)?;
    }
    let shell = DashboardLayout::new(&request, &state, &person, "Suppressed addresses", HERE)?;
    let found = address_suppression::newest(&state.engine.store, &text, SHOWN).await?;
    let page = SuppressedAddressesScreen {
        is_full: u64::try_from(found.len()).unwrap_or(SHOWN) >= SHOWN,
        rows: found
            .into_iter()
            .map(|row| SuppressedAddressScreenRow::of(row, &person, &shell))
            .collect(),
        text,
        shell,
    };
    shown(&page)
}

/// Lets an address get messages again.
pub async fn lift(
    form: DashboardForm,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, DashboardScreenError> {
    form.person.needs(DashboardRole::Operator)?;
    let channel = form.text("channel").and_then(MessageChannel::parse);
    let (Some(channel), Some(address)) = (channel, form.text("address")) else {
        return Err(DashboardScreenError::Form);
    };
    lifted(&form, &request, &state, (channel, address), ADDRESS).await
}

/// Lifts it, and says so on the page at `back`.
pub async fn lifted(
    form: &DashboardForm,
    request: &HttpRequest,
    state: &AppState,
    (channel, address): (MessageChannel, &str),
    back: &str,
) -> Result<HttpResponse, DashboardScreenError> {
    let (actor, now) = (form.person.actor(), state.clock.now());
    let is_lifted = suppressions::lift(&state.engine, channel, address, &actor, now).await?;
    let result = if is_lifted {
        Ok("It gets messages again. Those that were skipped are not sent.".to_owned())
    } else {
        Err(vec!["This address is not suppressed any more.".to_owned()])
    };
    answered(request, back, result)
}
