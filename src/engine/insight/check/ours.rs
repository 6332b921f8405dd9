//! Checks of our own side: secrets, database, clock, workers, and whether we can be reached.

use std::{path::Path, sync::Arc};

use secrecy::ExposeSecret;

use super::{
    FindingSeverity, InstallationCheckInputs, InstallationCheckResult, InstallationCheckSide,
    public_url::kinds,
};
use crate::{
    domain::{alarm::AlarmKind, horizon::TOLERANCE_MICROS, time::Timestamp},
    engine::{
        Engine,
        insight::attention,
        runtime::{
            clock,
            heartbeat::{self, WorkerLiveness},
            keyring::ProviderCredentialSet,
        },
    },
    providers::{CallbackSecretWords, MessagingProvider, ProviderDiagnosis},
    store::{Store, StoreError, files, horizon, migrate, setting},
};

/// Least length of a secret that people choose, in characters.
const SHORTEST: usize = 16;

pub(super) fn ours(
    name: &'static str,
    verdict: FindingSeverity,
    found: impl Into<String>,
) -> InstallationCheckResult {
    InstallationCheckResult::new(InstallationCheckSide::Ours, name, verdict, found)
}

/// The row for a database that cannot be reached.
pub fn database(why: &str) -> InstallationCheckResult {
    ours(
        "database",
        FindingSeverity::Failed,
        format!("The database cannot be used: {why}"),
    )
    .helps("Check DATABASE_URL, whether the database runs and accepts this user, and whether its file is intact (docs/backup.md).")
}

/// Whether the database is reachable, current and durable. False: nothing more can be read from it.
pub async fn of_database(store: &Store) -> (Vec<InstallationCheckResult>, bool) {
    let current = match migrate::is_current(store).await {
        Ok(current) => current,
        Err(StoreError::ForeignSchema(error)) => {
            let found = format!("The schema cannot be used: {error}.");
            return (
                vec![ours("migrations", FindingSeverity::Failed, found)],
                false,
            );
        }
        Err(error) => return (vec![database(&error.to_string())], false),
    };
    let kind = if store.is_sqlite() {
        "SQLite"
    } else {
        "PostgreSQL"
    };
    let mut rows = vec![ours(
        "database",
        FindingSeverity::Ok,
        format!("{kind} answers."),
    )];
    rows.push(if current {
        ours("migrations", FindingSeverity::Ok, "The schema is current.")
    } else {
        ours(
            "migrations",
            FindingSeverity::Failed,
            "The schema is older than this program.",
        )
        .helps("herald migrate up")
    });
    match setting::durability(store).await {
        Ok(settings) => {
            let weak: Vec<String> = settings
                .iter()
                .filter(|(name, value)| is_weak(name, value))
                .map(|(name, value)| format!("{name} = {value}"))
                .collect();
            rows.push(if weak.is_empty() {
                ours(
                    "durability",
                    FindingSeverity::Ok,
                    "What is committed is on the disk.",
                )
            } else {
                ours(
                    "durability",
                    FindingSeverity::Failed,
                    format!("What is committed may be lost: {}.", weak.join(", ")),
                )
                .helps("Set fsync, synchronous_commit and full_page_writes to on in PostgreSQL.")
            });
        }
        Err(error) => rows.push(database(&error.to_string())),
    }
    (rows, current)
}

/// Whether other users of this machine may read the files of a SQLite database.
pub fn files(database: &Path) -> InstallationCheckResult {
    let open: Vec<String> = files::open_to_others(database)
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    if open.is_empty() {
        return ours(
            "files",
            FindingSeverity::Ok,
            "No other user of this machine can read the database's files.",
        );
    }
    ours(
        "files",
        FindingSeverity::Warning,
        format!("Others on this machine may use {}.", open.join(", ")),
    )
    .helps("serve restricts the permissions of files that it owns: run it as their owner; or chmod 600 the files and 700 the folder.")
}

/// Whether a database setting allows committed data to be lost.
fn is_weak(name: &str, value: &str) -> bool {
    match name {
        "fsync" | "synchronous_commit" | "full_page_writes" => value == "off",
        "synchronous" => value == "0" || value == "1",
        _ => false,
    }
}

