//! What is wrong with a catalogue, found without looking at the database.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Catalogue, OneOrMany, RouteEntry, RuleEntry, TemplateEntry};
use crate::domain::{
    phone::Phone,
    recipient::RecipientSpec,
    rule::parse_duration_seconds,
    template::{
        self,
        layout::{self, Layout, PROVIDED},
    },
    trigger::Trigger,
};
use crate::engine::accept;

/// What is wrong with a catalogue, all of it, each with where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<String>);

/// Labels a route may put on a notification.
const MAX_LABELS: usize = 8;

/// Reads and checks a catalogue without looking at the database.
pub fn parse(text: &str) -> Result<Catalogue, Mistakes> {
    let catalogue: Catalogue = toml::from_str(text).map_err(|error| {
        let place = error.span().map_or_else(String::new, |span| {
            let before = text.get(..span.start).unwrap_or("");
            format!("line {}: ", before.matches('\n').count() + 1)
        });
        Mistakes(vec![format!("{place}{}", error.message())])
    })?;
    let mistakes = check(&catalogue);
    if mistakes.is_empty() {
        Ok(catalogue)
    } else {
        Err(Mistakes(mistakes))
    }
}

fn check(catalogue: &Catalogue) -> Vec<String> {
    let mut wrong = Vec::new();
    check_names(catalogue, &mut wrong);
    for entry in &catalogue.template {
        let at = format!("template {}", entry.name);
        if entry.name.is_empty()
            || entry.name.len() > 512
            || !entry
                .name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        {
            wrong.push(format!("{at}: a name has a-z, 0-9 and _ only, at most 512"));
        }
        if !["utility", "marketing", "authentication"].contains(&entry.category.as_str()) {
            wrong.push(format!(
                "{at}: category is utility, marketing or authentication"
            ));
        }
        if !["POSITIONAL", "NAMED"].contains(&entry.parameter_format.as_str()) {
            wrong.push(format!("{at}: parameter_format is POSITIONAL or NAMED"));
        }
        let broken = layout::check(
            &entry.body,
            &entry.extras().unwrap_or_default(),
            entry.parameter_format == "NAMED",
            entry.category == "authentication",
        );
        wrong.extend(broken.into_iter().map(|broken| {
            let field = broken.pointer.trim_start_matches('/').replace('/', ".");
            format!("{at}: {field}: {}", broken.rule)
        }));
        check_parameters(entry, &at, &mut wrong);
        if let Some(seconds) = entry.message_send_ttl_seconds {
            let (least, most) = layout::ttl_bounds(&entry.category);
            if !(least..=most).contains(&seconds) {
                wrong.push(format!(
                    "{at}: message_send_ttl_seconds: {least} to {most} in this category"
                ));
            }
        }
    }
    for entry in &catalogue.contact {
        if let Some(Err(error)) = entry.phone.as_deref().map(Phone::parse) {
            wrong.push(format!("contact {}: phone: {error}", entry.name));
        }
    }
    for entry in &catalogue.route {
        check_route(entry, &mut wrong);
    }
    for entry in &catalogue.rule {
        check_rule(entry, &mut wrong);
    }
    wrong
}

/// Whether what is said of parameters is of those there are, and of all of them.
fn check_parameters(entry: &TemplateEntry, at: &str, wrong: &mut Vec<String>) {
    // What cannot be read has been said.
    let layout = Layout::parse(
        &entry.body,
        entry.extras().unwrap_or_default(),
        entry.parameter_format == "NAMED",
        entry.category == "authentication",
        &entry.language,
    );
    let (false, Ok(layout)) = (entry.parameter.is_empty(), layout) else {
        return;
    };
    let before = wrong.len();
    let used = layout.variables();
    let mut seen = BTreeSet::new();
    for declared in &entry.parameter {
        let name = &declared.name;
        if PROVIDED.contains(&name.as_str()) {
            wrong.push(format!("{at}: parameter {name}: Herald fills it in"));
        } else if !used.contains(name) {
            wrong.push(format!("{at}: parameter {name}: nothing asks for it"));
        }
        if !seen.insert(name) {
            wrong.push(format!("{at}: parameter {name}: stands twice"));
        }
        for (field, value) in [
            ("example", Some(&declared.example)),
            ("default", declared.default.as_ref()),
        ] {
            let checked = value.map(|value| declared.kind.check(&json!(value)));
            if let Some(Err(rule)) = checked {
                wrong.push(format!("{at}: parameter {name}: {field}: {rule}"));
            }
        }
    }
    for name in &used {
        if !seen.contains(name) && !PROVIDED.contains(&name.as_str()) {
            wrong.push(format!(
                "{at}: parameter {name}: it is used, and not declared"
            ));
        }
    }
    if wrong.len() == before
        && let Err(error) = layout.example()
    {
        wrong.push(format!("{at}: with its examples: {error}"));
    }
}

