//! Checks of the address at which people and providers reach Herald: whether it is set, and whether
//! callbacks that arrive there are accepted.

use std::collections::BTreeSet;

use super::{
    FindingSeverity, InstallationCheckInputs, InstallationCheckResult, ours::ours, webhook_of,
};
use crate::{
    domain::channel::MessageChannel,
    engine::{
        Engine,
        runtime::keyring::{ProviderCredentialSet, SenderAccount},
    },
    providers::{HttpClient, ProviderDiagnosis, WebhookProbeResult as Answer, reported_proxy},
};

/// The value in `/livez` for a proxy that is not trusted (`state::ProxyTrust::NotTrusted`).
const NOT_TRUSTED: &str = "not_trusted";

/// What lacks without the address, for mails.
const NO_LINKS: &str = "Mails that people may refuse have no link to unsubscribe.";

/// Whether providers could reach us, and their callbacks would be accepted.
pub(super) async fn all(
    engine: &Engine,
    asked: &InstallationCheckInputs,
    http: &HttpClient,
) -> Vec<InstallationCheckResult> {
    let ring = engine.keyring();
    let Some(public_url) = &asked.public_url else {
        let mut found =
            "HERALD_PUBLIC_URL is not set: it was not checked whether callbacks can arrive."
                .to_owned();
        if has_mailboxes(engine, &ring) {
            found = format!("{found} {NO_LINKS}");
        }
        return vec![
            ours("public_url", FindingSeverity::Warning, found).helps(
                "Set it to the address at which people and providers reach this server, such as https://herald.example.org.",
            ),
        ];
    };
    // A simulator calls any address, and a mail server none.
    let mut calling = senders(&ring).filter(|account| {
        let provider = engine.providers().find(&account.kind);
        provider.is_some_and(|it| it.receiver().is_some())
    });
    let simulated = calling.all(SenderAccount::is_simulated);
    let mut rows = vec![if simulated || public_url.starts_with("https://") {
        ours(
            "public_url",
            FindingSeverity::Ok,
            format!("It is {public_url}."),
        )
    } else {
        ours(
            "public_url",
            FindingSeverity::Warning,
            format!("{public_url} is not https: providers do not call it."),
        )
        .helps("Put a reverse proxy with a certificate in front of it; see deploy/.")
    }];
    for kind in kinds(engine, &ring) {
        let provider = engine.providers().find(kind);
        let probed = provider.and_then(|it| it.diagnose().zip(it.receiver()));
        if let Some((diagnose, receiver)) = probed {
            let probe = WebhookProbe {
                diagnose,
                url: webhook_of(public_url, receiver),
                path: format!("/webhooks/{}", receiver.endpoint()),
            };
            rows.extend(webhook(&ring, kind, &probe, asked, http).await);
        }
    }
    if let Some(proxy) = reported_proxy(http, public_url).await {
        rows.push(if proxy == NOT_TRUSTED {
            ours(
                "trusted_proxies",
                FindingSeverity::Warning,
                "Requests arrive through a proxy that is not in HERALD_TRUSTED_PROXIES: limits by address are shared by all its clients.",
            )
            .helps("Set HERALD_TRUSTED_PROXIES to the address the proxy calls Herald from, such as 127.0.0.1; see docs/proxy.md.")
        } else {
            ours(
                "trusted_proxies",
                FindingSeverity::Ok,
                "Clients are told apart by their addresses.",
            )
        });
    }
    rows
}

/// Whether a sender writes to mailboxes.
fn has_mailboxes(engine: &Engine, ring: &ProviderCredentialSet) -> bool {
    senders(ring).any(|account| engine.channel_of_kind(&account.kind) == MessageChannel::Email)
}

/// The senders, and those of the environment that no server has stored yet.
fn senders(ring: &ProviderCredentialSet) -> impl Iterator<Item = &SenderAccount> {
    ring.accounts.iter().chain(&ring.unstored)
}

/// The kinds of the senders, or the usual one as long as there are none.
pub(super) fn kinds<'a>(engine: &'a Engine, ring: &'a ProviderCredentialSet) -> BTreeSet<&'a str> {
    let mut kinds: BTreeSet<&str> = senders(ring).map(|account| account.kind.as_str()).collect();
    if kinds.is_empty() {
        kinds.insert(engine.providers().default_kind());
    }
    kinds
}

/// A webhook of ours that is called as its provider would.
struct WebhookProbe<'a> {
    diagnose: &'a dyn ProviderDiagnosis,
    url: String,
    /// As it is shown.
    path: String,
}

/// Whether a webhook takes our verify token and a signature with our secret.
async fn webhook(
    ring: &ProviderCredentialSet,
    kind: &str,
    probe: &WebhookProbe<'_>,
    asked: &InstallationCheckInputs,
    http: &HttpClient,
) -> Vec<InstallationCheckResult> {
    let WebhookProbe {
        diagnose,
        url,
        path,
    } = probe;
    let mut rows = Vec::new();
    if let Some(token) = ring.verify_tokens.first() {
        let answer = diagnose
            .probe_handshake(http, url, token, &asked.nonce)
            .await;
        rows.extend(answer.map(|answer| reached("handshake", answer, path, "the verify token")));
    }
    if let Some(signer) = ring.signers_of(kind).first() {
        let answer = diagnose
            .probe_signature(http, url, &signer.secret, &asked.nonce)
            .await;
        let secret = diagnose.callback_secret_words().name;
        rows.extend(answer.map(|answer| reached("signed_post", answer, path, secret)));
    }
    rows
}

fn reached(name: &'static str, answer: Answer, path: &str, what: &str) -> InstallationCheckResult {
    let (verdict, found, remedy) = match answer {
        Answer::Good => (
            FindingSeverity::Ok,
            format!("{path} can be reached, and accepts {what}."),
            String::new(),
        ),
        Answer::Refused => (
            FindingSeverity::Failed,
            format!("{path} can be reached, but refuses {what}."),
            format!("The server at this address has not {what} that is set here: was it started with other settings? The provider will be refused the same way."),
        ),
        Answer::Status(status) => (
            FindingSeverity::Failed,
            format!("{path} answers HTTP {status}."),
            "Look whether the proxy passes /webhooks on to herald serve, and whether its database is there (/readyz).".to_owned(),
        ),
        Answer::Foreign => (
            FindingSeverity::Failed,
            format!("Another server than Herald answers at {path}."),
            "Look where the proxy sends /webhooks.".to_owned(),
        ),
        Answer::Unreachable => (
            FindingSeverity::Failed,
            format!("{path} cannot be reached from here."),
            "Check whether herald serve runs, and whether its name, port and certificate are right. If only this machine cannot reach it, run the check elsewhere.".to_owned(),
        ),
    };
    ours(name, verdict, found).helps(remedy)
}
