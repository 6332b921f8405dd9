//! SQLite keeps callbacks in a file of its own: what ends between the commits to the two files, is
//! restored, or is missing. On PostgreSQL it is one database.

use std::path::{Path, PathBuf};

use herald::{
    engine::runtime::retention::RetentionCleaner,
    store::{ConnectionTrait, dialect, sqlite_file},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    backup::{done, restored, to_the_present},
    cli::{herald, text},
    harness::{Database, TestApp, fresh_blocker, fresh_database, status, value},
};

crate::tests![
    what_ends_between_the_commits_to_the_two_files_is_applied_once,
    a_row_of_an_applied_segment_goes_with_the_next_callbacks,
    callbacks_are_stored_while_the_main_file_is_locked,
    callbacks_are_applied_while_the_inbox_is_locked,
    an_older_main_file_is_given_what_it_does_not_know,
    a_backup_has_both_files,
    a_missing_inbox_starts_on_hold,
    an_inbox_without_its_main_file_is_refused,
    a_backup_without_its_inbox_is_refused,
    every_segment_is_looked_at_when_the_main_file_is_older,
    a_server_whose_inbox_takes_no_writes_is_not_ready,
    a_damaged_inbox_is_refused,
    marks_whose_segments_have_gone_are_deleted,
    both_files_are_as_durable,
];

const DAY: i64 = 24 * 3600;

/// A callback with one status of a message that is not known: it is parked when it is applied.
fn body(number: usize) -> Vec<u8> {
    let wamid = format!("wamid.FILE{number}");
    let status = status(&wamid, None, "sent", 1_767_225_600, None);
    value(json!({ "statuses": [status] }))
        .to_string()
        .into_bytes()
}

async fn store(app: &TestApp, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(app.callback_bytes(body(number)).await, 200);
    }
}

async fn parked(app: &TestApp) -> i64 {
    app.number("SELECT count(*) FROM parked_status").await
}

/// The rows of what waits, those of applied segments included.
async fn pending(app: &TestApp) -> i64 {
    app.number("SELECT count(*) FROM inbox_pending").await
}

/// What a second application would change.
async fn applied(app: &TestApp) -> Vec<String> {
    let counters = "SELECT CAST(coalesce(sum(count), 0) AS text) FROM counter";
    let marks = "SELECT CAST(count(*) AS text) FROM inbox_applied";
    let parked = "SELECT CAST(count(*) AS text) FROM parked_status";
    let mut all = Vec::new();
    for sql in [counters, marks, parked] {
        all.extend(app.texts(sql).await);
    }
    all
}

async fn standing(app: &TestApp) -> Value {
    app.admin("GET", "/api/v1/hold", &json!({})).await.1
}

fn main_file(url: &str) -> PathBuf {
    sqlite_file::path_of(&SecretString::from(url.to_owned())).unwrap()
}

async fn what_ends_between_the_commits_to_the_two_files_is_applied_once(database: Database) {
    let app = TestApp::spawn(&database).await;
    store(&app, 0..3).await;
    app.process().await;
    let before = applied(&app).await;
    // On SQLite the inbox does not know of it yet, and the process ends.
    let left = if database == Database::Sqlite { 3 } else { 0 };
    assert_eq!(pending(&app).await, left);
    assert_eq!(app.callbacks_waiting().await, 0);
    let (url, _folder) = app.shut_down().await;
    let app = TestApp::start(&url, &[]).await;
    assert_eq!(pending(&app).await, left);
    assert_eq!(app.callbacks_waiting().await, 0);
    app.process().await;
    assert_eq!(applied(&app).await, before);
    assert_eq!(pending(&app).await, 0);
    // What was stored and not applied at the end is applied by the next process.
    store(&app, 3..5).await;
    let (url, _folder) = app.shut_down().await;
    let app = TestApp::start(&url, &[]).await;
    assert_eq!(app.callbacks_waiting().await, 2);
    // On PostgreSQL the leases of the one before have to run out.
    app.pass(600);
    app.process().await;
    assert_eq!((parked(&app).await, app.callbacks_waiting().await), (5, 0));
}

