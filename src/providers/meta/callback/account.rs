//! Parses fields that are not about a message: templates, numbers, the account and people's
//! preferences (Meta, "Webhooks: fields").

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{MetaChangeContext, complete, kind_of};
use crate::{
    domain::{
        preference::{ConsentChange, ConsentScope},
        time::Timestamp,
    },
    providers::{
        AccountUpdateEffect, CallbackItemContent, PersonIds, ProviderAccountUpdate,
        ProviderTemplateChange, ProviderTemplateUpdate, ProviderUpdate, ProviderUpdateSubject,
        meta::{
            lenient::{LenientText, digits},
            words,
        },
    },
};

/// Parses the value of an account's field. `None` if the field is unknown.
pub(super) fn parse(
    field: &str,
    raw: &RawValue,
    context: &MetaChangeContext,
) -> Option<CallbackItemContent> {
    let value: Value = serde_json::from_str(raw.get()).ok()?;
    let value = value.as_object().map(|_| &value)?;
    let (summary, subject) = match field {
        "message_template_status_update"
        | "message_template_quality_update"
        | "message_template_components_update"
        | "template_category_update"
        | "template_correct_category_detection" => template(field, value)?,
        _ => account(field, value)?,
    };
    Some(CallbackItemContent::News(Box::new(ProviderUpdate {
        field: field.to_owned(),
        summary,
        at: context.at,
        // A partner gets updates about accounts of others, which name the account.
        account_id: text_at(value, "/waba_info/waba_id").or_else(|| context.account_id.clone()),
        subject,
        raw: raw.get().to_owned(),
    })))
}

/// A text or a number of an object, as text.
fn text(value: &Value, key: &str) -> Option<String> {
    readable(value.get(key)?)
}

/// The same at a JSON pointer.
fn text_at(value: &Value, pointer: &str) -> Option<String> {
    readable(value.pointer(pointer)?)
}

