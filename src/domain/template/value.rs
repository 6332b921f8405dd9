//! Values in templates: what counts as absent, how non-text values are written, and which values
//! can be compared.
//!
//! One rule for all texts, filters included. `null` is absent: a field that is null is like a
//! missing one. A truth value is written `true` or `false`, a number in plain digits (never with an
//! exponent, and without `.0`), a list as its items and a map as `name: value`, separated by
//! commas.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt::{self, Write},
    sync::Arc,
};

use minijinja::{
    Error, ErrorKind,
    value::{Object, ObjectRepr, Value, ValueKind},
};

/// Deepest nesting of lists; the JSON of a request goes to 128.
const MAX_DEPTH: usize = 160;

/// The origin of a JSON value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueOrigin {
    /// A product's, or a person's: a field that is null is like a missing one, and an item of a
    /// list that is null keeps its place, undefined.
    Theirs,
    /// Herald's own, whose fields are known: null is none, and can be tested for. Data from a
    /// product are in its `data` and `params`.
    Ours,
}

/// Converts a JSON value.
pub(super) fn from_json(json: &serde_json::Value, origin: ValueOrigin) -> Value {
    match json {
        serde_json::Value::Null if origin == ValueOrigin::Ours => Value::from(()),
        serde_json::Value::Null => Value::UNDEFINED,
        serde_json::Value::Bool(truth) => Value::from(*truth),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map(Value::from)
            .or_else(|| number.as_u64().map(Value::from))
            .or_else(|| number.as_f64().map(Value::from))
            .unwrap_or(Value::UNDEFINED),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => {
            let items = items.iter().map(|item| from_json(item, origin));
            Value::from(items.collect::<Vec<Value>>())
        }
        serde_json::Value::Object(fields) => Value::from_object(fields_of(fields, origin)),
    }
}

/// The fields of an object that are present.
pub(super) fn fields_of(
    fields: &serde_json::Map<String, serde_json::Value>,
    origin: ValueOrigin,
) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (name, value) in fields {
        let origin = match name.as_str() {
            "data" | "params" => ValueOrigin::Theirs,
            _ => origin,
        };
        if !value.is_null() || origin == ValueOrigin::Ours {
            found.insert(name.clone(), from_json(value, origin));
        }
    }
    found
}

/// The result of `number`: a number in the form of the reader's language.
#[derive(Debug)]
pub(super) struct LocalizedNumber {
    pub(super) number: Value,
    pub(super) text: String,
}

impl Object for LocalizedNumber {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.number.is_true()
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The plain number of a result of `number`; other values unchanged.
pub(super) fn plain(value: Value) -> Value {
    match value.downcast_object_ref::<LocalizedNumber>() {
        Some(written) => written.number.clone(),
        None => value,
    }
}

/// Whether a value is absent.
pub(super) fn is_absent(value: &Value) -> bool {
    value.is_undefined() || value.is_none()
}

/// Writes a value for people.
pub(super) fn write(out: &mut impl Write, value: &Value) -> fmt::Result {
    write_at(out, value, 0)
}

fn write_at(out: &mut impl Write, value: &Value, depth: usize) -> fmt::Result {
    if depth > MAX_DEPTH {
        return Err(fmt::Error);
    }
    if let Some(text) = value.as_str() {
        return out.write_str(text);
    }
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(()),
        ValueKind::Bool => out.write_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => write_number(out, value),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|_error| fmt::Error)?;
            let present = items.filter(|item| !is_absent(item));
            for (index, item) in present.enumerate() {
                if index > 0 {
                    out.write_str(", ")?;
                }
                write_at(out, &item, depth + 1)?;
            }
            Ok(())
        }
        ValueKind::Map => {
            let names = value.try_iter().map_err(|_error| fmt::Error)?;
            let fields = names.filter_map(|name| {
                let held = value.get_item(&name).ok()?;
                (!is_absent(&held)).then_some((name, held))
            });
            for (index, (name, held)) in fields.enumerate() {
                if index > 0 {
                    out.write_str(", ")?;
                }
                write_at(out, &name, depth + 1)?;
                out.write_str(": ")?;
                write_at(out, &held, depth + 1)?;
            }
            Ok(())
        }
        _ => write!(out, "{value}"),
    }
}

/// Whether it is the result of a division by zero, or exceeds the range of numbers.
pub(super) fn is_no_number(value: &Value) -> bool {
    value.is_number()
        && !value.is_integer()
        && !f64::try_from(value.clone()).is_ok_and(f64::is_finite)
}

fn write_number(out: &mut impl Write, value: &Value) -> fmt::Result {
    if value.is_integer() {
        return write!(out, "{value}");
    }
    match f64::try_from(value.clone()) {
        // Rust writes no exponents; minus zero becomes zero.
        Ok(number) if number.is_finite() => write!(out, "{}", number + 0.0),
        _ => Err(fmt::Error),
    }
}

/// A value as text.
pub(super) fn text(value: &Value) -> Result<String, Error> {
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    let mut text = String::new();
    write(&mut text, value)
        .map_err(|_error| Error::new(ErrorKind::InvalidOperation, "it cannot be written"))?;
    Ok(text)
}

/// Kinds that can be compared only with themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ComparableValueKind {
    Truth,
    Number,
    Text,
    List,
    Map,
    Other,
}

fn kind(value: &Value) -> ComparableValueKind {
    match value.kind() {
        ValueKind::Bool => ComparableValueKind::Truth,
        ValueKind::Number => ComparableValueKind::Number,
        ValueKind::String => ComparableValueKind::Text,
        ValueKind::Seq | ValueKind::Iterable => ComparableValueKind::List,
        ValueKind::Map => ComparableValueKind::Map,
        _ => ComparableValueKind::Other,
    }
}

/// Refuses a comparison that can never be true for the two kinds: it is a mistake, and would
/// silently have the same result for every event.
pub(super) fn comparable(left: &Value, right: &Value) -> Result<(), Error> {
    let (left, right) = (kind(left), kind(right));
    let both = |one, other| (left, right) == (one, other) || (left, right) == (other, one);
    let rule = if both(ComparableValueKind::Number, ComparableValueKind::Text) {
        "a number is compared with a text: `| number` parses a text, `| string` formats a number"
    } else if left != right {
        "values of different kinds are compared"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidOperation, rule))
}

/// The steps of a comparison: `==`, `2`, `<`, `3`, …
pub(super) fn compare(first: &Value, steps: &[Value]) -> Result<bool, Error> {
    let mut left = plain(first.clone());
    for step in steps.chunks_exact(2) {
        let [operator, right] = step else { continue };
        let right = plain(right.clone());
        if !holds(&left, operator.as_str().unwrap_or_default(), &right)? {
            return Ok(false);
        }
        left = right;
    }
    Ok(true)
}

fn holds(left: &Value, operator: &str, right: &Value) -> Result<bool, Error> {
    // None is equal to nothing else but absent values.
    if left.is_none() || right.is_none() {
        let both = is_absent(left) && is_absent(right);
        match operator {
            "==" => return Ok(both),
            "!=" => return Ok(!both),
            _ => {}
        }
    }
    if is_absent(left) || is_absent(right) {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    comparable(left, right)?;
    Ok(match operator {
        "==" => left == right,
        "!=" => left != right,
        "<" => left.cmp(right) == Ordering::Less,
        "<=" => left.cmp(right) != Ordering::Greater,
        ">" => left.cmp(right) == Ordering::Greater,
        ">=" => left.cmp(right) != Ordering::Less,
        _ => return Err(Error::from(ErrorKind::InvalidOperation)),
    })
}
