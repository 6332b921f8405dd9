//! `herald dev --scenario`: plays a scripted story over HTTP, step by step.

#![expect(
    clippy::indexing_slicing,
    reason = "reading a JSON value by a key it lacks gives null, it never panics"
)]

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::Sha256;

mod catalogue;
mod channels;
mod verification;

use super::{
    built_in::DEMO,
    dev::{DevServerConnection, PHONE_NUMBER_ID, WABA_ID},
    say,
};
use crate::domain::timeline::TimelineEntryKind;

/// Longest duration of a step.
const PATIENCE: Duration = Duration::from_secs(20);

/// WhatsApp, and e-mail if that does not arrive.
const WITH_EMAIL: [&str; 2] = ["whatsapp", "email"];

/// The demo catalogue with its day shortened to two seconds.
pub(super) fn shortened() -> String {
    DEMO.replace("after = \"24h\"", "after = \"2s\"")
}

struct DevScenarioRun<'a> {
    running: &'a DevServerConnection,
    http: reqwest::Client,
    run: String,
    step: u32,
}

/// Plays the story. An error is the step that failed.
pub(super) async fn play(running: &DevServerConnection, catalogue: &str) -> anyhow::Result<()> {
    let http = crate::providers::http_client(Duration::from_secs(10), Duration::from_secs(3))?;
    let run = uuid::Uuid::new_v4().simple().to_string();
    let mut story = DevScenarioRun {
        running,
        http,
        run,
        step: 0,
    };
    if catalogue == "demo" {
        story.demo().await?;
    } else {
        story.catalogues().await?;
    }
    say(format!("\nAll {} steps were true.", story.step));
    Ok(())
}

