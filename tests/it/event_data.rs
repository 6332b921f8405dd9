//! What an event's data may hold, in every place that it can reach.

use serde_json::{Value, json};

use crate::harness::{Database, TestApp};

crate::tests![
    every_value_in_every_place_is_written_or_refused_where_it_is_seen,
    what_says_nothing_is_no_dedupe_key,
    a_number_is_compared_with_a_number_only,
    what_cannot_be_read_is_shown_as_it_came_and_the_story_says_why,
    a_strict_template_sends_nothing_that_it_cannot_read,
    a_time_without_a_zone_is_of_its_own_day,
    an_instant_is_of_the_day_that_it_is_where_its_reader_lives,
    what_breaks_a_limit_when_it_is_filled_in_is_refused_with_its_parameter,
    an_event_whose_data_break_a_limit_says_so,
    a_parameter_that_is_only_cut_is_a_parameter,
];

const CATALOGUE: &str = r#"
name = "values"

[[template]]
name = "said"
category = "utility"
body = "Value {{ value }} here."

[[template]]
name = "said_with_default"
category = "utility"
body = "Value {{ value | default('nothing') }} here."

[[template]]
name = "paid"
category = "utility"
body = "Paid {{ value | money('USD') }} today."

[[template]]
name = "dated"
category = "utility"
body = "Due on {{ value | date }} at noon."

[[template]]
name = "linked"
category = "utility"
body = "See this."
[[template.button]]
type = "url"
text = "See"
url = "https://example.org/{{ value | urlencode }}"
"#;

/// Where an event's data can stand, and a route that puts it there.
const PLACES: [(&str, &str); 12] = [
    (
        "param",
        "template = \"said\"\nparams = { value = \"{{ data.value }}\" }",
    ),
    (
        "param with a default",
        "template = \"said\"\nparams = { value = \"{{ data.value | default('nothing') }}\" }",
    ),
    (
        "condition",
        "when = \"data.value\"\ntemplate = \"said\"\nparams = { value = \"x\" }",
    ),
    (
        "condition that asks for it",
        "when = \"data.value is defined\"\ntemplate = \"said\"\nparams = { value = \"x\" }",
    ),
    (
        "label",
        "template = \"said\"\nlabels = { class = \"{{ data.value | default('') }}\" }\nparams = { value = \"x\" }",
    ),
    (
        "reference",
        "template = \"said\"\nreference = \"{{ data.value | default('') }}\"\nparams = { value = \"x\" }",
    ),
    ("address", "template = \"said\"\nparams = { value = \"x\" }"),
    (
        "dedupe key",
        "template = \"said\"\ndedupe_key = \"transfer:{{ data.value | default('') }}\"\nparams = { value = \"x\" }",
    ),
    (
        "money",
        "template = \"paid\"\nparams = { value = \"{{ data.value }}\" }",
    ),
    (
        "date",
        "template = \"dated\"\nparams = { value = \"{{ data.value }}\" }",
    ),
    (
        "URL",
        "template = \"linked\"\nparams = { value = \"{{ data.value }}\" }",
    ),
    (
        "list in a text",
        "template = \"said\"\nparams = { value = \"{{ [data.value, 'b'] | join('/') }}\" }",
    ),
];

fn catalogue() -> String {
    let mut parts = vec![CATALOGUE.to_owned()];
    for (number, (place, route)) in PLACES.iter().enumerate() {
        let to = if *place == "address" {
            "{{ data.value }}"
        } else {
            "{{ data.phone }}"
        };
        parts.push(format!(
            "\n[[route]]\nname = \"r-{number:02}\"\nevent = \"values.e{number:02}\"\nto = \"{to}\"\n{route}\n"
        ));
    }
    parts.concat()
}

