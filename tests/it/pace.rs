//! How fast messages leave: to one person, and one kind beside another.

use std::collections::BTreeMap;

use herald::{
    domain::pace::SendingPaceShare,
    engine::{
        Engine,
        delivery::{self, sweeper},
    },
    store::sender,
};
use serde_json::json;

use crate::harness::{DEMO, Database, TestApp};

crate::tests![
    one_person_gets_a_burst_and_then_one_in_six_seconds,
    a_pair_that_is_too_fast_waits_and_nobody_else_does,
    one_time_passwords_pass_any_backlog_in_slots_of_their_own,
    no_lane_starves,
    each_call_of_a_claim_has_its_own_moment,
    the_pace_is_taken_once_even_by_two_that_read_it_together,
    claims_at_the_same_moment_share_the_pace,
    an_answer_that_comes_too_late_is_kept_all_the_same,
    templates_are_read_once_until_a_catalogue_changes,
];

async fn app(database: &Database, settings: &[(&str, &str)]) -> TestApp {
    let app = TestApp::spawn_with(database, settings, "").await;
    app.apply_catalogue(DEMO).await;
    app
}

async fn one_person_gets_a_burst_and_then_one_in_six_seconds(database: Database) {
    let app = app(&database, &[]).await;
    let mut ids = Vec::new();
    for number in 0..50 {
        ids.push(app.order(&format!("A-{number}"), "+12025550101").await);
    }
    let other = app.order("B-1", "+12025550102").await;
    assert_eq!(app.send().await, 45 + 1);
    assert_eq!(app.status_of(&other).await, "accepted");
    let mut waiting = Vec::new();
    for id in &ids {
        let found = app.notification(id).await;
        if found["status"] == "queued" {
            let reason = found["reason"].as_str().unwrap();
            assert!(
                reason.starts_with("this recipient has got many messages"),
                "{reason}"
            );
            assert_eq!(found["attempts"], json!([]), "no attempt was used up");
            waiting.push(found["waits_until"].as_str().unwrap().to_owned());
        }
    }
    waiting.sort();
    // Each has a turn of its own.
    let turns: Vec<String> = [6, 12, 18, 24, 30]
        .map(|seconds| app.now().plus_seconds(seconds).to_string())
        .into();
    assert_eq!(waiting, turns);
    app.pass(5);
    assert_eq!(app.send().await, 0);
    for _ in 0..5 {
        app.pass(6);
        assert_eq!(app.send().await, 1);
    }
    assert_eq!(app.number("SELECT count(*) FROM attempt").await, 51);
}

async fn a_pair_that_is_too_fast_waits_and_nobody_else_does(database: Database) {
    let app = app(&database, &[]).await;
    let too_fast = r#"{"error":{"code":131056,"message":"(#131056) Pair rate limit hit"}}"#;
    let id = app.order("A-1", "+12025550101").await;
    let mut at = Vec::new();
    for _ in 0..4 {
        app.meta.will_answer(&[(400, too_fast)]);
        let begun = app.now();
        while app.send().await == 0 {
            app.pass(1);
        }
        at.push(app.now().micros_since(begun) / 1_000_000);
    }
    // 4^x seconds, x from 0 (Meta), and never sooner than the pair's own six.
    assert_eq!(at, [0, 1, 6, 16]);
    let next = app.order("A-2", "+12025550101").await;
    let other = app.order("B-1", "+12025550102").await;
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&other).await, "accepted");
    assert_eq!(
        app.status_of(&next).await,
        "queued",
        "it is for the same person"
    );
    app.pass(70);
    assert_eq!(app.send().await, 2);
    assert_eq!(
        app.status_of(&id).await,
        "accepted",
        "however often it was asked to wait"
    );
}

async fn ask(app: &TestApp, number: usize, priority: &str) {
    let body = json!({ "to": format!("+120255501{:02}", number % 100), "template": "jaspers_market_plain_text_v1", "priority": priority });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
}

