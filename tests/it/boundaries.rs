//! The boundaries between the folders of `src`, read from the `use` lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use libtest_mimic::{Failed, Trial};

/// Who may use whom. A folder may always use itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("store", &["domain"]),
    ("providers", &["domain"]),
    ("engine", &["store", "providers", "domain", "error"]),
    (
        "http",
        &["engine", "store", "providers", "domain", "error", "state"],
    ),
    (
        "dashboard",
        &["engine", "store", "providers", "domain", "error", "state"],
    ),
    (
        "workers",
        &["engine", "store", "providers", "domain", "error", "state"],
    ),
    ("state", &["engine", "providers", "domain"]),
    ("config", &["domain"]),
    ("telemetry", &["domain"]),
    ("error", &[]),
    ("shutdown", &[]),
    ("sandbox", &[]),
    (
        "app",
        &[
            "config",
            "dashboard",
            "domain",
            "engine",
            "error",
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
            "error",
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
            "error",
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

/// What `domain` may not say: time and randomness are arguments of its functions. `clippy.toml`
/// forbids the other ways to read the clock, in every folder.
const NOT_IN_DOMAIN: &[&str] = &[
    "getrandom::",
    "rand::",
    "Uuid::new_v4",
    "Uuid::now_v7",
    "Instant::now",
];

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("boundaries::arrows_point_down_only", arrows_point_down_only),
        Trial::test(
            "boundaries::each_dependency_is_used_in_its_folder",
            each_dependency_is_used_in_its_folder,
        ),
        Trial::test(
            "boundaries::the_domain_has_no_clock_and_no_randomness",
            the_domain_has_no_clock_and_no_randomness,
        ),
        Trial::test(
            "boundaries::modules_of_the_engine_use_those_above_them_only",
            modules_of_the_engine_use_those_above_them_only,
        ),
        Trial::test(
            "boundaries::only_providers_know_meta",
            only_providers_know_meta,
        ),
        Trial::test(
            "boundaries::few_files_use_words_of_meta",
            few_files_use_words_of_meta,
        ),
        Trial::test(
            "boundaries::every_path_that_documents_name_exists",
            every_path_that_documents_name_exists,
        ),
        Trial::test("boundaries::no_results_are_nested", no_results_are_nested),
        Trial::test(
            "boundaries::types_explain_themselves_by_their_names",
            types_explain_themselves_by_their_names,
        ),
        Trial::test(
            "boundaries::documents_name_types_that_exist",
            documents_name_types_that_exist,
        ),
        Trial::test(
            "boundaries::no_file_has_grown_too_long",
            no_file_has_grown_too_long,
        ),
        Trial::test(
            "boundaries::rows_are_read_by_column_name",
            rows_are_read_by_column_name,
        ),
    ]
}

/// The Rust files below a folder of the repository, with their texts.
fn files_below(folder: &str) -> Vec<(PathBuf, String)> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let mut folders = vec![sources.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&sources).unwrap().to_owned();
                found.push((relative, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// The files of `src`, each with the folder that it is in.
fn files() -> Vec<(String, PathBuf, String)> {
    let found: Vec<(String, PathBuf, String)> = files_below("src")
        .into_iter()
        .map(|(relative, text)| {
            let first = relative.components().next().unwrap().as_os_str();
            let folder = first.to_string_lossy();
            let folder = folder.trim_end_matches(".rs").to_owned();
            (folder, relative, text)
        })
        .collect();
    assert!(found.len() > 50, "the sources were not found");
    found
}

/// The folders that a file names as `crate::ROOM`, grouped `use`s included.
fn folders_used(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut folders = Vec::new();
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
                        folders.push(std::mem::take(&mut word));
                        fresh = false;
                    }
                    _ => {}
                }
            }
            if !word.is_empty() {
                folders.push(word);
            }
        } else {
            folders.push(
                rest.chars()
                    .take_while(|character| character.is_alphanumeric() || *character == '_')
                    .collect(),
            );
        }
    }
    folders
}

