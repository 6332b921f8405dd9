//! Everybody reads a message in their own language, dates and amounts included.

use serde_json::{Value, json};

use crate::harness::{Database, TestApp};

crate::tests![
    everybody_gets_the_translation_that_is_nearest,
    a_language_that_whatsapp_has_no_templates_of_leads_to_the_nearest,
    characters_matter_more_than_countries,
    a_request_may_insist_on_a_language,
    a_reminder_is_in_the_readers_language,
    a_translation_that_a_catalogue_no_longer_has_is_removed,
    what_cannot_be_written_is_said_of_the_one_it_concerns,
];

const CATALOGUE: &str = r#"
name = "bills"

[[template]]
name = "bill"
language = "en"
category = "utility"
body = "Dear {{ contact.name }}, {{ amount | money('INR') }} is due on {{ due | date('day') }}."

[[template]]
name = "bill"
language = "hi"
category = "utility"
body = "नमस्ते {{ contact.name }}, {{ due | date }} तक {{ amount | money('INR') }} देना है।"

[[template]]
name = "bill"
language = "de"
category = "utility"
body = "Hallo {{ contact.name }}: {{ amount | money('INR') }} bis zum {{ due | date('day') }}."

[[contact]]
name = "asha"
display_name = "Asha"
phone = "+12025550101"
language = "hi"
[[contact]]
name = "ravi"
display_name = "Ravi"
phone = "+12025550102"
language = "en_IN"
[[contact]]
name = "chipo"
display_name = "Chipo"
phone = "+12025550103"
language = "sn"
[[contact]]
name = "max"
display_name = "Max"
phone = "+12025550104"

[[user]]
name = "asha"
contact = "asha"
[[user]]
name = "ravi"
contact = "ravi"
[[user]]
name = "chipo"
contact = "chipo"
[[user]]
name = "max"
contact = "max"
[[group]]
name = "Customers"
members = ["asha", "ravi", "chipo", "max"]

[[route]]
name = "bill"
event = "bills.bill.made"
to = "group:Customers"
template = "bill"
language = "de"
[route.params]
amount = "{{ data.amount }}"
due = "{{ data.due }}"

[[rule]]
name = "bill-unread"
on = "delivered"
when = "notification.event_type is defined and notification.template == 'bill'"
after = "24h"
unless = ["read"]
[rule.send]
to = "same"
template = "bill"
language = "de"
[rule.send.params]
amount = "{{ notification.params.amount }}"
due = "{{ notification.params.due }}"
"#;

async fn app(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(CATALOGUE).await;
    app
}

/// Recipient, language and text of what there is, by recipient.
async fn written(app: &TestApp, query: &str) -> Vec<(String, String, String)> {
    let (code, list) = app.get(&format!("/api/v1/notifications?{query}")).await;
    assert_eq!(code, 200, "{list}");
    let mut found = Vec::new();
    for item in list["notifications"].as_array().unwrap() {
        let shown = app.notification(item["id"].as_str().unwrap()).await;
        let text = |name: &str| shown[name].as_str().unwrap_or_default().to_owned();
        found.push((text("recipient"), text("language"), text("text")));
    }
    found.sort();
    found
}

fn of(found: &[(String, String, String)]) -> Vec<(&str, &str, &str)> {
    found
        .iter()
        .map(|(one, two, three)| (one.as_str(), two.as_str(), three.as_str()))
        .collect()
}

