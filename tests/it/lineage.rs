//! A database that is older than it was holds sending by itself, whatever brought it back.

use herald::{
    domain::time::Timestamp,
    engine::runtime::lineage,
    store::{self, connect, dialect},
};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use crate::{
    backup::{done, restored, to_the_present},
    cli,
    harness::{Database, TestApp, fresh_database, status},
    hold::{ready, release, standing},
};

crate::tests![
    a_mark_outside_that_is_newer_holds_sending_once,
    a_crash_between_the_two_marks_is_no_reason_to_hold,
    a_mark_that_cannot_be_read_at_the_start_holds_until_it_can,
    a_mark_that_cannot_be_written_stops_nothing_and_is_shown,
    a_database_that_goes_back_under_a_server_is_noticed_before_anything_is_claimed,
    a_status_of_an_attempt_that_was_lost_holds_sending_once,
    statuses_of_others_and_of_deleted_attempts_hold_nothing,
    another_cluster_or_an_older_timeline_holds_sending,
    a_copy_of_a_running_file_starts_on_hold,
    a_file_that_was_copied_after_an_orderly_stop_starts_on_hold_once,
];

/// A place for the mark: a file, or a second database.
async fn place(database: &Database, folder: &std::path::Path) -> String {
    match database {
        Database::Sqlite => folder.join("mark").display().to_string(),
        Database::Postgres => fresh_database(database, folder).await,
    }
}

/// A database that no server uses.
async fn unused(url: &str) -> store::Store {
    connect::open(
        &SecretString::from(url),
        2,
        connect::ConnectPurpose::Command,
    )
    .await
    .unwrap()
}

/// A snapshot that was put back by other means than Herald's: nothing says so.
async fn silently_restored(url: &str, folder: &std::path::Path, name: &str) {
    restored(url, folder, &["restore", name, "--replace"]);
    // As if the volume itself had been put back: neither a command nor another file shows it.
    let store = unused(url).await;
    for file in store.files() {
        let sql = "DELETE FROM setting WHERE name IN ('hold', 'server_file')";
        file.write_alone(sql, []).await.unwrap();
    }
}

async fn a_mark_outside_that_is_newer_holds_sending_once(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let mark = place(&database, folder.path()).await;
    let settings = [("HERALD_STATE_MARK", mark.as_str())];
    let app = ready(&database, &settings).await;
    app.order("A-1", "+12025550101").await;
    app.send().await;
    let name = folder.path().join("backup.tar").display().to_string();
    app.order("A-2", "+12025550102").await;
    done(&app.database_url, folder.path(), &["backup", &name]);
    app.pass(2);
    assert_eq!(app.send().await, 1, "sent, and unknown to the backup");
    let meta = app.meta.clone();
    let (url, _kept) = app.shut_down().await;
    // Nothing was lost: nothing is held.
    let app = TestApp::start(&url, &settings).await;
    assert_eq!(standing(&app).await["on_hold"], false);
    let (url, _) = app.shut_down().await;
    silently_restored(&url, folder.path(), &name).await;

    let mut app = TestApp::start(&url, &settings).await;
    app.meta = meta;
    to_the_present(&app);
    let stands = standing(&app).await;
    assert_eq!(stands["reason"], "newer_mark", "{stands}");
    assert_eq!(app.send().await, 0);
    release(&app, json!({})).await;
    assert_eq!(app.send().await, 1);
    let (url, _) = app.shut_down().await;
    let app = TestApp::start(&url, &settings).await;
    assert_eq!(
        standing(&app).await["on_hold"],
        false,
        "a person has decided"
    );
}

async fn a_crash_between_the_two_marks_is_no_reason_to_hold(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let mark = place(&database, folder.path()).await;
    let settings = [("HERALD_STATE_MARK", mark.as_str())];
    let app = ready(&database, &settings).await;
    for order in 0..3 {
        app.order(&format!("A-{order}"), "+12025550101").await;
        app.pass(2);
        app.send().await;
    }
    // The database's is committed first: a process that dies then leaves it ahead.
    app.sql("UPDATE setting SET value = '1000' WHERE name = 'state_mark'")
        .await;
    let (url, _kept) = app.shut_down().await;
    let app = TestApp::start(&url, &settings).await;
    assert_eq!(standing(&app).await["on_hold"], false);
    lineage::turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(standing(&app).await["on_hold"], false);
}

