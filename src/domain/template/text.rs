//! Text filters of Jinja2 that the template engine lacks, or has in another form.

use minijinja::{
    Error, ErrorKind,
    value::{Kwargs, Rest, Value},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::value;

/// Characters that are encoded in an address: all but RFC 3986's unreserved characters and `/`.
const ENCODED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'/')
    .remove(b'_')
    .remove(b'~');

/// Jinja2's default length of `truncate`.
const USUAL_LENGTH: usize = 255;

/// `{{ items | join(", ") }}`: the items that are present, each written like any value.
pub(super) fn join(items: &Value, between: Option<&str>) -> Result<String, Error> {
    if items.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    let between = between.unwrap_or_default();
    let mut joined = String::new();
    let mut is_first = true;
    let mut add = |text: &str| {
        if !std::mem::take(&mut is_first) {
            joined.push_str(between);
        }
        joined.push_str(text);
    };
    if let Some(text) = items.as_str() {
        let mut buffer = [0; 4];
        for character in text.chars() {
            add(character.encode_utf8(&mut buffer));
        }
        return Ok(joined);
    }
    for item in items.try_iter()? {
        if !value::is_absent(&item) {
            add(&value::text(&item)?);
        }
    }
    Ok(joined)
}

/// `{{ text | truncate(20) }}`: at most so many characters, cut after a word, with `...` at the
/// end. `killwords`, `end` and `leeway` are Jinja2's, but the default leeway is zero: a limit is a
/// limit.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the template engine hands arguments over"
)]
pub(super) fn truncate(text: &str, args: Rest<Value>, kwargs: Kwargs) -> Result<String, Error> {
    let given = |place: usize, name: &str| -> Result<Option<Value>, Error> {
        let named: Option<Value> = kwargs.get(name)?;
        Ok(args.get(place).cloned().or(named))
    };
    let number = |value: Option<Value>, usual: usize| {
        value.map_or(Ok(usual), |value| usize::try_from(value::plain(value)))
    };
    let length = number(given(0, "length")?, USUAL_LENGTH)?;
    let kills_words = given(1, "killwords")?.is_some_and(|value| value.is_true());
    let end = given(2, "end")?.map_or_else(|| Ok("...".to_owned()), |end| value::text(&end))?;
    let leeway = number(given(3, "leeway")?, 0)?;
    kwargs.assert_all_used()?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text.to_owned());
    }
    let room = length.saturating_sub(end.chars().count());
    let cut: String = text.chars().take(room).collect();
    let kept = match cut.rsplit_once(' ') {
        Some((words, _)) if !kills_words => words,
        _ => cut.as_str(),
    };
    Ok(format!("{}{end}", kept.trim_end()))
}

/// `{{ reference | urlencode }}`: as part of an address; slashes stay, as in Jinja2.
pub(super) fn urlencode(text: &str) -> String {
    utf8_percent_encode(text, &ENCODED).to_string()
}

/// Number of words.
pub(super) fn wordcount(text: &str) -> usize {
    text.split_whitespace().count()
}
