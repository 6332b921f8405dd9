//! Templates and Meta's review of them, played by the sandbox.

pub mod limits;

use std::time::Duration;

use herald::{
    engine::{catalogue as catalogues, delivery::templates},
    providers,
    sandbox::ACCOUNT_ID,
    state::Clock,
};
use serde_json::{Value, json};

use crate::{
    cli::{command, text},
    harness::{Database, PHONE_NUMBER_ID, Played, TestApp, play},
};

crate::tests![
    templates_of_each_status_are_counted,
    templates_are_made_reviewed_and_then_the_same,
    what_is_refused_is_said_and_the_others_go_on,
    what_differs_is_shown_and_changed_where_meta_allows_it,
    a_utility_template_that_became_marketing_obeys_those_who_opted_out,
    polling_learns_what_no_callback_told,
    a_suffix_makes_a_version_beside_the_old_one,
    a_template_is_displayed_as_meta_wants_it_and_as_people_read_it,
    an_account_that_cannot_be_asked_says_why,
    what_is_recategorised_in_its_first_review_obeys_at_once,
    a_pause_and_an_end_are_told_by_the_command,
    what_was_made_meanwhile_is_adopted_and_a_category_is_metas,
    what_was_made_elsewhere_becomes_a_catalogue_and_is_then_the_same,
    a_header_that_is_a_file_is_made_with_a_sample,
    a_code_says_how_long_it_is_good,
    a_code_is_filled_in_by_an_app,
];

const TOKEN: &str = "sandbox-token-for-templates-123456789";

const CATALOGUE: &str = r#"
name = "shop"

[[template]]
name = "order_confirmation"
language = "en"
category = "utility"
body = "Hello {{ name }}, your order over {{ amount | money('USD') }} is in. Thank you."
footer = "The shop"
[template.header]
type = "text"
text = "Order {{ number }}"
[[template.button]]
type = "url"
text = "See it"
url = "https://shop.example/orders/{{ number }}"
[[template.parameter]]
name = "name"
example = "Asha"
[[template.parameter]]
name = "amount"
kind = "number"
example = "250"
[[template.parameter]]
name = "number"
example = "A-1024"

[[template]]
name = "welcome"
language = "en"
category = "utility"
body = "Welcome. Good to have you here."

[[template]]
name = "code"
language = "en"
category = "authentication"
body = "{{ code }} is your code."
[[template.button]]
type = "otp"
otp_type = "copy_code"
[[template.parameter]]
name = "code"
kind = "code"
example = "482913"
"#;

struct Synced {
    played: Played,
    suffix: &'static str,
}

impl std::ops::Deref for Synced {
    type Target = Played;

    fn deref(&self) -> &Played {
        &self.played
    }
}

