//! Plans the changes of applying a catalogue: a pure function of the wanted, the present and the
//! previously applied rows.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Kinds of row, in the order in which they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CatalogueRowKind {
    Contact,
    User,
    Group,
    MessageKind,
    Event,
    Template,
    Route,
    Rule,
}

impl CatalogueRowKind {
    pub const ALL: [Self; 8] = [
        Self::Contact,
        Self::User,
        Self::Group,
        Self::MessageKind,
        Self::Event,
        Self::Template,
        Self::Route,
        Self::Rule,
    ];

    /// Its name in catalogue files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::User => "user",
            Self::Group => "group",
            Self::MessageKind => "kind",
            Self::Event => "event",
            Self::Template => "template",
            Self::Route => "route",
            Self::Rule => "rule",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A row by kind and name. The name of a template is followed by a space and its language.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CatalogueRowId {
    pub kind: CatalogueRowKind,
    pub name: String,
}

impl CatalogueRowId {
    pub fn new(kind: CatalogueRowKind, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { kind, name }
    }

    /// The name of a template without its language; otherwise the whole name.
    pub fn template(&self) -> &str {
        match self.kind {
            CatalogueRowKind::Template => self.name.split(' ').next().unwrap_or_default(),
            _ => &self.name,
        }
    }
}

/// The rows that share an owner with this one: a template with all its translations.
pub fn of_one_owner<'a, T>(
    rows: &'a BTreeMap<CatalogueRowId, T>,
    id: &CatalogueRowId,
) -> impl Iterator<Item = (&'a CatalogueRowId, &'a T)> {
    let (kind, name) = (id.kind, id.template().to_owned());
    // A name comes before those that begin with it.
    rows.range(CatalogueRowId::new(kind, name.clone())..)
        .take_while(move |(it, _)| it.kind == kind && it.template() == name)
}

impl std::fmt::Display for CatalogueRowId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.kind.name(), self.name)
    }
}

/// The fields of a row. A field that a catalogue leaves out is not under its control.
pub type CatalogueFields = Map<String, Value>;

/// An existing row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExistingCatalogueRow {
    /// The catalogue that owns it.
    pub owner: Option<String>,
    pub fields: CatalogueFields,
}

/// The change of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogueRowChange {
    Add,
    Change(Vec<CatalogueFieldChange>),
    /// It is as wanted, and had no owner.
    Adopt,
    Remove,
}

/// A field that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueFieldChange {
    pub field: String,
    pub before: Value,
    pub after: Value,
}

/// A row to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CataloguePlanStep {
    pub id: CatalogueRowId,
    pub action: CatalogueRowChange,
    /// It was changed by hand since it was applied: that change would be lost.
    pub by_hand: bool,
}

/// The changes that applying would make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CataloguePlan {
    pub steps: Vec<CataloguePlanStep>,
    /// Rows of these names that belong to another catalogue.
    pub foreign: Vec<(CatalogueRowId, String)>,
    pub unchanged: usize,
}

impl CataloguePlan {
    /// Steps that would undo changes made by hand.
    pub fn conflicts(&self) -> impl Iterator<Item = &CataloguePlanStep> {
        self.steps.iter().filter(|step| step.by_hand)
    }
}

/// Plans one catalogue: `applied` is what it wanted last time, row by row.
pub fn plan(
    catalogue: &str,
    wanted: &BTreeMap<CatalogueRowId, CatalogueFields>,
    present: &BTreeMap<CatalogueRowId, ExistingCatalogueRow>,
    applied: &BTreeMap<CatalogueRowId, CatalogueFields>,
) -> CataloguePlan {
    let mut plan = CataloguePlan::default();
    for (id, fields) in wanted {
        let before = applied.get(id);
        if let Some(owner) = other_owner(catalogue, id, present) {
            plan.foreign.push((id.clone(), owner.to_owned()));
            continue;
        }
        let (action, by_hand) = match present.get(id) {
            // The row that it once made was removed by hand.
            None => (CatalogueRowChange::Add, before.is_some()),
            Some(there) => {
                let differences = differences(fields, &there.fields);
                if differences.is_empty() {
                    if there.owner.is_some() {
                        plan.unchanged += 1;
                        continue;
                    }
                    (CatalogueRowChange::Adopt, false)
                } else {
                    let by_hand = is_by_hand(id, there, before, &differences);
                    (CatalogueRowChange::Change(differences), by_hand)
                }
            }
        };
        plan.steps.push(CataloguePlanStep {
            id: id.clone(),
            action,
            by_hand,
        });
    }
    // Rows that depend on others are removed before them.
    for (id, there) in present.iter().rev() {
        if there.owner.as_deref() == Some(catalogue) && !wanted.contains_key(id) {
            plan.steps.push(CataloguePlanStep {
                id: id.clone(),
                action: CatalogueRowChange::Remove,
                by_hand: applied
                    .get(id)
                    .is_some_and(|before| !differences(before, &there.fields).is_empty()),
            });
        }
    }
    plan
}

/// The other catalogue that owns a row; for a template, any of its translations.
fn other_owner<'a>(
    catalogue: &str,
    id: &CatalogueRowId,
    present: &'a BTreeMap<CatalogueRowId, ExistingCatalogueRow>,
) -> Option<&'a str> {
    let foreign = |there: &'a ExistingCatalogueRow| {
        let owner = there.owner.as_deref();
        owner.filter(|owner| *owner != catalogue)
    };
    of_one_owner(present, id).find_map(|(_, there)| foreign(there))
}

