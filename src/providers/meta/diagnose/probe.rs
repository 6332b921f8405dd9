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
        _ => Answer::of(&answer),
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
    sent.map_or(Answer::Unreachable, |answer| Answer::of(&answer))
}