async fn templates_of_each_status_are_counted(database: Database) {
    let app = TestApp::spawn(&database).await;
    for (name, status) in [("a", "rejected"), ("b", "rejected"), ("c", "approved")] {
        app.sql(&format!(
            "INSERT INTO template_sync (account_id, name, language, created_at, updated_at, status, status_at) \
             VALUES ('', '{name}', 'en_US', 1, 1, '{status}', 1)"
        ))
        .await;
    }
    let (_, metrics) = app.text("/metrics").await;
    for line in [
        "herald_templates{status=\"rejected\"} 2",
        "herald_templates{status=\"approved\"} 1",
        "herald_templates{status=\"paused\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

async fn ready(database: &Database, suffix: &'static str) -> Synced {
    let settings = [("META_SYNC_VERSION_SUFFIX", suffix)];
    let played = play(database, TOKEN, &settings).await;
    played.app.apply_catalogue(CATALOGUE).await;
    Synced { played, suffix }
}

impl Synced {
    /// Runs a command: its exit code and what it says, ids left out.
    async fn run(&self, words: &[&str]) -> (i32, String) {
        let words: Vec<&str> = ["templates"].iter().chain(words).copied().collect();
        let mut command = command(&self.app.database_url, self.folder.path(), &words);
        command
            .env("WHATSAPP_API_BASE", &self.sandbox)
            .env("WHATSAPP_PHONE_NUMBER_ID", PHONE_NUMBER_ID)
            .env("WHATSAPP_WABA_ID", ACCOUNT_ID)
            .env("WHATSAPP_ACCESS_TOKEN", TOKEN)
            .env("META_SYNC_VERSION_SUFFIX", self.suffix);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        let said: Vec<String> = text(&output)
            .lines()
            .map(|line| {
                let words = line.split(' ').map(|word| {
                    let is_id = word.len() > 10 && word.bytes().all(|byte| byte.is_ascii_digit());
                    if is_id { "ID" } else { word }
                });
                words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
            })
            .collect();
        (output.status.code().unwrap(), said.join("\n"))
    }

    /// The components of a template as Meta wants them.
    async fn components(&self, template: &str) -> Value {
        let format = ["--display-only", "--format", "json"];
        let words = [&["sync", "--template", template][..], &format].concat();
        let (code, document) = self.run(&words).await;
        assert_eq!(code, 0, "{document}");
        let document: Value = serde_json::from_str(&document).unwrap();
        document[0]["components"].clone()
    }

    /// Tells the sandbox something.
    async fn tell(&self, path: &str, body: Value) {
        let answer = self
            .app
            .http
            .post(format!("{}/sandbox/{path}", self.sandbox))
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
    }
}

async fn templates_are_made_reviewed_and_then_the_same(database: Database) {
    let it = ready(&database, "").await;
    let (code, planned) = it.run(&["plan"]).await;
    assert_eq!(code, 3, "{planned}");
    let (code, synced) = it.run(&["sync"]).await;
    assert_eq!(code, 0, "{synced}");
    it.app.process().await;
    let (code, status) = it.run(&["status"]).await;
    assert_eq!(code, 0, "{status}");
    let (code, json) = it
        .run(&["status", "--check-status", "--format", "json"])
        .await;
    assert_eq!(code, 0, "{json}");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json[0]["status"], &json[0]["account"]),
        (&json!("approved"), &json!(ACCOUNT_ID))
    );
    let (code, again) = it.run(&["sync"]).await;
    assert_eq!(code, 0, "{again}");
    let (code, nothing) = it.run(&["plan"]).await;
    assert_eq!(code, 0, "{nothing}");
    let (code, document) = it
        .run(&["plan", "--format", "json", "--template", "welcome"])
        .await;
    assert_eq!(code, 0);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document[0]["templates"][0]["outcome"], "same");
    let (code, unknown) = it.run(&["sync", "--template", "nobodys"]).await;
    assert_eq!(
        (code, unknown.as_str()),
        (1, "herald: no catalogue has a template nobodys")
    );
    insta::assert_snapshot!(
        "templates_made_and_reviewed",
        [planned, synced, status, again].join("\n----\n")
    );
}

async fn what_is_refused_is_said_and_the_others_go_on(database: Database) {
    let it = ready(&database, "").await;
    it.app
        .apply_catalogue(
            "name = \"more\"\n[[template]]\nname = \"plain\"\nlanguage = \"en\"\ncategory = \"utility\"\nbody = \"Of {{ a }} no example.\"\n",
        )
        .await;
    it.tell(
        "account",
        json!({"reviews": {"welcome": "REJECTED:INVALID_FORMAT"}}),
    )
    .await;
    let (code, synced) = it.run(&["sync"]).await;
    assert_eq!(code, 1, "{synced}");
    it.app.process().await;
    let (code, status) = it.run(&["status"]).await;
    assert_eq!(code, 1, "{status}");
    insta::assert_snapshot!("templates_refused", [synced, status].join("\n----\n"));
    // A direct request for what was rejected is refused; the event of it went through routes.
    let body = json!({"to": "+12025550101", "template": "welcome", "language": "en"});
    let (code, problem) = it.app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 422, "{problem}");
    assert!(problem.to_string().contains("rejected"), "{problem}");
}

async fn what_differs_is_shown_and_changed_where_meta_allows_it(database: Database) {
    let it = ready(&database, "").await;
    it.tell(
        "account",
        json!({"reviews": {"order_confirmation": "PENDING"}}),
    )
    .await;
    it.run(&["sync"]).await;
    it.app.process().await;
    it.app
        .apply_catalogue(
            &CATALOGUE
                .replace("Good to have you here.", "It is good to have you here.")
                .replace("is in. Thank you.", "has come in. Thank you."),
        )
        .await;
    let (code, planned) = it.run(&["plan"]).await;
    assert_eq!(code, 3, "{planned}");
    let (code, synced) = it.run(&["sync"]).await;
    assert_eq!(code, 0, "{synced}");
    let (_, again) = it.run(&["plan", "--template", "welcome"]).await;
    insta::assert_snapshot!(
        "templates_changed",
        [planned, synced, again].join("\n----\n")
    );
}

