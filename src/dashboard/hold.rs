//! Page of the hold of all sending: its reason, what a release would send, and the release.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::{
    act::{DashboardForm, SignedInUser},
    fault::DashboardScreenError,
    moment::DisplayTime,
    shell::{DashboardLayout, answered, shown},
};
use crate::{
    domain::{
        hold::{HoldReason, SendingHold},
        login::DashboardRole,
        rule::parse_duration_seconds,
    },
    engine::{
        admin::release,
        runtime::hold::{self, HoldActor},
    },
    state::AppState,
};

/// Address of the page.
const ADDRESS: &str = "/dashboard/hold";

/// Messages that are listed.
const LISTED: i64 = 50;

/// A reason is at most this long, in characters.
const LONGEST_REASON: usize = 200;

struct HeldCountScreenRow {
    category: String,
    template: String,
    age: &'static str,
    count: i64,
}

struct HeldMessageScreenRow {
    id: String,
    at: DisplayTime,
    recipient: String,
    category: String,
    template: String,
}

#[derive(Template)]
#[template(path = "hold.html")]
struct SendingHoldScreen {
    shell: DashboardLayout,
    on_hold: bool,
    why: String,
    since: Option<DisplayTime>,
    kinds: Vec<HeldCountScreenRow>,
    messages: Vec<HeldMessageScreenRow>,
    follow_ups: i64,
    events: i64,
}

pub async fn page(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, DashboardScreenError> {
    let shell = DashboardLayout::new(
        &request,
        &state,
        &person,
        "Hold of all sending",
        "/dashboard",
    )?;
    let standing = release::standing(&state.engine, LISTED, state.clock.now()).await?;
    let page = SendingHoldScreen {
        on_hold: standing.hold.is_some(),
        why: standing
            .hold
            .as_ref()
            .map_or_else(String::new, SendingHold::summary),
        since: standing
            .hold
            .as_ref()
            .map(|hold| shell.zone.moment(hold.since)),
        kinds: standing
            .waiting
            .into_iter()
            .map(|waiting| HeldCountScreenRow {
                category: waiting.category,
                template: waiting.template,
                age: waiting.age.sentence(),
                count: waiting.count,
            })
            .collect(),
        messages: standing
            .messages
            .into_iter()
            .map(|message| HeldMessageScreenRow {
                id: message.id.to_string(),
                at: shell.zone.moment(message.created_at),
                recipient: person.sees(message.recipient),
                category: message.category,
                template: message.template,
            })
            .collect(),
        follow_ups: standing.follow_ups,
        events: standing.events,
        shell,
    };
    shown(&page)
}

pub async fn act(
    form: DashboardForm,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, DashboardScreenError> {
    form.person.needs(DashboardRole::Admin)?;
    let engine = &state.engine;
    let actor = form.person.actor();
    let by = HoldActor {
        actor: &actor,
        now: state.clock.now(),
    };
    let refuse = |why: &str| answered(&request, ADDRESS, Err(vec![why.to_owned()]));
    match form.text("action").unwrap_or_default() {
        "start" => {
            let Some(reason) = form
                .text("reason")
                .filter(|it| it.chars().count() <= LONGEST_REASON)
            else {
                return refuse("Enter a reason of up to 200 characters: others will read it.");
            };
            hold::begin(engine, by, HoldReason::Asked, Some(reason)).await?;
            answered(&request, ADDRESS, Ok("Sending is on hold.".to_owned()))
        }
        action @ ("release" | "preview") => {
            let before = match form.text("older_than").map(parse_duration_seconds) {
                None => None,
                Some(Some(seconds)) => Some(by.now.plus_seconds(-seconds)),
                Some(None) => {
                    return refuse("Older than: a number and s, m, h or d, such as 2h.");
                }
            };
            let dry_run = action == "preview";
            let released = release::release(engine, by, before, dry_run).await?;
            let counts = format!(
                "{} messages, {} follow-ups and the remaining messages of {} events",
                released.messages, released.follow_ups, released.events
            );
            let said = if dry_run {
                format!("{counts} would be cancelled. Nothing was changed.")
            } else if released.was_held {
                format!("The hold is released. Cancelled: {counts}.")
            } else {
                "Sending is not on hold.".to_owned()
            };
            answered(&request, ADDRESS, Ok(said))
        }
        _ => Err(DashboardScreenError::Form),
    }
}
