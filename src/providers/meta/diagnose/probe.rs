//! Acts as Meta towards our own webhook: the handshake, and a signed empty callback (Meta, "Create
//! a webhook endpoint").

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::providers::WebhookProbeResult as Answer;

/// The handshake with a verify token.
pub async fn handshake(
    http: &reqwest::Client,
    url: &str,
    token: &SecretString,
    challenge: &str,
) -> Answer {
    let query = [
        ("hub.mode", "subscribe"),
        ("hub.verify_token", token.expose_secret()),
        ("hub.challenge", challenge),
    ];
    let Ok(answer) = http.get(url).query(&query).send().await else {
        return Answer::Unreachable;
    };
    match answer.status().as_u16() {
        200 => match answer.text().await {
            Ok(text) if text == challenge => Answer::Good,
            _ => Answer::Foreign,
        },
        status => refusal(status, &answer),
    }
}

/// A proxy may answer 401 or 403 as well; only Herald answers with a problem document.
fn refusal(status: u16, answer: &reqwest::Response) -> Answer {
    let is_problem = answer
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
    if is_problem && (status == 401 || status == 403) {
        Answer::Refused
    } else {
        Answer::Status(status)
    }
}

/// Posts an empty callback, signed; and once more with a wrong signature, which only another server
/// than Herald accepts.
pub async fn signed_post(
    http: &reqwest::Client,
    url: &str,
    secret: &SecretString,
    nonce: &str,
) -> Answer {
    let body =
        format!(r#"{{"object":"whatsapp_business_account","entry":[],"herald_check":"{nonce}"}}"#);
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.expose_secret().as_bytes())
    else {
        return Answer::Unreachable;
    };
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    match post(http, url, &body, &signature).await {
        Answer::Good => match post(http, url, &body, &"0".repeat(signature.len())).await {
            Answer::Refused => Answer::Good,
            _ => Answer::Foreign,
        },
        other => other,
    }
}

async fn post(http: &reqwest::Client, url: &str, body: &str, signature: &str) -> Answer {
    let sent = http
        .post(url)
        .header("Content-Type", "application/json")
        .header("X-Hub-Signature-256", format!("sha256={signature}"))
        .body(body.to_owned())
        .send()
        .await;
    let Ok(answer) = sent else {
        return Answer::Unreachable;
    };
    match answer.status().as_u16() {
        200 => Answer::Good,
        status => refusal(status, &answer),
    }
}
