//! The walls between the folders of `src`, read from the `use` lines.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use libtest_mimic::{Failed, Trial};

/// Who may use whom. A folder may always use itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("store", &["domain"]),
    ("providers", &["domain"]),
    ("engine", &["store", "providers", "domain"]),
    ("http", &["engine", "store", "providers", "domain", "state"]),
    (
        "dashboard",
        &["engine", "store", "providers", "domain", "state"],
    ),
    (
        "workers",
        &["engine", "store", "providers", "domain", "state"],
    ),
    ("state", &["engine", "providers", "domain"]),
    ("config", &["domain"]),
    ("telemetry", &["domain"]),
    ("shutdown", &[]),
    ("sandbox", &[]),
    (
        "app",
        &[
            "config",
            "dashboard",
            "domain",
            "engine",
            "http",
            "providers",
            "shutdown",
            "state",
            "store",
            "telemetry",
            "workers",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "config",
            "domain",
            "engine",
            "providers",
            "sandbox",
            "shutdown",
            "state",
            "store",
            "telemetry",
        ],
    ),
    ("main", &["cli"]),
    (
        "lib",
        &[
            "app",
            "cli",
            "config",
            "dashboard",
            "domain",
            "engine",
            "http",
            "providers",
            "sandbox",
            "shutdown",
            "state",
            "store",
            "telemetry",
            "workers",
        ],
    ),
];

/// Words that only one folder may say.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("sea_orm::", &["store"]),
    ("actix_web::", &["http", "dashboard", "sandbox", "app"]),
    ("reqwest::", &["providers", "sandbox", "cli"]),
    ("std::env::var", &["config"]),
];

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("walls::arrows_point_down_only", arrows_point_down_only),
        Trial::test(
            "walls::each_dependency_lives_in_its_room",
            each_dependency_lives_in_its_room,
        ),
        Trial::test(
            "walls::no_file_has_grown_too_long",
            no_file_has_grown_too_long,
        ),
    ]
}

fn files() -> Vec<(String, PathBuf, String)> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![sources.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&sources).unwrap();
                let first = relative
                    .components()
                    .next()
                    .unwrap()
                    .as_os_str()
                    .to_string_lossy()
                    .into_owned();
                let room = first.trim_end_matches(".rs").to_owned();
                found.push((
                    room,
                    relative.to_owned(),
                    fs::read_to_string(&path).unwrap(),
                ));
            }
        }
    }
    assert!(found.len() > 50, "the sources were not found");
    found
}

/// The rooms that a file names as `crate::ROOM`, grouped `use`s included.
fn rooms_used(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut rooms = Vec::new();
    for (place, _) in code.match_indices("crate::") {
        let rest = &code[place + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            let mut fresh = true;
            for character in group.chars() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => fresh = true,
                    _ if depth == 0
                        && fresh
                        && (character.is_alphanumeric() || character == '_') =>
                    {
                        word.push(character);
                    }
                    _ if depth == 0 && !word.is_empty() => {
                        rooms.push(std::mem::take(&mut word));
                        fresh = false;
                    }
                    _ => {}
                }
            }
            if !word.is_empty() {
                rooms.push(word);
            }
        } else {
            rooms.push(
                rest.chars()
                    .take_while(|character| character.is_alphanumeric() || *character == '_')
                    .collect(),
            );
        }
    }
    rooms
}

fn arrows_point_down_only() -> Result<(), Failed> {
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for (room, path, text) in files() {
        let may = allowed
            .get(room.as_str())
            .ok_or_else(|| format!("{room} has no place in the map"))?;
        for used in rooms_used(&text) {
            if used != room && allowed.contains_key(used.as_str()) && !may.contains(&used.as_str())
            {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n").into())
    }
}

fn each_dependency_lives_in_its_room() -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for (room, path, text) in files() {
        for (word, rooms) in ONLY_IN {
            let says = text
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(word));
            if says && !rooms.contains(&room.as_str()) {
                wrong.push(format!("{} says {word}", path.display()));
            }
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n").into())
    }
}

fn no_file_has_grown_too_long() -> Result<(), Failed> {
    let long: Vec<String> = files()
        .into_iter()
        .filter(|(_, _, text)| text.lines().count() > 710)
        .map(|(_, path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    if long.is_empty() {
        Ok(())
    } else {
        Err(long.join("\n").into())
    }
}