async fn one_time_passwords_pass_any_backlog_in_slots_of_their_own(database: Database) {
    let app = app(&database, &[("HERALD_SEND_PER_SECOND", "20")]).await;
    for number in 0..30 {
        ask(&app, number, "bulk").await;
    }
    // The backlog takes all that it may.
    app.send().await;
    ask(&app, 50, "otp").await;
    ask(&app, 51, "high").await;
    // No ordinary call is free, and the pace is used up but for what is kept.
    let slots = delivery::ProviderCallSlots {
        otp: 2,
        ordinary: 0,
    };
    let claim = delivery::claim(&app.engine, app.sender, slots, app.now())
        .await
        .unwrap();
    assert_eq!(claim.jobs.len(), 1);
    assert_eq!(claim.jobs[0].lane, SendingPaceShare::Otp);
    let wait = claim.jobs[0].not_before.micros_since(app.now());
    assert!(wait <= 275_000, "{wait}");
    let ordinary = delivery::ProviderCallSlots {
        otp: 2,
        ordinary: 9,
    };
    let claim = delivery::claim(&app.engine, app.sender, ordinary, app.now())
        .await
        .unwrap();
    assert!(claim.jobs.is_empty() && claim.again_at.is_some());
}

async fn no_lane_starves(database: Database) {
    let app = app(&database, &[]).await;
    for number in 0..40 {
        for priority in ["high", "normal", "bulk"] {
            ask(&app, number, priority).await;
        }
    }
    let mut sent: BTreeMap<i64, usize> = BTreeMap::new();
    for _ in 0..16 {
        let slots = delivery::ProviderCallSlots {
            otp: 0,
            ordinary: 2,
        };
        let claim = delivery::claim(&app.engine, app.sender, slots, app.now())
            .await
            .unwrap();
        for job in claim.jobs {
            let id = job.notification_id.simple();
            let id = if database == Database::Sqlite {
                format!("x'{id}'")
            } else {
                format!("'{id}'")
            };
            let sql = format!("SELECT priority FROM notification WHERE id = {id}");
            *sent.entry(app.number(&sql).await).or_default() += 1;
        }
    }
    // Sixteen claims of two: the important ones get more of them.
    assert_eq!(sent, BTreeMap::from([(1, 16), (2, 12), (3, 4)]));
}

async fn each_call_of_a_claim_has_its_own_moment(database: Database) {
    let app = app(&database, &[("HERALD_SEND_PER_SECOND", "80")]).await;
    for number in 0..20 {
        ask(&app, number, "normal").await;
    }
    let mut claim = delivery::claim(
        &app.engine,
        app.sender,
        delivery::ProviderCallSlots::each(64),
        app.now(),
    )
    .await
    .unwrap();
    let started = app.now();
    let moments = |jobs: &[delivery::DeliveryJob]| -> Vec<i64> {
        let since = |job: &delivery::DeliveryJob| job.not_before.micros_since(started);
        jobs.iter().map(since).collect()
    };
    let expected: Vec<i64> = (0..19).map(|call| call * 12_750).collect();
    assert_eq!(moments(&claim.jobs), expected);

    // The claim was held up for a second, and another process has taken the next moments.
    let late = started.plus_micros(1_000_000);
    let taken_until = late.plus_micros(127_500);
    app.sql(&format!(
        "UPDATE sender SET pace_next_at = {}",
        taken_until.micros()
    ))
    .await;
    delivery::catch_up(&app.engine, app.sender, &mut claim.jobs, late)
        .await
        .unwrap();
    let expected: Vec<i64> = (0..19).map(|call| 1_127_500 + call * 12_750).collect();
    assert_eq!(moments(&claim.jobs), expected);
    let next = app.number("SELECT pace_next_at FROM sender").await - started.micros();
    assert_eq!(next, 1_127_500 + 19 * 12_750, "they were charged again");
}

async fn the_pace_is_taken_once_even_by_two_that_read_it_together(database: Database) {
    let app = app(&database, &[("HERALD_SEND_PER_SECOND", "80")]).await;
    let row = sender::find(app.store.reader(), app.sender)
        .await
        .unwrap()
        .unwrap();
    let soon = app.now().plus_seconds(1);
    assert!(sender::take_pace(&app.store, &row, soon).await.unwrap());
    assert!(
        !sender::take_pace(&app.store, &row, soon.plus_seconds(1))
            .await
            .unwrap(),
        "the row is not as it was read"
    );
    let taken = app.number("SELECT pace_next_at FROM sender").await;
    assert_eq!(taken, soon.micros());
}