async fn a_row_of_an_applied_segment_goes_with_the_next_callbacks(database: Database) {
    let app = TestApp::spawn(&database).await;
    store(&app, 0..3).await;
    app.process().await;
    let writes = app.store.inbox().writes();
    store(&app, 3..4).await;
    assert_eq!(
        app.store.inbox().writes() - writes,
        1,
        "no commit of its own"
    );
    assert_eq!(pending(&app).await, 1);
    assert_eq!(app.callbacks_waiting().await, 1);
    // With no callbacks to come, when its lease has run out.
    app.process().await;
    app.pass(DAY);
    app.process().await;
    assert_eq!(pending(&app).await, 0);
    assert_eq!(parked(&app).await, 4);
}

async fn callbacks_are_stored_while_the_main_file_is_locked(database: Database) {
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    let blocker = fresh_blocker(&app.database_url).await;
    blocker.release_inbox().await;
    store(&app, 0..3).await;
    assert_eq!(app.callbacks_waiting().await, 3);
    blocker.release_main().await;
    app.process().await;
    assert_eq!((parked(&app).await, app.callbacks_waiting().await), (3, 0));
}

async fn callbacks_are_applied_while_the_inbox_is_locked(database: Database) {
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    store(&app, 0..3).await;
    let blocker = fresh_blocker(&app.database_url).await;
    blocker.release_main().await;
    app.process_once().await;
    assert_eq!((parked(&app).await, app.callbacks_waiting().await), (3, 0));
    assert_eq!(app.callback_bytes(body(3)).await, 503);
    blocker.release_inbox().await;
    store(&app, 3..4).await;
    app.process().await;
    assert_eq!((parked(&app).await, app.callbacks_waiting().await), (4, 0));
}

async fn an_older_main_file_is_given_what_it_does_not_know(database: Database) {
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    store(&app, 0..2).await;
    app.process().await;
    let (url, folder) = app.shut_down().await;
    let path = main_file(&url);
    let kept = folder.as_ref().unwrap().path().join("kept.sqlite");
    std::fs::copy(&path, &kept).unwrap();
    let app = TestApp::start(&url, &[]).await;
    store(&app, 2..5).await;
    app.process().await;
    // Their rows go from the inbox.
    store(&app, 5..6).await;
    assert_eq!(pending(&app).await, 1);
    let expected = 6;
    app.process().await;
    app.shut_down().await;
    // Back to before: the same inode, so that nothing but the numbers of commits gives it away.
    sqlite_file::remove_companions(&path).unwrap();
    std::fs::write(&path, std::fs::read(&kept).unwrap()).unwrap();
    let app = TestApp::start(&url, &[]).await;
    assert_eq!(parked(&app).await, 2);
    assert_eq!(app.callbacks_waiting().await, 4);
    app.process().await;
    assert_eq!(parked(&app).await, expected);
    assert_eq!(app.callbacks_waiting().await, 0);
    assert_eq!(app.callbacks_applied().await, expected);
    // And only once.
    store(&app, 6..7).await;
    app.process().await;
    app.shut_down().await;
    let app = TestApp::start(&url, &[]).await;
    assert_eq!(app.callbacks_waiting().await, 0);
    app.process().await;
    assert_eq!(parked(&app).await, 7);
}

async fn a_backup_has_both_files(database: Database) {
    let app = TestApp::spawn(&database).await;
    to_the_present(&app);
    store(&app, 0..2).await;
    app.process().await;
    store(&app, 2..4).await;
    let (newest, all) = (app.newest_callback().await, app.callbacks().await.len());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tar");
    let name = file.to_str().unwrap();
    done(&app.database_url, folder.path(), &["backup", name]);
    let anew = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, anew.path()).await;
    restored(&url, folder.path(), &["restore", name]);
    let again = TestApp::start(&url, &[]).await;
    to_the_present(&again);
    assert_eq!(again.callbacks().await.len(), all);
    assert_eq!(again.newest_callback().await, newest);
    assert_eq!(again.callbacks_waiting().await, 2);
    again.pass(600);
    again.process().await;
    assert_eq!(parked(&again).await, 4);
    // What was stored before the backup is a repeat, also for the copy.
    store(&again, 0..4).await;
    assert_eq!(again.callbacks().await.len(), all);
    if database == Database::Sqlite {
        // Over a database that is there: both of its files are kept.
        again.shut_down().await;
        let said = restored(&url, folder.path(), &["restore", name, "--replace"]);
        let kept: Vec<PathBuf> = std::fs::read_dir(anew.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().contains("before-restore"))
            .collect();
        assert_eq!(kept.len(), 2, "{said}: {kept:?}");
        let inboxes = kept.iter().map(|path| sqlite_file::inbox_of(path));
        assert_eq!(inboxes.filter(|inbox| inbox.exists()).count(), 1);
        let again = TestApp::start(&url, &[]).await;
        assert_eq!(again.callbacks_waiting().await, 2);
    }
}

