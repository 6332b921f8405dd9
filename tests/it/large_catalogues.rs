//! Catalogues with more contacts than one transaction may write.

use std::fmt::Write;

use herald::{
    domain::catalogue::CatalogueRowChange,
    engine::catalogue::{self, CatalogueApplyError, ManualChangePolicy, contacts::MANY},
};

use crate::harness::{Database, TestApp};

crate::tests![
    many_contacts_are_written_in_many_small_transactions,
    what_is_wrong_with_one_of_many_contacts_leaves_nothing_of_the_files,
    an_apply_that_was_cut_off_goes_on_where_it_ended,
    contacts_that_go_from_one_large_file_to_another_are_handed_over,
];

/// A catalogue with contacts of these numbers, and a user and a route of the first.
fn file(name: &str, numbers: impl Iterator<Item = usize>) -> String {
    let mut text = format!("name = \"{name}\"\n");
    for number in numbers {
        write!(
            text,
            "\n[[contact]]\nname = \"{name} {number}\"\nphone = \"+1202555{number:04}\"\nlanguage = \"en\"\n"
        )
        .unwrap();
    }
    text
}

const USE: &str = "\n[[user]]\nname = \"asha\"\ncontact = \"pupils 7\"\n\n\
     [[template]]\nname = \"hello\"\ncategory = \"utility\"\nbody = \"Good day, {{ name }}, it is on.\"\n\n\
     [[event]]\ntype = \"school.open\"\n\n\
     [[route]]\nname = \"to one\"\nevent = \"school.open\"\nto = \"contact:pupils 8\"\ntemplate = \"hello\"\nparams.name = \"x\"\n";

async fn contacts(app: &TestApp) -> i64 {
    app.number("SELECT count(*) FROM contact WHERE catalogue = 'pupils'")
        .await
}

async fn many_contacts_are_written_in_many_small_transactions(database: Database) {
    let app = TestApp::spawn(&database).await;
    // Somebody who wrote before they had a name, and somebody with the name already.
    app.sql("DELETE FROM contact").await;
    app.apply_catalogue(&file("pupils", 5..6)).await;
    let text = file("pupils", 0..MANY + 700) + USE;
    let parsed = catalogue::parse(&text, &TestApp::catalogue_values()).unwrap();
    let files = [parsed];
    let planned = catalogue::plan(&app.store, &files, app.now())
        .await
        .unwrap();
    assert_eq!(contacts(&app).await, 1, "a plan changes nothing");
    let before = (app.store.writes(), app.store.statements());
    let plan = app.try_catalogue(&text).await.unwrap();
    let made = (
        app.store.writes() - before.0,
        app.store.statements() - before.1,
    );
    assert_eq!(planned[0], plan);
    let added = plan
        .steps
        .iter()
        .filter(|it| it.action == CatalogueRowChange::Add);
    assert_eq!((added.count(), plan.unchanged), (MANY + 699 + 4, 1));
    assert_eq!(contacts(&app).await, i64::try_from(MANY + 700).unwrap());
    let phones = app
        .number(
            "SELECT count(*) FROM contact c JOIN contact_alias a ON a.contact_id = c.id \
             WHERE a.kind = 'phone' AND a.value LIKE '+1202555%' AND c.language = 'en'",
        )
        .await;
    assert_eq!(phones, i64::try_from(MANY + 700).unwrap());
    // Some 200 in a transaction, in a few statements each.
    assert!(made.0 >= 6, "{made:?}");
    assert!(made.1 < 400, "{made:?}");
    // Once more changes nothing, and fewer go.
    let again = app.try_catalogue(&text).await.unwrap();
    assert_eq!((again.steps.len(), again.unchanged), (0, MANY + 700 + 4));
    let fewer = app
        .try_catalogue(&(file("pupils", 0..MANY + 100) + USE))
        .await
        .unwrap();
    let removed = fewer
        .steps
        .iter()
        .filter(|it| it.action == CatalogueRowChange::Remove);
    assert_eq!((removed.count(), fewer.steps.len()), (600, 600));
    assert_eq!(contacts(&app).await, i64::try_from(MANY + 100).unwrap());
    let rows = app
        .number("SELECT count(*) FROM catalogue_row WHERE kind = 'contact'")
        .await;
    assert_eq!(rows, i64::try_from(MANY + 100).unwrap());
    // And all of them change.
    let renamed = (file("pupils", 0..MANY + 100) + USE).replace("\"en\"", "\"hi\"");
    let changed = app.try_catalogue(&renamed).await.unwrap();
    assert_eq!(changed.steps.len(), MANY + 100);
    let hindi = app
        .number("SELECT count(*) FROM contact WHERE language = 'hi'")
        .await;
    assert_eq!(hindi, i64::try_from(MANY + 100).unwrap());
}

