//! Events of Herald's own: listed, documented, and raised as they are described.

use std::{fmt::Write, fs, path::Path};

use herald::domain::own_event::{
    HeraldEvent, HeraldEventType, SOURCE,
    payload::{
        AccountUpdateData, AlarmChangeData, ContactConsentData, CredentialRenewalData,
        MessageReceivedData, NotificationChangeData, SenderHoldChangeData, SenderSilenceData,
        ServiceWindowEndData, TemplateUpdateData,
    },
};
use libtest_mimic::{Failed, Trial};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::harness::{Database, TestApp};

crate::tests![every_type_is_listed_with_examples_that_its_payload_reads];

pub fn trials() -> Vec<Trial> {
    vec![Trial::test(
        "own_events::the_document_has_every_type_with_its_examples",
        the_document_has_every_type_with_its_examples,
    )]
}

/// Whether a value is exactly what this payload would write.
fn reads<T: DeserializeOwned + Serialize>(data: &Value) -> bool {
    let read = serde_json::from_value::<T>(data.clone());
    read.is_ok_and(|payload| serde_json::to_value(payload).unwrap() == *data)
}

fn is_payload_of(event: &HeraldEvent, data: &Value) -> bool {
    match event {
        HeraldEvent::AccountChanged { .. } => reads::<AccountUpdateData>(data),
        HeraldEvent::AlarmCleared(_) | HeraldEvent::AlarmRaised(_) => {
            reads::<AlarmChangeData>(data)
        }
        HeraldEvent::ContactOptedIn(_) | HeraldEvent::ContactOptedOut(_) => {
            reads::<ContactConsentData>(data)
        }
        HeraldEvent::CredentialExpiring(_) | HeraldEvent::CredentialOld(_) => {
            reads::<CredentialRenewalData>(data)
        }
        HeraldEvent::MessageReceived(_) => reads::<MessageReceivedData>(data),
        HeraldEvent::NotificationChanged { .. } => reads::<NotificationChangeData>(data),
        HeraldEvent::SenderHeld(_) | HeraldEvent::SenderReleased(_) => {
            reads::<SenderHoldChangeData>(data)
        }
        HeraldEvent::SenderSilent(_) => reads::<SenderSilenceData>(data),
        HeraldEvent::TemplateCategoryChanged(_)
        | HeraldEvent::TemplateCategoryDue(_)
        | HeraldEvent::TemplateChanged(_)
        | HeraldEvent::TemplateQuality(_)
        | HeraldEvent::TemplateStatus { .. } => reads::<TemplateUpdateData>(data),
        HeraldEvent::WindowClosed(_) | HeraldEvent::WindowClosing(_) => {
            reads::<ServiceWindowEndData>(data)
        }
    }
}

async fn every_type_is_listed_with_examples_that_its_payload_reads(database: Database) {
    let app = TestApp::spawn(&database).await;
    let (code, known) = app.get("/api/v1/event-types").await;
    assert_eq!(code, 200);
    let listed = known["own_event_types"].as_array().unwrap();
    let names: Vec<&str> = listed
        .iter()
        .map(|entry| entry["type"].as_str().unwrap())
        .collect();
    let all: Vec<&str> = HeraldEventType::ALL.iter().map(|own| own.name()).collect();
    assert_eq!(names, all);
    let (_, contract) = app.get("/api/v1/openapi.json").await;
    for (own, entry) in HeraldEventType::ALL.iter().zip(listed) {
        assert_eq!(entry["description"], own.description());
        assert_eq!(entry["routable"], own.is_routable());
        let events = own.examples();
        let examples = entry["examples"].as_array().unwrap();
        assert_eq!(examples.len(), events.len(), "{own}");
        for (event, example) in events.iter().zip(examples) {
            assert_eq!(example["type"], *event.type_name());
            assert!(is_payload_of(event, &example["data"]), "{own}: {example}");
        }
        let (document, pointer) = entry["schema"].as_str().unwrap().split_once('#').unwrap();
        assert_eq!(document, "openapi.json");
        let schema = contract.pointer(pointer);
        assert!(schema.is_some(), "{own}: {pointer} is not in the contract");
    }
}

/// What `docs/events.md` says about a type.
fn section(own: HeraldEventType) -> String {
    let mut text = format!("### `{own}`\n\n{}\n", own.description());
    if !own.is_routable() {
        text.push_str("\nIn the stream only.\n");
    }
    for event in own.examples() {
        let name = event.type_name();
        if name != own.name() {
            write!(text, "\n`{name}`:\n").unwrap();
        }
        let data = serde_json::to_string_pretty(&event.data()).unwrap();
        write!(text, "\n```json\n{data}\n```\n").unwrap();
    }
    text
}

fn the_document_has_every_type_with_its_examples() -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events.md");
    let document = fs::read_to_string(path).unwrap();
    let sections: Vec<String> = HeraldEventType::ALL.iter().copied().map(section).collect();
    let missing: Vec<&String> = sections
        .iter()
        .filter(|section| !document.contains(section.as_str()))
        .collect();
    if !missing.is_empty() {
        return Err(format!("docs/events.md lacks:\n\n{}", join(&missing)).into());
    }
    let headings = document.matches("\n### `").count();
    if headings != sections.len() {
        return Err("docs/events.md describes what is not raised".into());
    }
    Ok(())
}

fn join(sections: &[&String]) -> String {
    let sections: Vec<&str> = sections.iter().map(|section| section.as_str()).collect();
    sections.join("\n")
}

/// Asserts that whatever Herald has raised here has the keys of an example of its type, and that
/// this type is among it.
pub async fn are_like_their_examples(app: &TestApp, expected: HeraldEventType) {
    let examples: Vec<HeraldEvent> = HeraldEventType::ALL
        .iter()
        .flat_map(|own| own.examples())
        .collect();
    let rows = app
        .texts(&format!(
            "SELECT event_type || ' ' || data FROM event WHERE source = '{SOURCE}'"
        ))
        .await;
    let mut found = false;
    for row in &rows {
        let (name, data) = row.split_once(' ').unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        let mut own: Vec<&HeraldEvent> = examples
            .iter()
            .filter(|event| event.of_type().name() == name)
            .collect();
        if own.is_empty() {
            own = examples
                .iter()
                .filter(|event| is_of_pattern(name, event.of_type().name()))
                .collect();
        }
        let like = own
            .iter()
            .any(|event| is_payload_of(event, &data) && keys(&event.data()) == keys(&data));
        assert!(like, "{name} is like none of its examples: {data}");
        found |= own.iter().any(|event| event.of_type() == expected);
    }
    assert!(found, "{expected} is not among {rows:?}");
}

fn is_of_pattern(name: &str, pattern: &str) -> bool {
    let beginning = pattern.split_once('{').map(|(beginning, _)| beginning);
    beginning.is_some_and(|beginning| name.starts_with(beginning))
}

fn keys(data: &Value) -> Vec<&String> {
    data.as_object().unwrap().keys().collect()
}
