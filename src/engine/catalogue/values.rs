//! Replaces `${NAME:-default}` in a catalogue by settings that are meant for it.

use std::collections::BTreeMap;

use super::check::{CatalogueMistake, line_at};

/// Settings that a catalogue may use, by name; `None` if they are not set.
pub type CataloguePlaceholderValues = BTreeMap<&'static str, Option<String>>;

/// Replaces the placeholders.
pub fn fill(
    text: &str,
    values: &CataloguePlaceholderValues,
) -> Result<String, Vec<CatalogueMistake>> {
    let mut filled = String::with_capacity(text.len());
    let mut wrong = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let mut refuse = |rule: String| {
            wrong.push(CatalogueMistake {
                line: Some(line_at(text, text.len() - after.len())),
                text: rule,
            });
        };
        let Some((inside, remainder)) = after.split_once('}') else {
            refuse("${ without }".to_owned());
            break;
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        match values.get(name) {
            None => {
                let known: Vec<&str> = values.keys().copied().collect();
                refuse(format!(
                    "${{{name}}}: a catalogue may use {}",
                    known.join(", ")
                ));
            }
            Some(value) => match value.as_deref().or(default) {
                None => refuse(format!("${{{name}}}: it is not set, and has no default")),
                // Characters that would end the surrounding TOML string.
                Some(value)
                    if value.contains(|c: char| {
                        c == '"' || c == '\'' || c == '\\' || c.is_control()
                    }) =>
                {
                    refuse(format!(
                        "${{{name}}}: its value has quotes, backslashes or control characters"
                    ));
                }
                Some(value) => filled.push_str(value),
            },
        }
        rest = remainder;
    }
    filled.push_str(rest);
    if wrong.is_empty() {
        Ok(filled)
    } else {
        Err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::{CataloguePlaceholderValues, fill};

    #[test]
    fn settings_on_the_list_are_filled_in_and_others_are_refused_with_their_line() {
        let values = CataloguePlaceholderValues::from([
            ("GROUPS", Some("System Admins,Sales Team".to_owned())),
            ("SUFFIX", None),
            ("BAD", Some("a\"\nb = 1".to_owned())),
        ]);
        assert_eq!(
            fill("to = \"${GROUPS:-Sales}\"\ns = \"${SUFFIX:-v1}\"", &values).unwrap(),
            "to = \"System Admins,Sales Team\"\ns = \"v1\""
        );
        let wrong: Vec<String> = fill("a\n${HERALD_SECRET_KEY:-x} ${SUFFIX}\n${BAD}", &values)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            wrong,
            [
                "line 2: ${HERALD_SECRET_KEY}: a catalogue may use BAD, GROUPS, SUFFIX",
                "line 2: ${SUFFIX}: it is not set, and has no default",
                "line 3: ${BAD}: its value has quotes, backslashes or control characters",
            ]
        );
    }
}