/// What came of an event, in a line.
async fn came_of(app: &TestApp, id: &str, kind: &str, data: Value) -> String {
    let answer = app.event(id, kind, data).await;
    let result = &answer["routes"][0];
    let mut parts = vec![result["outcome"].as_str().unwrap().to_owned()];
    parts.extend(result["reason"].as_str().map(str::to_owned));
    let duplicates = result["duplicates"].as_array().map_or(0, Vec::len);
    if duplicates > 0 {
        parts.push("a duplicate".to_owned());
    }
    if let Some(id) = answer["notifications"][0].as_str() {
        let shown = app.notification(id).await;
        if shown["status"] == "skipped" {
            parts.push(format!("skipped: {}", shown["reason"].as_str().unwrap()));
        } else {
            parts.push(format!("\"{}\"", shown["text"].as_str().unwrap()));
        }
        for name in ["labels", "reference"] {
            if !shown[name].is_null() && shown[name] != json!({}) {
                parts.push(format!("{name} {}", shown[name]));
            }
        }
        parts.extend(unread(app, id).await);
    }
    // The event says the same to whoever looks later.
    let (code, later) = app
        .get(&format!(
            "/api/v1/events/{}",
            answer["id"].as_str().unwrap()
        ))
        .await;
    assert_eq!((code, &later["routes"]), (200, &answer["routes"]));
    parts.join("; ")
}

/// What the story of a notification says of values that could not be read.
async fn unread(app: &TestApp, id: &str) -> Vec<String> {
    let (code, story) = app.get(&format!("/api/v1/notifications/{id}/story")).await;
    assert_eq!(code, 200, "{story}");
    let lines = story["lines"].as_array().unwrap().iter();
    lines
        .filter(|line| line["kind"] == "value_unread")
        .map(|line| line["text"].as_str().unwrap().to_owned())
        .collect()
}

async fn every_value_in_every_place_is_written_or_refused_where_it_is_seen(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(&catalogue()).await;
    let values = [
        ("null", json!(null)),
        ("missing", json!("MISSING")),
        ("empty", json!("")),
        ("boolean", json!(true)),
        ("float", json!(1e16)),
        ("list", json!([1, null, "x"])),
        ("map", json!({"a": 1, "b": null})),
        ("naive datetime", json!("2026-02-01T06:30:00")),
    ];
    let mut table = Vec::new();
    for (number, (place, _)) in PLACES.iter().enumerate() {
        for (name, value) in &values {
            let mut data = json!({ "phone": "+12025550101", "value": value });
            if *name == "missing" {
                data.as_object_mut().unwrap().remove("value");
            }
            let kind = format!("values.e{number:02}");
            let id = format!("{number}-{name}");
            let result = came_of(&app, &id, &kind, data.clone()).await;
            table.push(format!("{place} | {name} | {result}"));
            assert!(
                !result.contains("None") && !result.contains("True"),
                "{result}"
            );
        }
    }
    insta::assert_snapshot!("values_in_every_place", table.join("\n"));
    // And what leaves says the same.
    app.send().await;
    for call in 0..app.meta.calls() {
        let text = app.meta.request(call).to_string();
        assert!(!text.contains("None") && !text.contains("null"), "{text}");
    }
}

async fn what_says_nothing_is_no_dedupe_key(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(&catalogue()).await;
    let data = json!({ "phone": "+12025550101", "value": null });
    let first = app.event("t-1", "values.e07", data.clone()).await;
    let second = app.event("t-2", "values.e07", data).await;
    for answer in [&first, &second] {
        let result = &answer["routes"][0];
        assert_eq!(result["outcome"], "error", "{answer}");
        assert_eq!(
            result["reason"],
            "its dedupe key: cannot be rendered: invalid operation: an expression in it is empty"
        );
        assert_eq!(result["duplicates"], Value::Null, "{answer}");
    }
    let (_, list) = app.get("/api/v1/events?errors=true").await;
    assert_eq!(list["events"].as_array().unwrap().len(), 2, "{list}");
    // Once the catalogue can tell them apart, both are sent.
    let mended = catalogue().replace("transfer:{{ data.value | default('') }}", "{{ event.id }}");
    app.apply_catalogue(&mended).await;
    for answer in [first, second] {
        let id = answer["id"].as_str().unwrap();
        let (code, again) = app
            .post(&format!("/api/v1/events/{id}/replay"), &json!({}))
            .await;
        assert_eq!(
            (code, &again["routes"][0]["outcome"]),
            (200, &json!("fired"))
        );
        assert_eq!(
            again["notifications"].as_array().unwrap().len(),
            1,
            "{again}"
        );
    }
}