async fn everybody_gets_the_translation_that_is_nearest(database: Database) {
    let app = app(&database).await;
    app.event(
        "b-1",
        "bills.bill.made",
        json!({"amount": "125000", "due": "2026-02-01"}),
    )
    .await;
    let found = written(&app, "template=bill").await;
    assert_eq!(
        of(&found),
        [
            // What the route says, for who reads none of the translations or is not known to.
            (
                "user:asha",
                "hi",
                "नमस्ते Asha, 1 फ़रवरी 2026 तक ₹1,25,000 देना है।"
            ),
            (
                "user:chipo",
                "de",
                "Hallo Chipo: 125.000\u{a0}₹ bis zum 1. Februar."
            ),
            (
                "user:max",
                "de",
                "Hallo Max: 125.000\u{a0}₹ bis zum 1. Februar."
            ),
            // The text is English, the country is India.
            (
                "user:ravi",
                "en",
                "Dear Ravi, ₹1,25,000 is due on 1 February."
            ),
        ]
    );
    // What leaves says the same, in the translation that Meta knows.
    app.send().await;
    let mut sent: Vec<(String, Vec<Value>)> = (0..app.meta.calls())
        .map(|index| {
            let request = app.meta.request(index);
            let template = &request["template"];
            (
                template["language"]["code"].as_str().unwrap().to_owned(),
                template["components"][0]["parameters"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|parameter| parameter["text"].clone())
                    .collect(),
            )
        })
        .collect();
    sent.sort_by_key(|(language, parameters)| (language.clone(), parameters[0].to_string()));
    let languages: Vec<&str> = sent.iter().map(|(language, _)| language.as_str()).collect();
    assert_eq!(languages, ["de", "de", "en", "hi"]);
    assert_eq!(
        sent[2].1,
        [json!("Ravi"), json!("₹1,25,000"), json!("1 February")]
    );
}

async fn a_language_that_whatsapp_has_no_templates_of_leads_to_the_nearest(database: Database) {
    let app = TestApp::spawn(&database).await;
    let with = CATALOGUE.replace("language = \"sn\"", "language = \"de-Latn-CH\"");
    app.apply_catalogue(&with).await;
    for (phone, language) in [
        ("+12025550111", "HI"),
        ("+12025550112", "hi-Latn-IN"),
        ("+12025550113", "es-419"),
    ] {
        let body = json!({"phone": phone, "name": "Mina", "language": language});
        let (code, added) = app.post("/api/v1/contacts", &body).await;
        assert_eq!((code, &added["language"]), (201, &json!(language)));
    }
    let mut found = Vec::new();
    for to in ["user:chipo", "+12025550111", "+12025550112", "+12025550113"] {
        let body =
            json!({"to": to, "template": "bill", "params": {"amount": "1", "due": "2026-02-01"}});
        let (code, answer) = app.post("/api/v1/notifications", &body).await;
        assert_eq!(code, 202, "{answer}");
        let id = answer["notifications"][0]["id"].as_str().unwrap();
        found.push(app.notification(id).await["language"].clone());
    }
    assert_eq!(found, ["de", "hi", "hi", "en"]);
}

async fn characters_matter_more_than_countries(database: Database) {
    let app = TestApp::spawn(&database).await;
    let languages = ["en", "zh_CN", "zh_TW", "nb", "he", "id"];
    let templates = languages.map(|language| {
        format!("[[template]]\nname = \"hello\"\nlanguage = \"{language}\"\ncategory = \"utility\"\nbody = \"Hello\"\n")
    });
    app.apply_catalogue(&format!("name = \"hello\"\n{}", templates.concat()))
        .await;
    for (number, (reads, gets)) in [
        ("zh_HK", "zh_TW"),
        ("zh-Hant", "zh_TW"),
        ("zh_SG", "zh_CN"),
        ("no", "nb"),
        ("iw", "he"),
        ("in", "id"),
    ]
    .into_iter()
    .enumerate()
    {
        let phone = format!("+1202555011{number}");
        let contact = json!({"phone": phone, "language": reads});
        assert_eq!(app.post("/api/v1/contacts", &contact).await.0, 201);
        let body = json!({"to": phone, "template": "hello"});
        let (code, answer) = app.post("/api/v1/notifications", &body).await;
        assert_eq!(code, 202, "{answer}");
        let id = answer["notifications"][0]["id"].as_str().unwrap();
        assert_eq!(app.notification(id).await["language"], gets, "{reads}");
    }
}

