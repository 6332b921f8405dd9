//! Settings and the files that document them.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
    process::{Command, Output},
};

use herald::config::{Config, SecretStrictness, SettingDeclaration, env_file, settings};

use crate::{
    cli::text,
    harness::{Database, SECRET_KEY},
};

crate::tests![
    the_documents_say_of_each_setting_what_is_declared,
    the_settings_that_coming_from_names_are_declared,
    the_example_file_loads_uncommented_line_by_line_and_all_together,
    a_mistake_in_the_file_of_settings_names_its_line_and_never_the_value,
];

/// With this variable the documents are written instead of compared.
const UPDATE: &str = "HERALD_UPDATE_DOCUMENTS";

/// What a document says from one mark to another, or to its end, is `made` from the declarations.
fn keep(document: &str, from: &str, to: Option<&str>, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(&path).unwrap();
    let start = text.find(from).unwrap() + from.len();
    let end = to.map_or(text.len(), |to| start + text[start..].find(to).unwrap());
    let written = &text[start..end];
    if written == made {
        return;
    }
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, [&text[..start], made, &text[end..]].concat()).unwrap();
        return;
    }
    let differs = |a: &str, b: &str| -> Vec<String> {
        let others: BTreeSet<&str> = b.lines().collect();
        let lines = a.lines().filter(|line| !others.contains(line));
        lines.map(str::to_owned).collect()
    };
    panic!(
        "{document} says of the settings\n{:#?}\ninstead of\n{:#?}\nor in another order: {UPDATE}=1 writes it",
        differs(written, made),
        differs(made, written)
    );
}

fn row(setting: &SettingDeclaration) -> String {
    let code = |text: &str| format!("`{text}`");
    let alias = setting.alias.map(|alias| format!(" (`{alias}`)"));
    format!(
        "| `{}`{} | {} | {} |\n",
        setting.name,
        alias.unwrap_or_default(),
        setting.default.map(code).unwrap_or_default(),
        setting.meaning
    )
}

fn example(setting: &SettingDeclaration) -> String {
    let alias = setting
        .alias
        .map(|alias| format!(" Also known as {alias}."));
    format!(
        "# {}{}\n# {}={}\n",
        setting.meaning,
        alias.unwrap_or_default(),
        setting.name,
        setting.default.unwrap_or_default()
    )
}

async fn the_documents_say_of_each_setting_what_is_declared(_: Database) {
    let rows: String = settings().iter().map(row).collect();
    let head = "| setting | default | meaning |\n|---|---|---|\n";
    keep("README.md", head, Some("\n## "), &rows);
    let examples: Vec<String> = settings().iter().map(example).collect();
    let file = "deploy/herald.env.example";
    keep(file, "NAME_FILE=/path.\n\n", None, &examples.join("\n"));
}

async fn the_settings_that_coming_from_names_are_declared(_: Database) {
    let names: BTreeSet<&str> = settings().iter().map(|setting| setting.name).collect();
    // What the page for those who come from elsewhere names is there.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/coming-from.md");
    let coming = fs::read_to_string(path).unwrap();
    for word in coming.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
    {
        if word.starts_with("HERALD_") {
            assert!(names.contains(word), "{word} is no setting");
        }
    }
}

/// The lines of the example that set something, as somebody uncomments them.
fn uncommented() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = fs::read_to_string(root.join("deploy/herald.env.example")).unwrap();
    let names: BTreeSet<&str> = settings().iter().map(|setting| setting.name).collect();
    example
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| {
            line.split_once('=')
                .is_some_and(|(name, _)| names.contains(name))
        })
        .map(str::to_owned)
        .collect()
}

/// A command in a folder with this file of settings, and nothing else set.
fn with_file(folder: &Path, file: &[u8], words: &[&str]) -> Output {
    fs::write(folder.join(".env"), file).unwrap();
    Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(words)
        .current_dir(folder)
        .env_clear()
        .output()
        .unwrap()
}

async fn the_example_file_loads_uncommented_line_by_line_and_all_together(_: Database) {
    let lines = uncommented();
    assert_eq!(lines.len(), settings().len());
    for line in &lines {
        let parsed = env_file::parse(line);
        assert_eq!(parsed.len(), 1, "{line}");
        let parsed = parsed[0].as_ref().unwrap();
        let (name, value) = line.split_once('=').unwrap();
        assert_eq!((parsed.name.as_str(), parsed.value.as_str()), (name, value));
        let values = HashMap::from([(parsed.name.clone(), parsed.value.clone())]);
        Config::read(&values, SecretStrictness::Production).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let whole = lines.join("\n");
    let loaded = with_file(folder.path(), whole.as_bytes(), &["migrate", "up"]);
    assert!(loaded.status.success(), "{}", text(&loaded));
    let groups = with_file(folder.path(), whole.as_bytes(), &["check", "--json"]);
    assert_ne!(groups.status.code(), Some(2), "{}", text(&groups));
}

async fn a_mistake_in_the_file_of_settings_names_its_line_and_never_the_value(_: Database) {
    let folder = tempfile::tempdir().unwrap();
    for (file, said) in [
        (
            "# one\nHERALD_LOG=info\nnot-a-setting of-mine\n",
            ".env, line 3: it is not NAME=value",
        ),
        (
            "HERALD_LOG=\"of-mine\n",
            ".env, line 1: its quote is not closed",
        ),
        (
            "\n\nHERALD_SEND_SLOTS=of-mine\n",
            "HERALD_SEND_SLOTS: a whole number from 1 to 1000 (.env, line 3)",
        ),
        (
            "HERALD_LOG=info\nWHATSAPP_PHONE_ID=of-mine\n",
            "(.env, line 2)",
        ),
        ("A=1\n1B=of-mine\nC D=of-mine", ".env, line 3: a name has"),
    ] {
        let refused = with_file(folder.path(), file.as_bytes(), &["migrate", "status"]);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        assert!(text(&refused).contains(said), "{}", text(&refused));
        assert!(!text(&refused).contains("of-mine"), "{}", text(&refused));
    }
    let refused = with_file(folder.path(), b"A=\xff", &["migrate", "status"]);
    assert!(text(&refused).contains(".env is not UTF-8"));
    // What the environment sets is not of the file.
    fs::write(folder.path().join(".env"), "HERALD_SEND_SLOTS=8\n").unwrap();
    let refused = Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(["migrate", "status"])
        .current_dir(folder.path())
        .env_clear()
        .env("HERALD_SECRET_KEY", SECRET_KEY)
        .env("HERALD_SEND_SLOTS", "many")
        .output()
        .unwrap();
    assert!(!text(&refused).contains("line"), "{}", text(&refused));
}
