//! Backups: made beside a server that writes, refused when damaged, put back whole.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use herald::{
    state::Clock,
    store::{backup, connect, dialect, sqlite_file},
};
use secrecy::SecretString;

use crate::{
    cli::{command, text},
    harness::{DEMO, Database, SECRET_KEY, TestApp, fresh_database, program_folder},
};

crate::tests![
    a_backup_that_is_made_while_messages_come_in_is_whole,
    a_backup_says_what_it_is_and_overwrites_nothing,
    a_damaged_backup_is_refused_and_changes_nothing,
    a_backup_is_not_put_into_a_database_that_is_there_or_in_use,
    a_backup_of_another_schema_or_database_is_refused,
    a_torn_copy_of_a_running_file_is_refused_with_what_helps,
];

/// The exit code of what is damaged.
const DAMAGED: Option<i32> = Some(6);

/// `herald` with PostgreSQL's programs on its path.
pub fn herald(url: &str, folder: &Path, words: &[&str]) -> Output {
    with_programs(command(url, folder, words)).output().unwrap()
}

fn with_programs(mut command: Command) -> Command {
    let path = std::env::var("PATH").unwrap();
    let path = match program_folder() {
        Some(folder) => format!("{}:{path}", folder.display()),
        None => path,
    };
    command.env("PATH", path);
    command
}

/// `herald` for the database of an app, which has to succeed.
pub fn done(url: &str, folder: &Path, words: &[&str]) -> String {
    let output = herald(url, folder, words);
    assert!(output.status.success(), "{words:?}: {}", text(&output));
    text(&output)
}

/// The same app in our time: commands have no other clock.
pub fn to_the_present(app: &TestApp) {
    app.pass(Clock::System.now().unix_seconds() - app.now().unix_seconds());
}

/// `herald restore` when the last server's connections are gone.
pub fn restored(url: &str, folder: &Path, words: &[&str]) -> String {
    for _ in 0..200 {
        let output = herald(url, folder, words);
        if output.status.success() {
            return text(&output);
        }
        assert!(text(&output).contains("stop every"), "{}", text(&output));
    }
    panic!("the server's connections stay");
}

/// Numbers out of a database that no server uses.
async fn number(url: &str, sql: &str) -> i64 {
    let store = connect::open(
        &SecretString::from(url),
        2,
        connect::ConnectPurpose::Command,
    )
    .await
    .unwrap();
    let row = dialect::query_one(store.reader(), sql, [])
        .await
        .unwrap()
        .unwrap();
    row.try_get_by_index(0).unwrap()
}

async fn a_backup_that_is_made_while_messages_come_in_is_whole(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    for order in 0..20 {
        app.order(&format!("A-{order}"), "+12025550110").await;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tar");
    let mut running = with_programs(command(
        &app.database_url,
        folder.path(),
        &["backup", file.to_str().unwrap()],
    ))
    .spawn()
    .unwrap();
    let mut beside = 0;
    while running.try_wait().unwrap().is_none() {
        app.order(&format!("B-{beside}"), "+12025550110").await;
        beside += 1;
    }
    assert!(running.wait().unwrap().success());
    assert!(beside > 0, "nothing was written meanwhile");
    let anew = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, anew.path()).await;
    let said = done(&url, folder.path(), &["restore", file.to_str().unwrap()]);
    assert!(
        said.contains("on hold") && said.contains("opens what is encrypted"),
        "{said}"
    );
    let kept = number(&url, "SELECT count(*) FROM notification").await;
    assert!((20..=20 + beside).contains(&kept), "{kept} of {beside}");
    let torn = "SELECT count(*) FROM notification n LEFT JOIN event e ON e.id = n.event_id WHERE e.id IS NULL";
    assert_eq!(number(&url, torn).await, 0, "a message without its event");
    // And a server starts on it.
    let again = TestApp::start(&url, &[]).await;
    assert_eq!(again.get("/readyz").await.0, 200);
}