fn arrows_point_down_only() -> Result<(), Failed> {
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for (folder, path, text) in files() {
        let may = allowed
            .get(folder.as_str())
            .ok_or_else(|| format!("{folder} has no place in the map"))?;
        for used in folders_used(&text) {
            if used != folder
                && allowed.contains_key(used.as_str())
                && !may.contains(&used.as_str())
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

fn each_dependency_is_used_in_its_folder() -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for (folder, path, text) in files() {
        for (word, folders) in ONLY_IN {
            let says = text
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(word));
            if says && !folders.contains(&folder.as_str()) {
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

/// Whether code says a path; a longer name that ends like it does not count.
fn says_path(text: &str, path: &str) -> bool {
    let is_word = |it: char| it.is_alphanumeric() || it == '_';
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .any(|line| {
            line.match_indices(path)
                .any(|(place, _)| !line[..place].ends_with(is_word))
        })
}

fn the_domain_has_no_clock_and_no_randomness() -> Result<(), Failed> {
    assert!(says_path("let id = uuid::Uuid::new_v4();", "Uuid::new_v4"));
    assert!(!says_path("let brand = brand::of(name);", "rand::"));
    assert!(!says_path("// Uuid::new_v4", "Uuid::new_v4"));
    let mut wrong = Vec::new();
    for (folder, path, text) in files() {
        for word in NOT_IN_DOMAIN {
            if folder == "domain" && says_path(&text, word) {
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

/// The modules of the engine: each may use those before it, and none behind it.
const ENGINE: [&str; 10] = [
    "runtime",
    "lifecycle",
    "intake",
    "verification",
    "people",
    "delivery",
    "ingest",
    "admin",
    "catalogue",
    "insight",
];

/// The leaves of a `use` tree: `a::{b, c::d}` are `a::b` and `a::c::d`.
fn leaves(tree: &str, prefix: &str, found: &mut Vec<String>) {
    let (mut depth, mut start) = (0_usize, 0);
    let mut parts = Vec::new();
    for (place, character) in tree.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&tree[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&tree[start..]);
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        match part.split_once('{') {
            Some((head, rest)) => {
                let inner = rest.strip_suffix('}').unwrap_or(rest);
                leaves(inner, &format!("{prefix}{head}"), found);
            }
            None => found.push(format!("{prefix}{part}")),
        }
    }
}

/// The modules of the engine that a file of this module path uses, by absolute and relative paths.
fn engine_modules_used(text: &str, module: &[String]) -> Vec<String> {
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let code = code.split("mod tests {").next().unwrap_or_default();
    let mut paths = Vec::new();
    for root in ["crate::", "super::"] {
        for (place, _) in code.match_indices(root) {
            let is_word = |it: char| it.is_alphanumeric() || it == '_' || it == ':';
            if code[..place].ends_with(is_word) {
                continue;
            }
            let rest = &code[place..];
            let line_start = code[..place].rfind('\n').map_or(0, |at| at + 1);
            if code[line_start..place].trim_end().ends_with("use") {
                let tree: String = rest.chars().take_while(|it| *it != ';').collect();
                let tree: String = tree.chars().filter(|it| !it.is_whitespace()).collect();
                leaves(&tree, "", &mut paths);
            } else {
                paths.push(rest.chars().take_while(|it| is_word(*it)).collect());
            }
        }
    }
    let absolute = |path: &String| -> Vec<String> {
        let mut parts: Vec<String> = path.split("::").map(str::to_owned).collect();
        if parts.first().is_some_and(|first| first == "crate") {
            return parts.split_off(1);
        }
        let up = parts.iter().take_while(|part| *part == "super").count();
        let mut base = module[..module.len().saturating_sub(up)].to_vec();
        base.extend(parts.split_off(up));
        base
    };
    let used = paths.iter().map(absolute);
    used.filter(|path| path.first().is_some_and(|first| first == "engine"))
        .filter_map(|path| path.get(1).cloned())
        .filter(|module| ENGINE.contains(&module.as_str()))
        .collect()
}

fn modules_of_the_engine_use_those_above_them_only() -> Result<(), Failed> {
    let floor = |module: &str| ENGINE.iter().position(|it| *it == module);
    let mut wrong = Vec::new();
    let mut uses = 0;
    for (folder, path, text) in files() {
        if folder != "engine" {
            continue;
        }
        let mut module: Vec<String> = path
            .with_extension("")
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        module.retain(|part| part != "mod");
        let Some(own) = module.get(1).and_then(|own| floor(own)) else {
            continue;
        };
        for used in engine_modules_used(&text, &module) {
            uses += 1;
            if floor(&used) > Some(own) {
                wrong.push(format!("{} uses engine::{used}", path.display()));
            }
        }
    }
    assert!(uses > 100, "the paths were not read: {uses}");
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n").into())
    }
}

/// A file's code without comments and unit tests.
fn code_of(text: &str) -> String {
    let code = text.split("mod tests {").next().unwrap_or_default();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// `providers::meta` is an island.
fn only_providers_know_meta() -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for (folder, path, text) in files() {
        if folder == "providers" {
            continue;
        }
        let code: String = code_of(&text)
            .chars()
            .filter(|it| !it.is_whitespace())
            .collect();
        let mut trees = Vec::new();
        for (place, _) in code.match_indices("providers::") {
            let mut depth = 0;
            let tree: String = code[place..]
                .chars()
                .take_while(|it| {
                    depth += i32::from(*it == '{') - i32::from(*it == '}');
                    *it != ';' && depth >= 0 && (depth > 0 || *it != ',')
                })
                .collect();
            leaves(&tree, "", &mut trees);
        }
        if trees.iter().any(|path| path.starts_with("providers::meta")) {
            wrong.push(path.display().to_string());
        }
    }
    println!(
        "files outside providers/ that import providers::meta: {}",
        wrong.len()
    );
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n").into())
    }
}

/// Words of Meta's in code. What talks to people about Meta's senders by Meta's names stays.
fn few_files_use_words_of_meta() -> Result<(), Failed> {
    const WORDS: [&str; 5] = ["whatsapp", "wamid", "waba", "phone_number_id", "\"meta\""];
    const APART: [&str; 3] = ["providers", "config", "sandbox"];
    let found: Vec<String> = files()
        .into_iter()
        .filter(|(folder, _, _)| !APART.contains(&folder.as_str()))
        // The settings of Meta's senders, and what plays Meta from the command line.
        .filter(|(_, path, _)| !path.starts_with("domain/settings"))
        .filter(|(_, path, _)| {
            let played = ["cli/dev.rs", "cli/sandbox.rs", "cli/scenario/mod.rs"];
            !played.iter().any(|file| path.ends_with(file))
        })
        .filter(|(_, _, text)| {
            let code = code_of(text);
            WORDS.iter().any(|word| code.contains(word))
        })
        .map(|(_, path, _)| path.display().to_string())
        .collect();
    println!(
        "files outside providers/ that use words of Meta's: {}",
        found.len()
    );
    if found.len() < 10 {
        Ok(())
    } else {
        Err(found.join("\n").into())
    }
}

/// Folders whose paths documents name in full.
const ROOTS: [&str; 5] = ["src/", "tests/", "docs/", "migration/", "bench/"];

/// The paths that a document names in code spans, in links and in its map. `NAME` in one stands for
/// any name.
fn paths_named(document: &str) -> Vec<&str> {
    let is_path = |word: &&str| {
        let of = |end: &str| word.ends_with(end);
        let is_named = word
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || "_-./".contains(it));
        let is_rooted = ROOTS.iter().any(|root| word.starts_with(*root));
        let is_file = of(".rs") || of(".md");
        let is_folder = of("/") && !word.starts_with('/');
        is_named && !word.contains("NAME") && (is_rooted || is_file || is_folder)
    };
    document
        .split(|it: char| it.is_whitespace() || "`()[],;:*".contains(it))
        .map(|word| word.trim_end_matches('.'))
        .filter(is_path)
        .collect()
}

/// Paths of the repository, or of a folder that the text is about.
fn every_path_that_documents_name_exists() -> Result<(), Failed> {
    assert_eq!(
        paths_named(
            "`src/lib.rs`, `templates/` beside [it](docs/keys.md), and all of tests/it.\n\
             `src/providers/NAME/`, `/webhooks/{endpoint}`, `/api/v1/`, `cargo test --test it`, and/or"
        ),
        ["src/lib.rs", "templates/", "docs/keys.md", "tests/it"]
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    for entry in fs::read_dir(root.join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            documents.push(path);
        }
    }
    documents.sort();
    let places = [
        root.to_owned(),
        root.join("docs"),
        root.join("src"),
        root.join("src/engine"),
        root.join("src/http/api"),
        root.join("src/providers/meta"),
        root.join("tests/it"),
        root.join("src/dashboard"),
    ];
    let (mut count, mut missing) = (0, Vec::new());
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for path in paths_named(&text) {
            count += 1;
            if !places.iter().any(|place| place.join(path).exists()) {
                let file = document.strip_prefix(root).unwrap().display();
                missing.push(format!("{file} names {path}, which is not there"));
            }
        }
    }
    assert!(count > 120, "the paths were not found: {count}");
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing.join("\n").into())
    }
}

/// A refusal is a variant of the one error of what refuses. An alias of a result counts as one.
fn no_results_are_nested() -> Result<(), Failed> {
    let files = files();
    let alias = |line: &str| {
        let (name, of) = line.split_once("type ")?.1.split_once(" = ")?;
        let is_result = of.starts_with("Result<") && !line.starts_with(' ');
        is_result.then(|| name.split('<').next().unwrap_or_default().to_owned())
    };
    let aliases = files
        .iter()
        .flat_map(|(_, _, text)| text.lines().filter_map(alias));
    let nested: Vec<String> = aliases
        .chain(["Result".to_owned()])
        .flat_map(|name| [",", "<", ">"].map(|end| format!("Result<{name}{end}")))
        .collect();
    let count = |text: &str| -> usize {
        let text: String = text.split_whitespace().collect();
        nested.iter().map(|it| text.matches(it).count()).sum()
    };
    let found: Vec<String> = files
        .iter()
        .filter(|(_, _, text)| count(text) > 0)
        .map(|(_, path, text)| format!("{}: {}", path.display(), count(text)))
        .collect();
    let total: usize = files.iter().map(|(_, _, text)| count(text)).sum();
    println!("nested results in src: {total}");
    if found.is_empty() {
        Ok(())
    } else {
        Err(found.join("\n").into())
    }
}

/// The types that a text declares outside of `impl` and `trait`, with each name once for each
/// declaration.
fn types_declared(text: &str) -> Vec<String> {
    let declared = |line: &str| {
        let is_member = line.starts_with(' ') && line.trim_start().starts_with("type ");
        let line = line.trim_start();
        let line = line.strip_prefix("pub").map_or(line, |rest| {
            rest.strip_prefix('(')
                .and_then(|rest| rest.split_once(')'))
                .map_or(rest, |(_, rest)| rest)
                .trim_start()
        });
        let (keyword, rest) = line.split_once(' ')?;
        if is_member || !["struct", "enum", "trait", "type", "union"].contains(&keyword) {
            return None;
        }
        let name = rest.split(|it: char| !it.is_alphanumeric()).next()?;
        name.starts_with(char::is_uppercase)
            .then(|| name.to_owned())
    };
    code_of(text).lines().filter_map(declared).collect()
}

/// A signature or a stack trace shows a type without its module: the name alone has to say what
/// it is. A few words that everybody in the code needs may be short.
fn types_explain_themselves_by_their_names() -> Result<(), Failed> {
    assert_eq!(
        types_declared("pub(crate) struct Row<'a> {\n    pub enum Kind {\n    type Item = u8;\n"),
        ["Row", "Kind"]
    );
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for name in files().iter().flat_map(|(_, _, text)| types_declared(text)) {
        *count.entry(name).or_default() += 1;
    }
    let total: usize = count.values().sum();
    let is_short =
        |name: &str| name.len() < 6 && name.chars().filter(|it| it.is_uppercase()).count() == 1;
    let short: Vec<&String> = count.keys().filter(|name| is_short(name)).collect();
    let shared: Vec<&String> = count.iter().filter(|it| *it.1 > 1).map(|it| it.0).collect();
    println!(
        "{total} types; one word under 6 letters: {short:?}; names of several types: {shared:?}"
    );
    assert!(total > 500, "the types were not found");
    if short.len() * 50 > total || !shared.is_empty() {
        return Err(format!("short: {short:?}; shared: {shared:?}").into());
    }
    Ok(())
}

/// Types of other crates and of the standard library that documents name.
const EXTERNAL_TYPES: [&str; 5] = ["HttpResponse", "IntoParams", "Option", "Result", "ToSchema"];

/// The types that the code spans of a document name: of a path such as `http::body::JsonBody` or
/// `Config::check`, its first part in upper camel case. A name of one hump may be any word of a
/// command or a header; it counts if nothing but its path and its arguments stands beside it.
fn types_named(document: &str) -> Vec<String> {
    let is_of_path = |it: char| it.is_alphanumeric() || it == '_' || it == ':';
    let is_camel = |part: &str| {
        part.starts_with(|it: char| it.is_ascii_uppercase())
            && part.contains(|it: char| it.is_ascii_lowercase())
    };
    let humps = |part: &str| part.chars().filter(char::is_ascii_uppercase).count();
    let mut named = Vec::new();
    for line in document.lines() {
        for span in line.split('`').skip(1).step_by(2) {
            let end = span.find(|it: char| !is_of_path(it)).unwrap_or(span.len());
            let is_whole = end == span.len() || span[end..].starts_with('<');
            for (place, path) in span.split(|it: char| !is_of_path(it)).enumerate() {
                let name = path.split("::").find(|part| is_camel(part));
                let counts = |name: &str| humps(name) > 1 || (place == 0 && is_whole);
                named.extend(name.filter(|name| counts(name)).map(str::to_owned));
            }
        }
    }
    named
}

/// Who adds something goes by these documents: a type that they name by an older name is not found.
fn documents_name_types_that_exist() -> Result<(), Failed> {
    assert_eq!(
        types_named(
            "`Scope`, `Allowed<scope::…>`, `http::Json` or `-> Result<HttpResponse, Problem>`\n\
             `Config::check`; `Idempotency-Key`, `Prefer: wait`, `inbox: Reject it`, `README.md`, Not"
        ),
        ["Scope", "Allowed", "Json", "HttpResponse", "Config"]
    );
    let sources = ["src", "entity/src", "tests/it"].map(files_below);
    let declared: BTreeSet<String> = sources
        .iter()
        .flatten()
        .flat_map(|(_, text)| types_declared(text))
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = vec![root.join("CONTRIBUTING.md")];
    for entry in fs::read_dir(root.join("docs")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("adding-") {
            documents.push(entry.path());
        }
    }
    documents.sort();
    let (mut count, mut missing) = (0, Vec::new());
    for path in documents {
        for name in types_named(&fs::read_to_string(&path).unwrap()) {
            count += 1;
            if !declared.contains(&name) && !EXTERNAL_TYPES.contains(&name.as_str()) {
                let file = path.strip_prefix(root).unwrap().display();
                missing.push(format!("{file} names `{name}`, which is no type"));
            }
        }
    }
    assert!(count > 20, "the names of types were not found: {count}");
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing.join("\n").into())
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

/// How often a text reads a column of a row by its position: `try_get_by_index(…)`, or any other
/// `try_get…` whose first argument is a number.
fn positional_reads(text: &str) -> usize {
    let is_word = |it: char| it.is_alphanumeric() || it == '_';
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code: String = code.concat().split_whitespace().collect();
    code.match_indices("try_get")
        .filter(|(place, name)| {
            let rest = &code[place + name.len()..];
            let after = rest.trim_start_matches(is_word);
            let arguments = after.split_once('(').map_or("", |(_, arguments)| arguments);
            rest[..rest.len() - after.len()].ends_with("_by_index")
                || arguments.starts_with(|it: char| it.is_ascii_digit())
        })
        .count()
        + code.matches("Columns::of(").count()
}

/// A position goes wrong without a word when a column is added before it.
fn rows_are_read_by_column_name() -> Result<(), Failed> {
    for read in [
        "row.try_get_by_index(0)",
        "row.try_get::<String, _>(0)",
        "row.try_get_by_nullable::<i64, _>(1)",
        "Columns::of(&row).take()",
    ] {
        assert_eq!(positional_reads(read), 1, "{read}");
    }
    assert_eq!(positional_reads("row.try_get_by(name)"), 0);
    let found: Vec<(String, usize)> = files()
        .into_iter()
        .map(|(_, path, text)| (path.display().to_string(), positional_reads(&text)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let count: usize = found.iter().map(|(_, count)| count).sum();
    println!("columns read by position: {count}");
    if count == 0 {
        Ok(())
    } else {
        Err(format!("{count} columns are read by position: {found:?}").into())
    }
}
