//! The filters, tests and functions available in templates, each with a bound of its output.
//!
//! The template engine's own defaults are not loaded: only the functions in these tables exist, and
//! each of [`FILTERS`] has a [`TemplateFilterCostFunction`], which is charged before it runs.

use minijinja::{
    Environment, Error, ErrorKind, State, filters as engine, functions, tests,
    value::{Rest, Value, ValueOrKwargs},
};

use super::{
    budget::{ITEM_BYTES, charge, list_bytes, text_bytes, weigh},
    filters, text, value,
};

/// The most bytes that a filter makes of its arguments; `None` exceeds any budget.
type TemplateFilterCostFunction = fn(&[Value]) -> Option<usize>;

/// Makes a filter or a test.
type TemplateFilterFactory = fn() -> Value;

/// Charges a value whenever it becomes part of a new one. No template can name it.
pub(super) const CHARGED: &str = "#";

/// Like [`CHARGED`], for a value that is inserted as text.
pub(super) const CHARGED_TEXT: &str = "#text";

/// The operator `*`.
pub(super) const PRODUCT: &str = "*";

/// `==`, `!=`, `<`, `<=`, `>`, `>=`.
pub(super) const COMPARISON: &str = "<";

/// A value that is used in arithmetic.
pub(super) const NUMBER: &str = "#number";

/// The functions that can be called.
pub(super) const FUNCTIONS: [&str; 2] = ["range", "dict"];

/// Name, bound, and the function.
pub(super) const FILTERS: &[(&str, TemplateFilterCostFunction, TemplateFilterFactory)] = &[
    (CHARGED, weights, || Value::from_function(value::plain)),
    (CHARGED_TEXT, texts, || Value::from_function(string)),
    (COMPARISON, nothing, || Value::from_function(comparison)),
    (NUMBER, nothing, || Value::from_function(value::plain)),
    (PRODUCT, nothing, || Value::from_function(product)),
    ("abs", nothing, || Value::from_function(engine::abs)),
    ("attr", nothing, || Value::from_function(engine::attr)),
    ("batch", rows, || Value::from_function(engine::batch)),
    ("bool", nothing, || Value::from_function(engine::bool)),
    ("capitalize", changed, || {
        Value::from_function(engine::capitalize)
    }),
    ("chain", lists, || Value::from_function(engine::chain)),
    ("count", nothing, || Value::from_function(engine::length)),
    ("d", nothing, || Value::from_function(engine::default)),
    ("date", fixed, || Value::from_function(filters::date)),
    ("default", nothing, || Value::from_function(engine::default)),
    ("dictsort", pairs, || Value::from_function(engine::dictsort)),
    ("first", nothing, || Value::from_function(engine::first)),
    ("float", nothing, || Value::from_function(engine::float)),
    ("format", formatted, || Value::from_function(engine::format)),
    ("groupby", pairs, || Value::from_function(engine::groupby)),
    ("indent", indented, || Value::from_function(engine::indent)),
    ("int", nothing, || Value::from_function(engine::int)),
    ("items", pairs, || Value::from_function(engine::items)),
    ("join", joined, || Value::from_function(text::join)),
    ("last", lists, || Value::from_function(engine::last)),
    ("length", nothing, || Value::from_function(engine::length)),
    ("lines", pieces, || Value::from_function(engine::lines)),
    ("list", lists, || Value::from_function(engine::list)),
    ("lower", changed, || Value::from_function(engine::lower)),
    ("map", lists, || Value::from_function(engine::map)),
    ("max", lists, || Value::from_function(engine::max)),
    ("min", lists, || Value::from_function(engine::min)),
    ("money", fixed, || Value::from_function(filters::money)),
    ("number", fixed, || Value::from_function(filters::number)),
    ("pprint", laid_out, || Value::from_function(engine::pprint)),
    ("reject", lists, || Value::from_function(engine::reject)),
    ("rejectattr", lists, || {
        Value::from_function(engine::rejectattr)
    }),
    ("replace", replaced, || {
        Value::from_function(engine::replace)
    }),
    ("reverse", lists, || Value::from_function(engine::reverse)),
    ("round", nothing, || Value::from_function(engine::round)),
    ("select", lists, || Value::from_function(engine::select)),
    ("selectattr", lists, || {
        Value::from_function(engine::selectattr)
    }),
    ("slice", rows, || Value::from_function(engine::slice)),
    ("sort", lists, || Value::from_function(engine::sort)),
    ("split", pieces, || Value::from_function(engine::split)),
    ("string", texts, || Value::from_function(string)),
    ("sum", lists, || Value::from_function(engine::sum)),
    ("title", changed, || Value::from_function(engine::title)),
    ("tojson", laid_out, || Value::from_function(engine::tojson)),
    ("trim", texts, || Value::from_function(engine::trim)),
    ("truncate", cut, || Value::from_function(text::truncate)),
    ("unique", pairs, || Value::from_function(engine::unique)),
    ("upper", changed, || Value::from_function(engine::upper)),
    ("urlencode", changed, || {
        Value::from_function(text::urlencode)
    }),
    ("wordcount", nothing, || {
        Value::from_function(text::wordcount)
    }),
    ("zip", pairs, || Value::from_function(engine::zip)),
];

