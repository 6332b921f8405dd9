//! Checks templates against Meta's rules and our own.

use std::collections::BTreeSet;

use serde_json::json;

use super::wrong::{CatalogueEntryRef, MistakeCollector};
use crate::{
    domain::{
        category::TemplateCategory,
        language::is_written_well,
        template::{
            layout::{self, PROVIDED, TemplateLayout},
            parameter::DeclaredTemplateParameter,
        },
    },
    engine::catalogue::CatalogueTemplateEntry,
};

/// Checks a template and the declarations of its parameters.
pub(super) fn check(
    entry: &CatalogueTemplateEntry,
    at: CatalogueEntryRef<'_>,
    wrong: &mut MistakeCollector<'_>,
) {
    if entry.name.is_empty()
        || entry.name.len() > 512
        || !entry
            .name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    {
        wrong.field(at, "name", "a name has a-z, 0-9 and _ only, at most 512");
    }
    let category = TemplateCategory::parse(&entry.category).unwrap_or_default();
    if category == TemplateCategory::Other {
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
        category == TemplateCategory::Authentication,
    );
    for broken in broken {
        let field = broken.pointer.trim_start_matches('/').replace('/', ".");
        wrong.field(at, &field.replacen("buttons", "button", 1), broken.rule);
    }
    parameters(entry, at, wrong);
    if let Some(seconds) = entry.message_send_ttl_seconds {
        let (least, most) = layout::ttl_bounds(category);
        if !(least..=most).contains(&seconds) {
            let rule = format!("{least} to {most} in this category");
            wrong.field(at, "message_send_ttl_seconds", rule);
        }
    }
}

/// Checks that the declarations cover exactly the template's parameters.
fn parameters(
    entry: &CatalogueTemplateEntry,
    at: CatalogueEntryRef<'_>,
    wrong: &mut MistakeCollector<'_>,
) {
    // An unreadable template has been reported already.
    let layout = TemplateLayout::parse(
        &entry.body,
        entry.extras().unwrap_or_default(),
        entry.parameter_format == "NAMED",
        TemplateCategory::parse(&entry.category) == Some(TemplateCategory::Authentication),
        &entry.language,
    );
    let Ok(layout) = layout else {
        return;
    };
    // Found by rendering: a parameter that the analysis overlooks could never be filled.
    if let Some(name) = layout.unseen() {
        let rule = format!(
            "parameter {name}: it is used where it cannot be detected: rewrite the expression"
        );
        wrong.part(at, "body", rule);
        return;
    }
    if entry.parameter.is_empty() {
        return;
    }
    let before = wrong.found.len();
    let used = layout.variables();
    let mut seen = BTreeSet::new();
    for (index, declared) in entry.parameter.iter().enumerate() {
        let name = &declared.name;
        let mut refuse = |key: &str, rule: &str| {
            let key = format!("parameter.{index}.{key}");
            wrong.part(at, &key, format!("parameter {name}: {rule}"));
        };
        if PROVIDED.contains(&name.as_str()) {
            refuse("name", "Herald fills it in");
        } else if !used.contains(name) {
            refuse("name", "it is not used");
        }
        if !seen.insert(name) {
            refuse("name", "stands twice");
        }
        if declared.required == Some(true) && declared.default.is_some() {
            let rule = "required: it has a default, which would never be used";
            refuse("required", rule);
        }
        for (field, value) in [
            ("example", Some(&declared.example)),
            ("default", declared.default.as_ref()),
        ] {
            let checked = value.map(|value| declared.kind.check(&json!(value)));
            if let Some(Err(rule)) = checked {
                refuse(field, &format!("{field}: {rule}"));
            }
        }
    }
    for name in &used {
        if !seen.contains(name) && !PROVIDED.contains(&name.as_str()) {
            let rule = format!("parameter {name}: it is used, but not declared");
            wrong.part(at, "body", rule);
        }
    }
    if wrong.found.len() > before {
        return;
    }
    if let Err(error) = layout.example() {
        wrong.entry(at, format!("with its examples: {error}"));
        return;
    }
    let optional = |it: &(usize, &DeclaredTemplateParameter)| it.1.required == Some(false);
    for (index, DeclaredTemplateParameter { name, .. }) in
        entry.parameter.iter().enumerate().filter(optional)
    {
        let mut without = layout.example_context();
        if let Some(given) = without.as_object_mut() {
            given.remove(name);
        }
        if let Err(error) = layout.fill(&without) {
            let rule = "required: false needs a default";
            let key = format!("parameter.{index}.required");
            wrong.part(at, &key, format!("parameter {name}: {rule}: {error}"));
        }
    }
}