pub(super) fn secrets(engine: &Engine) -> Vec<InstallationCheckResult> {
    let ring = engine.keyring();
    let mut rows = Vec::new();
    rows.push(if engine.vault().is_some() {
        ours("secret_key", FindingSeverity::Ok, "HERALD_SECRET_KEY opens what is encrypted.")
    } else {
        ours(
            "secret_key",
            FindingSeverity::Failed,
            "HERALD_SECRET_KEY is not set: serve does not start, and credentials of senders cannot be read.",
        )
        .helps("Create one with openssl rand -hex 32, keep it, and set it for all processes.")
    });
    // Mail servers call nothing, so that there is nothing to be proved.
    let calling: Vec<&Arc<dyn MessagingProvider>> = kinds(engine, &ring)
        .into_iter()
        .filter_map(|kind| engine.providers().find(kind))
        .filter(|provider| provider.receiver().is_some())
        .collect();
    if calling.is_empty() {
        rows.push(ours(
            "app_secret",
            FindingSeverity::Skipped,
            "No sender has callbacks.",
        ));
        return rows;
    }
    if ring.unreadable_secrets > 0 {
        rows.push(
            ours(
                "app_secret",
                FindingSeverity::Failed,
                format!("{} secrets of callbacks were encrypted with another key.", ring.unreadable_secrets),
            )
            .helps("Set the key they were encrypted with as HERALD_SECRET_KEY_PREVIOUS, or set them again: herald senders set."),
        );
    } else {
        let of_each = calling
            .iter()
            .map(|provider| callback_secret(provider.as_ref(), &ring));
        rows.extend(of_each);
    }
    let registers = |provider: &&Arc<dyn MessagingProvider>| {
        provider
            .diagnose()
            .is_some_and(ProviderDiagnosis::has_handshake)
    };
    if !calling.iter().any(registers) {
        return rows;
    }
    if ring.verify_tokens.is_empty() {
        rows.push(
            ours("verify_token", FindingSeverity::Warning, "No verify token is known: the webhook cannot be registered at Meta.")
                .helps("Choose one of 16 characters or more, set WHATSAPP_WEBHOOK_VERIFY_TOKEN, and enter the same in Meta's form."),
        );
    } else {
        let short = ring
            .verify_tokens
            .iter()
            .any(|token| token.expose_secret().chars().count() < SHORTEST);
        rows.push(strength(
            "verify_token",
            short,
            "The verify token",
            "Use 16 characters or more: openssl rand -hex 16.",
        ));
    }
    rows
}

/// Whether the callbacks of a provider can be proved, and by no secret that can be guessed.
fn callback_secret(
    provider: &dyn MessagingProvider,
    ring: &ProviderCredentialSet,
) -> InstallationCheckResult {
    let words = provider.diagnose().map_or(
        CallbackSecretWords::default(),
        ProviderDiagnosis::callback_secret_words,
    );
    let signers = ring.signers_of(provider.kind());
    if signers.is_empty() {
        return ours(
            words.row,
            FindingSeverity::Failed,
            format!(
                "{} is not known: every callback is answered 503.",
                sentence(words.name)
            ),
        )
        .helps(words.setting);
    }
    let short = signers
        .iter()
        .any(|signer| signer.secret.expose_secret().chars().count() < SHORTEST);
    strength(words.row, short, &sentence(words.name), words.length)
}

/// With a capital letter.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn strength(name: &'static str, short: bool, what: &str, remedy: &str) -> InstallationCheckResult {
    if short {
        ours(
            name,
            FindingSeverity::Warning,
            format!("{what} is short enough to be guessed."),
        )
        .helps(remedy)
    } else {
        ours(name, FindingSeverity::Ok, format!("{what} is long enough."))
    }
}

/// Whether the clocks agree, and whether one was changed.
pub(super) async fn clocks(
    engine: &Engine,
    now: Timestamp,
) -> Result<Vec<InstallationCheckResult>, StoreError> {
    let mut rows = Vec::new();
    if let Some(ahead) = setting::clock_ahead_micros(&engine.store, clock::machine_now).await? {
        rows.push(if ahead.abs() > TOLERANCE_MICROS {
            let way = if ahead > 0 { "behind" } else { "ahead of" };
            ours(
                "clock",
                FindingSeverity::Warning,
                format!(
                    "This machine's clock is {} seconds {way} the database's, which is authoritative.",
                    ahead.abs() / 1_000_000
                ),
            )
            .helps("Synchronize both machines by NTP.")
        } else {
            ours(
                "clock",
                FindingSeverity::Ok,
                "The clocks of this machine and of the database agree.",
            )
        });
    }
    rows.push(changed_clock(engine, now).await?);
    Ok(rows)
}

