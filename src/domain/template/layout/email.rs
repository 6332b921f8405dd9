//! A template as an e-mail: subject, text and optional HTML part.

use serde_json::Value;

use super::TemplateLayout;
use crate::domain::template::{TemplateError, one_line, render_for_people, render_html};

/// Longest subject, in characters. A line of a header has 78 at most (RFC 5322, 2.1.1); longer ones
/// are folded, and cut off by most readers.
pub(super) const MAX_SUBJECT: usize = 200;

/// Longest subject that is made of a text.
const MAX_MADE_SUBJECT: usize = 78;

/// An e-mail, filled in.
#[derive(Clone, PartialEq, Eq)]
pub struct FilledEmail {
    /// One line, not empty.
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
}

/// Without what is in it: it may hold a code.
impl std::fmt::Debug for FilledEmail {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FilledEmail")
            .finish_non_exhaustive()
    }
}

impl FilledEmail {
    /// A text without a template: its first line is the subject.
    pub fn of_text(text: &str) -> Self {
        Self {
            subject: made_subject(text),
            text: text.to_owned(),
            html: None,
        }
    }
}

/// The first line that says something, cut at a blank.
fn made_subject(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = one_line(line.unwrap_or("(no subject)"));
    if line.chars().count() <= MAX_MADE_SUBJECT {
        return line;
    }
    let cut: String = line.chars().take(MAX_MADE_SUBJECT - 1).collect();
    let whole = cut
        .rsplit_once(' ')
        .map_or(cut.as_str(), |(whole, _)| whole);
    format!("{whole}…")
}

impl TemplateLayout {
    /// Fills the template in as an e-mail. Its values are escaped in the HTML part.
    pub fn email(&self, params: &Value) -> Result<FilledEmail, TemplateError> {
        let filled = self.fill(params)?;
        let parts = [
            self.header_text(params),
            Some(self.text(&filled.body)),
            self.extras.footer.clone(),
        ];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n");
        let context = self.prepared(params, self.extras.strict, &mut Vec::new())?;
        let subject = match &self.extras.subject {
            None => made_subject(&text),
            Some(subject) => {
                let subject = render_for_people(subject, &context, "the subject", &mut Vec::new())?;
                let subject = one_line(&subject);
                if subject.trim().is_empty() {
                    return Err(TemplateError::EmptyParameter("the subject".to_owned()));
                }
                if subject.chars().count() > MAX_SUBJECT {
                    return Err(TemplateError::TooLongFor("the subject", MAX_SUBJECT));
                }
                subject
            }
        };
        let html = match &self.extras.html {
            None => None,
            Some(html) => Some(render_html(html, &context)?),
        };
        Ok(FilledEmail {
            subject,
            text,
            html,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{FilledEmail, TemplateLayout};
    use crate::domain::template::layout::TemplateExtras;

    fn layout(subject: Option<&str>, html: Option<&str>) -> TemplateLayout {
        let extras = TemplateExtras {
            subject: subject.map(str::to_owned),
            html: html.map(str::to_owned),
            footer: Some("The shop".to_owned()),
            ..TemplateExtras::default()
        };
        TemplateLayout::parse("Hello {{ name }}, it is here.", extras, false, false, "en").unwrap()
    }

    #[test]
    fn values_are_escaped_in_html_and_nowhere_else() {
        let layout = layout(
            Some("For {{ name }}"),
            Some("<p title=\"{{ name }}\">Hello {{ name | upper }}{% if name %}!{% endif %}</p>"),
        );
        let email = layout.email(&json!({ "name": "<A> & \"B\" 'C'" })).unwrap();
        assert_eq!(email.subject, "For <A> & \"B\" 'C'");
        assert_eq!(email.text, "Hello <A> & \"B\" 'C', it is here.\n\nThe shop");
        assert_eq!(
            email.html.unwrap(),
            "<p title=\"&lt;A&gt; &amp; &quot;B&quot; &#x27;C&#x27;\">Hello &lt;A&gt; &amp; &quot;B&quot; &#x27;C&#x27;!</p>"
        );
    }

    #[test]
    fn a_subject_is_one_line_and_is_made_where_there_is_none() {
        let subject = |layout: TemplateLayout, name: &str| {
            layout.email(&json!({ "name": name })).unwrap().subject
        };
        assert_eq!(
            subject(layout(None, None), "Asha"),
            "Hello Asha, it is here."
        );
        assert_eq!(
            subject(
                layout(Some("For {{ name }}"), None),
                "A\r\nBcc: x@example.com"
            ),
            "For A Bcc: x@example.com"
        );
        let long = FilledEmail::of_text(&format!("\n\n{}", "word ".repeat(40)));
        assert!(long.subject.ends_with("word…") && long.subject.chars().count() <= 78);
        assert_eq!(FilledEmail::of_text(" ").subject, "(no subject)");
    }
}