/// Tests answer yes or no and make nothing.
pub(super) const TESTS: &[(&str, TemplateFilterFactory)] = &[
    ("!=", || Value::from_function(tests::is_ne)),
    ("<", || Value::from_function(tests::is_lt)),
    ("<=", || Value::from_function(tests::is_le)),
    ("==", || Value::from_function(tests::is_eq)),
    (">", || Value::from_function(tests::is_gt)),
    (">=", || Value::from_function(tests::is_ge)),
    ("boolean", || Value::from_function(tests::is_boolean)),
    ("defined", || Value::from_function(is_defined)),
    ("divisibleby", || {
        Value::from_function(tests::is_divisibleby)
    }),
    ("endingwith", || Value::from_function(tests::is_endingwith)),
    ("eq", || Value::from_function(tests::is_eq)),
    ("equalto", || Value::from_function(tests::is_eq)),
    ("even", || Value::from_function(tests::is_even)),
    ("false", || Value::from_function(tests::is_false)),
    ("float", || Value::from_function(tests::is_float)),
    ("ge", || Value::from_function(tests::is_ge)),
    ("greaterthan", || Value::from_function(tests::is_gt)),
    ("gt", || Value::from_function(tests::is_gt)),
    ("in", || Value::from_function(tests::is_in)),
    ("int", || Value::from_function(tests::is_integer)),
    ("integer", || Value::from_function(tests::is_integer)),
    ("iterable", || Value::from_function(tests::is_iterable)),
    ("le", || Value::from_function(tests::is_le)),
    ("lessthan", || Value::from_function(tests::is_lt)),
    ("lower", || Value::from_function(tests::is_lower)),
    ("lt", || Value::from_function(tests::is_lt)),
    ("mapping", || Value::from_function(tests::is_mapping)),
    ("ne", || Value::from_function(tests::is_ne)),
    ("none", || Value::from_function(is_none)),
    ("number", || Value::from_function(tests::is_number)),
    ("odd", || Value::from_function(tests::is_odd)),
    ("sameas", || Value::from_function(tests::is_sameas)),
    ("sequence", || Value::from_function(tests::is_sequence)),
    ("startingwith", || {
        Value::from_function(tests::is_startingwith)
    }),
    ("string", || Value::from_function(tests::is_string)),
    ("true", || Value::from_function(tests::is_true)),
    ("undefined", || Value::from_function(is_none)),
    ("upper", || Value::from_function(tests::is_upper)),
];

/// How a filter takes its input.
#[derive(Clone, Copy)]
enum FilterInput {
    /// Unchanged.
    Value,
    /// As text: other values are written as [`value::write`] does.
    Text,
    /// The result of `number` as a number.
    Number,
    /// Like `Number`, and other values as text: for `%s` and the like.
    Printed,
    /// Null counts as absent.
    Present,
}

fn taking(filter: &str) -> FilterInput {
    match filter {
        "capitalize" | "indent" | "lines" | "lower" | "replace" | "split" | "title" | "trim"
        | "truncate" | "upper" | "urlencode" | "wordcount" => FilterInput::Text,
        "format" => FilterInput::Printed,
        "abs" | "bool" | "float" | "int" | "max" | "min" | "money" | "round" | "sum" | "tojson" => {
            FilterInput::Number
        }
        "d" | "default" => FilterInput::Present,
        _ => FilterInput::Value,
    }
}

/// The arguments that a filter is called with.
fn given(taking: FilterInput, args: Vec<Value>) -> Result<Vec<Value>, Error> {
    match taking {
        FilterInput::Value => Ok(args),
        FilterInput::Number => Ok(args.into_iter().map(value::plain).collect()),
        FilterInput::Printed => args
            .into_iter()
            .map(|arg| {
                let arg = value::plain(arg);
                if arg.is_number() || arg.is_kwargs() {
                    Ok(arg)
                } else {
                    string(&arg)
                }
            })
            .collect(),
        FilterInput::Text => {
            let mut args = args;
            if let Some(first) = args.first_mut()
                && first.as_str().is_none()
            {
                *first = Value::from(value::text(first)?);
            }
            Ok(args)
        }
        FilterInput::Present => {
            let mut args = args;
            if let Some(first) = args.first_mut()
                && first.is_none()
            {
                *first = Value::UNDEFINED;
            }
            Ok(args)
        }
    }
}