async fn a_backup_says_what_it_is_and_overwrites_nothing(database: Database) {
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tar");
    let words = ["backup", file.to_str().unwrap()];
    let said = done(&app.database_url, folder.path(), &words);
    assert!(said.contains("HERALD_SECRET_KEY"), "{said}");
    let manifest = backup::verify(&file).unwrap();
    assert_eq!(manifest.format, 1);
    assert_eq!(manifest.migrations, herald::store::migrate::known());
    let kind = match database {
        Database::Sqlite => backup::BackupDatabaseKind::Sqlite,
        Database::Postgres => backup::BackupDatabaseKind::Postgresql,
    };
    let files = if database == Database::Sqlite { 2 } else { 1 };
    assert_eq!((manifest.database, manifest.files.len()), (kind, files));
    let id = manifest.secret_key_id.unwrap();
    assert!(said.contains(&id) && !SECRET_KEY.contains(&id));
    assert!(manifest.installation.is_some());
    // Nobody else may read it, and nothing is left beside it.
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let beside: Vec<PathBuf> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(beside, std::slice::from_ref(&file));
    let before = fs::read(&file).unwrap();
    let refused = herald(&app.database_url, folder.path(), &words);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("--force"), "{}", text(&refused));
    assert_eq!(fs::read(&file).unwrap(), before);
    let forced = ["backup", file.to_str().unwrap(), "--force"];
    done(&app.database_url, folder.path(), &forced);
    // Without PostgreSQL's programs it says what to install.
    if database == Database::Postgres {
        let mut alone = command(
            &app.database_url,
            folder.path(),
            &["backup", "elsewhere.tar"],
        );
        let output = alone.env("PATH", folder.path()).output().unwrap();
        assert!(
            text(&output).contains("pg_dump") && text(&output).contains("docs/backup.md"),
            "{}",
            text(&output)
        );
        assert!(!folder.path().join("elsewhere.tar").exists());
    }
}

async fn a_damaged_backup_is_refused_and_changes_nothing(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    app.order("A-1", "+12025550110").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tar");
    let words = ["backup", file.to_str().unwrap()];
    done(&app.database_url, folder.path(), &words);
    let whole = fs::read(&file).unwrap();
    let anew = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, anew.path()).await;
    let damaged = folder.path().join("damaged.tar");
    let mut broken: Vec<Vec<u8>> = [700, 1536 + 20, whole.len() / 2, whole.len() * 9 / 10]
        .into_iter()
        .map(|place| {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x20;
            bytes
        })
        .collect();
    broken
        .extend([100, 2000, whole.len() / 2, whole.len() - 4096].map(|end| whole[..end].to_vec()));
    broken.push(b"no archive at all".to_vec());
    for (number, bytes) in broken.iter().enumerate() {
        fs::write(&damaged, bytes).unwrap();
        let refused = herald(&url, folder.path(), &["restore", damaged.to_str().unwrap()]);
        let said = text(&refused);
        assert_eq!(refused.status.code(), DAMAGED, "{number}: {said}");
        assert!(said.contains("Nothing was changed"), "{said}");
    }
    if database == Database::Sqlite {
        assert!(!anew.path().join("herald.sqlite").exists());
    }
    done(&url, folder.path(), &["restore", file.to_str().unwrap()]);
}

async fn a_backup_is_not_put_into_a_database_that_is_there_or_in_use(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    app.order("A-1", "+12025550110").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tar");
    let name = file.to_str().unwrap();
    done(&app.database_url, folder.path(), &["backup", name]);
    app.order("A-2", "+12025550110").await;
    let refused = herald(&app.database_url, folder.path(), &["restore", name]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("--replace"), "{}", text(&refused));
    let replace = ["restore", name, "--replace"];
    let refused = herald(&app.database_url, folder.path(), &replace);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("stop every"), "{}", text(&refused));
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 2);
    let (url, kept) = app.shut_down().await;
    let said = restored(&url, folder.path(), &replace);
    assert!(said.contains("is kept as"), "{said}");
    assert_eq!(number(&url, "SELECT count(*) FROM notification").await, 1);
    // What was there is whole, and elsewhere.
    let old = match database {
        Database::Sqlite => {
            let kept = kept.as_ref().unwrap().path();
            let old: Vec<PathBuf> = fs::read_dir(kept)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.to_string_lossy().contains(".before-restore-"))
                .filter(|path| path.extension().is_none_or(|end| end != "inbox"))
                .collect();
            assert_eq!(old.len(), 1, "{old:?}");
            assert!(sqlite_file::inbox_of(&old[0]).exists());
            let url = format!("sqlite:{}", old[0].display());
            number(&url, "SELECT count(*) FROM notification").await
        }
        Database::Postgres => {
            let schema = said
                .split("the schema ")
                .nth(1)
                .and_then(|rest| rest.split('.').next())
                .unwrap();
            number(&url, &format!("SELECT count(*) FROM {schema}.notification")).await
        }
    };
    assert_eq!(old, 2);
}

