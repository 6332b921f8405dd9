//! Pages of senders: state, pace and credentials, which are write-only.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use secrecy::SecretString;
use uuid::Uuid;

use super::{
    act::{DashboardForm, SignedInUser, error_sentences},
    fault::DashboardScreenError,
    moment::DisplayTime,
    shell::{DashboardLayout, answered, shown},
};
use crate::{
    domain::{credential::CredentialKind, login::DashboardRole, time::Timestamp},
    engine::admin::senders::{self, NewCredential, SenderAdminActor, SenderAdminError},
    state::{AppState, random_bytes},
    store::sender,
};

/// A reason is at most this long, in characters.
const LONGEST_REASON: usize = 200;

struct SenderScreenRow {
    id: Uuid,
    name: String,
    is_default: bool,
    standing: &'static str,
    class: &'static str,
    reason: String,
    number: String,
    account: String,
    app: String,
    api_version: String,
    updated: DisplayTime,
}

fn row(state: &AppState, shell: &DashboardLayout, row: &entity::sender::Model) -> SenderScreenRow {
    let (standing, reason) = senders::standing(&state.engine, row);
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "—".to_owned());
    SenderScreenRow {
        id: row.id,
        name: row.name.clone(),
        is_default: row.is_default,
        standing,
        class: if standing == "active" { "good" } else { "bad" },
        reason: reason.unwrap_or_default(),
        number: text(&row.endpoint_id),
        account: text(&row.account_id),
        app: text(&row.app_id),
        api_version: text(&sender::settings_of(row).remove("api_version")),
        updated: shell.zone.moment(Timestamp::from_micros(row.updated_at)),
    }
}

#[derive(Template)]
#[template(path = "senders.html")]
struct SendersScreen {
    shell: DashboardLayout,
    rows: Vec<SenderScreenRow>,
}