async fn what_is_wrong_with_one_of_many_contacts_leaves_nothing_of_the_files(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(&file("staff", 0..1)).await;
    let many = 1..MANY + 200;
    for (text, rule) in [
        // The number of another catalogue's contact.
        (
            file("pupils", 0..MANY + 200) + USE,
            "phone: belongs to another contact",
        ),
        // One number twice.
        (
            file("pupils", many.clone())
                + &file("pupils", 3..4).replace("pupils 3", "twin").replacen(
                    "name = \"pupils\"\n",
                    "",
                    1,
                ),
            "phone: belongs to another contact",
        ),
        // Something else is wrong: no contact is written either.
        (
            file("pupils", many.clone()) + &USE.replace("contact:pupils 8", "contact:nobody"),
            "there is no contact nobody",
        ),
        // A contact of the other catalogue.
        (
            file("pupils", many.clone())
                + "\n[[contact]]\nname = \"staff 0\"\nphone = \"+12025550999\"\n",
            "belongs to the catalogue staff",
        ),
    ] {
        let wrong = app.try_catalogue(&text).await.unwrap_err();
        assert!(
            wrong.iter().any(|it| it.contains(rule)),
            "{rule}: {wrong:?}"
        );
        assert_eq!(contacts(&app).await, 0, "{rule}");
        assert_eq!(app.number("SELECT count(*) FROM template").await, 0);
    }
    // What was changed by hand is kept.
    app.apply_catalogue(&file("pupils", many.clone())).await;
    app.sql("UPDATE contact SET language = 'fr' WHERE handle = 'pupils 400'")
        .await;
    let text = file("pupils", 1..MANY + 300).replace("\"en\"", "\"hi\"");
    let wrong = app.try_catalogue(&text).await.unwrap_err();
    assert_eq!(wrong, ["contact pupils 400: changed by hand"]);
    let hindi = app
        .number("SELECT count(*) FROM contact WHERE language = 'hi'")
        .await;
    assert_eq!(hindi, 0);
    let parsed = catalogue::parse(&text, &TestApp::catalogue_values()).unwrap();
    catalogue::apply(
        &app.store,
        &[parsed],
        ManualChangePolicy::Overwrite,
        app.now(),
    )
    .await
    .map_err(|error| matches!(error, CatalogueApplyError::Mistakes(_)))
    .unwrap();
    let hindi = app
        .number("SELECT count(*) FROM contact WHERE language = 'hi'")
        .await;
    assert_eq!(hindi, i64::try_from(MANY + 299).unwrap());
}

async fn an_apply_that_was_cut_off_goes_on_where_it_ended(database: Database) {
    let app = TestApp::spawn(&database).await;
    let text = file("pupils", 0..MANY + 300) + USE;
    app.apply_catalogue(&text).await;
    // As it is when the process ends between two chunks: contacts of a part, whole ones.
    app.sql("DELETE FROM route").await;
    app.sql("DELETE FROM user_account").await;
    app.sql("DELETE FROM catalogue_row WHERE kind <> 'contact'")
        .await;
    let gone = "SELECT id FROM contact WHERE handle > 'pupils 5'";
    app.sql(&format!(
        "DELETE FROM contact_alias WHERE contact_id IN ({gone})"
    ))
    .await;
    app.sql("DELETE FROM catalogue_row WHERE kind = 'contact' AND name > 'pupils 5'")
        .await;
    app.sql("DELETE FROM contact WHERE handle > 'pupils 5'")
        .await;
    let left = contacts(&app).await;
    assert!(left > 100, "{left}");
    let plan = app.try_catalogue(&text).await.unwrap();
    let added = plan
        .steps
        .iter()
        .filter(|it| it.action == CatalogueRowChange::Add);
    assert!(added.count() > 100);
    assert_eq!(contacts(&app).await, i64::try_from(MANY + 300).unwrap());
    assert_eq!(app.number("SELECT count(*) FROM route").await, 1);
    let linked = app
        .number("SELECT count(*) FROM user_account WHERE contact_id IS NOT NULL")
        .await;
    assert_eq!(linked, 1);
}

async fn contacts_that_go_from_one_large_file_to_another_are_handed_over(database: Database) {
    let app = TestApp::spawn(&database).await;
    let read = |text: String| catalogue::parse(&text, &TestApp::catalogue_values()).unwrap();
    let moved = "\n[[contact]]\nname = \"moves\"\nphone = \"+12025559999\"\n";
    let apply = async |one: String, other: String| {
        let files = [read(one), read(other)];
        catalogue::apply(&app.store, &files, ManualChangePolicy::Keep, app.now())
            .await
            .map_err(|error| format!("{error:?}"))
    };
    let pupils = || file("pupils", 0..MANY + 50);
    let staff = || file("staff", 2000..2003);
    apply(pupils() + moved, staff()).await.unwrap();
    apply(pupils(), staff() + moved).await.unwrap();
    let owner = app
        .texts("SELECT catalogue FROM contact WHERE handle = 'moves'")
        .await;
    assert_eq!(owner, ["staff"]);
    assert_eq!(
        contacts(&app).await,
        i64::try_from(MANY + 50).unwrap(),
        "nobody else has gone"
    );
}
