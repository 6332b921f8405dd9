#!/usr/bin/env bash
# ICU4X's long date (icu_datetime, YMD::long) is not CLDR's long date in several languages.
#
# CLDR gives every language a long date: "3 Feabhra 2026" in Irish (pattern "d MMMM y"). What ICU4X
# calls the long form of year, month and day is another pattern in some languages: Irish gets the
# month before the day, Hausa the year first, and Macedonian loses the last full stop. English and
# German agree, so that a test in these sees nothing. JavaScript's Intl writes CLDR's long date.
#
# A notification service writes dates into messages: "your appointment is on …". In the languages
# of the table below the reader gets an order of words that nobody writes, in a template that was
# reviewed with the other one.
#
# Needs cargo, node and npm. Exits with 1 if any of this behaves differently.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src

cat >Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
icu_datetime = "=2.4.0"
icu_calendar = "=2.4.0"
icu_locale_core = "=2.4.0"
TOML
cat >src/main.rs <<'RS'
use icu_calendar::Date;
use icu_datetime::{DateTimeFormatter, fieldsets::YMD};

fn main() {
    for tag in ["en", "de", "ga", "ha", "mk"] {
        let locale: icu_locale_core::Locale = tag.parse().unwrap();
        let formatter = DateTimeFormatter::try_new(locale.into(), YMD::long()).unwrap();
        let date = Date::try_new_iso(2026, 2, 3).unwrap();
        println!("{tag} {}", formatter.format(&date));
    }
}
RS
cargo run --quiet >icu4x.txt

npm init -y >/dev/null 2>&1
npm install --silent --no-audit --no-fund cldr-dates-full@48.0.0 >/dev/null
node - >cldr.txt <<'JS'
for (const tag of ["en", "de", "ga", "ha", "mk"]) {
  const all = require(`cldr-dates-full/main/${tag}/ca-gregorian.json`).main[tag];
  const gregorian = all.dates.calendars.gregorian;
  const long = gregorian.dateFormats.long;
  const pattern = typeof long === "string" ? long : long._value;
  const month = gregorian.months.format.wide["2"];
  console.log(tag, pattern.replace(/MMMM/, month).replace(/\bd\b/, "3").replace(/\by\b/, "2026").replace(/'/g, ""));
}
JS

echo "ICU4X 2.4.0"
cat icu4x.txt
echo "CLDR 48.0.0, dateFormats.long"
cat cldr.txt

expected_icu4x='en February 3, 2026
de 3. Februar 2026
ga Feabhra 3, 2026
ha 2026, Faburairu 3
mk 3 февруари 2026 г'
expected_cldr='en February 3, 2026
de 3. Februar 2026
ga 3 Feabhra 2026
ha 3 Faburairu, 2026
mk 3 февруари 2026 г.'
# The spaces before the Macedonian sign for "year" are no-break ones, of one kind or the other.
plain() { sed -e 's/\xc2\xa0/ /g' -e 's/\xe2\x80\xaf/ /g' "$1"; }
[ "$(plain icu4x.txt)" = "$expected_icu4x" ] || { echo "ICU4X has changed"; exit 1; }
[ "$(plain cldr.txt)" = "$expected_cldr" ] || { echo "CLDR has changed"; exit 1; }
echo "as described"
