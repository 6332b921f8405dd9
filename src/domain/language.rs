//! Languages, as WhatsApp writes them: `en`, `en_US`, `pt_BR` (Meta, "Supported languages").

/// What is taken when nothing that is wanted is there.
const USUAL: [&str; 2] = ["en_US", "en"];

/// The language without its country.
fn base(language: &str) -> &str {
    language.split(['_', '-']).next().unwrap_or(language)
}

fn is(one: &str, other: &str) -> bool {
    one.replace('-', "_")
        .eq_ignore_ascii_case(&other.replace('-', "_"))
}

/// Whether a text is written as WhatsApp writes languages: two or three letters, and at most a
/// country or script.
pub fn is_written_well(text: &str) -> bool {
    let mut parts = text.split('_');
    let language = parts.next().unwrap_or_default();
    let country = parts.next();
    (2..=3).contains(&language.len())
        && language.bytes().all(|it| it.is_ascii_lowercase())
        && country.is_none_or(|it| {
            (2..=4).contains(&it.len()) && it.bytes().all(|it| it.is_ascii_alphabetic())
        })
        && parts.next().is_none()
}

/// What is said of a text that cannot be.
pub const RULE: &str = "a language is written en, en_US or pt-BR, in 2 to 16 characters";

/// Whether a text can be the language that a person reads: `es-419`, `zh-Hant-TW`, however it is
/// written. Which translation is nearest to it is found by [`nearest`].
pub fn can_be_read(text: &str) -> bool {
    (2..=16).contains(&text.len())
        && text
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-')
}

/// Whether two languages differ in their country at most.
pub fn is_akin(one: &str, other: &str) -> bool {
    base(one).eq_ignore_ascii_case(base(other))
}

/// The place of the translation that is nearest to what is wanted, in order of preference:
/// each one as it is, or else of another country; then American English, English, and what
/// comes first. None if there is no translation at all.
pub fn nearest(wanted: &[&str], there: &[&str]) -> Option<usize> {
    let exact = |wanted: &str| there.iter().position(|has| is(has, wanted));
    wanted
        .iter()
        .find_map(|wanted| {
            exact(wanted)
                .or_else(|| exact(base(wanted)))
                .or_else(|| there.iter().position(|has| is_akin(has, wanted)))
        })
        .or_else(|| USUAL.into_iter().find_map(exact))
        .or_else(|| (!there.is_empty()).then_some(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{can_be_read, is_written_well, nearest};

    #[test]
    fn a_language_is_two_or_three_letters_and_at_most_a_country() {
        for good in ["en", "en_US", "fil", "zh_CN", "zh_Hans"] {
            assert!(is_written_well(good), "{good}");
        }
        for wrong in [
            "", "e", "EN", "english", "en-US", "en_", "en_USA_x", "en US", "h1",
        ] {
            assert!(!is_written_well(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_person_may_read_what_whatsapp_has_no_template_of() {
        for good in ["en", "EN", "pt-BR", "es-419", "zh-Hant-TW", "sr_Latn_RS"] {
            assert!(can_be_read(good), "{good}");
        }
        for wrong in ["", "e", "en US", "español", "sr-Latn-RS-ekavsk"] {
            assert!(!can_be_read(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_translation_is_chosen_by_the_first_language_that_has_one() {
        let there = ["de", "en_GB", "en_US", "hi", "pt_BR"];
        let chosen = |wanted: &[&str]| nearest(wanted, &there).map(|place| there[place]);
        assert_eq!(chosen(&["hi"]), Some("hi"));
        assert_eq!(chosen(&["hi_IN"]), Some("hi"));
        assert_eq!(chosen(&["pt"]), Some("pt_BR"));
        assert_eq!(chosen(&["en-gb"]), Some("en_GB"));
        // Of several countries, the first there is.
        assert_eq!(chosen(&["en_ZA"]), Some("en_GB"));
        assert_eq!(chosen(&["sn", "de"]), Some("de"));
        assert_eq!(chosen(&["sn"]), Some("en_US"));
        assert_eq!(chosen(&[]), Some("en_US"));
        assert_eq!(nearest(&["sn"], &["fr", "sw"]), Some(0));
        assert_eq!(nearest(&["en"], &[]), None);
    }

    proptest! {
        #[test]
        fn there_is_always_one_if_there_is_any(wanted in prop::collection::vec("[a-zA-Z_-]{0,6}", 0..4), there in prop::collection::vec("[a-z]{2}(_[A-Z]{2})?", 1..5)) {
            let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
            let names: Vec<&str> = there.iter().map(String::as_str).collect();
            let chosen = nearest(&wanted, &names).unwrap();
            prop_assert!(chosen < names.len());
            if let Some(first) = wanted.first() && names.contains(first) {
                prop_assert_eq!(names[chosen], *first);
            }
        }
    }
}
