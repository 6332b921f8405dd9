//! The description of the API: every operation is in it, and a client can be made of it.

use std::collections::BTreeSet;

use herald::http::api::endpoints::all;

use crate::harness::{DEMO, Database, TestApp};

crate::tests![
    the_openapi_document_can_be_made_into_a_client,
    the_openapi_document_names_every_route,
];

async fn ready(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(DEMO).await;
    app
}

async fn the_openapi_document_can_be_made_into_a_client(database: Database) {
    let app = ready(&database).await;
    let (_, document) = app.get("/api/v1/openapi.json").await;
    let mut ids = BTreeSet::new();
    let mut wrong = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap_or_default();
            // A method's name is made of it: a verb and what it is about.
            if !id.contains('_') || !ids.insert(id.to_owned()) {
                wrong.push(format!("{method} {path}: operationId {id:?}"));
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                if response["description"]
                    .as_str()
                    .unwrap_or_default()
                    .is_empty()
                {
                    wrong.push(format!("{method} {path}: {status} has no description"));
                }
                let kinds = response["content"].as_object();
                let is_error = status.starts_with(['4', '5']);
                if is_error && !kinds.is_some_and(|it| it.contains_key("application/problem+json"))
                {
                    wrong.push(format!("{method} {path}: {status} is no problem document"));
                }
            }
        }
    }
    assert!(ids.len() > 60, "{}", ids.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn the_openapi_document_names_every_route(database: Database) {
    let app = ready(&database).await;
    let (code, document) = app.get("/api/v1/openapi.json").await;
    assert_eq!(code, 200);
    // `api_keys::walk` has each of them by name.
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            described.insert((path, method.to_uppercase()));
        }
    }
    let served = all().iter().map(|it| (&it.path, it.method.to_string()));
    assert_eq!(described, served.collect());
    // Of two handlers of one operation the second would never be called.
    assert_eq!(described.len(), all().len());
    // What is below the prefix asks for a key.
    assert!(all().iter().all(|it| it.path.starts_with("/api/v1/")));
    // What any of them may answer, whatever it does.
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let body = operation.get("requestBody").map(|_| "408");
            for status in ["401", "429", "503"].into_iter().chain(body) {
                let response = &operation["responses"][status];
                assert!(response.is_object(), "{method} {path}: {status}");
            }
        }
    }
    assert_eq!(document["openapi"], "3.1.0");
}