/// Whether a field that the catalogue now sets for the first time was set by hand: links and group
/// memberships.
fn is_by_hand(
    id: &CatalogueRowId,
    there: &ExistingCatalogueRow,
    before: Option<&CatalogueFields>,
    differences_now: &[CatalogueFieldChange],
) -> bool {
    let Some(before) = before else {
        return there.owner.is_none();
    };
    let is_set = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    let was_unsaid =
        |it: &CatalogueFieldChange| !before.contains_key(&it.field) && is_set(&it.before);
    let is_of_people = matches!(
        id.kind,
        CatalogueRowKind::Contact | CatalogueRowKind::User | CatalogueRowKind::Group
    );
    !differences(before, &there.fields).is_empty()
        || (is_of_people && differences_now.iter().any(was_unsaid))
}

/// The fields of `wanted` that differ in `there`.
fn differences(wanted: &CatalogueFields, there: &CatalogueFields) -> Vec<CatalogueFieldChange> {
    wanted
        .iter()
        .filter_map(|(field, after)| {
            let before = there.get(field).unwrap_or(&Value::Null);
            (before != after).then(|| CatalogueFieldChange {
                field: field.clone(),
                before: before.clone(),
                after: after.clone(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::{
        CatalogueFields, CatalogueRowChange, CatalogueRowId, CatalogueRowKind,
        ExistingCatalogueRow, plan,
    };

    fn fields(value: i64) -> CatalogueFields {
        json!({ "value": value }).as_object().unwrap().clone()
    }

    fn id(name: usize) -> CatalogueRowId {
        CatalogueRowId::new(CatalogueRowKind::Route, format!("r{name}"))
    }

    type Wanted = BTreeMap<CatalogueRowId, CatalogueFields>;

    /// Applies a plan that is not in conflict, as the store would.
    fn apply(
        owner: &str,
        wanted: &Wanted,
        present: &mut BTreeMap<CatalogueRowId, ExistingCatalogueRow>,
        applied: &mut BTreeMap<String, Wanted>,
    ) -> Result<(), usize> {
        let before = applied.entry(owner.to_owned()).or_default();
        let made = plan(owner, wanted, present, before);
        let refused = made.foreign.len() + made.conflicts().count();
        if refused > 0 {
            return Err(refused);
        }
        for step in made.steps {
            match step.action {
                CatalogueRowChange::Remove => drop(present.remove(&step.id)),
                CatalogueRowChange::Add
                | CatalogueRowChange::Change(_)
                | CatalogueRowChange::Adopt => {
                    let there = ExistingCatalogueRow {
                        owner: Some(owner.to_owned()),
                        fields: wanted[&step.id].clone(),
                    };
                    present.insert(step.id, there);
                }
            }
        }
        before.clone_from(wanted);
        Ok(())
    }

    proptest! {
        /// Issue: catalogues applied, changed, removed and applied again in any order, with
        /// rows edited by hand in between, never lose a row of another owner.
        #[test]
        fn no_order_of_catalogues_loses_a_row_of_another_owner(
            steps in prop::collection::vec(
                (0..4_usize, prop::collection::btree_map(0..6_usize, 0..3_i64, 0..5)), 1..25
            )
        ) {
            let mut present = BTreeMap::new();
            let mut applied = BTreeMap::new();
            for (who, rows) in steps {
                let before = present.clone();
                if who == 3 {
                    // A change by hand, whichever catalogue owns the row.
                    for (name, value) in rows {
                        let there = present.entry(id(name)).or_insert_with(|| ExistingCatalogueRow {
                            owner: None, fields: fields(0),
                        });
                        there.fields = fields(value);
                    }
                    continue;
                }
                let owner = format!("catalogue-{who}");
                let wanted: Wanted = rows.into_iter().map(|(name, value)| (id(name), fields(value))).collect();
                let done = apply(&owner, &wanted, &mut present, &mut applied);
                for (id, there) in &before {
                    let mine = there.owner.as_deref().is_none_or(|it| it == owner);
                    if !mine || done.is_err() {
                        prop_assert_eq!(present.get(id), Some(there), "{}", id);
                    }
                }
                if done.is_ok() {
                    let mine: Wanted = present.iter()
                        .filter(|(_, there)| there.owner.as_deref() == Some(owner.as_str()))
                        .map(|(id, there)| (id.clone(), there.fields.clone())).collect();
                    prop_assert_eq!(&mine, &wanted);
                    // Once more changes nothing.
                    let again = plan(&owner, &wanted, &present, &applied[&owner]);
                    prop_assert!(again.steps.is_empty() && again.foreign.is_empty());
                }
            }
        }
    }

    #[test]
    fn a_row_edited_by_hand_is_a_conflict_and_one_that_is_not_is_none() {
        let wanted = Wanted::from([(id(1), fields(2))]);
        let applied = Wanted::from([(id(1), fields(1))]);
        let there = |value| {
            BTreeMap::from([(
                id(1),
                ExistingCatalogueRow {
                    owner: Some("a".to_owned()),
                    fields: fields(value),
                },
            )])
        };
        let changes = |present: &BTreeMap<CatalogueRowId, ExistingCatalogueRow>| {
            plan("a", &wanted, present, &applied).steps[0].by_hand
        };
        assert!(!changes(&there(1)));
        assert!(changes(&there(3)));
        // Changed by hand to what the catalogue now says.
        assert!(plan("a", &wanted, &there(2), &applied).steps.is_empty());
        // Removed by hand.
        assert!(changes(&BTreeMap::new()));
    }
}
