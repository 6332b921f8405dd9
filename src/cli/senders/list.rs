//! `herald senders list`: prints senders and their masked credentials.

use super::super::say;
use crate::{
    domain::{pace, time::Timestamp},
    engine::{Engine, admin::senders},
    store::{audit, sender},
};

/// Prints the senders and their credentials, masked.
pub(super) async fn list(engine: &Engine, json: bool) -> anyhow::Result<()> {
    let rows = sender::all(&engine.store).await?;
    let unreadable = if engine.vault().is_some() {
        "encrypted with another HERALD_SECRET_KEY"
    } else {
        "encrypted (HERALD_SECRET_KEY is not set here)"
    };
    if rows.is_empty() && !json {
        say(
            "There is no sender: `herald senders add`, or set WHATSAPP_PHONE_NUMBER_ID and WHATSAPP_ACCESS_TOKEN.",
        );
    }
    for row in rows {
        let credentials = senders::shown(engine, &row).await?;
        let settings = sender::settings_of(&row);
        let (state, reason) = senders::standing(engine, &row);
        let of_all = engine.settings.sending.per_second;
        let pace = pace::allowed(row.pace_set, of_all, row.pace_reported);
        let changed = audit::newest_of_sender(&engine.store, &row.name).await?;
        let changed_at = changed
            .as_ref()
            .map(|entry| Timestamp::from_micros(entry.created_at).to_string());
        let updated_at = Timestamp::from_micros(row.updated_at).to_string();
        if json {
            let shown: Vec<serde_json::Value> = credentials
                .iter()
                .map(|it| {
                    serde_json::json!({
                        "id": it.id,
                        "kind": it.kind.name(),
                        "source": if it.id.is_some() { "database" } else { "environment" },
                        "masked": it.masked,
                        "active": it.active,
                        "created_at": it.created_at.map(|at| at.to_string()),
                        "expires_at": it.expires_at.map(|at| at.to_string()),
                        "added_by": it.added_by,
                    })
                })
                .collect();
            say(serde_json::json!({
                "id": row.id, "name": row.name, "kind": row.kind, "default": row.is_default, "state": state, "reason": reason,
                "phone_number_id": row.endpoint_id, "account": row.account_id, "app": row.app_id,
                "messages_per_second": pace, "credentials": shown, "number": row.display_number,
                "api_version": settings.get("api_version"), "api_base": settings.get("api_base"), "updated_at": updated_at,
                "changed_at": changed_at, "changed_by": changed.map(|entry| entry.actor),
            })
            .to_string());
            continue;
        }
        let default = if row.is_default { "  (default)" } else { "" };
        say(format!("{}{default}", row.name));
        let line = |name: &str, value: &str| say(format!("  {name:<14} {value}"));
        line("id", &row.id.to_string());
        line(
            "state",
            &reason.map_or_else(|| state.to_owned(), |reason| format!("{state}: {reason}")),
        );
        for (name, value) in [
            ("number id", &row.endpoint_id),
            ("account (WABA)", &row.account_id),
            ("app", &row.app_id),
            ("number", &row.display_number),
            ("API version", &settings.get("api_version").cloned()),
            ("API base", &settings.get("api_base").cloned()),
            ("updated", &Some(updated_at)),
            (
                "changed",
                &changed
                    .zip(changed_at)
                    .map(|(entry, at)| format!("{at} by {}", entry.actor)),
            ),
        ] {
            if let Some(value) = value {
                line(name, value);
            }
        }
        let pace = if pace == 0 {
            "unlimited".to_owned()
        } else {
            let by = match pace::allowed_by(row.pace_set, of_all, row.pace_reported) {
                "sender" => "its own limit",
                "setting" => "HERALD_SEND_PER_SECOND",
                "provider" => "as the provider reports",
                _ => "until the provider reports it",
            };
            format!("{pace} messages per second ({by})")
        };
        line("pace", &pace);
        for it in &credentials {
            let mut words = vec![it.masked.clone().unwrap_or_else(|| unreadable.to_owned())];
            match it.id {
                Some(id) => words.push(id.to_string()),
                None => words.push("from the environment".to_owned()),
            }
            if !it.active {
                words.push("not in use".to_owned());
            }
            if let Some(at) = it.created_at {
                words.push(format!("since {at}"));
            }
            if let Some(at) = it.expires_at {
                words.push(format!("expires {at}"));
            }
            line(it.kind.name(), &words.join("  "));
        }
    }
    Ok(())
}
