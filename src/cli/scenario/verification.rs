//! Plays a one-time password that Herald makes: sent, read on the phone, entered wrongly, entered.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{DevScenarioRun, say};

/// The person who signs in.
const PERSON: &str = "+12025550101";

/// The template of the mobile-money catalogue.
const TEMPLATE: &str = "otp_verification";

impl DevScenarioRun<'_> {
    /// Plays it, if a catalogue with the template is loaded.
    pub(super) async fn one_time_password(&mut self) -> anyhow::Result<()> {
        let wanted = json!({ "to": PERSON, "template": TEMPLATE, "purpose": "sign_in", "client_address": "192.0.2.7" });
        let (status, started) = self.post("/api/v1/verifications", &wanted).await?;
        if status == 422 && started["errors"][0]["pointer"] == "/template" {
            return Ok(());
        }
        self.tell("Herald makes a one-time password, and checks what the person enters.");
        ensure!(status == 201, "it was answered {status}: {started}");
        let id = started["id"].as_str().context("it has an id")?.to_owned();
        let message = started["sends"][0]["notification_id"].as_str();
        let message = message.context("a message carries the code")?;
        let sent = self
            .wait(message, "it is accepted", |found| {
                found["status"] != "queued" && found["status"] != "sending"
            })
            .await?;
        let code = self.code_on_the_phone().await?;
        ensure!(
            !sent.to_string().contains(&code),
            "the code is readable in the notification: {sent:#}"
        );
        let wrong = if code == "000000" { "000001" } else { "000000" };
        for (entered, expected) in [(wrong, "wrong"), (&*code, "approved"), (&*code, "used")] {
            let path = format!("/api/v1/verifications/{id}/check");
            let (status, answer) = self.post(&path, &json!({ "code": entered })).await?;
            ensure!(
                status == 200 && answer["status"] == expected,
                "{expected} was expected, not {status}: {answer}"
            );
            say(format!(
                "   {expected}, {} tries left",
                answer["tries_left"]
            ));
        }
        Ok(())
    }

    /// The code of the newest message on the person's phone.
    async fn code_on_the_phone(&self) -> anyhow::Result<String> {
        let url = format!("{}/sandbox/phones/{PERSON}", self.running.sandbox);
        let phone: Value = self.http.get(url).send().await?.json().await?;
        let text = phone["messages"][0]["text"].as_str().unwrap_or_default();
        let mut words = text.split_whitespace();
        words
            .find(|word| word.len() == 6 && word.bytes().all(|it| it.is_ascii_digit()))
            .map(str::to_owned)
            .with_context(|| format!("there is no code on the phone: {phone}"))
    }
}