fn readable(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn template(field: &str, value: &Value) -> Option<(String, ProviderUpdateSubject)> {
    let name = text(value, "message_template_name")?;
    // `en-US` and `en_US` both occur.
    let language = text(value, "message_template_language")
        .unwrap_or_default()
        .replace('-', "_");
    // Decided by its content: Meta's own example shows a quality update under the field of a
    // status.
    let (summary, change) = if let Some(score) = text(value, "new_quality_score") {
        let quality = words::quality(&score);
        (
            format!("the quality of the template {name} ({language}) is {quality}"),
            ProviderTemplateChange::Quality(quality),
        )
    } else if let Some(correct) = text(value, "correct_category") {
        // In this shape `new_category` is the present one.
        let correct = words::category(&correct);
        (
            format!("the template {name} ({language}) will become {correct}"),
            ProviderTemplateChange::CategoryDue(correct),
        )
    } else if let Some(category) = text(value, "new_category") {
        let category = words::category(&category);
        (
            format!("the template {name} ({language}) is now {category}"),
            ProviderTemplateChange::Category(category),
        )
    } else if let Some(event) = text(value, "event") {
        let status = words::status(&event);
        let reason = text(value, "reason")
            .filter(|reason| reason != "NONE")
            .or_else(|| text_at(value, "/rejection_info/reason"))
            .or_else(|| text_at(value, "/other_info/description"))
            .or_else(|| text_at(value, "/other_info/title"));
        (
            format!("the template {name} ({language}) is {}", status.phrase()),
            ProviderTemplateChange::Status {
                status,
                reason,
                category: text(value, "message_template_category")
                    .map(|word| words::category(&word)),
            },
        )
    } else if field == "message_template_components_update" {
        (
            format!("the template {name} ({language}) was changed"),
            ProviderTemplateChange::Components,
        )
    } else {
        return None;
    };
    let news = ProviderTemplateUpdate {
        name,
        language,
        provider_template_id: text(value, "message_template_id"),
        change,
    };
    Some((summary, ProviderUpdateSubject::Template(news)))
}

fn account(field: &str, value: &Value) -> Option<(String, ProviderUpdateSubject)> {
    let number = ["display_phone_number", "phone_number", "phone_number_id"]
        .into_iter()
        .find_map(|key| text(value, key))
        .and_then(|number| digits(&number));
    let of = number
        .as_ref()
        .map_or_else(String::new, |_| " of a number".to_owned());
    let news = |property: &str, summary: String, effect: AccountUpdateEffect| {
        let news = ProviderAccountUpdate {
            number: number.clone(),
            property: property.to_owned(),
            value: value.clone(),
            effect,
        };
        Some((summary, ProviderUpdateSubject::Account(news)))
    };
    let word = |key: &str| text(value, key).unwrap_or_else(|| "unknown".to_owned());
    // The id of one of several objects of a kind: each has its own newest value.
    let of_which = |key: &str| text(value, key).map_or_else(String::new, |id| format!(" {id}"));
    match field {
        "phone_number_quality_update" => {
            let limit = text(value, "max_daily_conversations_per_business")
                .or_else(|| text(value, "current_limit"));
            let limit = limit.map_or_else(String::new, |limit| format!(", limit {limit}"));
            news(
                "quality",
                format!("quality{of}: {}{limit}", word("event")),
                AccountUpdateEffect::None,
            )
        }
        "phone_number_name_update" => news(
            "name",
            format!(
                "the display name{of} is {}",
                word("decision").to_lowercase()
            ),
            AccountUpdateEffect::None,
        ),
        "account_update" => {
            let event = word("event");
            let effect = account_effect(&event, value, number.is_some());
            let property = match &effect {
                // Holding and releasing are one property: the newer value counts.
                AccountUpdateEffect::Hold { .. } | AccountUpdateEffect::Release => {
                    "standing".to_owned()
                }
                AccountUpdateEffect::None => event.to_lowercase(),
            };
            let summary = match &effect {
                AccountUpdateEffect::Hold { reason, .. } => reason.clone(),
                AccountUpdateEffect::Release => match number {
                    Some(_) => "the number may send again".to_owned(),
                    None => "the account may send again".to_owned(),
                },
                AccountUpdateEffect::None => format!("account: {event}"),
            };
            news(&property, summary, effect)
        }
        "account_review_update" => news(
            "review",
            format!("the account's review: {}", word("decision").to_lowercase()),
            AccountUpdateEffect::None,
        ),
        "account_alerts" => {
            let alert = |key: &str| {
                text_at(value, &format!("/alert_info/{key}"))
                    .or_else(|| text(value, key))
                    .unwrap_or_else(|| "unknown".to_owned())
            };
            news(
                &format!(
                    "alert {}{}",
                    alert("alert_type").to_lowercase(),
                    of_which("entity_id")
                ),
                format!(
                    "alert: {} ({})",
                    alert("alert_type"),
                    alert("alert_severity")
                ),
                AccountUpdateEffect::None,
            )
        }
        "business_capability_update" => news(
            "capability",
            "the account's limits have changed".to_owned(),
            AccountUpdateEffect::None,
        ),
        "security" => news(
            "security",
            format!("security{of}: {}", word("event")),
            AccountUpdateEffect::None,
        ),
        "account_settings_update"
        | "business_status_update"
        | "business_username_updates"
        | "business_username_update"
        | "payment_configuration_update"
        | "flows"
        | "partner_solutions" => {
            let which = ["flow_id", "configuration_name", "solution_id"]
                .iter()
                .map(|key| of_which(key))
                .find(|which| !which.is_empty())
                .unwrap_or_default();
            let property = format!("{field}{which}");
            news(
                &property,
                format!("changed: {field}"),
                AccountUpdateEffect::None,
            )
        }
        _ => None,
    }
}

/// Whether an account may still send (Meta, "account_update").
fn account_effect(event: &str, value: &Value, of_number: bool) -> AccountUpdateEffect {
    let hold = |reason: &str, until: Option<Timestamp>| AccountUpdateEffect::Hold {
        reason: reason.to_owned(),
        until,
    };
    match event {
        "ACCOUNT_DELETED" => hold("the account was deleted", None),
        "ACCOUNT_OFFBOARDED" if of_number => hold("the number was taken off the platform", None),
        "ACCOUNT_OFFBOARDED" => hold("the account was taken off the platform", None),
        "PARTNER_REMOVED" | "PARTNER_APP_UNINSTALLED" => hold(
            "the business has disconnected the account from this app",
            None,
        ),
        "ACCOUNT_RECONNECTED" | "PARTNER_ADDED" | "PARTNER_APP_INSTALLED" => {
            AccountUpdateEffect::Release
        }
        "DISABLED_UPDATE" => {
            let state = match value.pointer("/ban_info/waba_ban_state") {
                // Older pages show a list with one word.
                Some(Value::Array(words)) => words.first(),
                state => state,
            };
            let state = state.and_then(Value::as_str).unwrap_or("");
            match state {
                "DISABLE" => hold("Meta has disabled the account", None),
                "REINSTATE" => AccountUpdateEffect::Release,
                _ => AccountUpdateEffect::None,
            }
        }
        "ACCOUNT_RESTRICTION" => {
            let restrictions = value
                .get("restriction_info")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let sending = restrictions.iter().find(|restriction| {
                matches!(
                    restriction.get("restriction_type").and_then(Value::as_str),
                    Some(
                        "RESTRICTED_BIZ_INITIATED_MESSAGING"
                            | "RESTRICTED_CUSTOMER_INITIATED_MESSAGING"
                    )
                )
            });
            match sending {
                Some(restriction) => hold(
                    "Meta has restricted the account from sending",
                    text(restriction, "expiration")
                        .and_then(|seconds| seconds.parse().ok())
                        .map(Timestamp::from_unix_seconds),
                ),
                None => AccountUpdateEffect::None,
            }
        }
        _ => AccountUpdateEffect::None,
    }
}

/// `value.errors` without messages or statuses: an error that concerns the whole callback.
pub(super) fn errors(raw: &RawValue, context: &MetaChangeContext) -> CallbackItemContent {
    let value: Value = serde_json::from_str(raw.get()).unwrap_or(Value::Null);
    let code = value.pointer("/0/code").or_else(|| value.get("code"));
    let code = code.and_then(Value::as_i64);
    let summary = code.map_or_else(
        || "account error".to_owned(),
        |code| format!("account error {code}"),
    );
    CallbackItemContent::News(Box::new(ProviderUpdate {
        field: "messages".to_owned(),
        summary,
        at: context.at,
        account_id: context.account_id.clone(),
        subject: ProviderUpdateSubject::Account(ProviderAccountUpdate {
            number: None,
            property: "errors".to_owned(),
            value,
            effect: AccountUpdateEffect::None,
        }),
        raw: raw.get().to_owned(),
    }))
}

#[derive(Deserialize)]
struct MetaPreferenceItem {
    #[serde(default)]
    wa_id: LenientText,
    #[serde(default)]
    user_id: LenientText,
    #[serde(default)]
    parent_user_id: LenientText,
    #[serde(default)]
    category: LenientText,
    #[serde(default)]
    value: LenientText,
    #[serde(default)]
    timestamp: LenientText,
}

/// `user_preferences[]`: a person stops or resumes marketing in WhatsApp itself.
pub(super) fn preference(
    raw: &RawValue,
    context: &MetaChangeContext,
) -> Result<CallbackItemContent, String> {
    let item: MetaPreferenceItem = serde_json::from_str(raw.get())
        .map_err(|error| format!("not a preference: {}", kind_of(&error)))?;
    let wanted = match item.value.as_deref() {
        Some("stop") => false,
        Some("resume" | "signup") => true,
        other => {
            return Ok(super::other_item(
                "user_preferences",
                format!("a preference {}", other.unwrap_or("without a value")),
                item.timestamp.seconds(),
                raw,
            ));
        }
    };
    if item
        .category
        .as_deref()
        .is_some_and(|category| category != "marketing_messages")
    {
        return Ok(super::other_item(
            "user_preferences",
            "a preference of a category other than marketing".to_owned(),
            item.timestamp.seconds(),
            raw,
        ));
    }
    let at = item.timestamp.seconds().unwrap_or(context.received);
    let person = PersonIds {
        wa_id: item.wa_id.filled(),
        user_id: item.user_id.filled(),
        parent_user_id: item.parent_user_id.filled(),
        ..PersonIds::default()
    };
    let person = complete(person, &context.contacts);
    if person.is_empty() {
        return Ok(super::other_item(
            "user_preferences",
            "a preference that names no person".to_owned(),
            Some(at),
            raw,
        ));
    }
    Ok(CallbackItemContent::News(Box::new(ProviderUpdate {
        field: "user_preferences".to_owned(),
        summary: if wanted {
            "a person wants marketing again".to_owned()
        } else {
            "a person wants no more marketing".to_owned()
        },
        at: Some(at),
        account_id: context.account_id.clone(),
        subject: ProviderUpdateSubject::Preference {
            person,
            wish: ConsentChange {
                scope: ConsentScope::Marketing,
                wanted,
                source: "user_preferences",
                at,
            },
        },
        raw: raw.get().to_owned(),
    })))
}
