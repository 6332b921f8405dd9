//! Plays messages that WhatsApp does not deliver: they go by e-mail, and a late receipt changes
//! nothing more.

use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::{DevScenarioRun, PATIENCE, WITH_EMAIL, meta_callback, say, sign};
use crate::state::Clock;

/// The sandbox's number whose phone is switched off.
const SWITCHED_OFF: &str = "+12025550121";

const MAILBOX: &str = "asha@example.com";

/// Templates of the mobile-money catalogue.
const MESSAGE: &str = "kyc_approved";
const CODE: &str = "otp_verification";

impl DevScenarioRun<'_> {
    /// Plays both, if Meta is played and a catalogue with the templates is loaded.
    pub(super) async fn next_channels(&mut self) -> anyhow::Result<()> {
        let is_meta = self.plays_meta().await?;
        let person = json!({ "phone": SWITCHED_OFF, "email": MAILBOX, "name": "Asha" });
        let (status, answer) = self.post("/api/v1/contacts", &person).await?;
        ensure!(
            [200, 201].contains(&status),
            "a contact was answered {status}: {answer}"
        );
        let wanted = json!({ "to": SWITCHED_OFF, "template": MESSAGE, "params": { "user_name": "Asha" },
            "channels": WITH_EMAIL, "fallback_after_seconds": 10 });
        let (status, made) = self.post("/api/v1/notifications", &wanted).await?;
        if !is_meta || status == 422 && made["errors"][0]["pointer"] == "/template" {
            return Ok(());
        }
        self.tell("A phone is switched off: the message goes by e-mail, and a late receipt changes nothing more.");
        ensure!(status == 202, "it was answered {status}: {made}");
        let id = made["notifications"][0]["id"].as_str();
        let id = id.context("it has an id")?.to_owned();
        let mail = self.mailed("your identity has been verified").await?;
        say(format!(
            "   mailbox {MAILBOX}: {}",
            mail["content"]["subject"]
        ));
        self.late_receipt(&id).await?;
        let found = self
            .wait(&id, "the late receipt is applied", |found| {
                found["status"] == "delivered"
            })
            .await?;
        let line = found["timeline"].to_string();
        ensure!(
            line.contains("channel_fallback"),
            "its timeline does not name the mail: {line}"
        );
        self.code_by_mail().await
    }

    async fn code_by_mail(&mut self) -> anyhow::Result<()> {
        self.tell("So does a one-time password: the same code, and it is accepted.");
        let wanted = json!({ "to": SWITCHED_OFF, "template": CODE, "purpose": "sign_in",
            "channels": WITH_EMAIL, "allow_email": true, "fallback_after": 5 });
        let (status, started) = self.post("/api/v1/verifications", &wanted).await?;
        ensure!(status == 201, "it was answered {status}: {started}");
        let id = started["id"].as_str().context("it has an id")?.to_owned();
        let mail = self.mailed("is your verification code").await?;
        let text = mail["content"]["text"].as_str().unwrap_or_default();
        let code = text
            .split_whitespace()
            .next()
            .context("the mail has a code")?;
        let path = format!("/api/v1/verifications/{id}/check");
        let (status, answer) = self.post(&path, &json!({ "code": code })).await?;
        ensure!(
            status == 200 && answer["status"] == "approved",
            "the code was answered {status}: {answer}"
        );
        say("   approved");
        Ok(())
    }

    /// Waits for a mail with these words.
    async fn mailed(&self, words: &str) -> anyhow::Result<Value> {
        let url = format!("{}/sandbox/phones/{MAILBOX}", self.running.sandbox);
        let started = Instant::now();
        loop {
            let phone: Value = self.http.get(&url).send().await?.json().await?;
            let mut mails = phone["messages"].as_array().into_iter().flatten();
            let found = mails.rfind(|mail| {
                mail["content"]["text"]
                    .as_str()
                    .is_some_and(|text| text.contains(words))
            });
            if let Some(mail) = found {
                return Ok(mail.clone());
            }
            if started.elapsed() > PATIENCE {
                bail!("no mail with \"{words}\" has come: {phone:#}");
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// Posts Meta's receipt of a message, long after.
    async fn late_receipt(&self, id: &str) -> anyhow::Result<()> {
        let found = self.get(&format!("/api/v1/notifications/{id}")).await?;
        let attempt = &found["attempts"][0];
        let our_id = format!("{}.{id}", attempt["id"].as_str().context("it was sent")?);
        let status = json!({ "id": attempt["provider_message_id"], "status": "delivered",
            "timestamp": Clock::System.now().unix_seconds().to_string(),
            "recipient_id": SWITCHED_OFF.trim_start_matches('+'), "biz_opaque_callback_data": our_id });
        let body = meta_callback(json!({ "statuses": [status] }));
        let signature = sign(&self.running.app_secret, &body).context("it can be signed")?;
        let request = self.http.post(self.url("/webhooks/meta")).body(body);
        let answer = request
            .header("X-Hub-Signature-256", signature)
            .send()
            .await?;
        ensure!(
            answer.status() == 200,
            "the receipt was answered {}",
            answer.status()
        );
        Ok(())
    }
}