fn check_names(catalogue: &Catalogue, wrong: &mut Vec<String>) {
    if catalogue.name.is_empty() {
        wrong.push("name: missing".to_owned());
    }
    let mut twice = |kind: &str, names: Vec<String>| {
        let mut seen = BTreeSet::new();
        for name in names {
            if name.trim().is_empty() {
                wrong.push(format!("{kind}: a name is empty"));
            } else if !seen.insert(name.clone()) {
                wrong.push(format!("{kind} {name}: stands twice"));
            }
        }
    };
    twice(
        "template",
        catalogue
            .template
            .iter()
            .map(|entry| format!("{} {}", entry.name, entry.language))
            .collect(),
    );
    twice(
        "contact",
        catalogue
            .contact
            .iter()
            .map(|entry| entry.name.clone())
            .collect(),
    );
    twice(
        "user",
        catalogue
            .user
            .iter()
            .map(|entry| entry.name.clone())
            .collect(),
    );
    twice(
        "group",
        catalogue
            .group
            .iter()
            .map(|entry| entry.name.clone())
            .collect(),
    );
    twice(
        "route",
        catalogue
            .route
            .iter()
            .map(|entry| entry.name.clone())
            .collect(),
    );
    twice(
        "rule",
        catalogue
            .rule
            .iter()
            .map(|entry| entry.name.clone())
            .collect(),
    );
}

fn check_texts<'a>(
    at: &str,
    texts: impl Iterator<Item = (&'a str, &'a str)>,
    wrong: &mut Vec<String>,
) {
    for (name, text) in texts {
        if let Err(error) = template::check_text(text) {
            wrong.push(format!("{at}: {name}: {error}"));
        }
    }
}

fn check_recipients(at: &str, to: &OneOrMany, same_allowed: bool, wrong: &mut Vec<String>) {
    let entries: Vec<String> = to.clone().into();
    if entries.is_empty() {
        wrong.push(format!("{at}: to: nobody"));
    }
    for entry in &entries {
        if entry.contains("{{") {
            check_texts(at, [("to", entry.as_str())].into_iter(), wrong);
            continue;
        }
        match RecipientSpec::parse(entry) {
            Ok(RecipientSpec::Same) if !same_allowed => {
                wrong.push(format!("{at}: to: `same` is for rules"));
            }
            Ok(_) => {}
            Err(error) => wrong.push(format!("{at}: to: {error}")),
        }
    }
}

fn check_channel(at: &str, channel: &str, wrong: &mut Vec<String>) {
    if channel != "whatsapp" {
        wrong.push(format!(
            "{at}: channel: this version sends by whatsapp only"
        ));
    }
}

fn check_route(entry: &RouteEntry, wrong: &mut Vec<String>) {
    let at = format!("route {}", entry.name);
    if let Some(Err(error)) = entry.when.as_deref().map(template::check_expression) {
        wrong.push(format!("{at}: when: {error}"));
    }
    check_recipients(&at, &entry.to, false, wrong);
    check_channel(&at, &entry.channel, wrong);
    let named = |map: &'_ BTreeMap<String, String>| {
        map.iter()
            .map(|(name, text)| (name.clone(), text.clone()))
            .collect::<Vec<_>>()
    };
    let mut texts = named(&entry.params);
    texts.extend(named(&entry.labels));
    for (name, text) in [
        ("about", &entry.about),
        ("reference", &entry.reference),
        ("dedupe_key", &entry.dedupe_key),
    ] {
        texts.extend(text.iter().map(|text| (name.to_owned(), text.clone())));
    }
    check_texts(
        &at,
        texts
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
        wrong,
    );
    if entry.labels.len() > MAX_LABELS {
        wrong.push(format!("{at}: labels: at most {MAX_LABELS}"));
    }
    if accept::priority(&entry.priority).is_none() {
        wrong.push(format!("{at}: priority is otp, high, normal or bulk"));
    }
    if let Some(after) = &entry.expires_after
        && parse_duration_seconds(after).is_none()
    {
        wrong.push(format!(
            "{at}: expires_after: a number and s, m, h or d, such as 24h"
        ));
    }
}

fn check_rule(entry: &RuleEntry, wrong: &mut Vec<String>) {
    let at = format!("rule {}", entry.name);
    if Trigger::parse(&entry.on).is_none() {
        wrong.push(format!("{at}: on: one of {}", trigger_names()));
    }
    for name in entry
        .unless
        .iter()
        .filter(|name| Trigger::parse(name).is_none())
    {
        wrong.push(format!(
            "{at}: unless: {name} is not one of {}",
            trigger_names()
        ));
    }
    if let Some(Err(error)) = entry.when.as_deref().map(template::check_expression) {
        wrong.push(format!("{at}: when: {error}"));
    }
    if let Some(after) = &entry.after
        && parse_duration_seconds(after).is_none()
    {
        wrong.push(format!(
            "{at}: after: a number and s, m, h or d, such as 24h"
        ));
    }
    check_recipients(&at, &entry.send.to, true, wrong);
    check_channel(&at, &entry.send.channel, wrong);
    check_texts(
        &at,
        entry
            .send
            .params
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
        wrong,
    );
}

fn trigger_names() -> String {
    Trigger::ALL.map(Trigger::name).join(" ")
}