async fn a_mark_that_cannot_be_read_at_the_start_holds_until_it_can(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let mark = disk.join("mark").display().to_string();
    let app = ready(&database, &[("HERALD_STATE_MARK", &mark)]).await;
    app.order("A-1", "+12025550101").await;
    assert_eq!(standing(&app).await["reason"], "mark_unreadable");
    assert_eq!(app.send().await, 0);
    std::fs::create_dir(&disk).unwrap();
    lineage::turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(standing(&app).await["on_hold"], false);
    assert_eq!(app.send().await, 1);
    assert!(std::path::Path::new(&mark).exists());
}

async fn a_mark_that_cannot_be_written_stops_nothing_and_is_shown(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mark = disk.join("mark").display().to_string();
    let app = ready(&database, &[("HERALD_STATE_MARK", &mark)]).await;
    std::fs::remove_dir_all(&disk).unwrap();
    app.order("A-1", "+12025550101").await;
    app.pass(2);
    assert_eq!(app.send().await, 1);
    let found = herald::engine::insight::attention::findings(&app.engine, app.now())
        .await
        .unwrap();
    assert!(
        found.iter().any(|it| it.kind.name() == "state_mark"),
        "{found:?}"
    );
    std::fs::create_dir(&disk).unwrap();
    lineage::turn(&app.engine, app.now()).await.unwrap();
    let found = herald::engine::insight::attention::findings(&app.engine, app.now())
        .await
        .unwrap();
    assert!(
        found.iter().all(|it| it.kind.name() != "state_mark"),
        "{found:?}"
    );
    // It has caught up.
    let written = std::fs::read_to_string(&mark).unwrap();
    let ours = app
        .number("SELECT CAST(value AS bigint) FROM setting WHERE name = 'state_mark'")
        .await;
    assert_eq!(written.lines().nth(2), Some(ours.to_string().as_str()));
    // A mark of another installation is not overwritten.
    let foreign = format!("herald state mark 1\n{}\n7\n", Uuid::from_u128(1));
    std::fs::write(&mark, &foreign).unwrap();
    app.pass(2);
    app.order("A-2", "+12025550102").await;
    assert_eq!(app.send().await, 1);
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), foreign);
}

async fn a_database_that_goes_back_under_a_server_is_noticed_before_anything_is_claimed(
    database: Database,
) {
    let app = ready(&database, &[]).await;
    for order in 0..3 {
        app.order(&format!("A-{order}"), "+12025550101").await;
        app.pass(2);
        app.send().await;
    }
    // A replica that missed the last commits has been promoted.
    app.sql("UPDATE setting SET value = '1' WHERE name = 'state_mark'")
        .await;
    app.order("A-9", "+12025550101").await;
    app.pass(2);
    assert_eq!(app.send().await, 0);
    let stands = standing(&app).await;
    assert_eq!(stands["reason"], "went_back", "{stands}");
    release(&app, json!({})).await;
    assert_eq!(app.send().await, 1);
    // An idle server looks, too.
    app.sql("UPDATE setting SET value = '1' WHERE name = 'state_mark'")
        .await;
    lineage::turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(standing(&app).await["reason"], "went_back");
}

