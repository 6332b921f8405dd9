//! Declared parameters: their kinds, what stands in for them, their examples.

use serde_json::{Value, json};

use crate::harness::{Database, TestApp};

crate::tests![
    a_parameter_of_another_kind_is_refused_by_name,
    a_default_stands_in_for_what_is_not_given,
    what_is_required_is_said_of_each_parameter,
    an_event_with_a_wrong_parameter_says_so_on_its_message,
    a_catalogue_says_everything_of_its_parameters_or_nothing,
];

const CATALOGUE: &str = r#"
name = "bills"

[[template]]
name = "bill"
language = "en_US"
category = "utility"
body = "Dear {{ contact.name | default('Customer') }}: {{ amount | money('INR') }} for {{ plan }} by {{ due | date('day') }}. {{ link }}."

[[template.parameter]]
name = "amount"
kind = "number"
example = "250"
[[template.parameter]]
name = "plan"
default = "your plan"
example = "Solar 5 kW"
[[template.parameter]]
name = "due"
kind = "date"
example = "2026-02-01"
[[template.parameter]]
name = "link"
kind = "url"
default = "https://example.org/pay"
example = "https://example.org/pay/7"

[[route]]
name = "bill"
event = "bills.bill.made"
to = "{{ data.phone }}"
template = "bill"
[route.params]
amount = "{{ data.amount }}"
due = "{{ data.due }}"
"#;

async fn app(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(CATALOGUE).await;
    app
}

fn request(params: &Value) -> Value {
    json!({"to": "+12025550101", "template": "bill", "params": params})
}

async fn a_parameter_of_another_kind_is_refused_by_name(database: Database) {
    let app = app(&database).await;
    let (code, problem) = app
        .post(
            "/api/v1/notifications",
            &request(&json!({
                "amount": "a lot", "due": "tomorrow", "plan": " ",
                "link": "javascript:alert(1)", "color": "red",
            })),
        )
        .await;
    assert_eq!(code, 422, "{problem}");
    let mut wrong: Vec<String> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            let text = |name: &str| error[name].as_str().unwrap().to_owned();
            format!("{}: {}", text("pointer"), text("rule"))
        })
        .collect();
    wrong.sort();
    assert_eq!(
        wrong,
        [
            "/params/amount: a number is written 1250 or 1250.50",
            "/params/color: the template has no such parameter",
            "/params/due: a date is written 2026-02-01, 2026-02-01T09:30:00 or 2026-02-01T09:30:00Z",
            "/params/link: an address starts with https:// and has no spaces",
            "/params/plan: empty: Meta refuses empty parameters",
        ]
    );
    let (code, problem) = app
        .post("/api/v1/notifications", &request(&json!({})))
        .await;
    assert_eq!(code, 422, "{problem}");
    let missing: Vec<&Value> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["pointer"])
        .collect();
    assert_eq!(missing, ["/params/amount", "/params/due"]);
}

async fn a_default_stands_in_for_what_is_not_given(database: Database) {
    let app = app(&database).await;
    let (code, answer) = app
        .post(
            "/api/v1/notifications",
            &request(&json!({"amount": 250, "due": "2026-02-01", "plan": null})),
        )
        .await;
    assert_eq!(code, 202, "{answer}");
    let id = answer["notifications"][0]["id"].as_str().unwrap();
    assert_eq!(
        app.notification(id).await["text"],
        "Dear Customer: ₹250 for your plan by February 1. https://example.org/pay."
    );
    app.send().await;
    let request = app.meta.request(0);
    let parameters = request["template"]["components"][0]["parameters"]
        .as_array()
        .unwrap();
    let texts: Vec<&Value> = parameters.iter().map(|it| &it["text"]).collect();
    assert_eq!(
        texts,
        [
            "Customer",
            "₹250",
            "your plan",
            "February 1",
            "https://example.org/pay"
        ]
    );
}

