//! Pages of message templates: their preview, and their status at Meta.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde_json::Value;

use super::{
    act::SignedInUser,
    fault::DashboardScreenError,
    moment::DisplayTime,
    shell::{DashboardLayout, shown},
};
use crate::{
    domain::{
        category::TemplateCategory,
        markup::{self, MarkupSpan},
        quality::QualityRating,
        template::{
            layout::{PROVIDED, PreviewHeader, TemplateLayout},
            parameter::DeclaredTemplateParameter,
        },
        template_status::{TemplateOutlook, TemplateStatus},
    },
    engine::runtime::template_layout::layout,
    state::AppState,
    store::{
        catalogue::{
            self,
            uses::{CatalogueReferences, uses},
        },
        template_sync::{self, ReportedTemplateState},
    },
};

/// Address of the list.
const HERE: &str = "/dashboard/templates";

/// The status of a template in an account.
struct TemplateStatusScreenPart {
    account: String,
    status: String,
    class: &'static str,
    reason: String,
    category: String,
    quality: String,
    id: String,
    at: Option<DisplayTime>,
}

/// The style class of a status.
fn class(status: TemplateStatus) -> &'static str {
    match (status, status.outlook()) {
        (TemplateStatus::Approved, _) => "good",
        (TemplateStatus::Archived | TemplateStatus::Other, _) => "rest",
        (TemplateStatus::Locked, _) | (_, TemplateOutlook::Refused) => "bad",
        (_, TemplateOutlook::Waiting | TemplateOutlook::Sendable) => "wait",
    }
}

fn decided(
    row: &entity::template_sync::Model,
    shell: &DashboardLayout,
) -> TemplateStatusScreenPart {
    let state = ReportedTemplateState::from(row);
    let category = state.category.map_or("", TemplateCategory::name);
    let quality = state.quality.map_or("", QualityRating::name);
    TemplateStatusScreenPart {
        account: row.account_id.clone(),
        status: state
            .status
            .map_or_else(|| "unknown".to_owned(), TemplateStatus::phrase),
        class: state.status.map_or("rest", class),
        reason: state.reason.unwrap_or_default(),
        category: category.to_owned(),
        quality: quality.to_owned(),
        id: row.provider_template_id.clone().unwrap_or_default(),
        at: row.status_at.map(|at| shell.zone.micros(at)),
    }
}

/// A template in the list, in one language.
struct MessageTemplateScreenRow {
    name: String,
    language: String,
    category: String,
    catalogue: String,
    decided: Vec<TemplateStatusScreenPart>,
}

/// A template that is in an account but in no catalogue.
struct UncataloguedTemplateScreenRow {
    name: String,
    language: String,
    decided: TemplateStatusScreenPart,
}

#[derive(Template)]
#[template(path = "message_templates.html")]
struct MessageTemplatesScreen {
    shell: DashboardLayout,
    rows: Vec<MessageTemplateScreenRow>,
    elsewhere: Vec<UncataloguedTemplateScreenRow>,
}