async fn a_utility_template_that_became_marketing_obeys_those_who_opted_out(database: Database) {
    let it = ready(&database, "").await;
    it.app
        .apply_catalogue(
            "name = \"told\"\n[[contact]]\nname = \"admin\"\nphone = \"+12025550109\"\n[[route]]\nname = \"told\"\nevent = \"herald.template.category_changed\"\n\
             to = \"contact:admin\"\ntemplate = \"order_confirmation\"\nparams = { name = \"you\", amount = \"1\", number = \"{{ data.template }}\" }\n",
        )
        .await;
    it.run(&["sync"]).await;
    it.app.process().await;
    it.run(&["sync"]).await;
    it.tell("templates/welcome", json!({"decision": "MARKETING"}))
        .await;
    it.app.process().await;
    let http = providers::http_client(Duration::from_secs(5), Duration::from_secs(2)).unwrap();
    templates::refresh(&it.app.engine, &http, Clock::System.now().plus_seconds(5))
        .await
        .unwrap();
    let (_, list) = it
        .app
        .get("/api/v1/notifications?recipient=contact:admin")
        .await;
    assert_eq!(list["notifications"].as_array().unwrap().len(), 1, "{list}");
    it.app
        .callback(json!({ "user_preferences": [{
            "wa_id": "12025550101", "detail": "x", "category": "marketing_messages", "value": "stop",
            "timestamp": it.app.now().unix_seconds(),
        }] }))
        .await;
    it.app.sql("INSERT INTO suppression (contact_id, scope, created_at, wanted, source, provider_at) SELECT id, 'marketing', 1, false, 'word', 1 FROM contact WHERE handle = 'admin'").await;
    let body = json!({"to": "contact:admin", "template": "welcome"});
    let (code, answer) = it.app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    it.app.send().await;
    let id = answer["notifications"][0]["id"].as_str().unwrap();
    let shown = it.app.notification(id).await;
    assert_eq!(shown["status"], "skipped", "{shown}");
    assert_eq!(shown["reason"], "the person has opted out of marketing");
}

async fn polling_learns_what_no_callback_told(database: Database) {
    let it = ready(&database, "").await;
    it.tell("account", json!({"templates": {"welcome_back": "PAUSED"}}))
        .await;
    it.app
        .apply_catalogue("name = \"back\"\n[[template]]\nname = \"welcome_back\"\ncategory = \"utility\"\nbody = \"Good to see you again.\"\n")
        .await;
    let http = providers::http_client(Duration::from_secs(5), Duration::from_secs(2)).unwrap();
    templates::refresh(&it.app.engine, &http, it.app.now())
        .await
        .unwrap();
    let body = json!({"to": "+12025550101", "template": "welcome_back"});
    let (code, answer) = it.app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    let id = answer["notifications"][0]["id"].as_str().unwrap();
    it.app.send().await;
    assert_eq!(it.app.status_of(id).await, "held");
    it.tell(
        "account",
        json!({"templates": {"welcome_back": "APPROVED"}}),
    )
    .await;
    it.app.pass(60);
    let changed = templates::refresh(&it.app.engine, &http, it.app.now())
        .await
        .unwrap();
    assert_eq!(changed.changed, 1);
    it.app.pass(60);
    it.app.watch().await;
    assert_eq!(it.app.status_of(id).await, "queued");
    assert_eq!(
        templates::refresh(&it.app.engine, &http, it.app.now())
            .await
            .unwrap()
            .changed,
        0
    );
}

async fn a_suffix_makes_a_version_beside_the_old_one(database: Database) {
    let it = ready(&database, "v1_02").await;
    let (code, synced) = it.run(&["sync", "--template", "welcome"]).await;
    assert_eq!(code, 0, "{synced}");
    assert!(
        synced.contains("created       welcome_v1_02 (en) pending ID"),
        "{synced}"
    );
    it.app.process().await;
    let (code, status) = it.run(&["status", "--template", "welcome"]).await;
    assert_eq!(code, 0);
    assert!(
        status.starts_with("welcome (en)") && status.contains("approved"),
        "{status}"
    );
    let body = json!({"to": "+12025550101", "template": "welcome"});
    let (_, answer) = it.app.post("/api/v1/notifications", &body).await;
    it.app.send().await;
    let name = it.app.meta.request(0)["template"]["name"].clone();
    assert_eq!(name, "welcome_v1_02", "{answer}");
}

