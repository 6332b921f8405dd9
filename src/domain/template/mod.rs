//! Renders the small Jinja2 texts of routes and rules, and the bodies of templates.
//!
//! `body.rs` makes parameters of a template's body, `layout/` of everything else in a template.
//! Rendering is strict about undefined variables, and bounded in fuel (`bounded_jinja.rs`), in
//! output (here) and in memory (`budget.rs`).

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

mod body;
mod bounded_jinja;
mod budget;
mod builtins;
mod context;
mod filters;
pub mod layout;
pub mod name;
pub mod parameter;
mod rebuild;
mod text;
mod value;

pub use body::TemplateBody;
pub use context::{RenderContext, UnreadableFilterValue};

/// Longest rendered text, in bytes (Meta allows 4,096 characters).
const MAX_RENDERED_BYTES: usize = 16 * 1024;

/// Longest source, in bytes.
const MAX_SOURCE_BYTES: usize = 16 * 1024;

/// An error in a template or its parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("a template for Meta may contain {{{{ expression }}}} only: no {{% %}} and no {{# #}}")]
    Statement,
    #[error("{{{{ without }}}}")]
    Unclosed,
    #[error("an empty {{{{ }}}}")]
    Empty,
    #[error("longer than {MAX_SOURCE_BYTES} bytes")]
    TooLong,
    #[error("only numbers can be multiplied: texts and lists cannot be repeated with *")]
    Repetition,
    #[error("{0}")]
    Unsupported(&'static str),
    #[error("cannot read the expression: {0}")]
    Syntax(String),
    #[error("{0} is missing")]
    Missing(String),
    #[error("{0} is empty: Meta refuses empty parameters")]
    EmptyParameter(String),
    #[error("cannot be rendered: {0}")]
    Render(String),
    /// Like `Render`, for an expression.
    #[error("cannot be rendered: {1}")]
    Expression(String, String),
    #[error("{0}: {1}")]
    Parameter(String, &'static str),
    #[error("{0} has over {1} characters")]
    TooLongFor(&'static str, usize),
    #[error("the header: {0}")]
    Header(String),
    #[error("the rendered text is longer than {MAX_RENDERED_BYTES} bytes")]
    OutputTooLong,
    #[error(
        "rendering it makes more than {} bytes of texts and lists",
        budget::MAX_MADE_BYTES
    )]
    TooLarge,
}

/// The variables that an expression uses, sorted.
fn names_in(expression: &str) -> Vec<String> {
    bounded_jinja::expression(expression).map_or_else(|_unreadable| Vec::new(), |it| it.names)
}

/// Turns newlines, tabs and runs of spaces into one space: Meta refuses them in a parameter.
/// Non-breaking spaces stay: they hold an amount together.
pub fn one_line(text: &str) -> String {
    const NO_BREAK: [char; 3] = ['\u{a0}', '\u{2007}', '\u{202f}'];
    let breaks = |it: char| it.is_whitespace() && !NO_BREAK.contains(&it);
    let words = text.split(breaks).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn check_source(source: &str) -> Result<(), TemplateError> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(TemplateError::TooLong);
    }
    Ok(())
}

/// Checks the syntax of a Jinja2 expression.
pub fn check_expression(expression: &str) -> Result<(), TemplateError> {
    check_source(expression)?;
    bounded_jinja::expression(expression).map(drop)
}

/// Checks the syntax of a Jinja2 template.
pub fn check_text(source: &str) -> Result<(), TemplateError> {
    check_source(source)?;
    bounded_jinja::text(source).map(drop)
}

/// Whether a condition holds. An undefined variable is an error, not false.
pub fn holds(condition: &str, context: &serde_json::Value) -> Result<bool, TemplateError> {
    check_source(condition)?;
    let value = bounded_jinja::expression(condition)?.value(&RenderContext::strict(context))?;
    if value::is_absent(&value) {
        return Err(TemplateError::Missing(condition.to_owned()));
    }
    Ok(value.is_true())
}

/// The variables that a text uses while it is rendered, a subset of [`variables_of`]: branches that
/// are not taken do not count.
fn asked_by(source: &str, asked: &Arc<Mutex<BTreeSet<String>>>) {
    // Whether it can be rendered with texts alone does not matter here.
    let _unrendered = render_in(source, &RenderContext::probe(Arc::clone(asked)));
}

/// The variables that a text uses, sorted.
pub fn variables_of(source: &str) -> Result<Vec<String>, TemplateError> {
    Ok(bounded_jinja::text(source)?.names)
}

/// Renders a text such as a route's `to`. A value that a filter cannot read is an error.
pub fn render_text(source: &str, context: &serde_json::Value) -> Result<String, TemplateError> {
    render_in(source, &RenderContext::strict(context))
}

/// Renders a text such as a parameter, at `place`. Values that a filter could not read are shown
/// unchanged and added to `unread`.
pub fn render_for_people(
    source: &str,
    context: &RenderContext,
    place: &str,
    unread: &mut Vec<UnreadableFilterValue>,
) -> Result<String, TemplateError> {
    let text = render_in(source, context)?;
    context.take_unread(place, unread);
    Ok(text)
}

/// Renders HTML: values are escaped, the text around them is not.
pub fn render_html(source: &str, context: &RenderContext) -> Result<String, TemplateError> {
    check_source(source)?;
    bounded(bounded_jinja::text(source)?.render_html(context)?)
}

/// Renders a key. An empty expression is an error: two keys with a missing part must not be taken
/// for the same key.
pub fn render_key(source: &str, context: &serde_json::Value) -> Result<String, TemplateError> {
    check_source(source)?;
    let key = bounded(bounded_jinja::text(source)?.render_full(&RenderContext::strict(context))?)?;
    if key.trim().is_empty() {
        return Err(TemplateError::Render("it is empty".to_owned()));
    }
    Ok(key)
}

fn render_in(source: &str, context: &RenderContext) -> Result<String, TemplateError> {
    if !source.contains('{') {
        return bounded(source.to_owned());
    }
    check_source(source)?;
    bounded(bounded_jinja::text(source)?.render(context)?)
}

/// Bounded in length, and without NUL, which PostgreSQL cannot store.
fn bounded(mut text: String) -> Result<String, TemplateError> {
    text.retain(|character| character != '\0');
    if text.len() > MAX_RENDERED_BYTES {
        Err(TemplateError::OutputTooLong)
    } else {
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::holds;

    #[test]
    fn a_condition_about_what_is_undefined_is_an_error() {
        assert!(holds("data.status == 'Successful'", &json!({"data": {}})).is_err());
        assert_eq!(
            holds(
                "data.status == 'Successful'",
                &json!({"data": {"status": "Successful"}})
            ),
            Ok(true)
        );
    }
}