/// The attempt of a notification.
async fn attempt(app: &TestApp, notification: &str) -> String {
    app.notification(notification).await["attempts"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn hear(app: &TestApp, wamid: &str, our_id: &str, name: &str) {
    let at = app.now().unix_seconds();
    app.callback(json!({ "statuses": [status(wamid, Some(our_id), name, at, None)] }))
        .await;
}

async fn a_status_of_an_attempt_that_was_lost_holds_sending_once(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let app = ready(&database, &[]).await;
    let name = folder.path().join("backup.tar").display().to_string();
    let lost = app.order("A-1", "+12025550101").await;
    done(&app.database_url, folder.path(), &["backup", &name]);
    app.send().await;
    let lost = attempt(&app, &lost).await;
    let (url, _kept) = app.shut_down().await;
    silently_restored(&url, folder.path(), &name).await;

    let app = TestApp::start(&url, &[]).await;
    to_the_present(&app);
    app.pass(60);
    assert_eq!(
        standing(&app).await["on_hold"],
        false,
        "nothing has shown it yet"
    );
    hear(&app, "wamid.LOST", &lost, "delivered").await;
    let stands = standing(&app).await;
    assert_eq!(stands["reason"], "lost_attempt", "{stands}");
    assert!(
        stands["detail"].as_str().unwrap().contains(&lost),
        "{stands}"
    );
    assert_eq!(
        app.send().await,
        0,
        "it is the very message that was delivered"
    );
    release(&app, json!({ "cancel_older_than_seconds": 0 })).await;
    // More of the same is no news.
    hear(&app, "wamid.LOST", &lost, "read").await;
    assert_eq!(standing(&app).await["on_hold"], false);
    // An attempt that is made elsewhere from now on is.
    app.pass(60);
    let installation = app
        .texts("SELECT value FROM setting WHERE name = 'installation_id'")
        .await;
    let installation = Uuid::parse_str(&installation[0]).unwrap();
    let elsewhere = herald::domain::attempt_id::marked(installation, store::new_id(app.now()));
    hear(&app, "wamid.TWIN", &elsewhere.to_string(), "sent").await;
    assert_eq!(standing(&app).await["reason"], "lost_attempt");
}

async fn statuses_of_others_and_of_deleted_attempts_hold_nothing(database: Database) {
    let app = ready(&database, &[]).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "sent", None).await;
    let installation = app
        .texts("SELECT value FROM setting WHERE name = 'installation_id'")
        .await;
    let installation = Uuid::parse_str(&installation[0]).unwrap();
    let ours = |at: Timestamp| {
        herald::domain::attempt_id::marked(installation, store::new_id(at)).to_string()
    };
    let theirs = herald::domain::attempt_id::marked(Uuid::from_u128(7), store::new_id(app.now()));
    for (wamid, our_id) in [
        // Another Herald, or another program, on the same app or number.
        ("wamid.A", theirs.to_string()),
        ("wamid.B", store::new_id(app.now()).to_string()),
        ("wamid.C", Uuid::new_v4().to_string()),
        // Older than any provider repeats.
        ("wamid.D", ours(app.now().plus_seconds(-8 * 24 * 3600))),
        // By a clock that was wrong.
        ("wamid.E", ours(app.now().plus_seconds(3600))),
    ] {
        hear(&app, wamid, &our_id, "delivered").await;
        assert_eq!(standing(&app).await["on_hold"], false, "{wamid}");
    }
    let unknown =
        json!({ "statuses": [status("wamid.F", None, "read", app.now().unix_seconds(), None)] });
    app.callback(unknown).await;
    assert_eq!(standing(&app).await["on_hold"], false);
    // A message that was asked for long ago and sent late is kept while it is spoken of.
    let late = attempt(&app, &id).await;
    let old = store::first_id(app.now().plus_seconds(-500 * 24 * 3600));
    let literal = match database {
        Database::Sqlite => format!("x'{}'", old.simple()),
        Database::Postgres => format!("'{old}'"),
    };
    for (table, column) in [
        ("notification", "id"),
        ("attempt", "notification_id"),
        ("timeline", "notification_id"),
    ] {
        app.sql(&format!("UPDATE {table} SET {column} = {literal}"))
            .await;
    }
    let mut cleaner = herald::engine::runtime::retention::RetentionCleaner::default();
    while cleaner.turn(&app.engine, app.now()).await.unwrap() > 0 {}
    hear(&app, "wamid.G", &late, "read").await;
    assert_eq!(standing(&app).await["on_hold"], false);
    assert_eq!(app.number("SELECT count(*) FROM attempt").await, 1);
}

async fn another_cluster_or_an_older_timeline_holds_sending(database: Database) {
    let app = ready(&database, &[]).await;
    let kept = app
        .texts("SELECT value FROM setting WHERE name = 'database_cluster'")
        .await;
    if database == Database::Sqlite {
        assert!(kept.is_empty());
        return;
    }
    let found: serde_json::Value = serde_json::from_str(&kept[0]).unwrap();
    let system = found["system"].as_str().unwrap().to_owned();
    assert_eq!(found["timeline"], 1);
    let (mut url, _kept) = app.shut_down().await;
    for (system, timeline, reason) in [
        // Dumped and put into another cluster.
        ("1234567890123456789", 1, Some("other_cluster")),
        // The old primary, which came back after its standby had been promoted.
        (system.as_str(), 2, Some("older_timeline")),
        // A standby that has been promoted: nothing is missing.
        (system.as_str(), 0, None),
    ] {
        let seen = json!({ "system": system, "timeline": timeline });
        unused(&url)
            .await
            .write_alone(
                &format!("UPDATE setting SET value = '{seen}' WHERE name = 'database_cluster'"),
                [],
            )
            .await
            .unwrap();
        let app = TestApp::start(&url, &[]).await;
        let stands = standing(&app).await;
        assert_eq!(stands["reason"].as_str(), reason, "{stands}");
        release(&app, json!({})).await;
        // Once.
        lineage::turn(&app.engine, app.now()).await.unwrap();
        assert_eq!(standing(&app).await["on_hold"], false);
        (url, _) = app.shut_down().await;
    }
    // Whoever may not ask is not stopped.
    let app = TestApp::start(&url, &[]).await;
    app.sql("CREATE ROLE little LOGIN").await;
    app.sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO little")
        .await;
    app.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        .await;
    let little = SecretString::from(url.replace("//herald@", "//little@"));
    let less = connect::open(&little, 2, connect::ConnectPurpose::Command)
        .await
        .unwrap();
    assert_eq!(store::lineage::cluster(&less).await.unwrap(), None);
    app.sql("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
        .await;
    app.sql("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM little")
        .await;
    drop(less);
}

async fn a_copy_of_a_running_file_starts_on_hold(database: Database) {
    let Database::Sqlite = database else { return };
    let app = ready(&database, &[]).await;
    app.order("A-1", "+12025550101").await;
    let path = store::sqlite_file::path_of(&SecretString::from(app.database_url.clone())).unwrap();
    dialect::query_one(
        app.store.raw_writer(),
        "PRAGMA wal_checkpoint(TRUNCATE)",
        [],
    )
    .await
    .unwrap();
    let copy = tempfile::tempdir().unwrap();
    let copied = copy.path().join("herald.sqlite");
    std::fs::copy(&path, &copied).unwrap();
    let url = format!("sqlite:{}", copied.display());
    let twin = TestApp::start(&url, &[]).await;
    assert_eq!(standing(&twin).await["reason"], "copied");
    assert_eq!(twin.send().await, 0, "the original sends it");
    assert_eq!(app.send().await, 1);
    // What a backup holds is on hold as well, however it was taken out.
    let file = copy.path().join("backup.tar");
    done(
        &app.database_url,
        copy.path(),
        &["backup", file.to_str().unwrap()],
    );
    let opened = std::process::Command::new("tar")
        .args(["-xf", file.to_str().unwrap(), "-C"])
        .arg(copy.path())
        .status()
        .unwrap();
    assert!(opened.success());
    let url = format!("sqlite:{}", copy.path().join("database.sqlite").display());
    let twin = TestApp::start(&url, &[]).await;
    assert_eq!(standing(&twin).await["reason"], "copied");
    // So is one with its log, which looks as if its server had died.
    let folder = copy.path().join("with-log");
    std::fs::create_dir(&folder).unwrap();
    app.order("A-2", "+12025550102").await;
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("{}{suffix}", path.display());
        std::fs::copy(name, folder.join(format!("herald.sqlite{suffix}"))).unwrap();
    }
    let url = format!("sqlite:{}", folder.join("herald.sqlite").display());
    let twin = TestApp::start(&url, &[]).await;
    assert_eq!(standing(&twin).await["reason"], "copied");
    assert_eq!(twin.send().await, 0);
    assert_eq!(app.send().await, 1);
}

/// It may be of today, or of last week: only a person knows.
async fn a_file_that_was_copied_after_an_orderly_stop_starts_on_hold_once(database: Database) {
    let Database::Sqlite = database else { return };
    let app = ready(&database, &[]).await;
    app.order("A-1", "+12025550101").await;
    let path = store::sqlite_file::path_of(&SecretString::from(app.database_url.clone())).unwrap();
    let (url, folder) = app.shut_down().await;
    // The same file is the same database, also under another name.
    let renamed = path.with_file_name("renamed.sqlite");
    std::fs::rename(&path, &renamed).unwrap();
    let inbox = store::sqlite_file::inbox_of;
    std::fs::rename(inbox(&path), inbox(&renamed)).unwrap();
    let app = TestApp::start(&format!("sqlite:{}", renamed.display()), &[]).await;
    assert_eq!(standing(&app).await["on_hold"], false);
    app.shut_down().await;
    std::fs::copy(&renamed, &path).unwrap();
    std::fs::copy(inbox(&renamed), inbox(&path)).unwrap();
    // A start that is refused, here for its secret key, does not make the copy a known file.
    let refused = cli::command(&url, folder.as_ref().unwrap().path(), &["serve"])
        .env(
            "HERALD_SECRET_KEY",
            "f0e1d2c3b4a5968778695a4b3c2d1e0f".repeat(2),
        )
        .output()
        .unwrap();
    let said = cli::text(&refused);
    assert!(
        !refused.status.success() && said.contains("encrypted"),
        "{said}"
    );
    let app = TestApp::start(&url, &[]).await;
    to_the_present(&app);
    assert_eq!(standing(&app).await["reason"], "copied");
    assert_eq!(app.send().await, 0);
    release(&app, json!({})).await;
    assert_eq!(app.send().await, 1);
    app.shut_down().await;
    let app = TestApp::start(&url, &[]).await;
    assert_eq!(standing(&app).await["on_hold"], false);
    drop(folder);
}