async fn a_template_is_displayed_as_meta_wants_it_and_as_people_read_it(database: Database) {
    let it = ready(&database, "").await;
    let (code, document) = it
        .run(&["sync", "--display-only", "--format", "json"])
        .await;
    assert_eq!(code, 0, "{document}");
    insta::assert_snapshot!("templates_as_meta_wants_them", document);
    let (code, shown) = it
        .run(&["sync", "--display-only", "--template", "welcome"])
        .await;
    assert_eq!(code, 0, "{shown}");
    let (code, bubbles) = it.run(&["show", "order_confirmation"]).await;
    assert_eq!(code, 0);
    let (code, document) = it
        .run(&["show", "order_confirmation", "--format", "json"])
        .await;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(
        (code, document.as_array().unwrap().len()),
        (0, 1),
        "{document}"
    );
    insta::assert_json_snapshot!("a_template_shown_as_a_document", document[0]);
    let (code, _) = it.run(&["show", "welcome", "--language", "hi"]).await;
    assert_eq!(code, 1);
    insta::assert_snapshot!(
        "templates_as_people_read_them",
        [shown, bubbles].join("\n----\n")
    );
}

async fn an_account_that_cannot_be_asked_says_why(database: Database) {
    let it = ready(&database, "").await;
    it.tell(
        "number",
        json!({"token": "another-token-than-ours-123456789"}),
    )
    .await;
    let (code, said) = it.run(&["sync"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("cannot be read: Meta refused it (code 190"),
        "{said}"
    );
    let http = providers::http_client(Duration::from_secs(5), Duration::from_secs(2)).unwrap();
    let learned = templates::refresh(&it.app.engine, &http, it.app.now()).await;
    let learned = learned.unwrap();
    assert_eq!(
        (learned.changed, learned.unread.len()),
        (0, 1),
        "the next time will do"
    );
    for words in [
        &["status", "--check-status"][..],
        &["sync", "--check-status"],
    ] {
        let (code, said) = it.run(words).await;
        assert_eq!(code, 1, "what is printed is old: {said}");
        assert!(
            said.contains("cannot be read: Meta refused it (code 190"),
            "{said}"
        );
    }
    let (code, _) = it.run(&["status", "--format", "yaml"]).await;
    assert_eq!(code, 2, "wrong use");
}

async fn what_was_made_meanwhile_is_adopted_and_a_category_is_metas(database: Database) {
    let it = ready(&database, "").await;
    // It is there, and not in the list: somebody makes it between our look and our call.
    it.tell(
        "account",
        json!({"hidden": ["welcome"], "reviews": {"order_confirmation": "MARKETING"}}),
    )
    .await;
    it.run(&["sync"]).await;
    it.app.process().await;
    let (code, again) = it.run(&["sync"]).await;
    assert_eq!(code, 0, "{again}");
    assert!(
        again.contains("adopted       welcome (en) approved ID"),
        "{again}"
    );
    assert!(
        again.contains("Meta has decided on its category"),
        "{again}"
    );
    let (code, _) = it.run(&["plan"]).await;
    assert_eq!(code, 3);
}

/// Templates as somebody makes them in WhatsApp Manager.
fn made_by_hand() -> [Value; 5] {
    [
        json!({ "name": "shipped", "language": "en", "category": "UTILITY", "components": [
            { "type": "HEADER", "format": "TEXT", "text": "Order {{1}}", "example": { "header_text": ["A-17"] } },
            { "type": "BODY", "text": "Dear {{1}}, your order left {{2}} today.", "example": { "body_text": [["Asha", "Pune"]] } },
            { "type": "FOOTER", "text": "Herald Shop" },
            { "type": "BUTTONS", "buttons": [
                { "type": "URL", "text": "Follow it", "url": "https://example.org/{{1}}", "example": ["https://example.org/A-17"] },
                { "type": "QUICK_REPLY", "text": "Stop" },
            ] },
        ] }),
        json!({ "name": "named", "language": "en", "category": "MARKETING", "parameter_format": "NAMED", "components": [
            { "type": "BODY", "text": "Hello {{first_name}}, come by.",
              "example": { "body_text_named_params": [{ "param_name": "first_name", "example": "Asha" }] } },
        ] }),
        json!({ "name": "login_code", "language": "en", "category": "AUTHENTICATION", "components": [
            { "type": "BODY", "text": "*{{1}}* is your verification code.", "example": { "body_text": [["123456"]] } },
            { "type": "FOOTER", "text": "This code expires in 5 minutes.", "code_expiration_minutes": 5 },
            { "type": "BUTTONS", "buttons": [{ "type": "URL", "text": "Copy code", "url": "https://www.whatsapp.com/otp/code/?code={{1}}" }] },
        ] }),
        json!({ "name": "a_flow", "language": "en", "category": "UTILITY", "components": [
            { "type": "BODY", "text": "Please answer." },
            { "type": "BUTTONS", "buttons": [{ "type": "FLOW", "text": "Begin" }] },
        ] }),
        json!({ "name": "a_carousel", "language": "en", "category": "MARKETING", "components": [
            { "type": "BODY", "text": "Look at these." }, { "type": "CAROUSEL", "cards": [] },
        ] }),
    ]
}

async fn what_was_made_elsewhere_becomes_a_catalogue_and_is_then_the_same(database: Database) {
    let it = ready(&database, "").await;
    it.tell("account", json!({ "templates": {} })).await;
    it.run(&["sync"]).await;
    for template in made_by_hand() {
        let answer = it
            .app
            .http
            .post(format!(
                "{}/v26.0/{ACCOUNT_ID}/message_templates",
                it.sandbox
            ))
            .bearer_auth(TOKEN)
            .json(&template)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), 200);
    }
    it.app.process().await;
    let (code, printed) = it.run(&["pull"]).await;
    assert_eq!(code, 1, "one has no counterpart: {printed}");
    insta::assert_snapshot!("templates_pulled", printed);
    let file = it.folder.path().join("pulled.toml");
    let path = file.display().to_string();
    let (code, said) = it
        .run(&["pull", "--template", "shipped", "--into", &path])
        .await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = it
        .run(&["pull", "--template", "shipped", "--into", &path])
        .await;
    assert_eq!(code, 1, "what is there is not written over: {said}");
    std::fs::remove_file(&file).unwrap();
    let (code, said) = it.run(&["pull", "--into", &path]).await;
    assert!(
        code == 1 && said.contains("3 templates written to"),
        "{said}"
    );
    it.app
        .apply_catalogue(&std::fs::read_to_string(&file).unwrap())
        .await;
    let (code, plan) = it.run(&["plan"]).await;
    assert_eq!(code, 0, "{plan}");
    for name in ["shipped (en)", "named (en)", "login_code (en)"] {
        assert!(
            plan.contains(&format!("same          {name} approved")),
            "{plan}"
        );
    }
    let (code, taken) = it.run(&["pull"]).await;
    assert_eq!(code, 1);
    assert!(
        taken.contains("there is a catalogue pulled already"),
        "{taken}"
    );
    let other = ["pull", "--catalogue", "other", "--template", "shipped"];
    let (code, nothing) = it.run(&other).await;
    assert_eq!(code, 1, "{nothing}");
    assert!(
        nothing.contains("no account has a template shipped that no catalogue has"),
        "{nothing}"
    );
    // What was pulled can be sent.
    let body = json!({ "to": "+12025550101", "template": "shipped", "language": "en", "params": {
        "header_1": "A-18", "value_1": "Ravi", "value_2": "Delhi", "button_1_1": "A-18" } });
    let (code, made) = it.app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{made}");
}

