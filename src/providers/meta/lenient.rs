//! Lenient parsing of fields whose types Meta does not keep to.

use std::{borrow::Cow, fmt};

use crate::domain::time::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A string or a number as text; anything else, and `null`, as absent.
///
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LenientText(pub(super) Option<String>);

impl LenientText {
    /// The text, unless it is absent or empty.
    pub(super) fn filled(self) -> Option<String> {
        self.0.filter(|text| !text.is_empty())
    }

    pub(super) fn as_deref(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Seconds since 1970; milliseconds are recognised by their size.
    pub(super) fn seconds(&self) -> Option<Timestamp> {
        let number = self.integer()?;
        // Beyond the year 5000 in seconds.
        Some(if number > 99_999_999_999 {
            Timestamp::from_micros(number.saturating_mul(1000))
        } else {
            Timestamp::from_unix_seconds(number)
        })
    }

    /// A whole number, written as a number or as a string.
    pub(super) fn integer(&self) -> Option<i64> {
        self.0.as_deref()?.trim().parse().ok()
    }
}

/// The digits of a displayed number: `+1 555-078-3881` and `15550783881` occur.
pub(super) fn digits(number: &str) -> Option<String> {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}

/// Replaces JSON escapes that cannot be stored, anywhere in a document: NUL, which PostgreSQL
/// cannot store, and unpaired surrogates, which are no characters and which no JSON parser accepts.
pub(super) fn mend_escapes(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    // The four digits of an escape at this place.
    let escape = |at: usize| -> Option<u16> {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut mended = String::new();
    let mut kept = 0;
    let mut at = 0;
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(|byte| *byte == b'\\'))
    {
        at += found;
        let alone = match escape(at) {
            Some(0xd800..=0xdbff) => match escape(at + 6) {
                Some(0xdc00..=0xdfff) => {
                    at += 12;
                    continue;
                }
                _ => true,
            },
            Some(0 | 0xdc00..=0xdfff) => true,
            Some(_) => false,
            // Any other escape: the escaped character begins none.
            None => {
                at += 2;
                continue;
            }
        };
        if alone {
            mended.push_str(text.get(kept..at).unwrap_or_default());
            mended.push_str("\\ufffd");
            kept = at + 6;
        }
        at += 6;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    mended.push_str(text.get(kept..).unwrap_or_default());
    Cow::Owned(mended)
}

/// A provider's JSON document, with characters that cannot be stored replaced.
pub(super) fn document(bytes: &[u8]) -> serde_json::Result<serde_json::Value> {
    serde_json::from_str(&mend_escapes(&String::from_utf8_lossy(bytes)))
}

impl<'de> Deserialize<'de> for LenientText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LenientTextVisitor;
        impl<'de> Visitor<'de> for LenientTextVisitor {
            type Value = LenientText;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any value")
            }

            fn visit_str<E>(self, text: &str) -> Result<LenientText, E> {
                Ok(LenientText(Some(text.to_owned())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<LenientText, E> {
                Ok(LenientText(Some(number.to_string())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<LenientText, E> {
                Ok(LenientText(Some(number.to_string())))
            }

            fn visit_f64<E>(self, number: f64) -> Result<LenientText, E> {
                Ok(LenientText(Some(number.to_string())))
            }

            fn visit_bool<E>(self, _: bool) -> Result<LenientText, E> {
                Ok(LenientText(None))
            }

            fn visit_unit<E>(self) -> Result<LenientText, E> {
                Ok(LenientText(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<LenientText, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(LenientText(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<LenientText, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(LenientText(None))
            }
        }
        deserializer.deserialize_any(LenientTextVisitor)
    }
}
