//! Corrections for languages in which the library's data differ from the Unicode project's (CLDR
//! 48, compared with Node's Intl: `testdata/intl.mjs`).

use icu_locale::{Locale, LocaleCanonicalizer, locale};
use icu_provider::DataLocale;

/// The locale whose data replace missing or wrong data of another.
const STAND_IN: [(&str, &str); 2] = [
    // Dari's dates and digits are those of Persian in Afghanistan.
    ("prs-AF", "fa-AF"),
    // Bengali in India has Bengali digits.
    ("bn-IN", "bn-IN-u-nu-beng"),
];

/// Long dates whose order the library takes from another form of the date: `d`, `m` and `y` stand
/// for day, month and year.
const LONG_DATES: [(&str, &str); 13] = [
    ("en-AE", "d m y"),
    ("et", "d. m y"),
    ("ga", "d m y"),
    ("ha", "d m, y"),
    ("hi", "d m y"),
    ("kn", "m d, y"),
    ("ky", "y-ж., d-m"),
    ("mk", "d m y г."),
    ("sl", "d. m y"),
    ("sr", "d. m y."),
    ("ta", "d m, y"),
    ("te", "d m, y"),
    ("vi", "d m, y"),
];

/// The locale whose number signs a language uses in amounts of money, if they differ from its other
/// numbers (CLDR's `currencyGroup`, which the library does not read).
const SIGNS: [(&str, &str); 1] = [("de-AT", "de")];

/// The locale whose number signs an amount uses, if not those of its language.
pub(super) fn signs_of(locale: &Locale) -> Option<DataLocale> {
    let name = locale.to_string();
    let found = SIGNS.iter().find(|(of, _)| *of == name);
    found.and_then(|(_, by)| Some(DataLocale::from(Locale::try_from_str(by).ok()?)))
}

/// The locale of a language in WhatsApp's or any other spelling.
pub(super) fn read(language: &str) -> Locale {
    let Ok(mut locale) = Locale::try_from_str(&language.replace('_', "-")) else {
        return locale!("en-US");
    };
    // `iw` is `he`, `in` is `id`.
    LocaleCanonicalizer::new_common().canonicalize(&mut locale);
    let name = locale.to_string();
    let stand_in = STAND_IN.iter().find(|(of, _)| *of == name);
    stand_in
        .and_then(|(_, by)| Locale::try_from_str(by).ok())
        .unwrap_or(locale)
}

/// The order of a long date in a language, where it differs from the library's.
pub(super) fn long_date(locale: &Locale) -> Option<&'static str> {
    let name = locale.to_string();
    let language = locale.id.language.to_string();
    let of = |wanted: &str| LONG_DATES.iter().find(|(of, _)| *of == wanted);
    of(&name).or_else(|| of(&language)).map(|(_, order)| *order)
}
