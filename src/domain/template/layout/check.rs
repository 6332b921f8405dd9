//! Checks a template against Meta's rules for creating it (Meta, "Template components").

use super::{
    MAX_BODY, MAX_HEADER, MAX_URL, TemplateBody, TemplateButton, TemplateExtras, TemplateHeader,
    email::MAX_SUBJECT, texts,
};
use crate::domain::{
    category::TemplateCategory, content::ContentViolation, quiet::zone, template::check_text,
};

/// Limits in characters.
const MAX_FOOTER: usize = 60;
const MAX_BUTTON: usize = 25;
const MAX_PHONE: usize = 20;
const MAX_BUTTONS: usize = 10;

/// Longest validity of a code in minutes (Meta, "Authentication templates").
const MAX_CODE_MINUTES: u8 = 90;

/// The shortest and the longest time to live of a template of a category, in seconds (Meta,
/// "Time-to-live").
pub const fn ttl_bounds(category: TemplateCategory) -> (i64, i64) {
    match category {
        TemplateCategory::Authentication => (30, 900),
        TemplateCategory::Utility => (30, 43_200),
        TemplateCategory::Marketing | TemplateCategory::Other => (43_200, 2_592_000),
    }
}

/// The rules of Meta that a template violates (Meta, "Template components").
pub fn check(
    body: &str,
    extras: &TemplateExtras,
    named: bool,
    authentication: bool,
) -> Vec<ContentViolation> {
    let mut wrong = Vec::new();
    let mut refuse = |pointer: String, rule: String| wrong.push(ContentViolation { pointer, rule });
    let plain = |expression: &String| {
        expression
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    match TemplateBody::parse(body) {
        Err(error) => refuse("/body".to_owned(), error.to_string()),
        Ok(parsed) => {
            if named && !parsed.expressions.iter().all(plain) {
                refuse(
                    "/body".to_owned(),
                    "a NAMED template has plain names in its {{ }}".to_owned(),
                );
            }
            // Meta writes the text of an authentication template itself.
            if !authentication && let Some(edge) = parsed.edge() {
                refuse(
                    "/body".to_owned(),
                    format!("{edge} a {{{{ }}}}, which Meta refuses: put a word there"),
                );
            }
            if !authentication && parsed.has_neighbours() {
                refuse(
                    "/body".to_owned(),
                    "two {{ }} side by side, which Meta refuses: put a word between them"
                        .to_owned(),
                );
            }
            if authentication && parsed.expressions.len() != 1 {
                refuse(
                    "/body".to_owned(),
                    "an authentication template has one {{ }}: the code".to_owned(),
                );
            }
        }
    }
    if body.chars().count() > MAX_BODY {
        refuse("/body".to_owned(), "at most 1,024 characters".to_owned());
    }
    match &extras.header {
        Some(_) if authentication => refuse(
            "/header".to_owned(),
            "an authentication template has none".to_owned(),
        ),
        Some(TemplateHeader::Text { text }) => match TemplateBody::parse(text) {
            Err(error) => refuse("/header/text".to_owned(), error.to_string()),
            Ok(parsed) if parsed.expressions.len() > 1 => {
                refuse("/header/text".to_owned(), "at most one {{ }}".to_owned());
            }
            Ok(parsed) if parsed.fill(&[]).chars().count() > MAX_HEADER => {
                refuse(
                    "/header/text".to_owned(),
                    "at most 60 characters".to_owned(),
                );
            }
            Ok(_) => {}
        },
        Some(
            TemplateHeader::Image { id, link }
            | TemplateHeader::Video { id, link }
            | TemplateHeader::Document { id, link, .. },
        ) if id.is_some() == link.is_some() => {
            refuse("/header".to_owned(), "either `id` or `link`".to_owned());
        }
        _ => {}
    }
    if let Some(footer) = &extras.footer {
        if footer.contains("{{") {
            refuse("/footer".to_owned(), "without {{ }}".to_owned());
        }
        if footer.is_empty() || footer.chars().count() > MAX_FOOTER {
            refuse("/footer".to_owned(), "1 to 60 characters".to_owned());
        }
    }
    match extras.code_expiration_minutes {
        Some(_) if !authentication => refuse(
            "/code_expiration_minutes".to_owned(),
            "only an authentication template has them".to_owned(),
        ),
        Some(minutes) if !(1..=MAX_CODE_MINUTES).contains(&minutes) => refuse(
            "/code_expiration_minutes".to_owned(),
            format!("1 to {MAX_CODE_MINUTES}"),
        ),
        _ => {}
    }
    if extras.add_security_recommendation && !authentication {
        refuse(
            "/add_security_recommendation".to_owned(),
            "only an authentication template has it".to_owned(),
        );
    }
    if extras
        .time_zone
        .as_deref()
        .is_some_and(|name| zone(name).is_none())
    {
        refuse(
            "/time_zone".to_owned(),
            "a zone is written Africa/Harare".to_owned(),
        );
    }
    if let Some(subject) = &extras.subject
        && (subject.trim().is_empty() || subject.chars().count() > MAX_SUBJECT)
    {
        refuse(
            "/subject".to_owned(),
            format!("1 to {MAX_SUBJECT} characters"),
        );
    }
    for text in texts(extras) {
        if let Err(error) = check_text(text) {
            refuse(
                "/header, /buttons, /subject and /html".to_owned(),
                error.to_string(),
            );
        }
    }
    check_buttons(&extras.buttons, authentication, &mut refuse);
    wrong
}

fn check_buttons(
    buttons: &[TemplateButton],
    authentication: bool,
    refuse: &mut impl FnMut(String, String),
) {
    let mut most = |what: &str, limit: usize, is: fn(&TemplateButton) -> bool| {
        if buttons.iter().filter(|button| is(button)).count() > limit {
            refuse("/buttons".to_owned(), format!("at most {limit} {what}"));
        }
    };
    most("buttons", MAX_BUTTONS, |_| true);
    most("with an address", 2, |it| {
        matches!(it, TemplateButton::Url { .. })
    });
    most("with a number", 1, |it| {
        matches!(it, TemplateButton::PhoneNumber { .. })
    });
    most("that copies a code", 1, |it| {
        matches!(it, TemplateButton::CopyCode { .. } | TemplateButton::Otp(_))
    });
    let replies: Vec<bool> = buttons
        .iter()
        .map(|button| matches!(button, TemplateButton::QuickReply { .. }))
        .collect();
    let changes = replies
        .windows(2)
        .filter(|pair| pair.first() != pair.get(1));
    if changes.count() > 1 {
        refuse(
            "/buttons".to_owned(),
            "quick replies must not be mixed with other buttons".to_owned(),
        );
    }
    for (index, button) in buttons.iter().enumerate() {
        let at = |field: &str| format!("/buttons/{index}/{field}");
        if authentication != matches!(button, TemplateButton::Otp(_)) {
            refuse(
                format!("/buttons/{index}"),
                "authentication templates have otp buttons only, and other templates none"
                    .to_owned(),
            );
        }
        let text = match button {
            TemplateButton::QuickReply { text, .. }
            | TemplateButton::Url { text, .. }
            | TemplateButton::PhoneNumber { text, .. } => Some(text),
            TemplateButton::Otp(otp) => otp.text.as_ref(),
            TemplateButton::CopyCode { .. } | TemplateButton::RequestContactInfo => None,
        };
        if text.is_some_and(|text| text.is_empty() || text.chars().count() > MAX_BUTTON) {
            refuse(at("text"), "1 to 25 characters".to_owned());
        }
        match button {
            TemplateButton::Url { url, .. } => {
                if url.chars().count() > MAX_URL {
                    refuse(at("url"), "at most 2,000 characters".to_owned());
                }
                if !url.starts_with("https://") && !url.starts_with("http://") {
                    refuse(at("url"), "starts with https://".to_owned());
                }
                match TemplateBody::parse(url) {
                    Err(error) => refuse(at("url"), error.to_string()),
                    Ok(parsed)
                        if parsed.expressions.len() > 1 || !parsed.ends_with_expression() =>
                    {
                        refuse(at("url"), "one {{ }} at most, at the end".to_owned());
                    }
                    Ok(_) => {}
                }
            }
            TemplateButton::PhoneNumber { phone_number, .. } => {
                if phone_number.chars().count() > MAX_PHONE || !phone_number.starts_with('+') {
                    refuse(
                        at("phone_number"),
                        "E.164, at most 20 characters".to_owned(),
                    );
                }
            }
            TemplateButton::Otp(otp) => {
                for (field, rule) in otp.check() {
                    refuse(at(field), rule.to_owned());
                }
                if let Some(text) = &otp.autofill_text
                    && !(1..=MAX_BUTTON).contains(&text.chars().count())
                {
                    refuse(at("autofill_text"), "1 to 25 characters".to_owned());
                }
            }
            TemplateButton::QuickReply { .. }
            | TemplateButton::CopyCode { .. }
            | TemplateButton::RequestContactInfo => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::check;
    use crate::domain::{content::ContentViolation, template::layout::TemplateExtras};

    fn said(broken: Vec<ContentViolation>) -> Vec<String> {
        let each = broken.into_iter();
        each.map(|broken| format!("{} {}", broken.pointer, broken.rule))
            .collect()
    }

    #[test]
    fn a_body_begins_and_ends_with_words_that_stand_between_parameters_too() {
        for (body, rule) in [
            (
                "{{ a }} is here.",
                "begins with a {{ }}, which Meta refuses: put a word there",
            ),
            (
                "Here is {{ a }}",
                "ends with a {{ }}, which Meta refuses: put a word there",
            ),
            (
                " {{ a }} ",
                "begins with a {{ }}, which Meta refuses: put a word there",
            ),
            (
                "See {{ a }} {{ b }}.",
                "two {{ }} side by side, which Meta refuses: put a word between them",
            ),
        ] {
            let found = said(check(body, &TemplateExtras::default(), false, false));
            assert_eq!(found, [format!("/body {rule}")], "{body}");
        }
        assert_eq!(
            said(check(
                "See {{ a }} and {{ b }}.",
                &TemplateExtras::default(),
                false,
                false
            )),
            [""; 0]
        );
        // Meta writes the text of an authentication template itself.
        assert_eq!(
            said(check("{{ code }}", &TemplateExtras::default(), false, true)),
            [""; 0]
        );
    }

    #[test]
    fn what_meta_refuses_is_found_when_it_is_written() {
        let rules = |extras: Value, authentication| {
            let extras: TemplateExtras = serde_json::from_value(extras).unwrap();
            said(check("See {{ a }}.", &extras, false, authentication))
        };
        assert_eq!(
            rules(json!({"footer": "{{ a }}"}), false),
            ["/footer without {{ }}"]
        );
        let text = "x".repeat(61);
        assert_eq!(
            rules(json!({"header": {"type": "text", "text": text}}), false),
            ["/header/text at most 60 characters"]
        );
        assert_eq!(
            rules(json!({"header": {"type": "image"}}), false),
            ["/header either `id` or `link`"]
        );
        let reply = json!({"type": "quick_reply", "text": "x"});
        let url = json!({"type": "url", "text": "x", "url": "https://example.org/{{ a }}/b"});
        assert_eq!(
            rules(json!({"buttons": [reply, url, reply]}), false),
            [
                "/buttons quick replies must not be mixed with other buttons",
                "/buttons/1/url one {{ }} at most, at the end"
            ]
        );
        assert_eq!(
            rules(
                json!({"buttons": [{"type": "otp", "otp_type": "copy_code"}]}),
                false
            ),
            ["/buttons/0 authentication templates have otp buttons only, and other templates none"]
        );
        assert_eq!(
            rules(json!({"add_security_recommendation": true}), false),
            ["/add_security_recommendation only an authentication template has it"]
        );
        assert_eq!(
            rules(json!({"header": {"type": "text", "text": "x"}}), true),
            ["/header an authentication template has none"]
        );
    }
}