const WITH_FILE: &str = r#"
name = "files"
[[template]]
name = "invoice"
language = "en"
category = "utility"
body = "Your invoice {{ number }} is here."
[template.header]
type = "document"
link = "https://example.org/{{ number }}.pdf"
filename = "{{ number }}.pdf"
[[template.parameter]]
name = "number"
example = "A-17"
"#;

async fn a_header_that_is_a_file_is_made_with_a_sample(database: Database) {
    let it = ready(&database, "").await;
    it.app.apply_catalogue(WITH_FILE).await;
    let only = ["sync", "--template", "invoice"];
    let (code, without) = it.run(&only).await;
    assert_eq!(code, 1, "{without}");
    assert!(without.contains("--sample NAME=FILE"), "{without}");
    let file = it.folder.path().join("sample.pdf");
    std::fs::write(&file, b"%PDF-1.4 a sample").unwrap();
    let sample = format!("invoice={}", file.display());
    let (code, made) = it.run(&[&only[..], &["--sample", &sample]].concat()).await;
    assert_eq!(code, 0, "{made}");
    assert!(
        made.contains("created       invoice (en) pending ID"),
        "{made}"
    );
    it.app.process().await;
    let (code, plan) = it.run(&["plan", "--template", "invoice"]).await;
    assert_eq!(code, 0, "{plan}");
    // A change of its text needs a sample again: Meta replaces all of its parts.
    let changed = WITH_FILE.replace("is here", "has come");
    it.app.apply_catalogue(&changed).await;
    let (_, stuck) = it.run(&only).await;
    assert!(
        stuck.contains("differs       invoice (en) approved"),
        "{stuck}"
    );
    let (code, done) = it.run(&[&only[..], &["--sample", &sample]].concat()).await;
    assert!(
        code == 0 && done.contains("changed       invoice (en)"),
        "{done}"
    );
    for (sample, why) in [
        ("invoice", "--sample is written TEMPLATE=FILE"),
        ("nobodys=x.pdf", "no catalogue has a template nobodys"),
        ("invoice=nothing.pdf", "nothing.pdf cannot be read"),
    ] {
        let (code, said) = it.run(&["sync", "--sample", sample]).await;
        assert!(code == 1 && said.contains(why), "{said}");
    }
    let text = it.folder.path().join("sample.txt");
    std::fs::write(&text, b"text").unwrap();
    let (_, said) = it
        .run(&["sync", "--sample", &format!("invoice={}", text.display())])
        .await;
    assert!(
        said.contains("a sample is a .jpg, .png, .mp4 or .pdf file"),
        "{said}"
    );
}

