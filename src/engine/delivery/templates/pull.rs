//! Writes templates that exist only in a provider's account as a catalogue.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{NO_ACCOUNT, TemplateReviewSender, directory, learn, reviewed};
use crate::{
    domain::{template::name, time::Timestamp},
    engine::Engine,
    providers::{HttpClient, PulledTemplate},
    store::{StoreError, catalogue},
};

/// A catalogue made from pulled templates.
#[derive(Debug, Serialize)]
pub struct PulledCatalogue {
    pub name: String,
    pub template: Vec<PulledTemplate>,
}

/// Result of looking for templates that are in no catalogue.
#[derive(Debug, Default)]
pub struct TemplatePullReport {
    pub templates: Vec<PulledTemplate>,
    /// Name, language, and why the template cannot be expressed in a catalogue.
    pub left: Vec<(String, String, String)>,
    /// Accounts that could not be read, with the reason.
    pub unread: Vec<(String, String)>,
}

/// Reads every account. `only`: one template, by Meta's name.
pub async fn pull(
    engine: &Engine,
    http: &HttpClient,
    only: Option<&str>,
    now: Timestamp,
) -> Result<TemplatePullReport, StoreError> {
    let ring = engine.keyring();
    let suffix = engine.settings.template_suffix.as_deref();
    let known: BTreeSet<(String, String)> = catalogue::template_names(&engine.store)
        .await?
        .into_iter()
        .collect();
    let mut found = TemplatePullReport::default();
    let mut seen = BTreeSet::new();
    let mut accounts = BTreeSet::new();
    for TemplateReviewSender {
        account,
        provider,
        format,
    } in reviewed(engine, &ring)
    {
        let Some(account_id) = account.account_id.clone() else {
            found
                .unread
                .push((account.name.clone(), NO_ACCOUNT.to_owned()));
            continue;
        };
        if !accounts.insert(account_id.clone()) {
            continue;
        }
        let Some(directory) = directory(provider, http, account) else {
            let why = account.obstacle().unwrap_or_default();
            found.unread.push((account.name.clone(), why));
            continue;
        };
        let all = match directory.all().await {
            Ok(all) => all,
            Err(refusal) => {
                found
                    .unread
                    .push((account.name.clone(), refusal.to_string()));
                continue;
            }
        };
        learn(engine, &account_id, &all, now).await?;
        for remote in all {
            if only.is_some_and(|only| only != remote.name) {
                continue;
            }
            let Some(ours) = name::ours(&remote.name, suffix) else {
                let why = "it lacks the suffix in META_SYNC_VERSION_SUFFIX: unset that to pull it";
                found
                    .left
                    .push((remote.name, remote.language, why.to_owned()));
                continue;
            };
            let key = (ours.to_owned(), remote.language.clone());
            // Two accounts may have the same template: the first is taken.
            if known.contains(&key) || !seen.insert(key) {
                continue;
            }
            match format.pulled(&remote, ours) {
                Ok(template) => found.templates.push(template),
                Err(why) => found.left.push((remote.name, remote.language, why)),
            }
        }
    }
    Ok(found)
}
