//! Settings and the files that document them.

use std::{collections::BTreeSet, fs, path::Path};

use herald::config::SETTINGS;

use crate::harness::Database;

crate::tests![the_example_file_and_the_program_know_the_same_settings];

async fn the_example_file_and_the_program_know_the_same_settings(_: Database) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = fs::read_to_string(root.join("deploy/herald.env.example")).unwrap();
    let written: BTreeSet<&str> = example
        .lines()
        .map(|line| line.trim_start_matches("# ").trim())
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| {
            name.bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        })
        .collect();
    let known: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    assert_eq!(written, known);
    for setting in SETTINGS {
        if let Some(default) = setting.default {
            assert!(
                example.contains(&format!("# {}={default}", setting.name)),
                "{} has another default",
                setting.name
            );
        }
    }
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    for setting in SETTINGS {
        assert!(
            readme.contains(&format!("`{}`", setting.name)),
            "{} is not in the README",
            setting.name
        );
    }
    // What the page for those who come from elsewhere names is there.
    let coming = fs::read_to_string(root.join("docs/coming-from.md")).unwrap();
    for word in coming.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
    {
        if word.starts_with("HERALD_") {
            assert!(known.contains(word), "{word} is no setting");
        }
    }
}
