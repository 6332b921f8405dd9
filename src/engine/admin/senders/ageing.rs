//! Warns of credentials that are about to expire or have not been replaced for long.

use crate::{
    domain::{
        credential::CredentialKind,
        own_event::{EventDeduplicationKey, HeraldEvent, payload::CredentialRenewalData},
        time::Timestamp,
    },
    engine::{Engine, intake, lifecycle::NotificationLifecycleReport, runtime::keyring},
    store::{
        StoreError,
        credential::{self, CredentialWarning},
        sender,
    },
};

/// Raises `herald.credential.expiring` and `herald.credential.old`, once each for a credential.
/// Returns the number.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let ageing = engine.settings.ageing;
    let due: Vec<(entity::credential::Model, CredentialWarning)> =
        credential::all(engine.store.reader())
            .await?
            .into_iter()
            .filter(|row| row.active)
            .flat_map(|row| {
                let expires_at = row.expires_at.map(Timestamp::from_micros);
                let expiring = row.expiry_told_at.is_none() && ageing.expires_soon(expires_at, now);
                let old = row.age_told_at.is_none()
                    && ageing.is_old(Timestamp::from_micros(row.created_at), now);
                [
                    (expiring, CredentialWarning::Expiry),
                    (old, CredentialWarning::Age),
                ]
                .into_iter()
                .filter(|(due, _)| *due)
                .map(move |(_, what)| (row.clone(), what))
                .collect::<Vec<_>>()
            })
            .collect();
    if due.is_empty() {
        return Ok(0);
    }
    let senders = sender::all(&engine.store).await?;
    let (warned, report) = engine
        .store
        .write(async |tx| {
            let (mut warned, mut report) = (0, NotificationLifecycleReport::default());
            for (row, what) in &due {
                if !credential::tell(tx, row.id, *what, now).await? {
                    continue;
                }
                warned += 1;
                let owners: Vec<String> = senders
                    .iter()
                    .filter(|sender| {
                        row.scope == keyring::token_scope(sender.id)
                            || row.scope == keyring::scope_of(sender)
                    })
                    .map(|sender| sender.name.clone())
                    .collect();
                let event = announcement(row, *what, owners, now);
                let occurrence = EventDeduplicationKey::Credential(row.id);
                report.add(intake::raise(engine, tx, &event, &occurrence, now).await?);
            }
            Ok((warned, report))
        })
        .await?;
    report.publish(engine);
    for (row, what) in &due {
        let event = match what {
            CredentialWarning::Age => "credential.old",
            CredentialWarning::Expiry => "credential.expiring",
        };
        tracing::warn!(event, credential.id = %row.id, kind = row.kind, "a credential is old or about to expire: replace it (`herald senders set`)");
    }
    Ok(warned)
}

fn announcement(
    row: &entity::credential::Model,
    what: CredentialWarning,
    senders: Vec<String>,
    now: Timestamp,
) -> HeraldEvent {
    let expires_at = row.expires_at.map(Timestamp::from_micros);
    let of = senders.join(", ");
    let name = CredentialKind::parse(&row.kind).map_or("credential", |kind| match kind {
        CredentialKind::AccessToken => "access token",
        CredentialKind::AppSecret => "app secret",
        CredentialKind::VerifyToken => "verify token",
    });
    let summary = match (what, expires_at) {
        (CredentialWarning::Expiry, Some(at)) if at <= now => {
            format!("the {name} of {of} has expired at {at}")
        }
        (CredentialWarning::Expiry, at) => {
            let at = at.map_or_else(String::new, |at| at.to_string());
            format!("the {name} of {of} expires at {at}")
        }
        (CredentialWarning::Age, _) => {
            let since = Timestamp::from_micros(row.created_at);
            format!("the {name} of {of} has been in use since {since}")
        }
    };
    let data = CredentialRenewalData {
        senders,
        kind: row.kind.clone(),
        credential: row.id,
        expires_at: expires_at.map(|at| at.to_string()),
        summary,
        remedy: CredentialRenewalData::REMEDY.to_owned(),
    };
    match what {
        CredentialWarning::Expiry => HeraldEvent::CredentialExpiring(data),
        CredentialWarning::Age => HeraldEvent::CredentialOld(data),
    }
}
