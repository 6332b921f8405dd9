//! Language codes as WhatsApp writes them: `en`, `en_US`, `pt_BR` (Meta, "Supported languages"),
//! and the choice of the best translation.

use icu_locale::{Locale, LocaleCanonicalizer, LocaleExpander, subtags::language};

/// The fallback if none of the wanted languages exists.
const USUAL: [&str; 2] = ["en_US", "en"];

/// A language with its script according to CLDR: `zh_HK` is Chinese in traditional characters, `no`
/// is Norwegian Bokmål, `iw` is Hebrew.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CldrLanguage {
    language: String,
    script: String,
    region: Option<String>,
}

impl CldrLanguage {
    fn of(text: &str) -> Self {
        let text = text.replace('_', "-");
        let Ok(mut locale) = Locale::try_from_str(&text) else {
            return Self {
                language: text.to_ascii_lowercase(),
                script: String::new(),
                region: None,
            };
        };
        LocaleCanonicalizer::new_common().canonicalize(&mut locale);
        // WhatsApp's code for `nb`; CLDR does not call it an alias.
        if locale.id.language == language!("no") {
            locale.id.language = language!("nb");
        }
        let region = locale.id.region.map(|region| region.to_string());
        LocaleExpander::new_extended().maximize(&mut locale.id);
        Self {
            language: locale.id.language.to_string(),
            script: locale
                .id
                .script
                .map_or_else(String::new, |it| it.to_string()),
            region,
        }
    }

    /// Distance of another language: 0 the same, 1 without a country, 2 another country, 3 another
    /// script; `None` for another language.
    fn distance(&self, other: &Self) -> Option<u8> {
        if self.language != other.language {
            return None;
        }
        Some(match (&self.region, &other.region) {
            _ if self.script != other.script => 3,
            (wanted, region) if wanted == region => 0,
            (_, None) => 1,
            (_, Some(_)) => 2,
        })
    }
}

/// Whether a text is in WhatsApp's form: two or three letters, and at most a country or script.
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

/// The rule for an invalid language.
pub const RULE: &str = "a language is written en, en_US or pt-BR, in 2 to 16 characters";

/// Whether a text can be a person's language: `es-419`, `zh-Hant-TW`, in any spelling. The best
/// translation is found by [`nearest`].
pub fn can_be_read(text: &str) -> bool {
    (2..=16).contains(&text.len())
        && text
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-')
}

/// Whether two languages differ in their country at most.
pub fn is_akin(one: &str, other: &str) -> bool {
    let distance = CldrLanguage::of(one).distance(&CldrLanguage::of(other));
    distance.is_some_and(|distance| distance < 3)
}

/// The index of the best translation for the wanted languages in order of preference: each one
/// exactly, else without a country, of another country, in another script; then American English,
/// English, and the first one. `None` if there is no translation at all.
pub fn nearest(wanted: &[&str], there: &[&str]) -> Option<usize> {
    let known: Vec<CldrLanguage> = there.iter().map(|it| CldrLanguage::of(it)).collect();
    let closest = |wanted: &str| {
        let wanted = CldrLanguage::of(wanted);
        let found = known.iter().enumerate();
        let found = found.filter_map(|(place, it)| Some((wanted.distance(it)?, place)));
        found.min().map(|(_, place)| place)
    };
    let exact = |wanted: &str| known.iter().position(|it| *it == CldrLanguage::of(wanted));
    wanted
        .iter()
        .find_map(|wanted| closest(wanted))
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

    #[test]
    fn characters_matter_more_than_countries_and_old_names_are_known() {
        for (wanted, there, chosen) in [
            ("zh_HK", ["en", "zh_CN", "zh_TW"], "zh_TW"),
            ("zh-Hant", ["en", "zh_CN", "zh_TW"], "zh_TW"),
            ("zh-Hant-MO", ["en", "zh_CN", "zh_HK"], "zh_HK"),
            ("zh", ["en", "zh_TW", "zh_CN"], "zh_CN"),
            ("zh_SG", ["en", "zh_TW", "zh_CN"], "zh_CN"),
            // Better than English.
            ("zh_TW", ["en", "zh_CN", "fr"], "zh_CN"),
            ("no", ["en", "nb", "fr"], "nb"),
            ("iw", ["en", "he", "fr"], "he"),
            ("in", ["en", "id", "fr"], "id"),
            ("tl", ["en", "fil", "fr"], "fil"),
            ("pt_AO", ["en", "pt_BR", "pt_PT"], "pt_BR"),
            ("es_MX", ["en", "es_AR", "es"], "es"),
        ] {
            let place = nearest(&[wanted], &there).unwrap();
            assert_eq!(there[place], chosen, "{wanted}");
        }
        assert!(!super::is_akin("zh_HK", "zh_CN"));
        assert!(super::is_akin("no", "nb"));
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