async fn a_request_may_insist_on_a_language(database: Database) {
    let app = app(&database).await;
    let ask = |more: Value| {
        let mut body = json!({
            "to": "contact:asha", "template": "bill",
            "params": {"amount": 250, "due": "2026-02-01"},
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    for (more, text) in [
        (json!({}), "नमस्ते Asha, 1 फ़रवरी 2026 तक ₹250 देना है।"),
        (
            json!({"language": "en"}),
            "Dear Asha, ₹250 is due on February 1.",
        ),
    ] {
        let (code, answer) = app.post("/api/v1/notifications", &ask(more)).await;
        assert_eq!(code, 202, "{answer}");
        let id = answer["notifications"][0]["id"].as_str().unwrap();
        assert_eq!(app.notification(id).await["text"], text);
    }
    let (code, problem) = app
        .post("/api/v1/notifications", &ask(json!({"language": "fr"})))
        .await;
    assert_eq!(code, 422, "{problem}");
    assert_eq!(problem["errors"][0]["pointer"], "/language");
}

async fn a_reminder_is_in_the_readers_language(database: Database) {
    let app = app(&database).await;
    let answer = app
        .event(
            "b-1",
            "bills.bill.made",
            json!({"amount": "99.50", "due": "2026-02-01"}),
        )
        .await;
    assert_eq!(answer["routes"][0]["notifications"], 4, "{answer}");
    app.send().await;
    let (_, list) = app.get("/api/v1/notifications?template=bill").await;
    for item in list["notifications"].as_array().unwrap() {
        if item["recipient"] == "user:asha" {
            app.told(item["id"].as_str().unwrap(), "delivered", None)
                .await;
        }
    }
    app.pass(25 * 3_600);
    app.follow_up().await;
    let found = written(&app, "template=bill&recipient=user:asha").await;
    assert_eq!(found.len(), 2);
    assert!(
        found
            .iter()
            .all(|(_, language, text)| language == "hi" && text.contains("₹99.50")),
        "{found:?}"
    );
}

async fn a_translation_that_a_catalogue_no_longer_has_is_removed(database: Database) {
    let app = app(&database).await;
    let (first, rest) = CATALOGUE.split_once("[[template]]").unwrap();
    let (_english, others) = rest.split_once("[[template]]").unwrap();
    let fewer = format!("{first}[[template]]{others}");
    let done = app.try_catalogue(&fewer).await.unwrap();
    let steps: Vec<String> = done.steps.iter().map(|it| it.id.to_string()).collect();
    assert_eq!(steps, ["template bill en"]);
    let unnamed = CATALOGUE.replace("[[contact]]\nname = \"asha\"", "[[contact]]\nname = \"\"");
    assert!(app.try_catalogue(&unnamed).await.is_err());
    app.event(
        "b-1",
        "bills.bill.made",
        json!({"amount": "1", "due": "2026-02-01"}),
    )
    .await;
    let found = written(&app, "template=bill").await;
    let languages: Vec<&str> = found.iter().map(|(_, it, _)| it.as_str()).collect();
    assert_eq!(languages, ["hi", "de", "de", "de"]);
}

async fn what_cannot_be_written_is_said_of_the_one_it_concerns(database: Database) {
    let app = TestApp::spawn(&database).await;
    let strict = CATALOGUE.replace("category =", "strict = true\ncategory =");
    app.apply_catalogue(&strict).await;
    let body = json!({
        "to": "contact:ravi", "template": "bill",
        "params": {"amount": "twelve hundred", "due": "2026-02-01"},
    });
    let (code, problem) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 422, "{problem}");
    assert_eq!(problem["errors"][0]["pointer"], "/params/amount");
    let rule = problem["errors"][0]["rule"].as_str().unwrap();
    assert!(
        rule.contains("a number is written 1250 or 1250.50"),
        "{rule}"
    );
    assert!(!rule.contains("twelve"), "{rule}");
    // Without `strict` it is shown as it came.
    app.apply_catalogue(CATALOGUE).await;
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    let id = answer["notifications"][0]["id"].as_str().unwrap();
    assert_eq!(
        app.notification(id).await["text"],
        "Dear Ravi, twelve hundred is due on 1 February."
    );
}