async fn a_number_is_compared_with_a_number_only(database: Database) {
    let app = TestApp::spawn(&database).await;
    let route = |number: i64, when: &str| {
        format!(
            "\n[[route]]\nname = \"c-{number}\"\nevent = \"values.c{number}\"\nto = \"{{{{ data.phone }}}}\"\n\
             when = \"{when}\"\ntemplate = \"said\"\nparams = {{ value = \"x\" }}\n"
        )
    };
    let conditions = [
        "data.amount > 100",
        "data.amount == 500",
        "500 != data.amount",
        "0 < data.amount <= 500",
        "data.amount | number > 100",
    ];
    let mut text = CATALOGUE.to_owned();
    for (number, condition) in conditions.iter().enumerate() {
        text.push_str(&route(i64::try_from(number).unwrap(), condition));
    }
    app.apply_catalogue(&text).await;
    let values = [
        json!(500),
        json!(5),
        json!("500"),
        json!("abc"),
        json!([1]),
        json!(null),
    ];
    let expected = [
        ["fired", "did_not_fire", "error", "error", "error", "error"],
        ["fired", "did_not_fire", "error", "error", "error", "error"],
        ["did_not_fire", "fired", "error", "error", "error", "error"],
        ["fired", "fired", "error", "error", "error", "error"],
        // What reads as a number is one.
        ["fired", "did_not_fire", "fired", "error", "error", "error"],
    ];
    for (number, outcomes) in expected.iter().enumerate() {
        for (value, outcome) in values.iter().zip(outcomes) {
            let data = json!({ "phone": "+12025550101", "amount": value });
            let id = format!("{number}-{value}");
            let answer = app.event(&id, &format!("values.c{number}"), data).await;
            let result = &answer["routes"][0];
            assert_eq!(
                result["outcome"], *outcome,
                "{} of {value}: {answer}",
                conditions[number]
            );
            let made = answer["notifications"].as_array().unwrap().len();
            assert_eq!(made, usize::from(*outcome == "fired"), "{answer}");
        }
    }
    let data = json!({ "phone": "+12025550101", "amount": "500" });
    let answer = app.event("reason", "values.c0", data).await;
    assert_eq!(
        answer["routes"][0]["reason"],
        "its condition: cannot be rendered: invalid operation: a number is compared with a text: \
         `| number` parses a text, `| string` formats a number"
    );
}

/// A staff alert as people write them.
const ALERT: &str = r#"
name = "alerts"

[[template]]
name = "alert"
category = "utility"
body = "Install at {{ place }} on {{ day | date }} for {{ amount | money(currency) }}, call {{ phone }}."

[[template.parameter]]
name = "place"
example = "12 Hill Road"
[[template.parameter]]
name = "day"
kind = "date"
example = "2026-02-01"
[[template.parameter]]
name = "amount"
kind = "number"
example = "250"
[[template.parameter]]
name = "currency"
default = "USD"
example = "USD"
[[template.parameter]]
name = "phone"
kind = "phone"
example = "+12025550101"

[[route]]
name = "alert"
event = "alerts.asked"
to = "+12025550199"
template = "alert"
[route.params]
place = "{{ data.place }}"
day = "{{ data.day }}"
amount = "{{ data.amount }}"
currency = "{{ data.currency | default('') }}"
phone = "{{ data.phone }}"
[route.labels]
month = "{{ data.day | date('day') }}"
"#;

