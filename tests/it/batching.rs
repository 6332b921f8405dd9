//! Direct requests that come together: stored together, refused alone.

use std::collections::BTreeMap;

use herald::domain::{access::AccessBounds, priority::MessagePriority};
use herald::engine::intake::{
    self, ClientNotificationRequest, NotificationRequest, NotificationRequestContent,
    NotificationRequestError, NotificationRequestRefusal, RequestedTemplate,
    StoredNotificationRequest, idempotency::IdempotencyKey,
};
use serde_json::{Map, json};

use crate::harness::{DEMO, Database, TestApp};

crate::tests![
    what_is_refused_spares_the_others_and_leaves_nothing,
    one_key_is_one_message_within_a_batch_too,
    a_full_door_says_come_again,
    no_transaction_takes_more_than_its_share,
    one_that_the_database_refuses_spares_the_others,
    a_hundred_at_once_are_stored_once_each,
];

fn asked(to: &str, template: &str, key: Option<&str>) -> ClientNotificationRequest {
    ClientNotificationRequest {
        bounds: AccessBounds::All,
        key: key.map(|key| IdempotencyKey {
            client: "tests".to_owned(),
            key: key.to_owned(),
            fingerprint: format!("{to}{template}").into_bytes(),
        }),
        request: NotificationRequest {
            message_kind: None,
            mode: intake::MessageContentMode::Template,
            to: vec![to.to_owned()],
            about: None,
            sender: None,
            content: NotificationRequestContent::Template(RequestedTemplate {
                name: template.to_owned(),
                language: None,
                params: Map::new(),
            }),
            reference: None,
            labels: BTreeMap::new(),
            priority: MessagePriority::Normal,
            expires_after_seconds: None,
            send_at: None,
            reply_to: None,
            channels: Vec::new(),
            fallback_seconds: None,
        },
    }
}

fn pointer(answer: &Result<StoredNotificationRequest, NotificationRequestError>) -> &str {
    match answer {
        Err(NotificationRequestError::Refused(NotificationRequestRefusal::Fields(fields))) => {
            &fields[0].pointer
        }
        Err(NotificationRequestError::Refused(NotificationRequestRefusal::KeyReused)) => "key",
        Ok(stored) if stored.fresh => "stored",
        Ok(_) => "before",
        Err(_) => "not now",
    }
}

const PLAIN: &str = "jaspers_market_plain_text_v1";

async fn what_is_refused_spares_the_others_and_leaves_nothing(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let contacts = "SELECT count(*) FROM contact";
    let before = app.number(contacts).await;
    let all = [
        asked("+12025550150", PLAIN, None),
        asked("+12025550151", "no_such_template", None),
        asked("+1 202 555 0152", PLAIN, None),
        asked("group:nobody", PLAIN, None),
        asked("+12025550153", PLAIN, Some("k")),
        // Two of one person, and one whom nobody knows yet.
        asked("+12025550150", PLAIN, None),
    ];
    let answers = intake::many(&app.engine, &all, app.now()).await;
    let said: Vec<&str> = answers.iter().map(pointer).collect();
    assert_eq!(
        said,
        ["stored", "/template", "/to/0", "/to/0", "stored", "stored"]
    );
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 3);
    assert_eq!(app.number("SELECT count(*) FROM idempotency").await, 1);
    assert_eq!(
        app.number(contacts).await - before,
        2,
        "nobody is made for a request that is refused"
    );
    assert_eq!(app.send().await, 3);
}

async fn one_key_is_one_message_within_a_batch_too(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let all = [
        asked("+12025550150", PLAIN, Some("k")),
        asked("+12025550150", PLAIN, Some("k")),
        asked("+12025550151", PLAIN, Some("k")),
        asked("+12025550150", PLAIN, Some("other")),
    ];
    let answers = intake::many(&app.engine, &all, app.now()).await;
    let said: Vec<&str> = answers.iter().map(pointer).collect();
    assert_eq!(said, ["stored", "before", "key", "stored"]);
    let ids = |at: usize| match &answers[at] {
        Ok(stored) => stored.ids.clone(),
        _ => Vec::new(),
    };
    assert!(ids(0).len() == 1 && ids(0) == ids(1) && ids(0) != ids(3));
    assert_eq!(app.send().await, 2);
}

async fn a_full_door_says_come_again(_: Database) {
    let (door, queue) = intake::open();
    // Nobody opens: whoever waits takes up room.
    let mut waiting = Vec::new();
    for _ in 0..1024 {
        let mut asking = Box::pin(door.ask(asked("+12025550150", PLAIN, None)));
        let polled = futures_util::poll!(asking.as_mut());
        assert!(polled.is_pending());
        waiting.push(asking);
    }
    let refused = door.ask(asked("+12025550150", PLAIN, None)).await;
    assert!(matches!(refused, Err(NotificationRequestError::Later)));
    // And when nobody will open any more, everybody is told.
    drop(queue);
    for asking in waiting {
        assert!(matches!(asking.await, Err(NotificationRequestError::Later)));
    }
}

async fn a_hundred_at_once_are_stored_once_each(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let requests = (0..100).map(async |number| {
        let body = json!({ "to": format!("+1202555{:04}", 150 + number % 40), "template": PLAIN,
            "reference": format!("r{number}") });
        app.post("/api/v1/notifications", &body).await.0
    });
    let codes = futures_util::future::join_all(requests).await;
    assert_eq!(codes, vec![202; 100]);
    assert_eq!(
        app.number("SELECT count(DISTINCT reference) FROM notification")
            .await,
        100
    );
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 100);
}

async fn no_transaction_takes_more_than_its_share(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let turns = async |all: Vec<ClientNotificationRequest>| {
        let (door, mut queue) = intake::open();
        let mut asking: Vec<_> = all.into_iter().map(|one| Box::pin(door.ask(one))).collect();
        for one in &mut asking {
            assert!(futures_util::poll!(one.as_mut()).is_pending());
        }
        let mut counts = Vec::new();
        while counts.iter().sum::<usize>() < asking.len() {
            counts.push(queue.turn(&app.engine, || app.now()).await.unwrap());
        }
        for one in asking {
            assert!(one.await.is_ok());
        }
        counts
    };
    let one = || asked("+12025550150", PLAIN, None);
    assert_eq!(turns((0..70).map(|_| one()).collect()).await, [64, 6]);
    let mut wide = one();
    wide.request.to = (0..120)
        .map(|number| format!("+1202556{number:04}"))
        .collect();
    let wide = vec![wide.clone(), wide.clone(), wide];
    assert_eq!(turns(wide).await, [2, 1], "240 people, then the rest");
}

async fn one_that_the_database_refuses_spares_the_others(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let mut poison = asked("+12025550151", PLAIN, Some("poison"));
    // PostgreSQL keeps no text with this character; SQLite does.
    poison.request.reference = Some("a\0b".to_owned());
    let all = [
        asked("+12025550150", PLAIN, None),
        poison,
        asked("+12025550152", PLAIN, None),
    ];
    let answers = intake::many(&app.engine, &all, app.now()).await;
    let said: Vec<&str> = answers.iter().map(pointer).collect();
    let (expected, stored) = match database {
        Database::Sqlite => (["stored", "stored", "stored"], 3),
        Database::Postgres => (["stored", "not now", "stored"], 2),
    };
    assert_eq!(said, expected);
    let count = "SELECT count(*) FROM notification";
    assert_eq!(app.number(count).await, stored);
    assert_eq!(app.send().await, usize::try_from(stored).unwrap());
}