pub async fn page(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, DashboardScreenError> {
    let shell = DashboardLayout::new(&request, &state, &person, "Senders", "/dashboard/senders")?;
    let all = sender::all(&state.engine.store).await?;
    let rows = all
        .iter()
        .map(|sender| row(&state, &shell, sender))
        .collect();
    shown(&SendersScreen { shell, rows })
}

struct CredentialScreenRow {
    id: Option<Uuid>,
    kind: &'static str,
    masked: String,
    active: bool,
    since: Option<DisplayTime>,
    until: Option<DisplayTime>,
    by: String,
}

#[derive(Template)]
#[template(path = "sender.html")]
struct SenderDetailScreen {
    shell: DashboardLayout,
    row: SenderScreenRow,
    credentials: Vec<CredentialScreenRow>,
}

pub async fn one(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, DashboardScreenError> {
    let id = *id;
    let Some(found) = sender::find(state.engine.store.reader(), id).await? else {
        return Err(DashboardScreenError::NotFound);
    };
    let shell = DashboardLayout::new(
        &request,
        &state,
        &person,
        found.name.clone(),
        "/dashboard/senders",
    )?;
    let credentials = if person.role >= DashboardRole::Admin {
        senders::shown(&state.engine, &found)
            .await?
            .into_iter()
            .map(|it| CredentialScreenRow {
                id: it.id,
                kind: words(it.kind),
                masked: it
                    .masked
                    .unwrap_or_else(|| "cannot be read: encrypted with another key".to_owned()),
                active: it.active,
                since: it.created_at.map(|at| shell.zone.moment(at)),
                until: it.expires_at.map(|at| shell.zone.moment(at)),
                by: it.added_by.unwrap_or_else(|| "the environment".to_owned()),
            })
            .collect()
    } else {
        Vec::new()
    };
    let page = SenderDetailScreen {
        row: row(&state, &shell, &found),
        credentials,
        shell,
    };
    shown(&page)
}

const fn words(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::AccessToken => "access token",
        CredentialKind::AppSecret => "app secret",
        CredentialKind::VerifyToken => "verify token",
    }
}

pub async fn act(
    form: DashboardForm,
    request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, DashboardScreenError> {
    let (engine, id) = (&state.engine, *id);
    let address = format!("/dashboard/senders/{id}");
    let actor = form.person.actor();
    let by = SenderAdminActor {
        actor: &actor,
        now: state.clock.now(),
        key: None,
    };
    let credential = || {
        form.text("credential")
            .and_then(|id| id.parse().ok())
            .ok_or(DashboardScreenError::Form)
    };
    let action = form.text("action").unwrap_or_default();
    let needed = match action {
        "hold" | "release" => DashboardRole::Operator,
        _ => DashboardRole::Admin,
    };
    form.person.needs(needed)?;
    let (result, done) = match action {
        "hold" => {
            let Some(reason) = form
                .text("reason")
                .filter(|it| it.chars().count() <= LONGEST_REASON)
            else {
                let why =
                    vec!["Enter a reason of up to 200 characters: others will read it.".to_owned()];
                return answered(&request, &address, Err(why));
            };
            (
                senders::hold(engine, by, id, reason).await,
                "Sender held: messages wait.",
            )
        }
        "release" => (senders::release(engine, by, id).await, "Sender resumed."),
        "default" => (
            senders::make_default(engine, by, id).await,
            "Default sender changed.",
        ),
        "add" => {
            let (Some(kind), Some(value)) = (
                form.text("kind").and_then(CredentialKind::parse),
                form.text("value"),
            ) else {
                let why =
                    vec!["Choose the kind of the credential, and paste its value.".to_owned()];
                return answered(&request, &address, Err(why));
            };
            let expires_at = match form.text("expires").map(day_or_instant) {
                Some(None) => {
                    let why =
                        vec!["Expires: a day such as 2027-01-31, or a time (RFC 3339).".to_owned()];
                    return answered(&request, &address, Err(why));
                }
                expires => expires.flatten(),
            };
            let new = NewCredential {
                kind,
                value: SecretString::from(value.to_owned()),
                expires_at,
            };
            let nonce =
                random_bytes().map_err(|error| DashboardScreenError::Session(error.into()))?;
            let added = senders::add_credential(engine, by, id, &new, nonce).await;
            (
                added.map(|_id| ()),
                "Credential saved. It is used from the next call on.",
            )
        }
        "activate" => (
            senders::set_active(engine, by, id, credential()?, true).await,
            "Credential activated.",
        ),
        "deactivate" => (
            senders::set_active(engine, by, id, credential()?, false).await,
            "Credential deactivated.",
        ),
        "remove" => (
            senders::remove(engine, by, id, credential()?).await,
            "Credential deleted.",
        ),
        _ => return Err(DashboardScreenError::Form),
    };
    let said = match result {
        Ok(()) => Ok(done.to_owned()),
        Err(error) => Err(why(error)?),
    };
    answered(&request, &address, said)
}

/// The end of a day, or an instant.
fn day_or_instant(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text)
        .or_else(|| Timestamp::parse_rfc3339(&format!("{text}T23:59:59Z")))
}

/// Why nothing was changed, for the page that the form is on.
fn why(error: SenderAdminError) -> Result<Vec<String>, DashboardScreenError> {
    Ok(match error {
        SenderAdminError::Fields(wrong) => error_sentences(&wrong),
        SenderAdminError::NotFound => return Err(DashboardScreenError::NotFound),
        SenderAdminError::NoKey => vec!["HERALD_SECRET_KEY is not set: credentials cannot be encrypted.".to_owned()],
        SenderAdminError::KeyReplaced => vec![
            "HERALD_SECRET_KEY was replaced, and this process still has the old one: restart it with the new one."
                .to_owned(),
        ],
        SenderAdminError::KeyReused => vec!["The form was sent twice.".to_owned()],
        SenderAdminError::Store(error) => return Err(error.into()),
    })
}
