//! The context of a rendering, and the values that its filters could not read.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use minijinja::{
    Error, State,
    value::{Object, Value},
};
use serde::{Deserialize, Serialize};

use super::value::{self, ValueOrigin};

/// The variable that makes filters show unreadable values; no caller can name it.
const LENIENT: &str = "_lenient";

/// A value that a filter could not read, shown unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableFilterValue {
    /// The parameter or expression that contains it.
    pub place: String,
    /// The rule that it violates. Never the value.
    pub rule: String,
}

impl fmt::Display for UnreadableFilterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.rule)
    }
}

/// The rules violated in one rendering.
#[derive(Default)]
struct RenderViolations(Vec<&'static str>);

/// The context of a rendering.
pub struct RenderContext {
    root: Value,
    unread: RefCell<Vec<&'static str>>,
}

/// Answers every name it is asked for.
#[derive(Debug)]
struct VariableCollector(Arc<Mutex<BTreeSet<String>>>);

impl Object for VariableCollector {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        if name == LENIENT {
            return Some(Value::from(true));
        }
        // Herald's own variables.
        if name.starts_with('_') {
            return None;
        }
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.insert(name.to_owned());
        Some(Value::from("1"))
    }
}

impl RenderContext {
    /// For a route or a rule. A value that a filter cannot read is an error.
    pub fn strict(json: &serde_json::Value) -> Self {
        Self::new(json, ValueOrigin::Ours, true)
    }

    /// For a route or a rule. A value that a filter cannot read is shown unchanged.
    pub fn lenient(json: &serde_json::Value) -> Self {
        Self::new(json, ValueOrigin::Ours, false)
    }

    /// For a template: its parameters.
    pub(super) fn of_params(json: &serde_json::Value, is_strict: bool) -> Self {
        Self::new(json, ValueOrigin::Theirs, is_strict)
    }

    fn new(json: &serde_json::Value, origin: ValueOrigin, is_strict: bool) -> Self {
        let root = match json {
            serde_json::Value::Object(fields) => {
                let mut fields = value::fields_of(fields, origin);
                fields.remove(LENIENT);
                if !is_strict {
                    fields.insert(LENIENT.to_owned(), Value::from(true));
                }
                Value::from_object(fields)
            }
            other => value::from_json(other, origin),
        };
        Self {
            root,
            unread: RefCell::default(),
        }
    }

    /// Records the names that are asked for, and gives each a text.
    pub(super) fn probe(asked: Arc<Mutex<BTreeSet<String>>>) -> Self {
        Self {
            root: Value::from_object(VariableCollector(asked)),
            unread: RefCell::default(),
        }
    }

    pub(super) fn root(&self) -> Value {
        self.root.clone()
    }

    /// Records the values that could not be read in a rendering.
    pub(super) fn note(&self, state: &State<'_, '_>) {
        if let Some(broken) = state.get_extension::<RenderViolations>() {
            self.unread.borrow_mut().extend(&broken.0);
        }
    }

    /// Moves the rules violated at a place since the last call to `unread`.
    pub(super) fn take_unread(&self, place: &str, unread: &mut Vec<UnreadableFilterValue>) {
        for rule in self.unread.take() {
            let unread_here = UnreadableFilterValue {
                place: place.to_owned(),
                rule: rule.to_owned(),
            };
            if !unread.contains(&unread_here) {
                unread.push(unread_here);
            }
        }
    }
}

/// The replacement for a value that a filter cannot read: the value unchanged, or the error.
pub(super) fn as_it_came(
    state: &mut State<'_, '_>,
    value: &Value,
    error: Error,
    rule: Option<&'static str>,
) -> Result<Value, Error> {
    let is_lenient = state.lookup(LENIENT).is_some_and(|it| it.is_true());
    let Some(rule) = rule.filter(|_| is_lenient && !value::is_absent(value)) else {
        return Err(error);
    };
    state
        .get_or_insert_extension_with(RenderViolations::default)
        .0
        .push(rule);
    Ok(value.clone())
}
