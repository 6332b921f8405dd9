//! A route, evaluated for one event: whom it is for, and what it says.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    domain::{
        recipient::{each, is_expression},
        template,
    },
    store::catalogue::rows::RouteRow,
};

/// A route, evaluated for one event.
pub(super) struct Plan {
    pub(super) recipients: Vec<Planned>,
    pub(super) about: Option<String>,
    pub(super) params: Value,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) reference: Option<String>,
    pub(super) dedupe_key: Option<String>,
}

/// An entry that says whom a route's messages are for.
pub(super) struct Planned {
    pub(super) entry: String,
    /// The event has chosen it: it may name only whom its product may name.
    pub(super) is_chosen: bool,
}

/// Evaluates a route for a catalogue's example: its parameters, nothing if its condition
/// does not hold, or what is wrong.
pub fn try_route(route: &RouteRow, context: &Value) -> Result<Option<Value>, String> {
    match plan(route, context) {
        Ok(plan) => Ok(Some(plan.params)),
        Err(("did_not_fire", _)) => Ok(None),
        Err((_, reason)) => Err(reason),
    }
}

/// Evaluates a route. The error is (outcome, reason).
pub(super) fn plan(route: &RouteRow, context: &Value) -> Result<Plan, (&'static str, String)> {
    let error = |what: &str, error: &template::TemplateError| ("error", format!("{what}: {error}"));
    if let Some(condition) = &route.condition {
        match template::holds(condition, context) {
            Ok(true) => {}
            Ok(false) => {
                return Err((
                    "did_not_fire",
                    format!("its condition does not hold: {condition}"),
                ));
            }
            Err(problem) => return Err(error("its condition", &problem)),
        }
    }
    let render = |what: &str, source: &str| {
        template::render_text(source, context).map_err(|problem| error(what, &problem))
    };
    let map = |what: &str,
               sources: &BTreeMap<String, String>|
     -> Result<BTreeMap<String, String>, (&'static str, String)> {
        sources
            .iter()
            .map(|(name, source)| Ok((name.clone(), render(&format!("{what} {name}"), source)?)))
            .collect()
    };
    let optional = |what: &str, source: &Option<String>| {
        source
            .as_deref()
            .map(|source| render(what, source))
            .transpose()
    };
    let mut recipients = Vec::with_capacity(route.recipients.len());
    for entry in &route.recipients {
        let is_chosen = is_expression(entry);
        let entries = each(&render("its recipient", entry)?).into_iter();
        recipients.extend(entries.map(|entry| Planned { entry, is_chosen }));
    }
    Ok(Plan {
        recipients,
        about: optional("whom it is about", &route.about)?,
        params: json!(map("its parameter", &route.params)?),
        labels: map("its label", &route.labels)?,
        reference: optional("its reference", &route.reference)?,
        dedupe_key: optional("its dedupe key", &route.dedupe_key)?,
    })
}