pub async fn page(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, DashboardScreenError> {
    let shell = DashboardLayout::new(&request, &state, &person, "Templates", HERE)?;
    let said = template_sync::all(&state.engine.store).await?;
    let ours = catalogue::templates(&state.engine.store).await?;
    let elsewhere = said
        .iter()
        .filter(|it| {
            let is_it =
                |row: &entity::template::Model| row.name == it.name && row.language == it.language;
            !ours.iter().any(is_it)
        })
        .map(|it| UncataloguedTemplateScreenRow {
            name: it.name.clone(),
            language: it.language.clone(),
            decided: decided(it, &shell),
        })
        .collect();
    let rows = ours
        .into_iter()
        .map(|row| MessageTemplateScreenRow {
            decided: said
                .iter()
                .filter(|it| it.name == row.name && it.language == row.language)
                .map(|it| decided(it, &shell))
                .collect(),
            name: row.name,
            language: row.language,
            category: row.category,
            catalogue: row.catalogue.unwrap_or_default(),
        })
        .collect();
    shown(&MessageTemplatesScreen {
        shell,
        rows,
        elsewhere,
    })
}

/// A message bubble in WhatsApp's style.
struct MessageBubble {
    header: Option<PreviewHeader>,
    body: Vec<MarkupSpan>,
    footer: Option<String>,
    buttons: Vec<String>,
    problem: Option<String>,
}

/// A parameter, and its value in the preview.
struct TemplateParameterScreenRow {
    name: String,
    /// Its declaration, in words.
    about: String,
    value: String,
}

fn about(declared: &DeclaredTemplateParameter) -> String {
    let mut about = format!("{:?}", declared.kind).to_lowercase();
    if declared.sensitive {
        about.push_str(", secret");
    }
    if let Some(default) = &declared.default {
        about = format!("{about}, default {default}");
    }
    about
}

/// One translation.
struct TemplateTranslationScreenPart {
    language: String,
    /// The language tag for browsers (BCP 47).
    tag: String,
    category: String,
    version: i64,
    catalogue: String,
    bubble: Result<MessageBubble, String>,
    source: String,
    decided: Vec<TemplateStatusScreenPart>,
}

#[derive(Template)]
#[template(path = "message_template.html")]
struct MessageTemplateDetailScreen {
    shell: DashboardLayout,
    name: String,
    parameters: Vec<TemplateParameterScreenRow>,
    translations: Vec<TemplateTranslationScreenPart>,
    users: Vec<CatalogueReferences>,
}

/// The values of the preview: the examples, replaced by typed ones.
fn values(layout: &TemplateLayout, typed: &HashMap<String, String>) -> Value {
    let mut context = layout.example_context();
    if let Some(context) = context.as_object_mut() {
        for name in layout.variables() {
            let value = typed.get(&format!("p.{name}"));
            if let Some(value) = value.filter(|_| !PROVIDED.contains(&name.as_str())) {
                context.insert(name, Value::from(value.as_str()));
            }
        }
    }
    context
}

fn bubble(layout: &TemplateLayout, typed: &HashMap<String, String>) -> MessageBubble {
    let preview = layout.preview(&values(layout, typed));
    MessageBubble {
        header: preview.header,
        body: markup::spans(&preview.body),
        footer: preview.footer,
        buttons: preview.buttons,
        problem: preview.problem,
    }
}

pub async fn one(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
    name: web::Path<String>,
    typed: web::Query<HashMap<String, String>>,
) -> Result<HttpResponse, DashboardScreenError> {
    let store = &state.engine.store;
    if name.contains('\0') {
        return Err(DashboardScreenError::NotFound);
    }
    let found = catalogue::translations(store.reader(), &name).await?;
    if found.is_empty() {
        return Err(DashboardScreenError::NotFound);
    }
    let shell = DashboardLayout::new(&request, &state, &person, name.clone(), HERE)?;
    let said = template_sync::all(store).await?;
    let mut parameters: Vec<TemplateParameterScreenRow> = Vec::new();
    let mut translations = Vec::with_capacity(found.len());
    for row in found {
        let layout = layout(&row);
        for name in layout.iter().flat_map(TemplateLayout::variables) {
            let is_ours = PROVIDED.contains(&name.as_str());
            if is_ours || parameters.iter().any(|it| it.name == name) {
                continue;
            }
            let declared = layout.as_ref().ok().and_then(|it| it.declared(&name));
            let example = declared.map(|it| it.example.clone());
            let value = typed.get(&format!("p.{name}")).cloned().or(example);
            parameters.push(TemplateParameterScreenRow {
                about: declared.map(about).unwrap_or_default(),
                value: value.unwrap_or_default(),
                name,
            });
        }
        translations.push(TemplateTranslationScreenPart {
            bubble: layout.map(|layout| bubble(&layout, &typed)),
            decided: said
                .iter()
                .filter(|it| it.name == row.name && it.language == row.language)
                .map(|it| decided(it, &shell))
                .collect(),
            tag: row.language.replace('_', "-"),
            language: row.language,
            category: row.category,
            version: row.version,
            catalogue: row.catalogue.unwrap_or_default(),
            source: row.body,
        });
    }
    let mut users = uses(store.reader()).await?;
    users.retain(|it| it.sends(&name));
    shown(&MessageTemplateDetailScreen {
        users,
        name: name.into_inner(),
        shell,
        parameters,
        translations,
    })
}
