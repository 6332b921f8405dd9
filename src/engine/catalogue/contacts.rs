//! Applies a large number of contacts separately from the rest of their catalogue.
//!
//! A catalogue is applied in one transaction, or not at all. With 100,000 contacts that transaction
//! would hold the writer for minutes. Above [`MANY`] contacts "all or none" therefore means:
//! everything is read and checked before anything is written, and a refused catalogue leaves
//! nothing behind. Then contacts that no staff member, route or rule of the files names are written
//! in small transactions, then the rest of all files in one; contacts that are no longer wanted are
//! removed last. An interruption (a lost connection, a signal) leaves complete contacts and nothing
//! that uses them: applying again continues there.

use std::collections::{BTreeMap, BTreeSet};

use super::{CatalogueFields, CatalogueMistake, CatalogueRowId, ParsedCatalogue, wanted_contacts};
use crate::{
    domain::{
        catalogue::{CataloguePlan, CatalogueRowChange, CatalogueRowKind, plan as planned},
        recipient::RecipientSpec,
        time::Timestamp,
    },
    store::{
        Store, StoreError,
        catalogue::{
            self, CatalogueActor, CatalogueReadScope,
            many::{self, CatalogueContactSpec, CatalogueContactsError},
            rows::CatalogueContactRow,
        },
    },
};

/// A catalogue with more contacts than this has them written separately.
pub const MANY: usize = 500;

/// New contacts per transaction, in three statements.
const NEW: usize = 200;

/// Changed contacts per transaction, in about eight statements each.
const CHANGED: usize = 20;

/// The contacts of one catalogue that are applied separately; for most catalogues none.
#[derive(Debug, Default)]
pub(super) struct CatalogueContactsPlan {
    /// Whether there are so many contacts that the main part covers only those that are named.
    pub(super) is_large: bool,
    wanted: BTreeMap<CatalogueRowId, CatalogueFields>,
    applied: BTreeMap<CatalogueRowId, CatalogueFields>,
    plan: CataloguePlan,
}

impl CatalogueContactsPlan {
    /// The scope of the main part.
    pub(super) fn scope(&self) -> CatalogueReadScope {
        if self.is_large {
            CatalogueReadScope::Rest
        } else {
            CatalogueReadScope::All
        }
    }

    /// Whether this contact is applied separately.
    pub(super) fn has(&self, id: &CatalogueRowId) -> bool {
        self.wanted.contains_key(id)
    }

    /// The complete plan of a catalogue: contacts are written first and removed last.
    pub(super) fn join(&self, rest: CataloguePlan) -> CataloguePlan {
        let (removed, written): (Vec<_>, Vec<_>) = self
            .plan
            .steps
            .iter()
            .cloned()
            .partition(|step| step.action == CatalogueRowChange::Remove);
        CataloguePlan {
            steps: [written, rest.steps, removed].concat(),
            foreign: [self.plan.foreign.clone(), rest.foreign].concat(),
            unchanged: self.plan.unchanged + rest.unchanged,
        }
    }
}