impl DevScenarioRun<'_> {
    async fn demo(&mut self) -> anyhow::Result<()> {
        let story = self;
        story.delivered_and_read().await?;
        story.never_twice().await?;
        story.not_final().await?;
        story.failure_alerts_staff().await?;
        story.duplicates_and_disorder().await?;
        story.unread_is_reminded().await?;
        story.lost_answer().await?;
        story.reply_opens_the_window().await?;
        story.unsigned_is_refused().await?;
        story.the_sum().await
    }

    /// Whether Meta is played, not another provider.
    async fn plays_meta(&self) -> anyhow::Result<bool> {
        let senders = self.get("/api/v1/senders").await?;
        let mut all = senders.as_array().into_iter().flatten();
        Ok(all.any(|sender| sender["default"] == true && sender["kind"] == "meta"))
    }

    fn tell(&mut self, title: &str) {
        self.step += 1;
        say(format!("\n{}. {title}", self.step));
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.base)
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self
            .http
            .get(self.url(path))
            .bearer_auth(self.running.api_key.expose_secret())
            .send()
            .await?;
        let status = answer.status().as_u16();
        let body: Value = answer
            .json()
            .await
            .with_context(|| format!("{path} did not answer JSON"))?;
        ensure!(status == 200, "GET {path} answered {status}: {body}");
        Ok(body)
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let answer = self
            .http
            .post(self.url(path))
            .bearer_auth(self.running.api_key.expose_secret())
            .json(body)
            .send()
            .await?;
        Ok((
            answer.status().as_u16(),
            answer.json().await.unwrap_or(Value::Null),
        ))
    }

    /// Posts an event and returns the answer.
    async fn event(&self, id: &str, kind: &str, data: Value) -> anyhow::Result<Value> {
        let id = format!("{id}-{}", self.run);
        let body = json!({ "id": id, "source": "scenario", "type": kind, "data": data });
        let (status, answer) = self.post("/api/v1/events", &body).await?;
        ensure!(status == 202, "an event was answered {status}: {answer}");
        Ok(answer)
    }

    async fn order(&self, name: &str, last: &str) -> anyhow::Result<String> {
        let data = json!({ "phone": format!("+120255501{last}"), "customer": "Asha", "order_number": format!("{name}-{}", self.run) });
        let answer = self.event(name, "demo.order.created", data).await?;
        first_notification(&answer)
    }

    /// Polls a notification until it is as expected.
    async fn wait(
        &self,
        id: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let started = Instant::now();
        loop {
            let found = self.get(&format!("/api/v1/notifications/{id}")).await?;
            if is(&found) {
                return Ok(found);
            }
            if started.elapsed() > PATIENCE {
                bail!("waited in vain until {what}; the database says: {found:#}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn wait_status(&self, id: &str, status: &str) -> anyhow::Result<Value> {
        self.wait(id, &format!("its status is {status}"), |found| {
            found["status"] == status
        })
        .await
    }

    /// The notifications that a rule made from this one.
    async fn children(&self, id: &str, rule: &str) -> anyhow::Result<Vec<String>> {
        let fired = self
            .wait(id, &format!("{rule} has fired"), |found| {
                found["follow_ups"].as_array().is_some_and(|follow_ups| {
                    follow_ups
                        .iter()
                        .any(|follow_up| follow_up["rule"] == rule && follow_up["state"] == "fired")
                })
            })
            .await?;
        let made = fired["timeline"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|line| {
                line["kind"] == TimelineEntryKind::RuleFired.name()
                    && line["detail"]["rule"] == rule
            })
            .flat_map(|line| {
                line["detail"]["notifications"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default()
            })
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect();
        Ok(made)
    }

    async fn delivered_and_read(&mut self) -> anyhow::Result<()> {
        self.tell(
            "An event becomes a template message; signed callbacks move it until it is read.",
        );
        let class = format!("10C-{}", self.run);
        let data = json!({ "status": "Successful", "phone": "+12025550101", "educator": "Asha", "test_name": "Unit 3",
            "class_id": class, "test_num": "3" });
        let answer = self.event("results", "demo.test.processed", data).await?;
        let id = first_notification(&answer)?;
        let found = self.wait_status(&id, "read").await?;
        let facts = &found["attempts"][0]["facts"];
        for fact in ["accepted", "sent", "delivered", "read"] {
            ensure!(facts[fact]["at"].is_string(), "{fact} is missing: {facts}");
        }
        show(&found);
        Ok(())
    }

    async fn never_twice(&mut self) -> anyhow::Result<()> {
        self.tell("The same event again, and the same class and test under another id: no one is notified twice.");
        let class = format!("10C-{}", self.run);
        let data = json!({ "status": "Successful", "phone": "+12025550101", "educator": "Asha", "test_name": "Unit 3",
            "class_id": class, "test_num": "3" });
        let again = self
            .event("results", "demo.test.processed", data.clone())
            .await?;
        ensure!(
            again["duplicate"] == true,
            "not recognised as a repeat: {again}"
        );
        let other = self
            .event("results-again", "demo.test.processed", data)
            .await?;
        let duplicates = &other["routes"][0]["duplicates"];
        ensure!(
            duplicates[0]["of"].is_string(),
            "not recognised as a duplicate: {other}"
        );
        let all = self
            .get(&format!("/api/v1/notifications?label=class_id={class}"))
            .await?;
        let count = all["notifications"].as_array().map_or(0, Vec::len);
        ensure!(count == 1, "{count} notifications instead of one");
        say(format!(
            "   the database says: {}",
            duplicates[0]["hint"].as_str().unwrap_or_default()
        ));
        Ok(())
    }

    async fn not_final(&mut self) -> anyhow::Result<()> {
        self.tell("A result that is not final notifies no one, with the reason.");
        let data = json!({ "status": "Processing", "phone": "+12025550101", "educator": "Asha", "test_name": "Unit 4",
            "class_id": "10C", "test_num": "4" });
        let answer = self.event("not-final", "demo.test.processed", data).await?;
        let route = &answer["routes"][0];
        ensure!(route["outcome"] == "did_not_fire", "it fired: {answer}");
        say(format!(
            "   the database says: {} did not fire: {}",
            text(route, "route"),
            text(route, "reason")
        ));
        Ok(())
    }

    async fn failure_alerts_staff(&mut self) -> anyhow::Result<()> {
        self.tell("A message that fails alerts the group Technical Admin.");
        let id = self.order("fails", "10").await?;
        let failed = self.wait_status(&id, "failed").await?;
        ensure!(
            failed["failure"]["code"] == 131_026,
            "another failure: {}",
            failed["failure"]
        );
        say(format!(
            "   the database says: failed, {}",
            text(&failed["failure"], "meaning")
        ));
        let alerts = self.children(&id, "demo-tell-technical-admin").await?;
        ensure!(alerts.len() == 2, "{} alerts instead of two", alerts.len());
        let mut read = 0;
        for alert in &alerts {
            let found = self.get(&format!("/api/v1/notifications/{alert}")).await?;
            if found["status"] == "skipped" {
                say(format!(
                    "   {} was skipped: {}",
                    text(&found, "recipient"),
                    text(&found, "reason")
                ));
            } else {
                let found = self.wait_status(alert, "read").await?;
                say(format!(
                    "   {} was notified: {}",
                    text(&found, "recipient"),
                    text(&found, "text")
                ));
                read += 1;
            }
        }
        ensure!(read == 1, "{read} members were notified instead of one");
        Ok(())
    }

    async fn duplicates_and_disorder(&mut self) -> anyhow::Result<()> {
        self.tell("Callbacks that come twice and newest first end in the same state, and trigger nothing twice.");
        let id = self.order("disorder", "50").await?;
        self.wait_status(&id, "read").await?;
        let found = self
            .wait(&id, "the repeats are on the timeline", |found| {
                found["timeline"].as_array().is_some_and(|lines| {
                    lines
                        .iter()
                        .filter(|line| line["kind"] == TimelineEntryKind::Ignored.name())
                        .count()
                        >= 2
                })
            })
            .await?;
        let facts = &found["attempts"][0]["facts"];
        ensure!(
            facts["sent"]["implied"] == false || facts["sent"]["implied"] == true,
            "sent is missing: {facts}"
        );
        let pending = found["follow_ups"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|follow_up| follow_up["state"] != "cancelled")
            .count();
        ensure!(
            pending == 0,
            "a reminder is pending although it was read: {}",
            found["follow_ups"]
        );
        show(&found);
        Ok(())
    }

    async fn unread_is_reminded(&mut self) -> anyhow::Result<()> {
        self.tell("Delivered and not read: after the timer (shortened to two seconds) a reminder is sent.");
        let id = self.order("unread", "20").await?;
        self.wait_status(&id, "delivered").await?;
        let reminders = self.children(&id, "demo-unread-order").await?;
        ensure!(
            reminders.len() == 1,
            "{} reminders instead of one",
            reminders.len()
        );
        for reminder in &reminders {
            let found = self.wait_status(reminder, "delivered").await?;
            say(format!(
                "   the database says: {}, “{}”",
                text(&found, "status"),
                text(&found, "text")
            ));
        }
        Ok(())
    }

    async fn lost_answer(&mut self) -> anyhow::Result<()> {
        self.tell("The provider's response is lost: the attempt is unknown, not repeated, and resolved by its callback.");
        let id = self.order("lost", "40").await?;
        let found = self.wait_status(&id, "read").await?;
        let attempts = found["attempts"].as_array().map_or(0, Vec::len);
        ensure!(attempts == 1, "{attempts} calls were made instead of one");
        ensure!(
            found["attempts"][0]["outcome"] == "unknown",
            "the response was not lost: {}",
            found["attempts"][0]
        );
        show(&found);
        Ok(())
    }

    async fn reply_opens_the_window(&mut self) -> anyhow::Result<()> {
        self.tell("A person replies: the reply is stored, opens the service window, and free text is sent.");
        let id = self.order("reply", "30").await?;
        self.wait(&id, "it was replied to", |found| {
            found["timeline"].as_array().is_some_and(|lines| {
                lines
                    .iter()
                    .any(|line| line["kind"] == TimelineEntryKind::Replied.name())
            })
        })
        .await?;
        let messages = self.get("/api/v1/messages?phone=%2B12025550130").await?;
        ensure!(
            messages["messages"][0]["notification"] == id.as_str(),
            "the reply is not linked: {messages}"
        );
        say(format!(
            "   the database says: they wrote “{}”",
            text(&messages["messages"][0], "text")
        ));
        let body = json!({ "to": "+12025550130", "text": "You are welcome." });
        let (status, answer) = self.post("/api/v1/notifications", &body).await?;
        ensure!(status == 202, "free text was answered {status}: {answer}");
        let text_id = text(&answer["notifications"][0], "id");
        show(&self.wait_status(&text_id, "read").await?);
        Ok(())
    }

    async fn unsigned_is_refused(&mut self) -> anyhow::Result<()> {
        self.tell("A callback without a valid signature is refused; with one it is accepted, and a repeat is harmless.");
        let body = json!({ "object": "whatsapp_business_account", "entry": [] }).to_string();
        let send = |signature: Option<String>| {
            let mut request = self
                .http
                .post(self.url("/webhooks/meta"))
                .body(body.clone());
            if let Some(signature) = signature {
                request = request.header("X-Hub-Signature-256", signature);
            }
            async move { anyhow::Ok(request.send().await?.status().as_u16()) }
        };
        let unsigned = send(None).await?;
        let forged = send(sign("another secret", &body)).await?;
        let signed = send(sign(&self.running.app_secret, &body)).await?;
        let repeated = send(sign(&self.running.app_secret, &body)).await?;
        ensure!(
            (unsigned, forged, signed, repeated) == (401, 401, 200, 200),
            "answered {unsigned}, {forged}, {signed}, {repeated}"
        );
        say(format!(
            "   unsigned {unsigned}, forged {forged}, signed {signed}, repeated {repeated}"
        ));
        Ok(())
    }

    async fn the_sum(&mut self) -> anyhow::Result<()> {
        self.tell("The numbers agree.");
        let stats = self.get("/api/v1/stats?hours=1").await?;
        let number = |key: &str| stats[key].as_i64().unwrap_or(-1);
        say(format!(
            "   total {}, accepted {}, delivered {}, read {}, failed {}, skipped {}, pending {}",
            number("total"),
            number("accepted"),
            number("delivered"),
            number("read"),
            number("failed"),
            number("skipped"),
            number("pending_now")
        ));
        ensure!(
            number("total") == number("accepted") + number("skipped"),
            "what was created was not all accepted or skipped: {stats}"
        );
        ensure!(
            number("accepted") == number("delivered") + number("failed"),
            "the cohort does not add up: {stats}"
        );
        ensure!(
            number("pending_now") == 0,
            "something is still pending: {stats}"
        );
        Ok(())
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn first_notification(answer: &Value) -> anyhow::Result<String> {
    answer["notifications"][0]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("no notification was made: {answer}"))
}

fn show(found: &Value) {
    let facts: Vec<String> = found["attempts"][0]["facts"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(fact, known)| {
            if known["implied"] == true {
                format!("{fact} (implied)")
            } else {
                fact.clone()
            }
        })
        .collect();
    say(format!(
        "   the database says: {}, “{}”, facts: {}",
        text(found, "status"),
        text(found, "text"),
        facts.join(", ")
    ));
}

/// A body as Meta posts it.
fn meta_callback(mut value: Value) -> String {
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] =
        json!({ "display_phone_number": "15550783881", "phone_number_id": PHONE_NUMBER_ID });
    let change = json!({ "field": "messages", "value": value });
    let entry = json!({ "id": WABA_ID, "changes": [change] });
    json!({ "object": "whatsapp_business_account", "entry": [entry] }).to_string()
}

fn sign(secret: &str, body: &str) -> Option<String> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(body.as_bytes());
    Some(format!(
        "sha256={}",
        hex::encode(mac.finalize().into_bytes())
    ))
}
