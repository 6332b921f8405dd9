//! Evaluates a route for one event: its recipients and its parameters.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    domain::{
        recipient::{each, is_expression},
        route::RouteOutcome,
        template::{self, RenderContext, UnreadableFilterValue},
    },
    store::catalogue::rows::CatalogueRouteRow,
};

/// A route, evaluated for one event.
pub(super) struct RouteEvaluation {
    pub(super) recipients: Vec<RouteRecipientEntry>,
    pub(super) about: Option<String>,
    pub(super) params: Value,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) reference: Option<String>,
    pub(super) dedupe_key: Option<String>,
    /// Values that a filter could not read; they are shown unchanged.
    pub(super) unread: Vec<UnreadableFilterValue>,
}

/// One entry of a route's recipients.
pub(super) struct RouteRecipientEntry {
    pub(super) entry: String,
    /// The entry comes from the event: it may name only contacts of its product.
    pub(super) is_chosen: bool,
}

/// Evaluates a route for a catalogue's example: its parameters, `None` if its condition is false,
/// or the error.
pub fn try_route(route: &CatalogueRouteRow, context: &Value) -> Result<Option<Value>, String> {
    match plan(route, context) {
        Ok(plan) => Ok(Some(plan.params)),
        Err((RouteOutcome::DidNotFire, _)) => Ok(None),
        Err((_, reason)) => Err(reason),
    }
}

/// Evaluates a route. The error is (outcome, reason).
pub(super) fn plan(
    route: &CatalogueRouteRow,
    context: &Value,
) -> Result<RouteEvaluation, (RouteOutcome, String)> {
    let error = |what: &str, error: &template::TemplateError| {
        (RouteOutcome::Error, format!("{what}: {error}"))
    };
    if let Some(condition) = &route.condition {
        match template::holds(condition, context) {
            Ok(true) => {}
            Ok(false) => {
                return Err((
                    RouteOutcome::DidNotFire,
                    format!("its condition does not hold: {condition}"),
                ));
            }
            Err(problem) => return Err(error("its condition", &problem)),
        }
    }
    let render = |what: &str, source: &str| {
        template::render_text(source, context).map_err(|problem| error(what, &problem))
    };
    let mut recipients = Vec::with_capacity(route.recipients.len());
    for entry in &route.recipients {
        let is_chosen = is_expression(entry);
        let entries = each(&render("its recipient", entry)?).into_iter();
        recipients.extend(entries.map(|entry| RouteRecipientEntry { entry, is_chosen }));
    }
    let about = route.about.as_deref();
    let about = about.map(|source| render("its subject", source));
    let dedupe_key = route.dedupe_key.as_deref().map(|source| {
        template::render_key(source, context).map_err(|problem| error("its dedupe key", &problem))
    });
    // Texts for people show a value unchanged if a filter cannot read it.
    let mut unread = Vec::new();
    let lenient = RenderContext::lenient(context);
    let mut show = |what: String, source: &str| {
        template::render_for_people(source, &lenient, &what, &mut unread)
            .map_err(|problem| error(&what, &problem))
    };
    let mut params = serde_json::Map::new();
    for (name, source) in &route.params {
        let value = show(format!("its parameter {name}"), source)?;
        params.insert(name.clone(), Value::from(value));
    }
    let mut labels = BTreeMap::new();
    for (name, source) in &route.labels {
        let value = show(format!("its label {name}"), source)?;
        // An empty value is no label.
        if !value.trim().is_empty() {
            labels.insert(name.clone(), value);
        }
    }
    let reference = route.reference.as_deref();
    let reference = reference
        .map(|source| show("its reference".to_owned(), source))
        .transpose()?
        .filter(|reference| !reference.trim().is_empty());
    Ok(RouteEvaluation {
        recipients,
        about: about.transpose()?,
        params: Value::Object(params),
        labels,
        reference,
        dedupe_key: dedupe_key.transpose()?,
        unread,
    })
}
