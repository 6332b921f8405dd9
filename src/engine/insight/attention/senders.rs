//! Findings about senders and their credentials.

use super::{AttentionFinding, FindingUrgency};
use crate::{
    domain::{
        alarm::{AlarmKind, AlarmMeasure},
        time::Timestamp,
    },
    engine::{Engine, admin::senders, runtime::keyring},
    store::{StoreError, credential, sender},
};

/// Whether they can send, receive callbacks, and have valid credentials.
pub(super) async fn look(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<AttentionFinding>,
) -> Result<(), StoreError> {
    let all = sender::all(&engine.store).await?;
    if all.is_empty() {
        let summary = "No sender is known: nothing can be sent.".to_owned();
        found.push(
            AttentionFinding::new(AlarmKind::NoSender, FindingUrgency::Now, AlarmMeasure::flag(true), summary).means(
                "WhatsApp is not configured: messages are accepted and wait until they expire.",
                "Set WHATSAPP_PHONE_NUMBER_ID and WHATSAPP_ACCESS_TOKEN, or use herald senders add.",
            ),
        );
    }
    for row in &all {
        let (standing, reason) = senders::standing(engine, row);
        let reason = reason.unwrap_or_default();
        found.push(
            AttentionFinding::new(
                AlarmKind::SenderHeld,
                FindingUrgency::Now,
                AlarmMeasure::flag(standing != "active"),
                format!("The sender {} does not send: {reason}", row.name),
            )
            .of(&row.name)
            // Other processes may have credentials that this environment lacks.
            .local(standing == "blocked")
            .means(
                "Its messages wait, and expire if it takes too long.",
                remedy_of(standing, &reason),
            ),
        );
        let silent_for = row.unheard_since.map_or(0, |since| {
            now.micros_since(Timestamp::from_micros(since)) / 1_000_000
        });
        let silence = AlarmMeasure {
            value: silent_for,
            raise_at: engine.settings.alarms.silent_after_seconds,
            clear_at: 0,
        };
        found.push(
            AttentionFinding::new(
                AlarmKind::Silence,
                FindingUrgency::Now,
                silence,
                format!(
                    "The sender {} has sent for {} minutes and no callback has come.",
                    row.name,
                    silent_for / 60
                ),
            )
            .of(&row.name)
            .means(
                "Messages are sent, but their delivery is not known.",
                "Check that the app is subscribed to the account and that its callback URL reaches this server: herald check.",
            ),
        );
    }
    credentials(engine, &all, now, found).await
}

async fn credentials(
    engine: &Engine,
    senders: &[entity::sender::Model],
    now: Timestamp,
    found: &mut Vec<AttentionFinding>,
) -> Result<(), StoreError> {
    let ageing = engine.settings.ageing;
    for row in credential::all(engine.store.reader()).await? {
        if !row.active {
            continue;
        }
        let owner = senders
            .iter()
            .find(|sender| {
                row.scope == keyring::token_scope(sender.id)
                    || row.scope == keyring::scope_of(sender)
            })
            .map_or("a deleted sender", |sender| sender.name.as_str());
        let kind = row.kind.replace('_', " ");
        let expires_at = row.expires_at.map(Timestamp::from_micros);
        let until = expires_at.map_or_else(String::new, |at| at.to_string());
        found.push(
            AttentionFinding::new(
                AlarmKind::CredentialExpiring,
                FindingUrgency::Soon,
                AlarmMeasure::flag(ageing.expires_soon(expires_at, now)),
                format!("The {kind} of {owner} expires at {until}."),
            )
            .of(&row.id.to_string())
            .means("Without it, its messages wait.", RENEW),
        );
        found.push(
            AttentionFinding::new(
                AlarmKind::CredentialOld,
                FindingUrgency::Soon,
                AlarmMeasure::flag(ageing.is_old(Timestamp::from_micros(row.created_at), now)),
                format!("The {kind} of {owner} has been in use for long."),
            )
            .of(&row.id.to_string())
            .means(
                "An old credential may have been seen by many people.",
                RENEW,
            ),
        );
    }
    Ok(())
}

const RENEW: &str = "Create a new one at the provider and set it with herald senders set. The old one stays valid meanwhile.";

fn remedy_of(standing: &str, reason: &str) -> String {
    match standing {
        "off" => "Release it when you are ready: herald senders release.".to_owned(),
        "blocked" => "Set what is missing: herald senders set, or the environment.".to_owned(),
        _ if reason.contains("token") => {
            "Create a new access token at Meta and set it with herald senders set. A test token is valid for an hour; a system user's does not expire.".to_owned()
        }
        _ => "Herald tries again automatically, once a minute. If the problem stays, see herald check.".to_owned(),
    }
}