async fn a_code_says_how_long_it_is_good(database: Database) {
    let it = ready(&database, "").await;
    let catalogue = |minutes: &str, category: &str| {
        format!(
            "name = \"codes\"\n[[template]]\nname = \"entry_code\"\nlanguage = \"en\"\ncategory = \"{category}\"\n\
             body = \"{{{{ code }}}} lets you in.\"\ncode_expiration_minutes = {minutes}\n"
        )
    };
    it.app
        .apply_catalogue(&catalogue("5", "authentication"))
        .await;
    assert_eq!(
        it.components("entry_code").await[1],
        json!({ "type": "FOOTER", "code_expiration_minutes": 5 })
    );
    let (_, shown) = it.run(&["show", "entry_code"]).await;
    assert!(
        shown.contains("This code expires in 5 minutes.") && shown.contains("[ Copy code ]"),
        "{shown}"
    );
    for (text, why) in [
        (catalogue("0", "authentication"), "1 to 90"),
        (catalogue("91", "authentication"), "1 to 90"),
        (
            catalogue("5", "utility"),
            "only an authentication template has them",
        ),
    ] {
        let file = it.folder.path().join("codes.toml");
        std::fs::write(&file, text).unwrap();
        let mut command = command(
            &it.app.database_url,
            it.folder.path(),
            &["plan", "codes.toml"],
        );
        let said = super::cli::text(&command.output().unwrap());
        assert!(
            said.contains("code_expiration_minutes") && said.contains(why),
            "{said}"
        );
    }
}

