//! Checks a catalogue without the database.

mod examples;
mod lines;
mod routes;
mod templates;
mod wrong;

pub use lines::line_at;
pub use wrong::Mistake;

use std::collections::BTreeSet;

use self::{
    lines::Lines,
    wrong::{At, Wrong},
};
use super::{Catalogue, values, values::Values};
use crate::domain::{catalogue::Kind, language, phone::Phone, quiet, recipient::UserId};

/// All mistakes of a catalogue, with their lines.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

/// A parsed catalogue, with the lines of its entries.
#[derive(Debug)]
pub struct Parsed {
    pub catalogue: Catalogue,
    lines: Lines,
}

impl Parsed {
    /// A mistake in an entry that only the database reveals.
    pub fn mistake(&self, kind: Kind, name: &str, field: &str, rule: &str) -> Mistake {
        let mut wrong = Wrong {
            lines: &self.lines,
            found: Vec::new(),
        };
        let kind_name = kind.name();
        let index = self.catalogue.index(kind, name);
        let at = At {
            kind: kind_name,
            index: index.unwrap_or(usize::MAX),
            name,
        };
        if field.is_empty() {
            wrong.entry(at, rule);
        } else {
            wrong.field(at, field, rule);
        }
        wrong.found.pop().unwrap_or_else(|| Mistake::anywhere(rule))
    }
}

/// Parses and checks a catalogue without the database.
pub fn parse(text: &str, values: &Values) -> Result<Parsed, Mistakes> {
    let text = values::fill(text, values).map_err(Mistakes)?;
    let catalogue: Catalogue = toml::from_str(&text).map_err(|error| {
        Mistakes(vec![Mistake {
            line: error.span().map(|span| line_at(&text, span.start)),
            text: error.message().to_owned(),
        }])
    })?;
    let lines = Lines::of(&text);
    let mut wrong = Wrong {
        lines: &lines,
        found: Vec::new(),
    };
    check(&catalogue, &mut wrong);
    wrong
        .found
        .extend(lines.with_nul.iter().map(|line| Mistake {
            line: Some(*line),
            text: "no text may contain NUL (U+0000)".to_owned(),
        }));
    let mut found = wrong.found;
    if found.is_empty() {
        Ok(Parsed { catalogue, lines })
    } else {
        found.sort();
        found.dedup();
        Err(Mistakes(found))
    }
}

fn check(catalogue: &Catalogue, wrong: &mut Wrong<'_>) {
    names(catalogue, wrong);
    for (index, entry) in catalogue.template.iter().enumerate() {
        let at = At {
            kind: "template",
            index,
            name: &entry.name,
        };
        templates::check(entry, at, wrong);
    }
    people(catalogue, wrong);
    routes::check(catalogue, wrong);
    // Examples are worth checking only when everything else is valid.
    if wrong.found.is_empty() {
        examples::check(catalogue, wrong);
    }
}

fn people(catalogue: &Catalogue, wrong: &mut Wrong<'_>) {
    for (index, entry) in catalogue.contact.iter().enumerate() {
        let at = At {
            kind: "contact",
            index,
            name: &entry.name,
        };
        if let Some(Err(error)) = entry.phone.as_deref().map(Phone::parse) {
            wrong.field(at, "phone", error);
        }
        if entry
            .user_id
            .as_deref()
            .is_some_and(|text| UserId::parse(text).is_none())
        {
            wrong.field(
                at,
                "user_id",
                "a user id is written US.13491208655302741918",
            );
        }
        if entry
            .language
            .as_deref()
            .is_some_and(|text| !language::can_be_read(text))
        {
            wrong.field(at, "language", language::RULE);
        }
        if entry
            .time_zone
            .as_deref()
            .is_some_and(|name| quiet::zone(name).is_none())
        {
            wrong.field(at, "time_zone", "a zone is written Africa/Harare");
        }
    }
}

fn names(catalogue: &Catalogue, wrong: &mut Wrong<'_>) {
    if catalogue.name.trim().is_empty() {
        wrong.found.push(Mistake::anywhere("name: missing"));
    }
    for kind in Kind::ALL {
        let mut seen = BTreeSet::new();
        for (index, name) in catalogue.names(kind).into_iter().enumerate() {
            let at = At {
                kind: kind.name(),
                index,
                name: &name,
            };
            if name.trim().is_empty() {
                wrong.entry(at, "its name is empty");
            } else if !seen.insert(name.clone()) {
                wrong.entry(at, "stands twice");
            }
        }
    }
}
