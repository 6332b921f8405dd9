//! Checks a catalogue without the database.

mod examples;
mod lines;
mod routes_and_rules;
mod templates;
mod wrong;

pub use lines::line_at;
pub use wrong::CatalogueMistake;

use std::collections::BTreeSet;

use self::{
    lines::CatalogueLineIndex,
    wrong::{CatalogueEntryRef, MistakeCollector},
};
use super::{Catalogue, values, values::CataloguePlaceholderValues};
use crate::domain::{
    catalogue::CatalogueRowKind, email::EmailAddress, language, phone::Phone, quiet,
    recipient::WhatsAppUserId,
};

/// All mistakes of a catalogue, with their lines.
#[derive(Debug, PartialEq, Eq)]
pub struct CatalogueMistakes(pub Vec<CatalogueMistake>);

/// A parsed catalogue, with the lines of its entries.
#[derive(Debug)]
pub struct ParsedCatalogue {
    pub catalogue: Catalogue,
    lines: CatalogueLineIndex,
}

impl ParsedCatalogue {
    /// A mistake in an entry that only the database reveals.
    pub fn mistake(
        &self,
        kind: CatalogueRowKind,
        name: &str,
        field: &str,
        rule: &str,
    ) -> CatalogueMistake {
        let mut wrong = MistakeCollector {
            lines: &self.lines,
            found: Vec::new(),
        };
        let kind_name = kind.name();
        let index = self.catalogue.index(kind, name);
        let at = CatalogueEntryRef {
            kind: kind_name,
            index: index.unwrap_or(usize::MAX),
            name,
        };
        if field.is_empty() {
            wrong.entry(at, rule);
        } else {
            wrong.field(at, field, rule);
        }
        wrong
            .found
            .pop()
            .unwrap_or_else(|| CatalogueMistake::anywhere(rule))
    }
}

/// Parses and checks a catalogue without the database.
pub fn parse(
    text: &str,
    values: &CataloguePlaceholderValues,
) -> Result<ParsedCatalogue, CatalogueMistakes> {
    let text = values::fill(text, values).map_err(CatalogueMistakes)?;
    let catalogue: Catalogue = toml::from_str(&text).map_err(|error| {
        CatalogueMistakes(vec![CatalogueMistake {
            line: error.span().map(|span| line_at(&text, span.start)),
            text: error.message().to_owned(),
        }])
    })?;
    let lines = CatalogueLineIndex::of(&text);
    let mut wrong = MistakeCollector {
        lines: &lines,
        found: Vec::new(),
    };
    check(&catalogue, &mut wrong);
    wrong
        .found
        .extend(lines.with_nul.iter().map(|line| CatalogueMistake {
            line: Some(*line),
            text: "no text may contain NUL (U+0000)".to_owned(),
        }));
    let mut found = wrong.found;
    if found.is_empty() {
        Ok(ParsedCatalogue { catalogue, lines })
    } else {
        found.sort();
        found.dedup();
        Err(CatalogueMistakes(found))
    }
}

fn check(catalogue: &Catalogue, wrong: &mut MistakeCollector<'_>) {
    names(catalogue, wrong);
    for (index, entry) in catalogue.template.iter().enumerate() {
        let at = CatalogueEntryRef {
            kind: "template",
            index,
            name: &entry.name,
        };
        templates::check(entry, at, wrong);
    }
    people(catalogue, wrong);
    routes_and_rules::check(catalogue, wrong);
    // Examples are worth checking only when everything else is valid.
    if wrong.found.is_empty() {
        examples::check(catalogue, wrong);
    }
}

fn people(catalogue: &Catalogue, wrong: &mut MistakeCollector<'_>) {
    for (index, entry) in catalogue.contact.iter().enumerate() {
        let at = CatalogueEntryRef {
            kind: "contact",
            index,
            name: &entry.name,
        };
        if let Some(Err(error)) = entry.phone.as_deref().map(Phone::parse) {
            wrong.field(at, "phone", error);
        }
        if let Some(Err(error)) = entry.email.as_deref().map(EmailAddress::parse) {
            wrong.field(at, "email", error);
        }
        if entry
            .user_id
            .as_deref()
            .is_some_and(|text| WhatsAppUserId::parse(text).is_none())
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

fn names(catalogue: &Catalogue, wrong: &mut MistakeCollector<'_>) {
    if catalogue.name.trim().is_empty() {
        wrong
            .found
            .push(CatalogueMistake::anywhere("name: missing"));
    }
    for kind in CatalogueRowKind::ALL {
        let mut seen = BTreeSet::new();
        for (index, name) in catalogue.names(kind).into_iter().enumerate() {
            let at = CatalogueEntryRef {
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
