//! Plays a catalogue: every event that it declares, once normally, once repeated, once for people
//! without a number, and once for a person who cannot be reached.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{DevScenarioRun, say};

/// The sandbox's number that is not on WhatsApp.
const UNREACHABLE: &str = "+12025550110";

/// States of a finished message.
const ENDED: [&str; 5] = ["read", "skipped", "failed", "expired", "cancelled"];

impl DevScenarioRun<'_> {
    /// Plays every declared event type.
    pub(super) async fn catalogues(&mut self) -> anyhow::Result<()> {
        let known = self.get("/api/v1/event-types").await?;
        let kinds: Vec<Value> = known["event_types"].as_array().cloned().unwrap_or_default();
        ensure!(!kinds.is_empty(), "no event type is declared");
        for kind in &kinds {
            self.once(kind).await?;
        }
        self.tell("The same events again: no one is notified twice.");
        for kind in &kinds {
            let (name, data) = parts(kind)?;
            let again = self.event(name, name, data.clone()).await?;
            ensure!(again["duplicate"] == true, "{name} was not known: {again}");
        }
        self.tell(
            "The same for people without a number: each message is skipped, with the reason.",
        );
        self.without_numbers(&kinds).await?;
        self.tell("The same for a number that is not on WhatsApp: it fails, with its meaning, and an alert is sent.");
        self.unreachable(&kinds).await?;
        self.one_time_password().await?;
        self.next_channels().await?;
        self.tell("In the end, nothing is waiting.");
        let stats = self.get("/api/v1/stats?hours=1").await?;
        ensure!(stats["pending_now"] == 0, "something waits: {stats}");
        say(format!(
            "   total {}, accepted {}, delivered {}, read {}, failed {}, skipped {}",
            stats["total"],
            stats["accepted"],
            stats["delivered"],
            stats["read"],
            stats["failed"],
            stats["skipped"]
        ));
        Ok(())
    }

    /// Posts the example of an event type and follows its messages to the end.
    async fn once(&mut self, kind: &Value) -> anyhow::Result<()> {
        let (name, data) = parts(kind)?;
        self.tell(&format!(
            "{name}: {}",
            kind["description"].as_str().unwrap_or("an event.")
        ));
        let answer = self.event(name, name, data.clone()).await?;
        let routes = answer["routes"].as_array().cloned().unwrap_or_default();
        ensure!(
            routes.iter().any(|route| route["outcome"] == "fired")
                && routes.iter().all(|route| route["outcome"] != "error"),
            "no route fired, or one could not: {answer}"
        );
        for shown in self.ended(&answer).await? {
            ensure!(
                shown["status"] == "read" || shown["status"] == "skipped",
                "it was not delivered: {shown:#}"
            );
            tell_of(&shown);
        }
        Ok(())
    }

    /// The messages of an event, each finished.
    async fn ended(&self, answer: &Value) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        for id in answer["notifications"].as_array().into_iter().flatten() {
            let id = id.as_str().context("an id is a text")?;
            let shown = self
                .wait(id, "nothing more is to come of it", |found| {
                    ENDED.iter().any(|status| found["status"] == **status)
                })
                .await?;
            all.push(shown);
        }
        Ok(all)
    }

    async fn without_numbers(&self, kinds: &[Value]) -> anyhow::Result<()> {
        let mut skipped = 0;
        for kind in kinds {
            let (name, data) = parts(kind)?;
            let data = with(data, &Value::Null);
            let answer = self.event(&format!("{name}-nobody"), name, data).await?;
            for shown in self.ended(&answer).await? {
                if shown["status"] == "skipped" {
                    ensure!(
                        shown["reason"].is_string(),
                        "skipped without a reason: {shown:#}"
                    );
                    skipped += 1;
                }
            }
        }
        say(format!("   {skipped} were skipped"));
        Ok(())
    }

    async fn unreachable(&self, kinds: &[Value]) -> anyhow::Result<()> {
        let mut failed = 0;
        for kind in kinds {
            let (name, data) = parts(kind)?;
            let data = with(data, &json!(UNREACHABLE));
            let answer = self
                .event(&format!("{name}-unreachable"), name, data)
                .await?;
            for shown in self.ended(&answer).await? {
                if shown["status"] != "failed" {
                    continue;
                }
                failed += 1;
                ensure!(
                    shown["failure"]["code"] == 131_026 && shown["failure"]["meaning"].is_string(),
                    "it failed without its meaning: {shown:#}"
                );
                for child in shown["follow_ups"].as_array().into_iter().flatten() {
                    say(format!(
                        "   {} has failed: the rule {} sends an alert",
                        shown["template"].as_str().unwrap_or(""),
                        child["rule"].as_str().unwrap_or("")
                    ));
                }
            }
        }
        say(format!("   {failed} failed, each with its meaning"));
        Ok(())
    }
}

fn parts(kind: &Value) -> anyhow::Result<(&str, &Value)> {
    let name = kind["type"].as_str().context("an event type has a name")?;
    ensure!(kind["example"].is_object(), "{name} has no example");
    Ok((name, &kind["example"]))
}

/// An example with another number for everyone in it, and with other identifiers, so that no ledger
/// knows it.
fn with(example: &Value, phone: &Value) -> Value {
    match example {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| *name != "phone" || !phone.is_null())
            .map(|(name, value)| {
                let value = match name.as_str() {
                    "phone" => phone.clone(),
                    "reference" | "order_number" | "invoice_number" | "test_num" => {
                        let kind = if phone.is_null() { "N" } else { "U" };
                        json!(format!("{}-{kind}", value.as_str().unwrap_or("1")))
                    }
                    _ => with(value, phone),
                };
                (name.clone(), value)
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn tell_of(shown: &Value) {
    let text = shown["text"].as_str().unwrap_or("").replace('\n', " / ");
    let state = match shown["reason"].as_str() {
        Some(reason) if shown["status"] == "skipped" => format!("skipped: {reason}"),
        _ => shown["status"].as_str().unwrap_or("").to_owned(),
    };
    say(format!(
        "   {:<16} {} [{state}]",
        shown["recipient"].as_str().unwrap_or("(nobody)"),
        text
    ));
}