fn alert() -> Value {
    json!({
        "place": "12 Hill Road", "day": "as soon as possible", "amount": "about 250",
        "currency": "dollars", "phone": "0160 4960002",
    })
}

async fn what_cannot_be_read_is_shown_as_it_came_and_the_story_says_why(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(ALERT).await;
    let answer = app.event("a-1", "alerts.asked", alert()).await;
    let id = answer["notifications"][0].as_str().unwrap();
    let shown = app.notification(id).await;
    assert_eq!(
        shown["text"],
        "Install at 12 Hill Road on as soon as possible for about 250, call 0160 4960002."
    );
    assert_eq!(shown["labels"], json!({ "month": "as soon as possible" }));
    let date = "a date is written 2026-02-01, 2026-02-01T09:30:00 or 2026-02-01T09:30:00Z";
    let said = unread(&app, id).await;
    assert_eq!(
        said,
        [
            format!("A value is shown unchanged, at its label month: {date}."),
            "A value is shown unchanged, at phone: a number in E.164, such as +12025550123.".to_owned(),
            format!("A value is shown unchanged, at day | date: {date}."),
            "A value is shown unchanged, at amount | money(currency): a number is written 1250 or 1250.50."
                .to_owned(),
        ]
    );
    app.send().await;
    let sent = app.meta.request(0);
    let parameters = &sent["template"]["components"][0]["parameters"];
    assert_eq!(parameters[1]["text"], "as soon as possible");
    // What can be read is written; a currency that is none stands behind its amount.
    let mut readable = alert();
    readable["day"] = json!("2026-02-01");
    readable["amount"] = json!(1250);
    let answer = app.event("a-2", "alerts.asked", readable).await;
    let shown = app
        .notification(answer["notifications"][0].as_str().unwrap())
        .await;
    let text = shown["text"].as_str().unwrap();
    assert!(
        text.contains("on February 1, 2026 for 1,250 dollars,"),
        "{text}"
    );
    // Whoever asks directly is told at once.
    let params = json!({ "place": "x", "day": "soon", "amount": "1", "phone": "+12025550101" });
    let body = json!({ "to": "+12025550101", "template": "alert", "params": params });
    let (code, problem) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(
        (code, &problem["errors"][0]["pointer"]),
        (422, &json!("/params/day"))
    );
}

async fn a_strict_template_sends_nothing_that_it_cannot_read(database: Database) {
    let app = TestApp::spawn(&database).await;
    let strict = ALERT.replace(
        "category = \"utility\"",
        "category = \"utility\"\nstrict = true",
    );
    app.apply_catalogue(&strict).await;
    let answer = app.event("a-1", "alerts.asked", alert()).await;
    let reason = format!(
        "the template alert cannot be filled: day: {}",
        "a date is written 2026-02-01, 2026-02-01T09:30:00 or 2026-02-01T09:30:00Z"
    );
    assert_eq!(answer["routes"][0]["reason"], reason, "{answer}");
    let shown = app
        .notification(answer["notifications"][0].as_str().unwrap())
        .await;
    assert_eq!(
        (&shown["status"], &shown["reason"]),
        (&json!("skipped"), &json!(reason))
    );
}