async fn a_backup_of_another_schema_or_database_is_refused(database: Database) {
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tar");
    let name = file.to_str().unwrap();
    let anew = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, anew.path()).await;
    for (migration, expected) in [
        (
            "m20991231_000001_later",
            "newer than this program (m20991231_000001_later)",
        ),
        (
            "m20261121_000001_people_and_senders",
            "before the schema's baseline (m20261121_000001_people_and_senders)",
        ),
    ] {
        app.sql(&format!(
            "INSERT INTO seaql_migrations (version, applied_at) VALUES ('{migration}', 0)"
        ))
        .await;
        done(
            &app.database_url,
            folder.path(),
            &["backup", name, "--force"],
        );
        let refused = herald(&url, folder.path(), &["restore", name]);
        assert_eq!(refused.status.code(), Some(1));
        let said = text(&refused);
        assert!(said.contains(expected), "{said}");
    }
    let other = match database {
        Database::Sqlite => "postgres://herald@127.0.0.1:9/herald",
        Database::Postgres => "sqlite:other.sqlite",
    };
    let refused = herald(other, folder.path(), &["restore", name]);
    assert!(
        text(&refused).contains("DATABASE_URL names"),
        "{}",
        text(&refused)
    );
}

async fn a_torn_copy_of_a_running_file_is_refused_with_what_helps(database: Database) {
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let url = SecretString::from(app.database_url.clone());
    let path = sqlite_file::path_of(&url).unwrap();
    let fill = async |from: usize| {
        for order in from..from + 60 {
            app.order(&format!("A-{order}"), "+12025550110").await;
        }
        dialect::query_one(
            app.store.raw_writer(),
            "PRAGMA wal_checkpoint(TRUNCATE)",
            [],
        )
        .await
        .unwrap();
        fs::read(&path).unwrap()
    };
    // What `cp` reads while the log is written back: the beginning of before, the end of after.
    let (before, after) = (fill(0).await, fill(60).await);
    let half = before.len() / 2 / 4096 * 4096;
    let torn = [&before[..half], &after[half..]].concat();
    let copy = tempfile::tempdir().unwrap();
    let copied = copy.path().join("herald.sqlite");
    fs::write(&copied, &torn).unwrap();
    let url = format!("sqlite:{}", copied.display());
    let refused = herald(&url, copy.path(), &["serve"]);
    let said = text(&refused);
    assert_eq!(refused.status.code(), DAMAGED, "{said}");
    assert!(
        said.contains("herald restore") && said.contains("damaged"),
        "{said}"
    );
    // What is no database at all, as well.
    fs::write(&copied, vec![b'x'; 100_000]).unwrap();
    drop(fs::remove_file(sqlite_file::log_of(&copied)));
    let commands: [&[&str]; 4] = [
        &["serve"],
        &["hold", "show"],
        &["backup", "again.tar"],
        &["stats"],
    ];
    for words in commands {
        let refused = herald(&url, copy.path(), words);
        let said = text(&refused);
        assert_eq!(refused.status.code(), DAMAGED, "{words:?}: {said}");
        assert!(said.contains("herald restore"), "{words:?}: {said}");
    }
    // And one of which a page is lost that only some commands read.
    let mut lost = after.clone();
    lost[4096..].fill(0x5a);
    fs::write(&copied, &lost).unwrap();
    for words in commands {
        let refused = herald(&url, copy.path(), words);
        let said = text(&refused);
        assert_eq!(refused.status.code(), DAMAGED, "{words:?}: {said}");
        assert!(said.contains("herald restore"), "{words:?}: {said}");
    }
}
