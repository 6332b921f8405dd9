//! Bounds the memory of one rendering, whatever a catalogue contains and whatever the `data` of an
//! event holds.
//!
//! Every filter, function and operator that makes a new value is charged with an upper bound of its
//! size before it runs; exceeding [`MAX_MADE_BYTES`] is an error. Nothing is given back when a
//! value is dropped, so the sum bounds the time, too.

use std::fmt::{self, Write};

use minijinja::{
    Error, ErrorKind, Output, State,
    value::{Value, ValueKind},
};

use super::value;

/// Bytes of all texts and lists that one rendering may make, in total.
pub(super) const MAX_MADE_BYTES: usize = 1024 * 1024;

/// Bytes of an element of a list, besides its text.
pub(super) const ITEM_BYTES: usize = 32;

/// Deepest nesting of lists; the JSON of a request goes to 128.
const MAX_DEPTH: usize = 160;

/// A character of a text in a list is at most this much longer when printed (`\u0001`).
const ESCAPE_FACTOR: usize = 6;

/// A rendering exceeds its budget.
#[derive(Debug, thiserror::Error)]
#[error("it makes more than {MAX_MADE_BYTES} bytes of texts and lists")]
pub(super) struct RenderBudgetExceeded;

pub(super) fn too_large() -> Error {
    Error::new(ErrorKind::InvalidOperation, "it makes too much").with_source(RenderBudgetExceeded)
}

/// The remaining budget of a rendering.
struct RenderBudget {
    left: usize,
}

fn budget<'state>(state: &'state mut State<'_, '_>) -> &'state mut RenderBudget {
    state.get_or_insert_extension_with(|| RenderBudget {
        left: MAX_MADE_BYTES,
    })
}

/// Charges `bytes`; `None` exceeds any budget.
pub(super) fn charge(state: &mut State<'_, '_>, bytes: Option<usize>) -> Result<(), Error> {
    let budget = budget(state);
    let left = bytes.and_then(|bytes| budget.left.checked_sub(bytes));
    budget.left = left.ok_or_else(too_large)?;
    Ok(())
}

/// The size of a value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RenderValueSize {
    /// Includes [`ITEM_BYTES`] for each value in it.
    pub(super) bytes: usize,
    pub(super) items: usize,
    pub(super) depth: usize,
}

/// Weighs a value; `None` if it exceeds any budget or is too deep.
pub(super) fn weigh(value: &Value) -> Option<RenderValueSize> {
    let mut weight = RenderValueSize::default();
    add(value, 0, &mut weight)?;
    Some(weight)
}

fn add(value: &Value, depth: usize, weight: &mut RenderValueSize) -> Option<()> {
    weight.items += 1;
    weight.depth = weight.depth.max(depth);
    let own = match value.kind() {
        ValueKind::String => value.as_str().map_or(0, str::len),
        ValueKind::Bytes => value.as_bytes().map_or(0, <[u8]>::len),
        // At most some hundred digits.
        ValueKind::Number => value::text(value).map_or(0, |text| text.len()),
        _ => 0,
    };
    weight.bytes = weight.bytes.checked_add(own)?.checked_add(ITEM_BYTES)?;
    if weight.bytes > MAX_MADE_BYTES || depth > MAX_DEPTH {
        return None;
    }
    let is_map = value.kind() == ValueKind::Map;
    if is_map || matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        for item in value.try_iter().ok()? {
            add(&item, depth + 1, weight)?;
            if is_map && let Ok(held) = value.get_item(&item) {
                add(&held, depth + 1, weight)?;
            }
        }
    }
    Some(())
}

/// The most bytes that a value takes as text.
pub(super) fn text_bytes(value: &Value) -> Option<usize> {
    match value.as_str() {
        Some(text) => Some(text.len()),
        None => weigh(value)?.bytes.checked_mul(ESCAPE_FACTOR),
    }
}

/// The bytes of a list of a value's elements; for a text, of its characters.
pub(super) fn list_bytes(value: &Value) -> Option<usize> {
    match value.as_str() {
        Some(text) => text.chars().count().checked_mul(ITEM_BYTES + 4),
        None => Some(weigh(value)?.bytes),
    }
}

/// Writes into an output until the budget is spent.
struct BoundedWriter<'a, 'o> {
    output: &'a mut Output<'o>,
    left: usize,
}

impl Write for BoundedWriter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.left = self.left.checked_sub(text.len()).ok_or(fmt::Error)?;
        self.output.write_str(text)
    }
}

/// Prints a value for people; stops where the budget ends.
pub(super) fn print(
    output: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    if value::is_no_number(value) {
        let rule = "it is not a number: a division by zero, or too large";
        return Err(Error::new(ErrorKind::InvalidOperation, rule));
    }
    let left = budget(state).left;
    let mut bounded = BoundedWriter { output, left };
    value::write(&mut bounded, value).map_err(|_full| too_large())?;
    budget(state).left = bounded.left;
    Ok(())
}

/// Writes the characters that mean something in HTML as entities, also within attributes.
struct HtmlWriter<'a, 'b, 'o>(&'a mut BoundedWriter<'b, 'o>);

impl Write for HtmlWriter<'_, '_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            let (plain, special) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut characters = special.chars();
            self.0.write_str(match characters.next() {
                Some('&') => "&amp;",
                Some('<') => "&lt;",
                Some('>') => "&gt;",
                Some('"') => "&quot;",
                _ => "&#x27;",
            })?;
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Prints into HTML: values escaped, the text of the template as it is.
pub(super) fn print_html(
    output: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    if value::is_no_number(value) {
        let rule = "it is not a number: a division by zero, or too large";
        return Err(Error::new(ErrorKind::InvalidOperation, rule));
    }
    let left = budget(state).left;
    let mut bounded = BoundedWriter { output, left };
    if value.is_safe() {
        value::write(&mut bounded, value)
    } else {
        value::write(&mut HtmlWriter(&mut bounded), value)
    }
    .map_err(|_full| too_large())?;
    budget(state).left = bounded.left;
    Ok(())
}

/// Prints a value that must not be empty.
pub(super) fn print_something(
    output: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    if value::is_absent(value) || value.as_str().is_some_and(|text| text.trim().is_empty()) {
        let rule = "an expression in it is empty";
        return Err(Error::new(ErrorKind::InvalidOperation, rule));
    }
    print(output, state, value)
}