async fn a_time_without_a_zone_is_of_its_own_day(database: Database) {
    let app = TestApp::spawn(&database).await;
    let dated = |zone: &str, filter: &str| {
        format!(
            "name = \"times\"\n[[template]]\nname = \"at\"\ncategory = \"utility\"\n{zone}\n\
             body = \"It is {{{{ at | {filter} }}}} then.\"\n"
        )
    };
    for (zone, filter, at, text) in [
        (
            "",
            "date",
            "2026-02-01T06:30:00",
            "It is February 1, 2026 then.",
        ),
        (
            "",
            "date",
            "2026-02-01T23:59:59.123456",
            "It is February 1, 2026 then.",
        ),
        (
            "",
            "date",
            "2026-02-01 06:30",
            "It is February 1, 2026 then.",
        ),
        // Read as UTC, shown where it is asked for.
        (
            "",
            "date('day', zone='Asia/Kolkata')",
            "2026-01-31T20:00:00",
            "It is February 1 then.",
        ),
        // Read in the time zone of the catalogue.
        (
            "time_zone = 'Asia/Kolkata'",
            "date('day', zone='UTC')",
            "2026-02-01T01:00:00",
            "It is January 31 then.",
        ),
        (
            "time_zone = 'Asia/Kolkata'",
            "date('day')",
            "2026-01-31T20:00:00Z",
            "It is February 1 then.",
        ),
    ] {
        app.apply_catalogue(&dated(zone, filter)).await;
        let body = json!({ "to": "+12025550101", "template": "at", "params": { "at": at } });
        let (code, answer) = app.post("/api/v1/notifications", &body).await;
        assert_eq!(code, 202, "{answer}");
        let id = answer["notifications"][0]["id"].as_str().unwrap();
        assert_eq!(app.notification(id).await["text"], text, "{at} {filter}");
    }
    let wrong = dated("time_zone = 'Mars/Base'", "date");
    let mistakes = app.try_catalogue(&wrong).await.unwrap_err();
    assert_eq!(
        mistakes,
        ["line 5: template at: time_zone: a zone is written Africa/Harare"]
    );
}

async fn an_instant_is_of_the_day_that_it_is_where_its_reader_lives(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(
        "name = \"times\"\n[[template]]\nname = \"at\"\ncategory = \"utility\"\ntime_zone = \"UTC\"\n\
         body = \"It is {{ at | date('day') }} for {{ contact.time_zone | default('you') }}.\"\n\
         [[contact]]\nname = \"nairobi\"\nphone = \"+12025550103\"\ntime_zone = \"Africa/Nairobi\"\n\
         [[user]]\nname = \"clerk\"\ncontact = \"nairobi\"\n[[group]]\nname = \"clerks\"\nmembers = [\"clerk\"]\n",
    )
    .await;
    let kolkata =
        json!({ "handle": "reader", "phone": "+12025550101", "time_zone": "Asia/Kolkata" });
    let (code, answer) = app.admin("POST", "/api/v1/contacts", &kolkata).await;
    assert_eq!(code, 201, "{answer}");
    for (to, text) in [
        ("contact:reader", "It is February 1 for Asia/Kolkata."),
        ("+12025550101", "It is February 1 for Asia/Kolkata."),
        ("contact:nairobi", "It is January 31 for Africa/Nairobi."),
        ("user:clerk", "It is January 31 for Africa/Nairobi."),
        ("group:clerks", "It is January 31 for Africa/Nairobi."),
        ("+12025550102", "It is January 31 for you."),
    ] {
        let at = json!({ "at": "2026-01-31T20:00:00Z" });
        let body = json!({ "to": to, "template": "at", "params": at });
        let (code, answer) = app.post("/api/v1/notifications", &body).await;
        assert_eq!(code, 202, "{answer}");
        let id = answer["notifications"][0]["id"].as_str().unwrap();
        assert_eq!(app.notification(id).await["text"], text, "{to}");
    }
}

const LIMITS: &str = r#"
name = "limits"

[[template]]
name = "picture"
category = "utility"
body = "Hello {{ name }}!"
[template.header]
type = "image"
link = "{{ picture }}"

[[template]]
name = "titled"
category = "utility"
body = "Hello {{ name }}!"
[template.header]
type = "text"
text = "From {{ from }}"

[[template]]
name = "button"
category = "utility"
body = "Hello {{ name }}!"
[[template.button]]
type = "url"
text = "See"
url = "https://example.org/{{ place }}"
[[template.button]]
type = "copy_code"
code = "{{ coupon }}"

