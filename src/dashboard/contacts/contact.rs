//! Page of one contact: aliases, service windows, opt-outs, preferences, and changes.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use uuid::Uuid;

use super::{
    HERE, identity, mailbox, named,
    suppressed::{SuppressedAddressScreenRow, lifted},
};
use crate::{
    dashboard::{
        act::{DashboardForm, SignedInUser},
        fault::DashboardScreenError,
        moment::DisplayTime,
        shell::{DashboardLayout, answered, answered_change, shown},
    },
    domain::{
        access::AccessBounds, channel::MessageChannel, edit::ValueEdit, login::DashboardRole,
        preference::MessagePreference, quiet::QuietHours, time::Timestamp, window,
    },
    engine::people::{self, ContactChanges, ContactDeletion, PeopleActor},
    state::AppState,
    store::{
        address_suppression, alias, conversation, identity::parts, people as rows, preferences,
        sender, suppression,
    },
};

/// The channel of the address that is shown beside the aliases.
const EMAIL: MessageChannel = MessageChannel::Email;

/// An alias of the contact.
struct ContactAliasScreenRow {
    kind: String,
    value: String,
    is_old: bool,
}

/// The service window with a sender.
struct ContactWindowScreenRow {
    sender: String,
    open: bool,
    until: Option<DisplayTime>,
}

/// An opt-out or opt-in.
struct ContactConsentScreenRow {
    scope: &'static str,
    wanted: bool,
    source: String,
    at: DisplayTime,
}

/// A preference: whether a kind of message is wanted on a channel.
struct ContactPreferenceScreenRow {
    kind: String,
    channel: String,
    wanted: bool,
}

#[derive(Template)]
#[template(path = "contact.html")]
struct ContactDetailScreen {
    shell: DashboardLayout,
    name: String,
    number: String,
    /// The search text that finds this contact's notifications.
    finds: Option<String>,
    details: rows::ContactDetails,
    /// As this user sees it.
    email: Option<String>,
    /// If the e-mail address gets nothing.
    suppressed: Option<SuppressedAddressScreenRow>,
    quiet: Option<(String, String)>,
    users: Vec<String>,
    aliases: Vec<ContactAliasScreenRow>,
    windows: Vec<ContactWindowScreenRow>,
    wishes: Vec<ContactConsentScreenRow>,
    preferences: Vec<ContactPreferenceScreenRow>,
    /// Kinds of message, and whether they are required.
    kinds: Vec<(String, bool)>,
    /// Contacts that may be the same person.
    open: Vec<identity::ContactPairScreenRow>,
    /// Times at which contacts were merged into this one.
    merged: Vec<DisplayTime>,
    /// Aliases that can be split off: the present ones, if there are several.
    parts: Vec<String>,
}

impl ContactDetailScreen {
    fn value(field: Option<&String>) -> &str {
        field.map(String::as_str).unwrap_or_default()
    }
}

/// Quiet hours as fields of a form.
fn written(hours: QuietHours) -> Option<(String, String)> {
    let value = serde_json::to_value(hours).ok()?;
    let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
    Some((text("from")?, text("until")?))
}