/// Finds the contacts to be applied separately, and plans them.
pub(super) async fn find(
    store: &Store,
    catalogues: &[ParsedCatalogue],
) -> Result<Vec<CatalogueContactsPlan>, StoreError> {
    let named = named(catalogues);
    let files: BTreeSet<&str> = catalogues
        .iter()
        .map(|it| it.catalogue.name.as_str())
        .collect();
    let contacts = || catalogues.iter().flat_map(|it| &it.catalogue.contact);
    let entries: BTreeSet<&str> = contacts().map(|entry| entry.name.as_str()).collect();
    let is_twice = entries.len() != contacts().count();
    let mut all = Vec::with_capacity(catalogues.len());
    for parsed in catalogues {
        let name = parsed.catalogue.name.as_str();
        let count = many::count_contacts(store.reader(), name).await?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if parsed.catalogue.contact.len().max(count) <= MANY {
            all.push(CatalogueContactsPlan::default());
            continue;
        }
        let is_apart = |id: &CatalogueRowId| !named.contains(id.name.as_str());
        let mut wanted = wanted_contacts(&parsed.catalogue);
        let scope = CatalogueReadScope::Contacts;
        let mut present = catalogue::present(store.reader(), name, wanted.keys(), scope).await?;
        // An entry that moves from one of these files to another is handed over in one transaction.
        let moves = present.iter().any(|(id, there)| match &there.owner {
            Some(owner) if owner == name => {
                !wanted.contains_key(id) && entries.contains(id.name.as_str())
            }
            Some(owner) => files.contains(owner.as_str()),
            None => false,
        });
        if moves || is_twice {
            return Ok(catalogues
                .iter()
                .map(|_| CatalogueContactsPlan::default())
                .collect());
        }
        present.retain(|id, _| is_apart(id));
        wanted.retain(|id, _| is_apart(id));
        let mut applied = catalogue::applied(store.reader(), name, wanted.keys(), scope).await?;
        applied.retain(|id, _| is_apart(id));
        all.push(CatalogueContactsPlan {
            is_large: true,
            plan: planned(name, &wanted, &present, &applied),
            wanted,
            applied,
        });
    }
    Ok(all)
}

/// Contacts that are named by staff members, routes and rules of these files.
fn named(catalogues: &[ParsedCatalogue]) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let mut texts: Vec<String> = Vec::new();
    for ParsedCatalogue { catalogue, .. } in catalogues {
        named.extend(catalogue.user.iter().filter_map(|it| it.contact.clone()));
        for route in &catalogue.route {
            texts.extend(Vec::from(route.to.clone()));
            texts.extend(route.about.clone());
        }
        for rule in &catalogue.rule {
            texts.extend(Vec::from(rule.send.to.clone()));
        }
    }
    for text in texts {
        if let Ok(RecipientSpec::Contact(name)) = RecipientSpec::parse(&text) {
            named.insert(name);
        }
    }
    named
}

/// The mistakes in contacts that are applied separately, by catalogue.
pub(super) async fn mistakes(
    store: &Store,
    catalogues: &[ParsedCatalogue],
    apart: &[CatalogueContactsPlan],
) -> Result<Vec<Vec<CatalogueMistake>>, StoreError> {
    const RULE: &str = "belongs to another contact";
    let mut all = Vec::with_capacity(catalogues.len());
    let mut claims = BTreeSet::new();
    for (parsed, apart) in catalogues.iter().zip(apart) {
        let mut wrong: Vec<CatalogueMistake> = Vec::new();
        for (id, owner) in &apart.plan.foreign {
            let rule = format!("belongs to the catalogue {owner}");
            wrong.push(parsed.mistake(id.kind, &id.name, "", &rule));
        }
        let steps = rows(apart, written(apart));
        for (name, kind) in many::claimed(store.reader(), &steps).await? {
            wrong.push(parsed.mistake(CatalogueRowKind::Contact, &name, field(&kind), RULE));
        }
        // The same alias twice in the files.
        for (name, row) in rows(apart, apart.wanted.keys()) {
            for (field, alias) in many::aliases(&row) {
                if !claims.insert(alias) {
                    wrong.push(parsed.mistake(CatalogueRowKind::Contact, name, field, RULE));
                }
            }
        }
        all.push(wrong);
    }
    Ok(all)
}

/// The catalogue field of an alias kind.
fn field(kind: &str) -> &'static str {
    match kind {
        "phone" => "phone",
        _ => "user_id",
    }
}

/// The contacts that are created or changed.
fn written(apart: &CatalogueContactsPlan) -> impl Iterator<Item = &CatalogueRowId> {
    let steps = apart.plan.steps.iter();
    steps
        .filter(|step| step.action != CatalogueRowChange::Remove)
        .map(|step| &step.id)
}