/// Whether rows show that the clock was changed.
async fn changed_clock(
    engine: &Engine,
    now: Timestamp,
) -> Result<InstallationCheckResult, StoreError> {
    let bounds = engine.settings.horizon();
    let counts = horizon::count(&engine.store, &bounds, now).await?;
    let latest = horizon::traces(&engine.store, &bounds, now).await?.latest();
    if counts.is_empty() && latest.is_none() {
        return Ok(ours(
            "clock_changed",
            FindingSeverity::Ok,
            "No timestamp is too far in the future.",
        ));
    }
    let newest = latest.map_or_else(String::new, |latest| {
        let seconds = latest.micros_since(now) / 1_000_000;
        format!(" the newest row was made at {latest}, {seconds} seconds from now;")
    });
    let waiting = if counts.is_empty() {
        "nothing waits for it now".to_owned()
    } else {
        let counts = counts.iter();
        let kinds = clock::said(counts.map(|(kind, count)| (*kind, count.unsigned_abs())));
        format!("timestamps too far in the future: {kinds}")
    };
    let found = format!("The clock was ahead, or has been put back:{newest} {waiting}.");
    Ok(ours("clock_changed", FindingSeverity::Warning, found).helps(
        "See that the clock is right now (timedatectl). herald serve treats such timestamps as past, and corrects them within a minute: nothing else need be done.",
    ))
}

pub(super) async fn workers(
    engine: &Engine,
    now: Timestamp,
) -> Result<Vec<InstallationCheckResult>, StoreError> {
    let rows = heartbeat::pulses(engine, now)
        .await?
        .map(|(worker, pulse)| {
            match pulse {
                WorkerLiveness::Alive => ours(
                    "workers",
                    FindingSeverity::Ok,
                    "Its last heartbeat is less than a minute old.",
                ),
                WorkerLiveness::Missing => ours(
                    "workers",
                    FindingSeverity::Warning,
                    "No server runs: nothing is sent, and no callback is accepted.",
                )
                .helps("Start herald serve."),
                WorkerLiveness::Dead(seconds) => ours(
                    "workers",
                    FindingSeverity::Failed,
                    format!("It has had no heartbeat for {seconds} seconds."),
                )
                .helps("Start herald serve again, and check its log for why it stopped."),
            }
            .of(worker)
        });
    Ok(rows.into())
}

/// The findings that the dashboard shows as needing attention.
pub(super) async fn attention(
    engine: &Engine,
    asked: &InstallationCheckInputs,
    now: Timestamp,
) -> Result<Vec<InstallationCheckResult>, StoreError> {
    let found = attention::findings(engine, now).await?;
    let ring = engine.keyring();
    let mut rows = Vec::new();
    if !asked.is_enabled {
        rows.push(
            ours(
                "enabled",
                FindingSeverity::Warning,
                "WHATSAPP_ENABLED is false: messages are accepted and wait, and nothing is sent.",
            )
            .helps("Set WHATSAPP_ENABLED=true to send messages."),
        );
    }
    rows.extend(ring.unstored.iter().map(|account| {
        ours(
            "sender",
            FindingSeverity::Ok,
            "The environment's sender is stored when herald serve starts.",
        )
        .of(&account.name)
    }));
    let found: Vec<InstallationCheckResult> = found
        .into_iter()
        .filter(|finding| finding.kind != AlarmKind::NoSender || ring.unstored.is_empty())
        // These have rows of their own here.
        .filter(|finding| {
            ![
                AlarmKind::WorkerDead,
                AlarmKind::Clock,
                AlarmKind::TemplateUnusable,
            ]
            .contains(&finding.kind)
        })
        .filter(|finding| match finding.kind {
            // Sending is off on purpose; a sender held by hand is known to be.
            AlarmKind::SenderHeld => {
                asked.is_enabled
                    && ring.is_about(asked.sender, |account| account.name == finding.subject)
            }
            AlarmKind::AccountRestricted => ring.is_about(asked.sender, |account| {
                let of_account = finding.subject.split('/').next();
                account.account_id.as_deref() == of_account
            }),
            AlarmKind::Silence => {
                ring.is_about(asked.sender, |account| account.name == finding.subject)
            }
            _ => true,
        })
        .map(|finding| {
            let verdict = match finding.urgency {
                attention::FindingUrgency::Now => FindingSeverity::Failed,
                attention::FindingUrgency::Soon => FindingSeverity::Warning,
            };
            let row = ours(finding.kind.name(), verdict, finding.summary).helps(finding.remedy);
            if finding.subject.is_empty() {
                row
            } else {
                row.of(&finding.subject)
            }
        })
        .collect();
    let is_empty = found.is_empty();
    rows.extend(found);
    if is_empty {
        rows.push(ours(
            "queues",
            FindingSeverity::Ok,
            "Nothing waits too long, and nothing fails too often.",
        ));
    }
    Ok(rows)
}