[[route]]
name = "picture"
event = "limits.picture"
to = "{{ data.phone }}"
template = "picture"
[route.params]
name = "{{ data.name }}"
picture = "{{ data.picture }}"
"#;

async fn what_breaks_a_limit_when_it_is_filled_in_is_refused_with_its_parameter(
    database: Database,
) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(LIMITS).await;
    let before = app.number("SELECT count(*) FROM contact").await;
    for (template, params, pointer, rule) in [
        (
            "picture",
            json!({ "name": "A", "picture": "ftp://example.org/y" }),
            "/params/picture",
            "the header: a link starts with https:// or http:// and has no spaces",
        ),
        (
            "picture",
            json!({ "name": "A", "picture": format!("https://example.org/{}", "x".repeat(2_000)) }),
            "/params/picture",
            "the header's link has over 2000 characters",
        ),
        (
            "picture",
            json!({ "name": "A".repeat(1_024), "picture": "https://example.org/y" }),
            "/params/name",
            "the body has over 1024 characters",
        ),
        (
            "titled",
            json!({ "name": "A", "from": "B".repeat(60) }),
            "/params/from",
            "the header has over 60 characters",
        ),
        (
            "button",
            json!({ "name": "A", "place": "x".repeat(2_000), "coupon": "SAVE10" }),
            "/params/place",
            "a button's address has over 2000 characters",
        ),
        (
            "button",
            json!({ "name": "A", "place": "x", "coupon": "SAVE10SAVE10SAVE10" }),
            "/params/coupon",
            "a button's code has over 15 characters",
        ),
    ] {
        let direct = json!({ "to": "+12025550106", "template": template, "params": params });
        let (code, problem) = app.post("/api/v1/notifications", &direct).await;
        assert_eq!(code, 422, "{problem}");
        assert_eq!(
            problem["errors"],
            json!([{ "pointer": pointer, "rule": rule }])
        );
        // The same as the fallback of a text.
        let fallback = json!({
            "to": "+12025550106", "text": { "body": "x" },
            "fallback": { "template": template, "params": params },
        });
        let (code, problem) = app.post("/api/v1/notifications", &fallback).await;
        assert_eq!(code, 422, "{problem}");
        assert_eq!(
            problem["errors"][0]["pointer"],
            format!("/fallback{pointer}")
        );
    }
    // Nothing of what was refused stays.
    assert_eq!(app.number("SELECT count(*) FROM contact").await, before);
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 0);
}

async fn an_event_whose_data_break_a_limit_says_so(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(LIMITS).await;
    let data = json!({ "phone": "+12025550106", "name": "A", "picture": "ftp://example.org/y" });
    let answer = app.event("l-1", "limits.picture", data).await;
    let reason = "the template picture cannot be filled: the header: a link starts with https:// \
                  or http:// and has no spaces";
    let id = answer["id"].as_str().unwrap();
    let (_, shown) = app.get(&format!("/api/v1/events/{id}")).await;
    for answer in [answer, shown] {
        let result = &answer["routes"][0];
        assert_eq!(
            (&result["reason"], &result["skipped"]),
            (&json!(reason), &json!(1))
        );
    }
}

async fn a_parameter_that_is_only_cut_is_a_parameter(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(
        "name = \"cut\"\n[[template]]\nname = \"cut\"\ncategory = \"utility\"\n\
         body = \"Code {{ code[:3] }}, {{ rest[1:][0] }} and {{ words[::2] | upper }}.\"\n",
    )
    .await;
    let params = json!({ "code": "ABCDEF", "rest": "xyz", "words": "abc" });
    let body = json!({ "to": "+12025550106", "template": "cut", "params": params });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    let id = answer["notifications"][0]["id"].as_str().unwrap();
    assert_eq!(app.notification(id).await["text"], "Code ABC, y and AC.");
}
