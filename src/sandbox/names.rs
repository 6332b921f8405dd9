//! WhatsApp's ids of people: not always the number that was dialled, and not always a number at all
//! (Meta, "Business-scoped user IDs").

use std::sync::PoisonError;

use serde_json::{Value, json};

use super::{SandboxState, chaos, people, people::SandboxPhoneBehaviour};

/// The ids of a person in answers and callbacks.
#[derive(Clone, Debug)]
pub(super) struct SandboxPersonIds {
    /// The number that was dialled, or that the person writes from.
    pub number: Option<String>,
    /// WhatsApp's form of the number; `None` if the person hides it.
    pub wa_id: Option<String>,
    pub user_id: String,
    name: String,
    username: Option<String>,
}

impl SandboxPersonIds {
    /// The entry of `contacts` beside messages and statuses.
    pub(super) fn contact(&self) -> Value {
        let mut profile = json!({ "name": self.name });
        let mut contact = json!({ "user_id": self.user_id });
        if let Some(username) = &self.username {
            set(&mut profile, "username", json!(username));
        }
        if let Some(wa_id) = &self.wa_id {
            set(&mut contact, "wa_id", json!(wa_id));
        }
        set(&mut contact, "profile", profile);
        contact
    }

    /// Names the recipient of a status.
    pub(super) fn name_recipient(&self, status: &mut Value) {
        if let Some(wa_id) = &self.wa_id {
            set(status, "recipient_id", json!(wa_id));
        }
        set(status, "recipient_user_id", json!(self.user_id));
    }

    /// Names the author of a message.
    pub(super) fn name_author(&self, message: &mut Value) {
        if let Some(wa_id) = &self.wa_id {
            set(message, "from", json!(wa_id));
        }
        set(message, "from_user_id", json!(self.user_id));
    }
}

pub(super) fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// WhatsApp's form of a number: in three countries and behind a trunk 0 it differs.
pub(super) fn wa_id(digits: &str) -> String {
    // The country code, the number of digits before the one that is left out, and that digit.
    for (country, before, extra) in [("55", 2, '9'), ("44", 0, '0'), ("263", 0, '0')] {
        let Some(rest) = digits.strip_prefix(country) else {
            continue;
        };
        let is_long = country != "55" || rest.len() == 11;
        if let (true, Some((area, rest))) = (is_long, rest.split_at_checked(before))
            && let Some(rest) = rest.strip_prefix(extra)
        {
            return format!("{country}{area}{rest}");
        }
    }
    match (digits.strip_prefix("52"), digits.strip_prefix("54")) {
        (Some(rest), _) if rest.len() == 10 => format!("521{rest}"),
        (_, Some(rest)) if rest.len() == 10 => format!("549{rest}"),
        _ => digits.to_owned(),
    }
}

impl SandboxState {
    /// The present ids of the owner of this number or user id.
    pub(super) fn whom(&self, to: &str) -> SandboxPersonIds {
        let mut ids = self.user_ids.lock().unwrap_or_else(PoisonError::into_inner);
        if to.contains('.') {
            let number = ids
                .iter()
                .find(|(number, generation)| user_id(number, **generation) == to)
                .map(|(number, _)| number.clone());
            return number.map_or_else(
                || SandboxPersonIds {
                    number: None,
                    wa_id: None,
                    user_id: to.to_owned(),
                    name: "Person".to_owned(),
                    username: None,
                },
                |number| named(&number, to.to_owned()),
            );
        }
        let known = wa_id(to);
        let generation = *ids.entry(known.clone()).or_default();
        SandboxPersonIds {
            number: Some(to.to_owned()),
            ..named(&known, user_id(&known, generation))
        }
    }

    /// Gives the owner of a number another user id. Returns the old and the new one.
    pub(super) fn rotate(&self, number: &str) -> (String, String) {
        let mut ids = self.user_ids.lock().unwrap_or_else(PoisonError::into_inner);
        let known = wa_id(number);
        let generation = ids.entry(known.clone()).or_default();
        let old = user_id(&known, *generation);
        *generation += 1;
        (old, user_id(&known, *generation))
    }
}

fn named(number: &str, user_id: String) -> SandboxPersonIds {
    let last = number.get(number.len().saturating_sub(2)..).unwrap_or("");
    let hides = people::behaviour(number) == SandboxPhoneBehaviour::HidesNumber;
    SandboxPersonIds {
        number: Some(number.to_owned()),
        wa_id: (!hides).then(|| number.to_owned()),
        user_id,
        // With a letter that callbacks escape.
        name: format!("Pers\u{f3}n {last}"),
        username: hides.then(|| format!("person.{last}")),
    }
}

/// Ids look like Meta's, and are the same for the same number in every run.
fn user_id(number: &str, generation: u32) -> String {
    let seed = number.parse::<u64>().unwrap_or_default();
    let mixed = chaos::mix(seed.wrapping_add(u64::from(generation) << 48));
    format!("US.{mixed:020}")
}

/// JSON as Meta writes it: ASCII only, with a slash escaped.
pub(super) fn ascii(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '/' => escaped.push_str("\\/"),
            character if character.is_ascii() => escaped.push(character),
            character => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    escaped.push_str("\\u");
                    escaped.push_str(&hex::encode(unit.to_be_bytes()));
                }
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{ascii, user_id, wa_id};

    #[test]
    fn json_is_the_same_in_ascii() {
        let text = serde_json::json!({ "body": "Olá \u{1f600} a/b \"c\"\n" }).to_string();
        let escaped = ascii(&text);
        assert!(escaped.is_ascii() && escaped.contains("\\u00e1") && escaped.contains("a\\/b"));
        let (one, other): (serde_json::Value, serde_json::Value) = (
            serde_json::from_str(&text).unwrap(),
            serde_json::from_str(&escaped).unwrap(),
        );
        assert_eq!(one, other);
    }

    #[test]
    fn whatsapp_calls_some_numbers_by_their_other_form() {
        for (dialled, called) in [
            ("5511955500131", "551155500131"),
            ("551155500131", "551155500131"),
            ("525555500131", "5215555500131"),
            ("541155500131", "5491155500131"),
            ("4401614960002", "441614960002"),
            ("12025550101", "12025550101"),
        ] {
            assert_eq!(wa_id(dialled), called, "{dialled}");
        }
        assert_ne!(user_id("12025550101", 0), user_id("12025550101", 1));
    }
}
