//! Checks routes and rules.

use std::collections::{BTreeMap, BTreeSet};

use super::wrong::{CatalogueEntryRef, MistakeCollector};
use crate::{
    domain::{
        channel::MessageChannel,
        own_event::{PREFIX, UNROUTABLE_PREFIX},
        priority::MessagePriority,
        recipient::{RecipientSpec, is_expression},
        rule::parse_duration_seconds,
        template,
        transition::NotificationTransition,
    },
    engine::{
        catalogue::{Catalogue, CatalogueRecipientList, CatalogueRouteEntry, CatalogueRuleEntry},
        intake::MessageContentMode,
    },
};

/// Most labels that a route may set on a notification.
const MAX_LABELS: usize = 8;

/// Checks every route and every rule.
pub(super) fn check(catalogue: &Catalogue, wrong: &mut MistakeCollector<'_>) {
    let declared: BTreeSet<&str> = catalogue
        .event
        .iter()
        .map(|entry| entry.r#type.as_str())
        .collect();
    for (index, entry) in catalogue.route.iter().enumerate() {
        let at = CatalogueEntryRef {
            kind: "route",
            index,
            name: &entry.name,
        };
        let event = entry.event.as_str();
        // Herald's own are declared by no catalogue.
        if !declared.is_empty() && !declared.contains(event) && !event.starts_with(PREFIX) {
            wrong.field(at, "event", format!("{event} is none of its [[event]]s"));
        }
        if event.starts_with(UNROUTABLE_PREFIX) {
            let rule = "no route answers it: a [[rule]] reacts to what happens to notifications";
            wrong.field(at, "event", rule);
        }
        route(entry, at, wrong);
    }
    for (index, entry) in catalogue.rule.iter().enumerate() {
        let at = CatalogueEntryRef {
            kind: "rule",
            index,
            name: &entry.name,
        };
        rule(entry, at, wrong);
    }
}

fn route(entry: &CatalogueRouteEntry, at: CatalogueEntryRef<'_>, wrong: &mut MistakeCollector<'_>) {
    condition(at, entry.when.as_deref(), wrong);
    recipients(at, "to", &entry.to, false, wrong);
    channel(at, "channel", &entry.channel, wrong);
    channels(entry, at, wrong);
    texts(at, "params", &entry.params, wrong);
    texts(at, "labels", &entry.labels, wrong);
    // It may be empty: then the message has no subject.
    if let Some(about) = entry.about.as_ref().filter(|it| !it.trim().is_empty()) {
        recipient(at, "about", about, false, wrong);
    }
    for (field, text) in [
        ("reference", &entry.reference),
        ("dedupe_key", &entry.dedupe_key),
    ] {
        if let Some(Err(error)) = text.as_deref().map(template::check_text) {
            wrong.field(at, field, error);
        }
    }
    if entry.labels.len() > MAX_LABELS {
        wrong.field(at, "labels", format!("at most {MAX_LABELS}"));
    }
    if MessagePriority::parse(&entry.priority).is_none() {
        wrong.field(at, "priority", "otp, high, normal or bulk");
    }
    duration(at, "expires_after", entry.expires_after.as_deref(), wrong);
    mode(
        at,
        &entry.mode,
        entry.fallback_template.is_some(),
        "mode",
        wrong,
    );
}

fn rule(entry: &CatalogueRuleEntry, at: CatalogueEntryRef<'_>, wrong: &mut MistakeCollector<'_>) {
    let triggers = NotificationTransition::ALL
        .map(NotificationTransition::name)
        .join(" ");
    if NotificationTransition::parse(&entry.on).is_none() {
        wrong.field(at, "on", format!("one of {triggers}"));
    }
    for name in entry
        .unless
        .iter()
        .filter(|name| NotificationTransition::parse(name).is_none())
    {
        wrong.field(at, "unless", format!("{name} is not one of {triggers}"));
    }
    if entry.name == MessageChannel::FALLBACK_RULE {
        let rule = "another name: Herald calls messages so that take the place of another by the next channel";
        wrong.field(at, "name", rule);
    }
    condition(at, entry.when.as_deref(), wrong);
    duration(at, "after", entry.after.as_deref(), wrong);
    recipients(at, "send.to", &entry.send.to, true, wrong);
    channel(at, "send.channel", &entry.send.channel, wrong);
    texts(at, "send.params", &entry.send.params, wrong);
    let name = entry.send.mode.as_deref().unwrap_or("template");
    let has_fallback = entry.send.fallback_template.is_some();
    mode(at, name, has_fallback, "send.mode", wrong);
}

fn mode(
    at: CatalogueEntryRef<'_>,
    name: &str,
    has_fallback: bool,
    field: &str,
    wrong: &mut MistakeCollector<'_>,
) {
    match MessageContentMode::parse(name) {
        None => wrong.field(at, field, "auto, template or text"),
        Some(MessageContentMode::Template) if has_fallback => {
            let rule = "fallback_template goes with auto or text: a template needs none";
            wrong.field(at, field, rule);
        }
        Some(_) => {}
    }
}

fn condition(at: CatalogueEntryRef<'_>, when: Option<&str>, wrong: &mut MistakeCollector<'_>) {
    if let Some(Err(error)) = when.map(template::check_expression) {
        wrong.field(at, "when", error);
    }
}

fn duration(
    at: CatalogueEntryRef<'_>,
    field: &str,
    text: Option<&str>,
    wrong: &mut MistakeCollector<'_>,
) {
    if text.is_some_and(|text| parse_duration_seconds(text).is_none()) {
        wrong.field(at, field, "a number and s, m, h or d, such as 24h");
    }
}

fn texts(
    at: CatalogueEntryRef<'_>,
    field: &str,
    texts: &BTreeMap<String, String>,
    wrong: &mut MistakeCollector<'_>,
) {
    for (name, text) in texts {
        if let Err(error) = template::check_text(text) {
            wrong.field(at, &format!("{field}.{name}"), error);
        }
    }
}

fn recipients(
    at: CatalogueEntryRef<'_>,
    field: &str,
    to: &CatalogueRecipientList,
    same_allowed: bool,
    wrong: &mut MistakeCollector<'_>,
) {
    let entries: Vec<String> = to.clone().into();
    if entries.is_empty() {
        wrong.field(at, field, "needs at least one recipient");
    }
    for entry in &entries {
        recipient(at, field, entry, same_allowed, wrong);
    }
}

fn recipient(
    at: CatalogueEntryRef<'_>,
    field: &str,
    entry: &str,
    same_allowed: bool,
    wrong: &mut MistakeCollector<'_>,
) {
    if is_expression(entry) {
        if let Err(error) = template::check_text(entry) {
            wrong.field(at, field, error);
        }
        return;
    }
    match RecipientSpec::parse(entry) {
        Ok(RecipientSpec::Same) if !same_allowed => {
            wrong.field(at, field, "`same` is for rules");
        }
        Ok(_) => {}
        Err(error) => wrong.field(at, field, error),
    }
}

/// The channels of a route, in their order.
fn channels(
    entry: &CatalogueRouteEntry,
    at: CatalogueEntryRef<'_>,
    wrong: &mut MistakeCollector<'_>,
) {
    for (index, word) in entry.channels.iter().enumerate() {
        channel(at, "channels", word, wrong);
        if entry.channels.iter().take(index).any(|it| it == word) {
            wrong.field(at, "channels", "each channel once");
        }
    }
    let has_both = !entry.channels.is_empty() && entry.channel != MessageChannel::default().name();
    if has_both {
        wrong.field(at, "channel", "either channel or channels");
    }
    let wait = entry.fallback_after.as_deref();
    duration(at, "fallback_after", wait, wrong);
    let seconds = wait.and_then(parse_duration_seconds);
    if seconds.is_some_and(|seconds| !MessageChannel::FALLBACK_SECONDS.contains(&seconds)) {
        wrong.field(at, "fallback_after", "10s to 7d");
    }
    if wait.is_some() && entry.channels.len() < 2 {
        wrong.field(at, "fallback_after", "needs two channels or more");
    }
}

fn channel(
    at: CatalogueEntryRef<'_>,
    field: &str,
    channel: &str,
    wrong: &mut MistakeCollector<'_>,
) {
    if MessageChannel::parse(channel).is_none() {
        wrong.field(at, field, MessageChannel::RULE);
    }
}