pub async fn one(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, DashboardScreenError> {
    let store = &state.engine.store;
    let id = rows::current(store.reader(), *id).await?;
    let (Some(found), Some(mut details)) = (
        rows::contact(store.reader(), id).await?,
        rows::details(store.reader(), &AccessBounds::All, id).await?,
    ) else {
        return Err(DashboardScreenError::NotFound);
    };
    let email = details.email.as_deref().map(|it| mailbox(&person, it));
    let (name, mut number) = named(&person, &found);
    if let (true, Some(email)) = (found.phone.is_none() && found.user_id.is_none(), &email) {
        number.clone_from(email);
    }
    let shell = DashboardLayout::new(&request, &state, &person, name.clone(), HERE)?;
    let (handle, users) = rows::names(store.reader(), id).await?;
    // Names in catalogues are often people's own.
    let (handle, users) = if person.sees_people() {
        (handle, users)
    } else {
        details.name = None;
        (None, Vec::new())
    };
    let senders = sender::all(store).await?;
    let now = state.clock.now();
    let windows = conversation::of_contact(store, &AccessBounds::All, id).await?;
    let open = identity::open(store, &person, &shell, Some(id)).await?;
    let merged = parts(store.reader(), id)
        .await?
        .into_iter()
        .map(|(_, at)| shell.zone.micros(at.micros()))
        .collect();
    let held = alias::of_contact(store.reader(), &AccessBounds::All, id).await?;
    let today: Vec<String> = held
        .iter()
        .filter(|row| row.superseded_at.is_none())
        .map(|row| row.value.clone())
        .collect();
    let row = match &details.email {
        Some(email) => address_suppression::find(store.reader(), EMAIL, email).await?,
        None => None,
    };
    let page = ContactDetailScreen {
        email,
        suppressed: row.map(|row| SuppressedAddressScreenRow::of(row, &person, &shell)),
        open,
        merged,
        parts: if today.len() > 1 { today } else { Vec::new() },
        name,
        number,
        finds: found.phone.filter(|_| person.sees_people()),
        quiet: details.quiet_hours.and_then(written),
        users,
        aliases: held
            .into_iter()
            .map(|row| ContactAliasScreenRow {
                is_old: row.superseded_at.is_some(),
                value: person.sees(row.value),
                kind: row.kind.replace('_', " "),
            })
            .collect(),
        windows: windows
            .into_iter()
            .map(|row| ContactWindowScreenRow {
                sender: senders
                    .iter()
                    .find(|it| it.id == row.sender_id)
                    .map_or_else(|| row.sender_id.to_string(), |it| it.name.clone()),
                open: window::is_open(row.window_until.map(Timestamp::from_micros), now),
                until: row.window_until.map(|at| shell.zone.micros(at)),
            })
            .collect(),
        wishes: suppression::of_contact(store, id)
            .await?
            .into_iter()
            .map(|row| ContactConsentScreenRow {
                scope: if row.scope == "marketing" {
                    "marketing"
                } else {
                    "everything but codes"
                },
                wanted: row.wanted,
                at: shell.zone.micros(row.provider_at),
                source: row.source.replace('_', " "),
            })
            .collect(),
        preferences: preferences::preferences(store, &AccessBounds::All, id)
            .await?
            .into_iter()
            .map(|row| ContactPreferenceScreenRow {
                kind: row.message_kind,
                channel: row.channel,
                wanted: row.wanted,
            })
            .collect(),
        kinds: preferences::kinds(store.reader(), &AccessBounds::All)
            .await?
            .into_iter()
            .map(|row| (row.name, row.required))
            .collect(),
        details: rows::ContactDetails { handle, ..details },
        shell,
    };
    shown(&page)
}

pub async fn act(
    form: DashboardForm,
    request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, DashboardScreenError> {
    let store = &state.engine.store;
    let id = rows::current(store.reader(), *id).await?;
    form.person.needs(DashboardRole::Operator)?;
    if rows::details(store.reader(), &AccessBounds::All, id)
        .await?
        .is_none()
    {
        return Err(DashboardScreenError::NotFound);
    }
    let address = format!("{HERE}/{id}");
    let actor = form.person.actor();
    let by = PeopleActor {
        actor: &actor,
        now: state.clock.now(),
        bounds: &AccessBounds::All,
    };
    let result = match form.text("action").unwrap_or_default() {
        "save" => {
            let changes = match changes(&form) {
                Ok(changes) => changes,
                Err(why) => return answered(&request, &address, Err(vec![why])),
            };
            // Another number or handle would send messages to another person.
            let is_renamed = changes.phone.is_some() || changes.user_id.is_some();
            let is_moved = is_renamed || changes.email != ValueEdit::Keep;
            if is_moved || changes.handle != ValueEdit::Keep {
                form.person.needs(DashboardRole::Admin)?;
            }
            people::save_contact(store, by, Some(id), &changes)
                .await
                .map(|_id| "Contact saved.")
        }
        "prefer" => {
            let text = |name: &str| form.text(name).unwrap_or_default().to_owned();
            let wanted = MessagePreference {
                kind: text("kind"),
                channel: text("channel"),
                wanted: form.text("wanted") == Some("yes"),
            };
            people::prefer(store, by, id, &wanted)
                .await
                .map(|()| "Preference saved. It is checked again before each message is sent.")
        }
        "forget" => {
            let text = |name: &str| form.text(name).unwrap_or_default();
            people::forget_preference(store, by, id, text("kind"), text("channel")).await?;
            Ok("Preference deleted.")
        }
        "lift" => {
            let details = rows::details(store.reader(), &AccessBounds::All, id).await?;
            let Some(email) = details.and_then(|it| it.email) else {
                return Err(DashboardScreenError::Form);
            };
            return lifted(&form, &request, &state, (EMAIL, &email), &address).await;
        }
        "merge" | "part" | "split" => {
            form.person.needs(DashboardRole::Admin)?;
            let decision = identity::ContactIdentityDecisionForm::read(&form)?;
            identity::decide(&state.engine, by, id, decision).await
        }
        "delete" => {
            form.person.needs(DashboardRole::Admin)?;
            if form.text("sure") != Some("yes") {
                let why = "Tick the box first: this cannot be undone.".to_owned();
                return answered(&request, &address, Err(vec![why]));
            }
            let deleted = people::delete_contact(&state.engine, by, id).await;
            return match deleted {
                Ok(ContactDeletion { kept_as: Some(kept), .. }) => answered(&request, &format!("{HERE}/{kept}"), Ok(
                    "Contact deleted. Its number and opt-outs are kept on this unnamed contact: without them, the next message to this number would be sent.".to_owned(),
                )),
                Ok(deleted) => answered(&request, HERE, Ok(gone(deleted.cancelled))),
                Err(error) => answered_change(&request, &address, Err(error)),
            };
        }
        _ => return Err(DashboardScreenError::Form),
    };
    answered_change(&request, &address, result)
}

fn gone(cancelled: u64) -> String {
    match cancelled {
        0 => "Contact deleted; no messages were waiting.".to_owned(),
        1 => "Contact deleted, and one waiting message cancelled.".to_owned(),
        many => {
            format!("Contact deleted, and {many} waiting messages cancelled.")
        }
    }
}

/// The changes in a form: an empty field removes the value, an absent one keeps it.
fn changes(form: &DashboardForm) -> Result<ContactChanges, String> {
    let edit = |name: &str| match (form.has(name), form.text(name)) {
        (false, _) => ValueEdit::Keep,
        (true, value) => ValueEdit::To(value.map(str::to_owned)),
    };
    let quiet_hours = match (form.text("quiet_from"), form.text("quiet_until")) {
        (None, None) if form.has("quiet_from") => ValueEdit::To(None),
        (None, None) => ValueEdit::Keep,
        (from, until) => {
            let hours = QuietHours::parse(from.unwrap_or_default(), until.unwrap_or_default());
            ValueEdit::To(Some(hours.map_err(|wrong| wrong.to_string())?))
        }
    };
    Ok(ContactChanges {
        name: edit("name"),
        handle: edit("handle"),
        email: edit("email"),
        language: edit("language"),
        time_zone: edit("time_zone"),
        quiet_hours,
        ..form
            .text("phone")
            .map(ContactChanges::of)
            .unwrap_or_default()
    })
}