async fn a_code_is_filled_in_by_an_app(database: Database) {
    let it = ready(&database, "").await;
    let catalogue = |button: &str| {
        format!(
            "name = \"codes\"\n[[template]]\nname = \"entry_code\"\nlanguage = \"en\"\ncategory = \"authentication\"\n\
             body = \"{{{{ code }}}} lets you in.\"\nadd_security_recommendation = true\n[[template.button]]\ntype = \"otp\"\n{button}\n"
        )
    };
    let one_app = "{ package_name = \"com.example.pay\", signature_hash = \"K8a/AINcGX7\" }";
    let app = format!("supported_apps = [{one_app}]\n");
    let one_tap = format!("otp_type = \"one_tap\"\nautofill_text = \"Fill in\"\n{app}");
    it.app.apply_catalogue(&catalogue(&one_tap)).await;
    assert_eq!(
        it.components("entry_code").await,
        json!([
            { "type": "BODY", "add_security_recommendation": true },
            { "type": "BUTTONS", "buttons": [{
                "type": "OTP", "otp_type": "ONE_TAP", "autofill_text": "Fill in",
                "supported_apps": [{ "package_name": "com.example.pay", "signature_hash": "K8a/AINcGX7" }],
            }] },
        ])
    );
    let (_, shown) = it.run(&["show", "entry_code"]).await;
    assert!(
        shown.contains("For your security") && shown.contains("[ Fill in ]"),
        "{shown}"
    );
    let zero_tap = format!("otp_type = \"zero_tap\"\nzero_tap_terms_accepted = true\n{app}");
    it.app.apply_catalogue(&catalogue(&zero_tap)).await;
    for (button, why) in [
        ("otp_type = \"one_tap\"".to_owned(), "need 1 to 5 apps"),
        (
            format!("otp_type = \"copy_code\"\n{app}"),
            "copy_code has neither",
        ),
        (
            format!("otp_type = \"zero_tap\"\n{app}"),
            "once you have accepted",
        ),
        (one_tap.replace("com.example.pay", "pay"), "com.example.app"),
        (one_tap.replace("GX7", ""), "11 characters"),
        (one_tap.replace("GX7", "GX!"), "11 characters"),
        (
            one_tap.replace("[{", &format!("[{}{{", format!("{one_app}, ").repeat(5))),
            "need 1 to 5 apps",
        ),
        (
            one_tap.replace("Fill in", &"x".repeat(26)),
            "autofill_text: 1 to 25",
        ),
        ("otp_type = \"two_tap\"".to_owned(), "unknown variant"),
    ] {
        let wrong = catalogues::parse(&catalogue(&button), &TestApp::catalogue_values());
        let said = format!("{:?}", wrong.unwrap_err());
        assert!(said.contains(why), "{why}: {said}");
    }
    let wrong = catalogue(&one_tap).replace("\"en\"", "\"english\"");
    let wrong = it.app.try_catalogue(&wrong).await.unwrap_err();
    assert_eq!(
        wrong,
        ["line 4: template entry_code: language: a language is written en, en_US or pt_BR"]
    );
}

async fn what_is_recategorised_in_its_first_review_obeys_at_once(database: Database) {
    let it = ready(&database, "").await;
    it.app
        .apply_catalogue(
            "name = \"told\"\n[[contact]]\nname = \"admin\"\nphone = \"+12025550109\"\n[[route]]\nname = \"told\"\nevent = \"herald.template.category_changed\"\n\
             to = \"contact:admin\"\ntemplate = \"order_confirmation\"\nparams = { name = \"you\", amount = \"1\", number = \"{{ data.template }}\" }\n",
        )
        .await;
    let stop = json!({ "metadata": { "phone_number_id": PHONE_NUMBER_ID },
        "contacts": [{ "wa_id": "12025550101", "profile": { "name": "Asha" } }],
        "user_preferences": [{ "wa_id": "12025550101", "detail": "x", "category": "marketing_messages",
            "value": "stop", "timestamp": it.app.now().unix_seconds() }] });
    crate::meta_callbacks::told(&it.app, "user_preferences", None, stop).await;
    it.tell("account", json!({"reviews": {"welcome": "MARKETING"}}))
        .await;
    it.run(&["sync", "--template", "welcome"]).await;
    it.app.process().await;
    let (_, list) = it
        .app
        .get("/api/v1/notifications?recipient=contact:admin")
        .await;
    assert_eq!(list["notifications"].as_array().unwrap().len(), 1, "{list}");
    let body = json!({"to": "+12025550101", "template": "welcome"});
    let (code, answer) = it.app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    it.app.send().await;
    let id = answer["notifications"][0]["id"].as_str().unwrap();
    let shown = it.app.notification(id).await;
    assert_eq!(
        shown["reason"], "the person has opted out of marketing",
        "{shown}"
    );
    // A look at the account finds nothing that was not told.
    let http = providers::http_client(Duration::from_secs(5), Duration::from_secs(2)).unwrap();
    let again = templates::refresh(&it.app.engine, &http, it.app.now()).await;
    assert_eq!(again.unwrap().changed, 0);
}

async fn a_pause_and_an_end_are_told_by_the_command(database: Database) {
    let it = ready(&database, "").await;
    it.run(&["sync"]).await;
    it.app.process().await;
    for (name, decision, word, code) in [
        ("welcome", "PAUSED", "paused", 0),
        ("order_confirmation", "DISABLED", "disabled", 1),
    ] {
        it.tell(
            &format!("templates/{name}"),
            json!({ "decision": decision }),
        )
        .await;
        it.app.process().await;
        let (ended, said) = it
            .run(&["status", "--template", name, "--check-status"])
            .await;
        assert!(said.contains(word), "{said}");
        assert_eq!(ended, code, "{said}");
    }
}