async fn what_is_required_is_said_of_each_parameter(database: Database) {
    let app = TestApp::spawn(&database).await;
    let catalogue = CATALOGUE
        .replace("{{ plan }}", "{{ plan | default('your plan') }}")
        .replace("default = \"your plan\"", "required = false");
    app.apply_catalogue(&catalogue).await;
    let text = "Dear Customer: ₹250 for your plan by February 1. https://example.org/pay.";
    for params in [
        json!({"amount": 250, "due": "2026-02-01"}),
        json!({"amount": 250, "due": "2026-02-01", "plan": null}),
    ] {
        let (code, answer) = app.post("/api/v1/notifications", &request(&params)).await;
        assert_eq!(code, 202, "{answer}");
        let id = answer["notifications"][0]["id"].as_str().unwrap();
        assert_eq!(app.notification(id).await["text"], text);
    }
    let with = "due = \"{{ data.due }}\"\nplan = \"{{ data.plan | default('') }}\"";
    let empty = catalogue.replace("due = \"{{ data.due }}\"", with);
    app.apply_catalogue(&empty).await;
    let data = json!({"phone": "+12025550101", "amount": "250", "due": "2026-02-01"});
    let sent = app.event("b-1", "bills.bill.made", data.clone()).await;
    let id = sent["notifications"][0].as_str().unwrap();
    assert_eq!(app.notification(id).await["text"], text);
    // What is required is given by whoever it comes from.
    let required = empty.replace("required = false", "required = true");
    app.apply_catalogue(&required).await;
    let sent = app.event("b-2", "bills.bill.made", data).await;
    let id = sent["notifications"][0].as_str().unwrap();
    let reason = app.notification(id).await["reason"].clone();
    assert_eq!(
        reason,
        "the template bill cannot be filled: plan is missing"
    );
    let params = json!({"amount": 250, "due": "2026-02-01"});
    let (code, problem) = app.post("/api/v1/notifications", &request(&params)).await;
    assert_eq!(
        (code, &problem["errors"][0]["pointer"]),
        (422, &json!("/params/plan"))
    );
}

async fn an_event_with_a_wrong_parameter_says_so_on_its_message(database: Database) {
    let app = TestApp::spawn(&database).await;
    let strict = CATALOGUE.replace("category =", "strict = true\ncategory =");
    app.apply_catalogue(&strict).await;
    let data = json!({"phone": "+12025550101", "amount": "ask Asha", "due": "2026-02-01"});
    app.event("b-1", "bills.bill.made", data).await;
    let (_, list) = app.get("/api/v1/notifications?template=bill").await;
    let shown = &list["notifications"][0];
    assert_eq!(shown["status"], "skipped", "{shown}");
    let reason = shown["reason"].as_str().unwrap();
    assert_eq!(
        reason,
        "the template bill cannot be filled: amount: a number is written 1250 or 1250.50"
    );
}

async fn a_catalogue_says_everything_of_its_parameters_or_nothing(database: Database) {
    let app = app(&database).await;
    let mistakes = async |text: &str| app.try_catalogue(text).await.unwrap_err();
    for (from, to, mistake) in [
        (
            "name = \"plan\"\n",
            "name = \"plans\"\n",
            vec![
                "line 8: template bill: parameter plan: it is used, but not declared",
                "line 15: template bill: parameter plans: it is not used",
            ],
        ),
        (
            "name = \"plan\"\n",
            "name = \"contact\"\n",
            vec![
                "line 8: template bill: parameter plan: it is used, but not declared",
                "line 15: template bill: parameter contact: Herald fills it in",
            ],
        ),
        (
            "example = \"250\"",
            "example = \"a lot\"",
            vec![
                "line 13: template bill: parameter amount: example: a number is written 1250 or 1250.50",
            ],
        ),
        (
            "default = \"https://example.org/pay\"",
            "default = \"pay here\"",
            vec![
                "line 25: template bill: parameter link: default: an address starts with https:// and has no spaces",
            ],
        ),
        (
            "money('INR')",
            "money('Rupees')",
            vec![
                "line 4: template bill: with its examples: cannot be rendered: invalid operation: a currency has three letters, such as INR",
            ],
        ),
        (
            "default = \"your plan\"",
            "default = \"your plan\"\nrequired = true",
            vec![
                "line 17: template bill: parameter plan: required: it has a default, which would never be used",
            ],
        ),
        (
            "default = \"your plan\"",
            "required = false",
            vec![
                "line 16: template bill: parameter plan: required: false needs a default: plan is missing",
            ],
        ),
        (
            "kind = \"url\"",
            "kind = \"address\"",
            vec![
                "line 24: unknown variant `address`, expected one of `text`, `number`, `date`, `url`, `phone`, `code`",
            ],
        ),
    ] {
        assert!(CATALOGUE.contains(from));
        assert_eq!(mistakes(&CATALOGUE.replacen(from, to, 1)).await, mistake);
    }
    // A whole text of examples over Meta's limit.
    let long = CATALOGUE.replace("Solar 5 kW", &"x".repeat(1_020));
    assert_eq!(
        mistakes(&long).await,
        ["line 4: template bill: with its examples: the body has over 1024 characters"]
    );
}