/// Whoever has lost the race for the row takes its turn under a lock.
async fn claims_at_the_same_moment_share_the_pace(database: Database) {
    let app = app(&database, &[("HERALD_SEND_PER_SECOND", "80")]).await;
    for number in 0..40 {
        ask(&app, number, "normal").await;
    }
    let claims = (0..8).map(|_| {
        let slots = delivery::ProviderCallSlots::each(5);
        delivery::claim(&app.engine, app.sender, slots, app.now())
    });
    let mut moments: Vec<i64> = Vec::new();
    for claim in futures_util::future::join_all(claims).await {
        for job in claim.unwrap().jobs {
            moments.push(job.not_before.micros_since(app.now()));
        }
    }
    moments.sort_unstable();
    let expected: Vec<i64> = (0..)
        .map(|call| call * 12_750)
        .take(moments.len())
        .collect();
    assert_eq!(moments, expected, "each has a moment of its own");
    assert!(moments.len() >= 19, "{}", moments.len());
    let next = app.number("SELECT pace_next_at FROM sender").await - app.now().micros();
    assert_eq!(next, i64::try_from(moments.len()).unwrap() * 12_750);
}

async fn an_answer_that_comes_too_late_is_kept_all_the_same(database: Database) {
    let app = app(&database, &[]).await;
    let id = app.order("A-1", "+12025550101").await;
    let slots = delivery::ProviderCallSlots::each(1);
    let mut claim = delivery::claim(&app.engine, app.sender, slots, app.now())
        .await
        .unwrap();
    let job = claim.jobs.pop().unwrap();
    let answer = delivery::call(&app.meta, job).await;
    // Another process, which knows nothing of the open call, decides.
    let other = Engine::new(
        app.store.clone(),
        app.engine.settings.clone(),
        uuid::Uuid::new_v4(),
    );
    for _ in 0..2 {
        app.pass(3_600);
        while sweeper::turn(&other, app.now()).await.unwrap() > 0 {}
    }
    assert_eq!(app.status_of(&id).await, "gave_up");
    delivery::settle(&app.engine, app.sender, &[answer], 0, app.now())
        .await
        .unwrap();
    let attempt = &app.notification(&id).await["attempts"][0];
    assert_eq!(attempt["http_status"], 200);
    assert!(
        attempt["request"].is_object() && attempt["answered_at"].is_string(),
        "{attempt}"
    );
}

async fn templates_are_read_once_until_a_catalogue_changes(database: Database) {
    let app = app(&database, &[]).await;
    let catalogue_snapshot = app
        .engine
        .catalogue_snapshot(app.store.reader())
        .await
        .unwrap();
    let body = async || {
        let catalogue_snapshot = app
            .engine
            .catalogue_snapshot(app.store.reader())
            .await
            .unwrap();
        let found = catalogue_snapshot
            .template(app.store.reader(), "jaspers_market_plain_text_v1", &[])
            .await
            .unwrap();
        found.unwrap().row.body.clone()
    };
    let first = body().await;
    let before = app.store.statements();
    assert_eq!(body().await, first);
    assert_eq!(app.store.statements() - before, 1, "the revision, no more");
    // Languages and names are the caller's to choose: they do not fill the memory.
    for number in 0..1_100 {
        let language = format!("x{number}");
        let name = "jaspers_market_plain_text_v1";
        let wanted = [language.as_str()];
        let found = catalogue_snapshot
            .template(app.store.reader(), name, &wanted)
            .await;
        assert!(found.unwrap().is_some());
        let found = catalogue_snapshot
            .template(app.store.reader(), &language, &[])
            .await;
        assert!(found.unwrap().is_none());
    }
    assert_eq!(catalogue_snapshot.templates_kept(), 1);
    app.apply_catalogue(&DEMO.replace("Welcome to", "Be welcome to"))
        .await;
    assert_ne!(body().await, first);
}
