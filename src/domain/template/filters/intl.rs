//! Compares the output of the filters with Node's Intl (`testdata/intl.mjs`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::domain::template::render_text;

const AMOUNTS: &str = include_str!("../testdata/amounts.txt");
const DATES: &str = include_str!("../testdata/dates.txt");

fn written(source: &str, language: &str, value: &str, currency: &str) -> String {
    let context = json!({ "_language": language, "value": value, "currency": currency });
    render_text(source, &context).unwrap_or_else(|error| error.to_string())
}

/// The amounts of one language, as Intl writes them.
#[derive(Default)]
struct NodeIntlExpectedAmounts<'a> {
    /// By digits and, if only for a few, by currency: a whole and a fractional number.
    numbers: BTreeMap<(&'a str, &'a str), (&'a str, &'a str)>,
    /// By currency; `*` for the others.
    shapes: BTreeMap<&'a str, &'a str>,
    signs: BTreeMap<&'a str, &'a str>,
    below_zero: Vec<(&'a str, &'a str)>,
}

/// The currencies, those without two decimals, and the languages.
struct NodeIntlExpectedAmountTable<'a> {
    currencies: Vec<&'a str>,
    digits: BTreeMap<&'a str, &'a str>,
    languages: Vec<(&'a str, NodeIntlExpectedAmounts<'a>)>,
}

fn table() -> NodeIntlExpectedAmountTable<'static> {
    let mut table = NodeIntlExpectedAmountTable {
        currencies: Vec::new(),
        digits: BTreeMap::new(),
        languages: Vec::new(),
    };
    for line in AMOUNTS.lines() {
        let (kind, rest) = line.split_once(' ').unwrap();
        let fields: Vec<&str> = rest.split('\t').collect();
        if kind == "l" {
            table
                .languages
                .push((rest, NodeIntlExpectedAmounts::default()));
            continue;
        }
        match (kind, table.languages.last_mut()) {
            ("c", _) => table.currencies = rest.split(' ').collect(),
            ("d", _) => {
                let (digits, currencies) = rest.split_once(' ').unwrap();
                let having = currencies.split(' ').map(|it| (it, digits));
                table.digits.extend(having);
            }
            ("n", Some((_, amounts))) => {
                for currency in fields[3].split(' ') {
                    let key = (fields[0], currency);
                    amounts.numbers.insert(key, (fields[1], fields[2]));
                }
            }
            ("s", Some((_, amounts))) => {
                let having = fields[1].split(' ').map(|it| (it, fields[0]));
                amounts.shapes.extend(having);
            }
            ("y", Some((_, amounts))) => {
                let signs = fields.iter().filter_map(|field| field.split_once('='));
                amounts.signs.extend(signs);
            }
            ("m", Some((_, amounts))) => amounts.below_zero.push((fields[0], fields[1])),
            _ => {}
        }
    }
    table
}

/// Known differences, with their reasons.
const DIFFERENCES: &str = include_str!("../testdata/differences.txt");

/// How an amount differs from Intl's.
fn difference(
    text: &str,
    expected: &str,
    number: &str,
    sign: &str,
    currency: &str,
) -> &'static str {
    let without_spaces = |text: &str| text.replace(['\u{a0}', '\u{202f}'], "");
    if !text.contains(number) {
        "number"
    } else if without_spaces(text) == without_spaces(expected) {
        "space"
    } else if sign == currency && !text.contains(currency) {
        "sign"
    } else {
        "other"
    }
}

#[test]
fn every_currency_of_cldr_is_written_as_intl_writes_it_but_for_what_is_listed() {
    let table = table();
    let mut found: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    let mut count = 0;
    for (language, amounts) in &table.languages {
        for currency in &table.currencies {
            let digits = table.digits.get(currency).unwrap_or(&"2");
            let numbers = |key| amounts.numbers.get(&(*digits, key));
            let (whole, broken) = numbers(*currency).or_else(|| numbers("*")).unwrap();
            let shape = amounts.shapes.get(currency).unwrap_or(&amounts.shapes["*"]);
            let sign = amounts.signs.get(currency).unwrap_or(currency);
            for (value, number) in [
                ("125000", whole),
                ("125000.00", whole),
                ("1234.5675", broken),
            ] {
                count += 1;
                let expected = shape.replace('#', number).replace('¤', sign);
                let text = written("{{ value | money(currency) }}", language, value, currency);
                if text != expected {
                    let kind = difference(&text, &expected, number, sign, currency);
                    let of_kind = found.entry(kind).or_default();
                    of_kind.entry(language).or_default().insert(currency);
                }
            }
        }
        for (currency, expected) in &amounts.below_zero {
            let text = written(
                "{{ value | money(currency) }}",
                language,
                "-1234.5",
                currency,
            );
            if text != *expected {
                let of_kind = found.entry("below zero").or_default();
                of_kind.entry(language).or_default().insert(currency);
            }
        }
    }
    assert!(count > 100_000, "{count}");
    let mut listed = Vec::new();
    for (kind, languages) in &found {
        for (language, currencies) in languages {
            let currencies: Vec<&str> = currencies.iter().copied().collect();
            let shown = if currencies.len() > 100 {
                "nearly all".to_owned()
            } else {
                currencies.join(" ")
            };
            listed.push(format!("{kind}\t{language}\t{shown}"));
        }
    }
    let known = DIFFERENCES.lines().filter(|line| !line.starts_with('#'));
    assert!(
        known.eq(listed.iter().map(String::as_str)),
        "testdata/differences.txt is to be:\n{}",
        listed.join("\n")
    );
}

#[test]
fn the_long_date_of_every_language_is_written_as_intl_writes_it() {
    let mut lines = DATES.lines().skip(1).map(|line| line.split('\t'));
    let days: Vec<&str> = lines.next().unwrap().collect();
    let mut count = 0;
    for mut line in lines {
        let language = line.next().unwrap();
        for (day, expected) in days.iter().zip(line) {
            count += 1;
            let text = written("{{ value | date }}", language, day, "");
            // V8 writes a plain space where CLDR has a narrow one at which no line breaks.
            assert_eq!(text.replace('\u{202f}', " "), expected, "{language} {day}");
        }
    }
    assert!(count > 1_000, "{count}");
}
