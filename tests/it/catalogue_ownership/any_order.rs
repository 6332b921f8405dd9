//! Any order of applying, changing, removing and editing by hand: nobody loses a row to
//! somebody else.

use std::collections::BTreeSet;

use herald::engine::catalogue::{self, ManualChangePolicy};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use crate::harness::{Database, TestApp};

crate::tests![catalogues_applied_in_any_order_keep_their_rows];

/// Steps of the sequence.
const STEPS: usize = 400;

/// Rows of each kind that catalogues quarrel about.
const ROWS: usize = 6;

const KINDS: [&str; 8] = [
    "contact", "user", "group", "kind", "event", "template", "route", "rule",
];

/// Kinds of row, and those that one may name, by their places.
const NEEDS: [(usize, &[usize]); 4] = [
    (1, &[0]),
    (2, &[1]),
    (6, &[0, 1, 2, 3, 5]),
    (7, &[0, 1, 2, 5]),
];

#[derive(Clone, Debug)]
enum Step {
    Apply {
        catalogue: usize,
        /// What it says of each row, kind by kind; or nothing.
        says: Vec<Option<usize>>,
        overwrite: bool,
    },
    Edit {
        kind: usize,
        row: usize,
    },
    Delete {
        kind: usize,
        row: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let row = || (0..KINDS.len(), 0..ROWS);
    let says = proptest::collection::vec(
        prop_oneof![1 => Just(None), 4 => (0..3_usize).prop_map(Some)],
        KINDS.len() * ROWS,
    );
    let here = proptest::collection::vec(0..10_usize, ROWS);
    let apply = (0..3_usize, says, here, any::<bool>()).prop_map(
        |(catalogue, mut says, here, overwrite)| {
            // Of few rows each, and mostly of its own, so that several find room beside each other.
            for (place, it) in says.iter_mut().enumerate() {
                let row = place % ROWS;
                let is_ours = row % 3 == catalogue;
                if here[row] >= if is_ours { 8 } else { 1 } {
                    *it = None;
                }
            }
            // What names something brings it along, but for one row.
            for row in 1..ROWS {
                for (kind, needs) in NEEDS {
                    if needs
                        .iter()
                        .any(|needed| says[needed * ROWS + row].is_none())
                    {
                        says[kind * ROWS + row] = None;
                    }
                }
            }
            Step::Apply {
                catalogue,
                says,
                overwrite,
            }
        },
    );
    prop_oneof![
        5 => apply,
        2 => row().prop_map(|(kind, row)| Step::Edit { kind, row }),
        1 => row().prop_map(|(kind, row)| Step::Delete { kind, row }),
    ]
}

/// The kind and name of a row, as the list below writes it.
fn name(kind: usize, row: usize) -> String {
    let letter = ["c", "u", "g", "k", "e", "t", "r", "q"][kind];
    format!("{} {letter}{row}", KINDS[kind])
}

/// A row, as a catalogue writes it.
fn entry(kind: usize, row: usize, says: usize) -> String {
    let to = ["+12025550109", "group:g", "user:u", "contact:c"][(says + row) % 4];
    let to = if to.ends_with('9') {
        to.to_owned()
    } else {
        format!("{to}{row}")
    };
    match KINDS[kind] {
        "contact" => format!(
            "[[contact]]\nname = \"c{row}\"\ndisplay_name = \"says {says}\"\nphone = \"+1202555010{row}\"\n"
        ),
        "user" if says == 1 => format!("[[user]]\nname = \"u{row}\"\ncontact = \"c{row}\"\n"),
        "user" => format!("[[user]]\nname = \"u{row}\"\n"),
        "group" if says == 1 => {
            format!(
                "[[group]]\nname = \"g{row}\"\ndescription = \"says 1\"\nmembers = [\"u{row}\"]\n"
            )
        }
        "group" => format!("[[group]]\nname = \"g{row}\"\ndescription = \"says {says}\"\n"),
        "kind" => format!("[[kind]]\nname = \"k{row}\"\ndescription = \"says {says}\"\n"),
        "event" => format!("[[event]]\ntype = \"e{row}\"\ndescription = \"says {says}\"\n"),
        "template" => format!(
            "[[template]]\nname = \"t{row}\"\ncategory = \"utility\"\nbody = \"It says {says}, {{{{ x }}}} too.\"\n"
        ),
        "route" => {
            let kind = if says == 1 {
                format!("kind = \"k{row}\"\n")
            } else {
                String::new()
            };
            format!(
                "[[route]]\nname = \"r{row}\"\nevent = \"herald.sender.held\"\nto = \"{to}\"\ntemplate = \"t{row}\"\n{kind}params = {{ x = \"says {says}\" }}\n"
            )
        }
        _ => format!(
            "[[rule]]\nname = \"q{row}\"\non = \"failed\"\nwhen = \"'says {says}'\"\nsend = {{ to = \"{to}\", template = \"t{row}\", params = {{ x = \"x\" }} }}\n"
        ),
    }
}

/// Every row: whose it is, its kind and name, and what it says.
async fn rows(app: &TestApp) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for sql in [
        "SELECT coalesce(catalogue, '') || '|contact ' || handle || '|' || coalesce(name, '') FROM contact WHERE handle IS NOT NULL",
        "SELECT coalesce(u.catalogue, '') || '|user ' || u.name || '|' || coalesce((SELECT min(a.value) FROM contact_alias a \
         WHERE a.contact_id = u.contact_id AND a.kind = 'phone'), '') FROM user_account u",
        "SELECT coalesce(catalogue, '') || '|group ' || name || '|' || coalesce(description, '') FROM user_group",
        "SELECT g.catalogue || '|member ' || g.name || '|' || u.name FROM user_group g JOIN group_member m ON m.group_id = g.id \
         JOIN user_account u ON u.id = m.user_id WHERE g.catalogue IS NOT NULL",
        "SELECT coalesce(catalogue, '') || '|kind ' || name || '|' || coalesce(description, '') FROM message_kind",
        "SELECT coalesce(catalogue, '') || '|event ' || name || '|' || coalesce(description, '') FROM event_type",
        "SELECT coalesce(catalogue, '') || '|template ' || name || '|' || body FROM template",
        "SELECT coalesce(catalogue, '') || '|route ' || name || '|' || event_type || recipients || template || params || \
         coalesce(message_kind, '') FROM route",
        "SELECT coalesce(catalogue, '') || '|rule ' || name || '|' || coalesce(condition, '') || send FROM rule WHERE active = true",
    ] {
        all.extend(app.texts(sql).await);
    }
    all
}

