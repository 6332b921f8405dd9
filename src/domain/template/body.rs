//! The body of a template: a text with expressions, and the parameters that these become.
//!
//! A body that goes to Meta may contain `{{ expression }}` and nothing else: each distinct
//! expression becomes one parameter, in order of first appearance. Addresses of buttons and headers
//! that are texts are read in the same way.

use super::{
    RenderContext, TemplateError, UnreadableFilterValue, bounded, bounded_jinja, budget,
    check_expression, check_source, names_in, one_line, value,
};

/// A parsed template body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateBody {
    pieces: Vec<TemplateBodyPiece>,
    /// The distinct expressions, in order of first appearance.
    pub expressions: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplateBodyPiece {
    Text(String),
    Expression(usize),
}

impl TemplateBody {
    /// Parses a body under Meta's rules.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        check_source(source)?;
        if source.contains("{%") || source.contains("{#") {
            return Err(TemplateError::Statement);
        }
        let mut pieces = Vec::new();
        let mut expressions: Vec<String> = Vec::new();
        let mut rest = source;
        while let Some((text, after)) = rest.split_once("{{") {
            let end = expression_end(after).ok_or(TemplateError::Unclosed)?;
            let (expression, remainder) =
                after.split_at_checked(end).ok_or(TemplateError::Unclosed)?;
            let expression = expression.trim().to_owned();
            if expression.is_empty() {
                return Err(TemplateError::Empty);
            }
            check_expression(&expression)?;
            let index = expressions
                .iter()
                .position(|known| *known == expression)
                .unwrap_or_else(|| {
                    expressions.push(expression);
                    expressions.len() - 1
                });
            if !text.is_empty() {
                pieces.push(TemplateBodyPiece::Text(text.to_owned()));
            }
            pieces.push(TemplateBodyPiece::Expression(index));
            rest = remainder.strip_prefix("}}").unwrap_or(remainder);
        }
        if !rest.is_empty() {
            pieces.push(TemplateBodyPiece::Text(rest.to_owned()));
        }
        Ok(Self {
            pieces,
            expressions,
        })
    }

    /// The values of all expressions as Meta's parameters, each on one line. A value that a filter
    /// cannot read is an error.
    pub fn parameters(&self, context: &serde_json::Value) -> Result<Vec<String>, TemplateError> {
        self.values(&RenderContext::of_params(context, true), &mut Vec::new())
    }

    /// Like [`Self::parameters`]; values that a filter could not read are shown unchanged and added
    /// to `unread`.
    pub(super) fn values(
        &self,
        context: &RenderContext,
        unread: &mut Vec<UnreadableFilterValue>,
    ) -> Result<Vec<String>, TemplateError> {
        self.expressions
            .iter()
            .map(|expression| {
                let value = value_of(expression, context).map_err(|error| match error {
                    TemplateError::Render(error) => {
                        TemplateError::Expression(expression.clone(), error)
                    }
                    other => other,
                })?;
                let value = one_line(&value);
                context.take_unread(expression, unread);
                if value.trim().is_empty() {
                    return Err(TemplateError::EmptyParameter(expression.clone()));
                }
                Ok(value)
            })
            .collect()
    }

    /// The variables that a caller must provide, each once, in order.
    pub fn variables(&self) -> Vec<String> {
        let mut names = Vec::new();
        for expression in &self.expressions {
            for name in names_in(expression) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// `begins with` or `ends with`, if there is an expression at an edge.
    pub fn edge(&self) -> Option<&'static str> {
        let mut written = self.pieces.iter().filter(
            |piece| !matches!(piece, TemplateBodyPiece::Text(text) if text.trim().is_empty()),
        );
        let first = written.next();
        let last = written.next_back().or(first);
        match (first, last) {
            (Some(TemplateBodyPiece::Expression(_)), _) => Some("begins with"),
            (_, Some(TemplateBodyPiece::Expression(_))) => Some("ends with"),
            _ => None,
        }
    }

    /// Whether two expressions follow each other, with nothing or only spaces between them.
    pub fn has_neighbours(&self) -> bool {
        let written = self.pieces.iter().filter(
            |piece| !matches!(piece, TemplateBodyPiece::Text(text) if text.trim().is_empty()),
        );
        let written: Vec<bool> = written
            .map(|piece| matches!(piece, TemplateBodyPiece::Expression(_)))
            .collect();
        written.windows(2).any(|pair| pair == [true, true])
    }

    /// Whether nothing follows the last expression, or there is none.
    pub fn ends_with_expression(&self) -> bool {
        self.expressions.is_empty()
            || matches!(self.pieces.last(), Some(TemplateBodyPiece::Expression(_)))
    }

    /// The text a person will read, with `parameters` filled in.
    pub fn fill(&self, parameters: &[String]) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                TemplateBodyPiece::Text(text) => text.as_str(),
                TemplateBodyPiece::Expression(index) => {
                    parameters.get(*index).map_or("", String::as_str)
                }
            })
            .collect()
    }
}

