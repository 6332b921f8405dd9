//! What Meta, or we, would refuse of a template.

use std::collections::BTreeSet;

use serde_json::json;

use super::wrong::{At, Wrong};
use crate::{
    domain::{
        language::is_written_well,
        template::{
            layout::{self, Layout, PROVIDED},
            parameter::Declared,
        },
    },
    engine::catalogue::TemplateEntry,
};

/// Checks a template and what is said of its parameters.
pub(super) fn check(entry: &TemplateEntry, at: At<'_>, wrong: &mut Wrong<'_>) {
    if entry.name.is_empty()
        || entry.name.len() > 512
        || !entry
            .name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    {
        wrong.field(at, "name", "a name has a-z, 0-9 and _ only, at most 512");
    }
    if !["utility", "marketing", "authentication"].contains(&entry.category.as_str()) {
        wrong.field(at, "category", "utility, marketing or authentication");
    }
    if !is_written_well(&entry.language) {
        wrong.field(at, "language", "a language is written en, en_US or pt_BR");
    }
    if !["POSITIONAL", "NAMED"].contains(&entry.parameter_format.as_str()) {
        wrong.field(at, "parameter_format", "POSITIONAL or NAMED");
    }
    let broken = layout::check(
        &entry.body,
        &entry.extras().unwrap_or_default(),
        entry.parameter_format == "NAMED",
        entry.category == "authentication",
    );
    for broken in broken {
        let field = broken.pointer.trim_start_matches('/').replace('/', ".");
        wrong.field(at, &field.replacen("buttons", "button", 1), broken.rule);
    }
    parameters(entry, at, wrong);
    if let Some(seconds) = entry.message_send_ttl_seconds {
        let (least, most) = layout::ttl_bounds(&entry.category);
        if !(least..=most).contains(&seconds) {
            let rule = format!("{least} to {most} in this category");
            wrong.field(at, "message_send_ttl_seconds", rule);
        }
    }
}

/// Whether what is said of parameters is of those there are, and of all of them.
fn parameters(entry: &TemplateEntry, at: At<'_>, wrong: &mut Wrong<'_>) {
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
    let before = wrong.found.len();
    let used = layout.variables();
    let mut seen = BTreeSet::new();
    for declared in &entry.parameter {
        let name = &declared.name;
        let mut refuse = |rule: &str| wrong.entry(at, format!("parameter {name}: {rule}"));
        if PROVIDED.contains(&name.as_str()) {
            refuse("Herald fills it in");
        } else if !used.contains(name) {
            refuse("nothing asks for it");
        }
        if !seen.insert(name) {
            refuse("stands twice");
        }
        if declared.required == Some(true) && declared.default.is_some() {
            refuse("required: it has a default, which would never stand in");
        }
        for (field, value) in [
            ("example", Some(&declared.example)),
            ("default", declared.default.as_ref()),
        ] {
            let checked = value.map(|value| declared.kind.check(&json!(value)));
            if let Some(Err(rule)) = checked {
                refuse(&format!("{field}: {rule}"));
            }
        }
    }
    for name in &used {
        if !seen.contains(name) && !PROVIDED.contains(&name.as_str()) {
            wrong.entry(
                at,
                format!("parameter {name}: it is used, and not declared"),
            );
        }
    }
    if wrong.found.len() > before {
        return;
    }
    if let Err(error) = layout.example() {
        wrong.entry(at, format!("with its examples: {error}"));
        return;
    }
    let optional = |it: &&Declared| it.required == Some(false);
    for Declared { name, .. } in entry.parameter.iter().filter(optional) {
        let mut without = layout.example_context();
        if let Some(given) = without.as_object_mut() {
            given.remove(name);
        }
        if let Err(error) = layout.fill(&without) {
            let rule = "required: false needs a default";
            wrong.entry(at, format!("parameter {name}: {rule}: {error}"));
        }
    }
}