/// Tests that compare.
const COMPARING: [&str; 15] = [
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "eq",
    "equalto",
    "ge",
    "greaterthan",
    "gt",
    "le",
    "lessthan",
    "lt",
    "ne",
];

/// Adds everything that a template can name.
pub(super) fn add(environment: &mut Environment<'_>) {
    for (name, cost, function) in FILTERS {
        let function = function();
        let taking = taking(name);
        environment.add_filter(
            *name,
            move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| -> Result<Value, Error> {
                let args = args.into_values();
                charge(state, cost(&args))?;
                function.call(state, &given(taking, args)?)
            },
        );
    }
    for (name, function) in TESTS {
        let function = function();
        let compares = COMPARING.contains(name);
        environment.add_test(
            *name,
            move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| -> Result<bool, Error> {
                let args: Vec<Value> = args.into_values().into_iter().map(value::plain).collect();
                if compares
                    && let [left, right, ..] = args.as_slice()
                    && !value::is_absent(left)
                    && !value::is_absent(right)
                {
                    value::comparable(left, right)?;
                }
                Ok(function.call(state, &args)?.is_true())
            },
        );
    }
    environment.add_function("range", range);
    let dict = Value::from_function(functions::dict);
    environment.add_function(
        "dict",
        move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| -> Result<Value, Error> {
            let args = args.into_values();
            charge(state, weights(&args))?;
            dict.call(state, &args)
        },
    );
}

/// Null counts as absent.
fn is_none(value: &Value) -> bool {
    value::is_absent(value)
}

fn is_defined(value: &Value) -> bool {
    !value::is_absent(value)
}

fn string(value: &Value) -> Result<Value, Error> {
    match value.as_str() {
        Some(_) => Ok(value.clone()),
        None => value::text(value).map(Value::from),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the template engine hands arguments over"
)]
fn comparison(first: &Value, steps: Rest<Value>) -> Result<bool, Error> {
    value::compare(first, &steps)
}

/// Numbers only: a text or a list times a number could be of any length.
fn product(left: Value, right: Value) -> Result<Value, Error> {
    let (left, right) = (&value::plain(left), &value::plain(right));
    let wrong = |what: &'static str| Error::new(ErrorKind::InvalidOperation, what);
    if !left.is_number() || !right.is_number() {
        return Err(wrong("only numbers can be multiplied"));
    }
    let whole = |value: &Value| i128::try_from(value.clone()).ok();
    if left.is_integer() && right.is_integer() {
        let product = whole(left)
            .zip(whole(right))
            .and_then(|(left, right)| left.checked_mul(right))
            .ok_or_else(|| wrong("the product is too large"))?;
        // In the template engine's own representation, so that they compare equal.
        return Ok(i64::try_from(product).map_or_else(|_large| product.into(), Value::from));
    }
    let real = |value: &Value| f64::try_from(value.clone());
    Ok(Value::from(real(left)? * real(right)?))
}

/// `range(upper)`, `range(lower, upper, step)`.
fn range(
    state: &mut State<'_, '_>,
    lower: i64,
    upper: Option<i64>,
    step: Option<i64>,
) -> Result<Value, Error> {
    let (from, to) = upper.map_or((0, lower), |upper| (lower, upper));
    let items = from.abs_diff(to) / step.unwrap_or(1).unsigned_abs().max(1);
    let bytes = usize::try_from(items).ok();
    charge(state, bytes.and_then(|items| items.checked_mul(ITEM_BYTES)))?;
    let narrow = |number: i64| isize::try_from(number).unwrap_or_default();
    functions::range(narrow(lower), upper.map(narrow), step.map(narrow))
}

/// A number, a truth value, or a part of the input.
#[expect(clippy::unnecessary_wraps, reason = "all costs have one type")]
const fn nothing(_args: &[Value]) -> Option<usize> {
    Some(0)
}

/// A date or an amount, whose digits are bounded.
#[expect(clippy::unnecessary_wraps, reason = "all costs have one type")]
const fn fixed(_args: &[Value]) -> Option<usize> {
    Some(1024)
}

fn sum(args: &[Value], bytes: fn(&Value) -> Option<usize>) -> Option<usize> {
    args.iter()
        .try_fold(0_usize, |sum, value| sum.checked_add(bytes(value)?))
}

/// As much as the input.
fn weights(args: &[Value]) -> Option<usize> {
    sum(args, |value| Some(weigh(value)?.bytes))
}