/// The end of an expression: the first `}}` outside a string.
fn expression_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut previous = ' ';
    for (index, character) in text.char_indices() {
        match quote {
            Some(open) if character == open && previous != '\\' => quote = None,
            None if character == '\'' || character == '"' => quote = Some(character),
            None if character == '}'
                && text.get(index..).is_some_and(|rest| rest.starts_with("}}")) =>
            {
                return Some(index);
            }
            Some(_) | None => {}
        }
        previous = character;
    }
    None
}

/// The value of one expression as text.
fn value_of(expression: &str, context: &RenderContext) -> Result<String, TemplateError> {
    let value = bounded_jinja::expression(expression)?.value(context)?;
    if value.is_undefined() {
        return Err(TemplateError::Missing(expression.to_owned()));
    }
    // Weighed before it is printed: a list of lists may be long.
    budget::text_bytes(&value).ok_or(TemplateError::TooLarge)?;
    let text = value::text(&value)
        .map_err(|_unwritten| TemplateError::Render("it cannot be written".to_owned()))?;
    bounded(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{TemplateBody, TemplateError};

    #[test]
    fn each_distinct_expression_is_one_parameter_in_order_of_first_appearance() {
        let body = TemplateBody::parse(
            "Dear {{ name }}, {{ test }} is ready. {{name}}: {{ url | upper }} }}",
        )
        .unwrap();
        assert_eq!(body.expressions, ["name", "test", "url | upper"]);
        let context = json!({"name": "Asha", "test": "Unit\n 3", "url": "x"});
        let parameters = body.parameters(&context).unwrap();
        assert_eq!(parameters, ["Asha", "Unit 3", "X"]);
        assert_eq!(
            body.fill(&parameters),
            "Dear Asha, Unit 3 is ready. Asha: X }}"
        );
    }

    #[test]
    fn a_string_may_contain_the_closing_braces() {
        assert_eq!(
            TemplateBody::parse("{{ 'a }} b' }}").unwrap().expressions,
            ["'a }} b'"]
        );
    }

    #[test]
    fn what_is_undefined_or_empty_is_an_error() {
        let body = TemplateBody::parse("{{ name }}").unwrap();
        assert!(body.parameters(&json!({})).is_err());
        assert_eq!(
            body.parameters(&json!({"name": " "})),
            Err(TemplateError::EmptyParameter("name".to_owned()))
        );
    }

    #[test]
    fn a_template_for_meta_has_no_statements() {
        assert_eq!(
            TemplateBody::parse("{% if a %}x{% endif %}"),
            Err(TemplateError::Statement)
        );
        assert_eq!(TemplateBody::parse("{{ a"), Err(TemplateError::Unclosed));
        assert_eq!(TemplateBody::parse("{{ }}"), Err(TemplateError::Empty));
        assert!(matches!(
            TemplateBody::parse("{{ a b }}"),
            Err(TemplateError::Syntax(_))
        ));
    }

    proptest! {
        #[test]
        fn any_source_is_read_or_refused_and_what_was_read_gives_back_its_text(source in "[a-z{}%# '\n]{0,60}") {
            if let Ok(body) = TemplateBody::parse(&source) {
                let parameters = vec![String::from("P"); body.expressions.len()];
                prop_assert!(body.fill(&parameters).len() <= source.len() + 4);
            }
        }
    }
}