/// Somebody changes a row, over the API or in the database.
async fn edit(app: &TestApp, kind: usize, row: usize, mark: usize) {
    let sql = match KINDS[kind] {
        "contact" => {
            let (_, found) = app
                .get(&format!("/api/v1/contacts?phone=%2B1202555010{row}"))
                .await;
            if let Some(id) = found["id"].as_str() {
                let body = json!({ "name": format!("by hand {mark}") });
                let path = format!("/api/v1/contacts/{id}");
                assert_eq!(app.admin("PATCH", &path, &body).await.0, 200);
            }
            return;
        }
        "user" => {
            // Whom a user is linked to.
            let body = json!({ "contact": format!("+1202555011{}", mark % 10) });
            let path = format!("/api/v1/users/u{row}/contact");
            assert_eq!(app.admin("PUT", &path, &body).await.0, 200);
            return;
        }
        "group" => {
            format!("UPDATE user_group SET description = 'by hand {mark}' WHERE name = 'g{row}'")
        }
        "kind" => {
            format!("UPDATE message_kind SET description = 'by hand {mark}' WHERE name = 'k{row}'")
        }
        "event" => {
            format!("UPDATE event_type SET description = 'by hand {mark}' WHERE name = 'e{row}'")
        }
        "template" => format!("UPDATE template SET body = 'by hand {mark}' WHERE name = 't{row}'"),
        "route" => format!(
            "UPDATE route SET params = '{{\"x\":\"by hand {mark}\"}}' WHERE name = 'r{row}'"
        ),
        _ => format!(
            "UPDATE rule SET condition = '''by hand {mark}''' WHERE name = 'q{row}' AND active = true"
        ),
    };
    app.sql(&sql).await;
}