/// As many values as the input; a text gives its characters.
fn lists(args: &[Value]) -> Option<usize> {
    sum(args, list_bytes)
}

/// Each value twice, or with a key or a group.
fn pairs(args: &[Value]) -> Option<usize> {
    lists(args)?.checked_mul(3)
}

/// As much text as the input.
fn texts(args: &[Value]) -> Option<usize> {
    sum(args, text_bytes)
}

/// One character may become three (ŉ, ΐ).
fn changed(args: &[Value]) -> Option<usize> {
    texts(args)?.checked_mul(3)
}

/// As much text as the input, plus the marker for the rest.
fn cut(args: &[Value]) -> Option<usize> {
    texts(args)?.checked_mul(2)
}

fn replaced(args: &[Value]) -> Option<usize> {
    let [value, from, to, ..] = args else {
        return texts(args);
    };
    let length = text_bytes(value)?;
    let places = match (value.as_str(), from.as_str()) {
        (Some(text), Some(from)) => text.matches(from).count(),
        _ => length.checked_add(1)?,
    };
    places.checked_mul(text_bytes(to)?)?.checked_add(length)
}

fn joined(args: &[Value]) -> Option<usize> {
    let (value, rest) = args.split_first()?;
    let count = match value.as_str() {
        Some(text) => text.chars().count(),
        None => weigh(value)?.items,
    };
    let items = match value.try_iter() {
        Ok(items) if value.as_str().is_none() => items
            .map(|item| text_bytes(&item))
            .try_fold(0_usize, |sum, bytes| sum.checked_add(bytes?))?,
        _ => text_bytes(value)?,
    };
    count.checked_mul(texts(rest)?)?.checked_add(items)
}

fn pieces(args: &[Value]) -> Option<usize> {
    let (value, rest) = args.split_first()?;
    let Some(text) = value.as_str() else {
        return lists(args);
    };
    let places = match rest.first().and_then(Value::as_str) {
        Some(separator) => text.matches(separator).count(),
        None => text.split(char::is_whitespace).count(),
    };
    places
        .checked_add(1)?
        .checked_mul(ITEM_BYTES)?
        .checked_add(text.len())
}

fn indented(args: &[Value]) -> Option<usize> {
    let (value, rest) = args.split_first()?;
    let length = text_bytes(value)?;
    let lines = match value.as_str() {
        Some(text) => text.matches('\n').count().checked_add(2)?,
        None => length.checked_add(2)?,
    };
    lines
        .checked_mul(largest(rest)?.max(4))?
        .checked_add(length)
}

/// Rows of the requested length, padded with the given value.
fn rows(args: &[Value]) -> Option<usize> {
    largest(args.get(1..)?)?
        .checked_mul(ITEM_BYTES)?
        .checked_add(lists(args)?.checked_mul(2)?)
}

/// Lines, each indented for every list around it.
fn laid_out(args: &[Value]) -> Option<usize> {
    let (value, rest) = args.split_first()?;
    let weight = weigh(value)?;
    let spaces = weight
        .depth
        .checked_add(1)?
        .checked_mul(largest(rest)?.max(4))?;
    weight
        .items
        .checked_mul(2)?
        .checked_mul(spaces)?
        .checked_add(weight.bytes.checked_mul(6)?)
}

/// `"%5.2f"`: every field may be as wide as the largest number in the format.
fn formatted(args: &[Value]) -> Option<usize> {
    let (value, rest) = args.split_first()?;
    let text = value.as_str()?;
    let mut widest = largest(rest)?;
    for digits in text.split(|character: char| !character.is_ascii_digit()) {
        if !digits.is_empty() {
            widest = widest.max(digits.parse().ok()?);
        }
    }
    // A number has up to some hundred digits.
    let field = texts(rest)?.checked_add(widest)?.checked_add(512)?;
    text.matches('%')
        .count()
        .checked_mul(field)?
        .checked_add(text.len())
}

/// The largest whole number among the arguments, including named ones; `None` if it exceeds any
/// memory.
fn largest(args: &[Value]) -> Option<usize> {
    let mut largest = 0;
    for value in args {
        if value.is_number() {
            let size = f64::try_from(value.clone()).unwrap_or(f64::INFINITY).abs();
            // Far more than any budget, and far less than where the cast would lose anything.
            if size > 1e9 {
                return None;
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and 1e9"
            )]
            let size = size.ceil() as usize;
            largest = largest.max(size);
        } else if value.as_str().is_none()
            && let Ok(names) = value.try_iter()
        {
            for name in names {
                if let Ok(held) = value.get_item(&name)
                    && held.is_number()
                {
                    largest = largest.max(self::largest(&[held])?);
                }
            }
        }
    }
    Some(largest)
}