fn rows<'a>(
    apart: &'a CatalogueContactsPlan,
    ids: impl Iterator<Item = &'a CatalogueRowId>,
) -> Vec<CatalogueContactSpec<'a>> {
    ids.filter_map(|id| {
        let fields = apart.wanted.get(id)?.clone();
        let row: CatalogueContactRow = serde_json::from_value(fields.into()).ok()?;
        Some((id.name.as_str(), row))
    })
    .collect()
}

/// Writes the contacts of one catalogue. Returns mistakes for contacts that a concurrent change
/// made impossible to write.
pub(super) async fn write(
    store: &Store,
    parsed: &ParsedCatalogue,
    apart: &CatalogueContactsPlan,
    now: Timestamp,
) -> Result<Vec<CatalogueMistake>, StoreError> {
    let by = CatalogueActor {
        catalogue: &parsed.catalogue.name,
        now,
    };
    let mut new = Vec::new();
    let mut changed = Vec::new();
    for step in &apart.plan.steps {
        match step.action {
            CatalogueRowChange::Add => new.push(&step.id),
            CatalogueRowChange::Change(_) | CatalogueRowChange::Adopt => changed.push(&step.id),
            CatalogueRowChange::Remove => {}
        }
    }
    let chunks = new.chunks(NEW).chain(changed.chunks(CHANGED));
    for ids in chunks {
        let rows = rows(apart, ids.iter().copied());
        let done = store
            .write_or_refuse(async |tx| {
                many::write_contacts(tx, by, &rows).await?;
                many::note_contacts(tx, by, noted(apart, ids)).await?;
                Ok(())
            })
            .await;
        match done {
            Ok(()) => {}
            Err(CatalogueContactsError::Broken { name, field, rule }) => {
                let rule = format!("{rule}: contacts before it are applied; apply again");
                return Ok(vec![parsed.mistake(
                    CatalogueRowKind::Contact,
                    &name,
                    field,
                    &rule,
                )]);
            }
            Err(CatalogueContactsError::Store(error)) => return Err(error),
        }
    }
    // Rows that already have the wanted values without this catalogue having written them.
    let steps: BTreeSet<&CatalogueRowId> = new.into_iter().chain(changed).collect();
    let unnoted: Vec<&CatalogueRowId> = apart
        .wanted
        .iter()
        .filter(|(id, fields)| apart.applied.get(id) != Some(fields) && !steps.contains(id))
        .map(|(id, _)| id)
        .collect();
    for ids in unnoted.chunks(NEW) {
        store
            .write(async |tx| many::note_contacts(tx, by, noted(apart, ids)).await)
            .await?;
    }
    Ok(Vec::new())
}

fn noted<'a>(
    apart: &'a CatalogueContactsPlan,
    ids: &'a [&'a CatalogueRowId],
) -> impl Iterator<Item = (&'a CatalogueRowId, &'a CatalogueFields)> {
    ids.iter().filter_map(|id| apart.wanted.get_key_value(*id))
}

/// Releases the contacts that a catalogue no longer has.
pub(super) async fn remove(
    store: &Store,
    parsed: &ParsedCatalogue,
    apart: &CatalogueContactsPlan,
    now: Timestamp,
) -> Result<(), StoreError> {
    let by = CatalogueActor {
        catalogue: &parsed.catalogue.name,
        now,
    };
    let removed: Vec<&str> = apart
        .plan
        .steps
        .iter()
        .filter(|step| step.action == CatalogueRowChange::Remove)
        .map(|step| step.id.name.as_str())
        .collect();
    // Contacts that this catalogue wrote and that were removed by other means.
    let gone = apart
        .applied
        .keys()
        .filter(|id| !apart.wanted.contains_key(*id));
    let gone: Vec<&str> = gone.map(|id| id.name.as_str()).collect();
    for names in removed.chunks(NEW).chain(gone.chunks(NEW)) {
        store
            .write(async |tx| many::remove_contacts(tx, by, names.iter().copied()).await)
            .await?;
    }
    Ok(())
}