async fn a_missing_inbox_starts_on_hold(database: Database) {
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    store(&app, 0..2).await;
    app.process().await;
    let (url, _folder) = app.shut_down().await;
    let inbox = sqlite_file::inbox_of(&main_file(&url));
    std::fs::remove_file(&inbox).unwrap();
    let app = TestApp::start(&url, &[]).await;
    assert_eq!(standing(&app).await["reason"], "copied");
    assert_eq!(app.callbacks_stored().await, 0);
    // It works, and knows nothing of before.
    store(&app, 0..3).await;
    app.process().await;
    assert_eq!(app.callbacks_waiting().await, 0);
    assert_eq!(
        parked(&app).await,
        3,
        "statuses that came again change nothing"
    );
}

async fn an_inbox_without_its_main_file_is_refused(database: Database) {
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    to_the_present(&app);
    store(&app, 0..2).await;
    let backups = tempfile::tempdir().unwrap();
    let file = backups.path().join("backup.tar");
    let name = file.to_str().unwrap();
    done(&app.database_url, backups.path(), &["backup", name]);
    let (url, folder) = app.shut_down().await;
    let path = main_file(&url);
    let kept = path.with_extension("kept");
    std::fs::rename(&path, &kept).unwrap();
    let folder = folder.as_ref().unwrap().path();
    let is_refused = || {
        let refused = herald(&url, folder, &["serve", "--migrate"]);
        let said = text(&refused);
        assert_eq!(refused.status.code(), Some(6), "{said}");
        assert!(said.contains("it is missing or empty, while"), "{said}");
    };
    is_refused();
    // Also when an attempt, or a command, has made an empty one.
    is_refused();
    done(&url, folder, &["migrate", "up"]);
    is_refused();
    // A backup does not replace the callbacks that are there unless it is to: they are kept.
    let inbox = sqlite_file::inbox_of(&path);
    sqlite_file::remove_companions(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let refused = herald(&url, folder, &["restore", name]);
    assert!(text(&refused).contains("--replace"), "{}", text(&refused));
    let said = restored(&url, folder, &["restore", name, "--replace"]);
    let (_, aside) = said.split_once("is kept as ").unwrap();
    let aside = aside.lines().next().unwrap();
    let aside = aside.trim().trim_end_matches('.');
    let app = TestApp::start(&url, &[]).await;
    assert_eq!(app.callbacks_waiting().await, 2);
    app.shut_down().await;
    // What was there, put back, is used as before.
    for (from, to) in [(kept.as_path(), &path), (Path::new(aside), &inbox)] {
        std::fs::rename(from, to).unwrap();
    }
    let app = TestApp::start(&url, &[]).await;
    assert_eq!(app.callbacks_waiting().await, 2);
}

async fn a_backup_without_its_inbox_is_refused(database: Database) {
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let file = place("backup.tar");
    done(
        &app.database_url,
        folder.path(),
        &["backup", file.to_str().unwrap()],
    );
    let tar = |words: &[&str]| {
        let mut command = std::process::Command::new("tar");
        let status = command.current_dir(folder.path()).args(words).status();
        assert!(status.unwrap().success());
    };
    tar(&["-xf", "backup.tar"]);
    let text_of = std::fs::read(place("manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_slice(&text_of).unwrap();
    manifest["files"].as_array_mut().unwrap().pop();
    let changed = manifest.to_string();
    let sum = hex::encode(Sha256::digest(&changed));
    std::fs::write(place("manifest.json"), changed).unwrap();
    std::fs::write(place("manifest.json.sha256"), sum).unwrap();
    let names = ["manifest.json", "manifest.json.sha256", "database.sqlite"];
    tar(&[&["-cf", "half.tar"], &names[..]].concat());
    let anew = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, anew.path()).await;
    let half = place("half.tar");
    let refused = herald(&url, anew.path(), &["restore", half.to_str().unwrap()]);
    let said = text(&refused);
    assert_eq!(refused.status.code(), Some(6), "{said}");
    assert!(said.contains("it has no database.sqlite.inbox"), "{said}");
    assert!(!main_file(&url).exists());
}

async fn every_segment_is_looked_at_when_the_main_file_is_older(database: Database) {
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    store(&app, 0..1).await;
    app.process().await;
    // More than are looked at together, without marks.
    app.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
         INSERT INTO inbox_segment SELECT id + i, endpoint, urgent, bodies, size_bytes, heads, data FROM inbox_segment, n",
    )
    .await;
    let inbox = app.store.inbox();
    inbox
        .write_alone(
            "UPDATE commit_marker SET main_number = 9000000000000000000",
            [],
        )
        .await
        .unwrap();
    let (url, _folder) = app.shut_down().await;
    let app = TestApp::start(&url, &[]).await;
    assert_eq!(app.callbacks_waiting().await, 2500);
    app.process().await;
    assert_eq!(
        (app.callbacks_waiting().await, parked(&app).await),
        (0, 2501)
    );
}

async fn a_server_whose_inbox_takes_no_writes_is_not_ready(database: Database) {
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    let refusing = "CREATE TRIGGER refusing BEFORE UPDATE ON commit_marker BEGIN SELECT RAISE(ABORT, 'refused'); END";
    let writer = app.store.inbox().raw_writer();
    writer.execute_unprepared(refusing).await.unwrap();
    let (code, ready) = app.get("/readyz").await;
    assert_eq!((code, &ready["database"]), (503, &json!("takes no writes")));
}

async fn a_damaged_inbox_is_refused(database: Database) {
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    store(&app, 0..1).await;
    let (url, folder) = app.shut_down().await;
    let inbox = sqlite_file::inbox_of(&main_file(&url));
    std::fs::write(&inbox, vec![b'x'; 100_000]).unwrap();
    let folder = folder.as_ref().unwrap().path();
    for words in [
        &["serve"][..],
        &["backup", "again.tar"],
        &["callbacks", "list"],
    ] {
        let refused = herald(&url, folder, words);
        let said = text(&refused);
        assert_eq!(refused.status.code(), Some(6), "{words:?}: {said}");
        assert!(said.contains("herald restore"), "{words:?}: {said}");
    }
}

async fn marks_whose_segments_have_gone_are_deleted(database: Database) {
    let app = TestApp::spawn(&database).await;
    store(&app, 0..3).await;
    app.process().await;
    // As if the process had ended after the first of the two steps.
    app.sql("DELETE FROM inbox_pending").await;
    app.sql("DELETE FROM inbox_segment").await;
    store(&app, 3..4).await;
    app.process().await;
    let mut cleaner = RetentionCleaner::default();
    cleaner.turn(&app.engine, app.now()).await.unwrap();
    let marks = "SELECT count(*) FROM inbox_applied";
    assert_eq!(app.number(marks).await, 4, "not old enough");
    app.pass(13 * DAY);
    store(&app, 4..5).await;
    app.process().await;
    app.pass(2 * DAY);
    while cleaner.turn(&app.engine, app.now()).await.unwrap() > 0 {}
    assert_eq!(app.number(marks).await, 1);
    assert_eq!(app.callbacks_stored().await, 1);
    assert_eq!(parked(&app).await, 1);
}

async fn both_files_are_as_durable(database: Database) {
    let app = TestApp::spawn(&database).await;
    let (_, ready) = app.get("/readyz").await;
    let Database::Sqlite = database else {
        assert_eq!(ready["durability"]["inbox_synchronous"], Value::Null);
        return;
    };
    for (name, expected) in [
        ("synchronous", "2"),
        ("journal_mode", "wal"),
        ("secure_delete", "1"),
    ] {
        assert_eq!(ready["durability"][name], expected);
        assert_eq!(ready["durability"][format!("inbox_{name}")], expected);
    }
    store(&app, 0..1).await;
    // Each commit raises the number that a second connection looks for.
    let number = async |file: &herald::store::Store| {
        let row = dialect::query_one(file.reader(), "SELECT number FROM commit_marker", [])
            .await
            .unwrap()
            .unwrap();
        row.try_get_by_index::<i64>(0).unwrap()
    };
    let before = number(app.store.inbox()).await;
    let main_before = number(&app.store).await;
    store(&app, 1..2).await;
    assert_eq!(number(app.store.inbox()).await, before + 1);
    assert_eq!(number(&app.store).await, main_before);
}