/// Somebody deletes a row, if nothing stands on it.
async fn delete(app: &TestApp, kind: usize, row: usize) {
    let path = match KINDS[kind] {
        "contact" => {
            let query = format!("/api/v1/contacts?phone=%2B1202555010{row}");
            let (_, found) = app.get(&query).await;
            let id = found["id"].as_str().unwrap_or("none");
            format!("/api/v1/contacts/{id}")
        }
        "user" => format!("/api/v1/users/u{row}"),
        "group" => format!("/api/v1/groups/g{row}"),
        // For these there is no way but the database.
        other => {
            let sql = match other {
                "kind" => "DELETE FROM message_kind WHERE name = 'k",
                "event" => "DELETE FROM event_type WHERE name = 'e",
                "template" => "DELETE FROM template WHERE name = 't",
                "route" => "DELETE FROM route WHERE name = 'r",
                _ => "UPDATE rule SET active = false WHERE name = 'q",
            };
            return app.sql(&format!("{sql}{row}'")).await;
        }
    };
    let (code, answer) = app.admin("DELETE", &path, &Value::Null).await;
    assert!([200, 204, 404, 422].contains(&code), "{answer}");
}

async fn catalogues_applied_in_any_order_keep_their_rows(database: Database) {
    let app = TestApp::spawn(&database).await;
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let (mut applied, mut refused, mut overwritten) = (0, 0, 0);
    for mark in 0..STEPS {
        let before = rows(&app).await;
        let step = step().new_tree(&mut runner).unwrap().current();
        let (catalogue, says, overwrite) = match step {
            Step::Edit { kind, row } => {
                edit(&app, kind, row, mark).await;
                continue;
            }
            Step::Delete { kind, row } => {
                delete(&app, kind, row).await;
                continue;
            }
            Step::Apply {
                catalogue,
                says,
                overwrite,
            } => (catalogue, says, overwrite),
        };
        let owner = format!("owner{catalogue}");
        let wanted: Vec<(usize, usize, usize)> = says
            .iter()
            .enumerate()
            .filter_map(|(place, says)| Some((place / ROWS, place % ROWS, (*says)?)))
            .collect();
        let names: BTreeSet<String> = wanted
            .iter()
            .map(|(kind, row, _)| name(*kind, *row))
            .collect();
        let text: String = wanted
            .iter()
            .map(|(kind, row, says)| entry(*kind, *row, *says))
            .collect();
        let text = format!("name = \"{owner}\"\n{text}");
        let parsed = || catalogue::parse(&text, &TestApp::catalogue_values()).unwrap();
        let by_hand = if overwrite {
            ManualChangePolicy::Overwrite
        } else {
            ManualChangePolicy::Keep
        };
        let done = catalogue::apply(&app.store, &[parsed()], by_hand, app.now()).await;
        let after = rows(&app).await;
        if done.is_err() {
            assert_eq!(before, after, "a refused catalogue changes nothing");
            refused += 1;
            continue;
        }
        applied += 1;
        let split = |row: &String| -> (String, String) {
            let mut parts = row.splitn(3, '|').map(str::to_owned);
            (parts.next().unwrap(), parts.next().unwrap())
        };
        for row in before.difference(&after) {
            let (whose, name) = split(row);
            assert!(
                whose == owner || (whose.is_empty() && names.contains(&name)),
                "{owner} took {row}: {text}"
            );
            // A link is not the catalogue's matter unless it says one.
            if row.contains("by hand") {
                assert!(overwrite, "{row} was done by hand: {text}");
                overwritten += 1;
            }
        }
        for row in after.difference(&before) {
            assert_eq!(split(row).0, owner, "{owner} made {row}: {text}");
        }
        let has: BTreeSet<String> = after
            .iter()
            .map(split)
            .filter(|(whose, name)| *whose == owner && !name.starts_with("member "))
            .map(|(_, name)| name)
            .collect();
        assert_eq!(has, names, "{text}");
        let again =
            catalogue::apply(&app.store, &[parsed()], ManualChangePolicy::Keep, app.now()).await;
        assert!(again.unwrap()[0].steps.is_empty(), "{text}");
        assert_eq!(rows(&app).await, after);
    }
    // Each way was gone.
    assert!(
        applied > STEPS / 10 && refused > STEPS / 10 && overwritten > 0,
        "{applied} applied, {refused} refused, {overwritten} overwritten"
    );
}
