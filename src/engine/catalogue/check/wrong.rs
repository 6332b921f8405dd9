//! Collects the mistakes of a catalogue, each with its line.

use super::lines::CatalogueLineIndex;

/// A mistake and its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CatalogueMistake {
    /// Counted from 1; absent if the mistake has no line.
    pub line: Option<usize>,
    pub text: String,
}

impl CatalogueMistake {
    /// A mistake without a line.
    pub fn anywhere(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { line: None, text }
    }

    /// In the format of compilers, so that editors find the place.
    pub fn with_file(&self, file: &str) -> String {
        match self.line {
            Some(line) => format!("{file}:{line}: {}", self.text),
            None => format!("{file}: {}", self.text),
        }
    }
}

impl std::fmt::Display for CatalogueMistake {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "line {line}: {}", self.text),
            None => formatter.write_str(&self.text),
        }
    }
}

/// Collector of mistakes.
#[derive(Debug)]
pub struct MistakeCollector<'a> {
    pub lines: &'a CatalogueLineIndex,
    pub found: Vec<CatalogueMistake>,
}

/// An entry of a catalogue.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueEntryRef<'a> {
    pub kind: &'static str,
    pub index: usize,
    pub name: &'a str,
}

impl MistakeCollector<'_> {
    /// Adds a mistake in a field of an entry.
    pub fn field(&mut self, at: CatalogueEntryRef<'_>, field: &str, rule: impl std::fmt::Display) {
        let CatalogueEntryRef { kind, index, name } = at;
        self.found.push(CatalogueMistake {
            line: self.lines.find(kind, index, field),
            text: format!("{kind} {name}: {field}: {rule}"),
        });
    }

    /// Adds a mistake in an entry as a whole.
    pub fn entry(&mut self, at: CatalogueEntryRef<'_>, rule: impl std::fmt::Display) {
        self.part(at, "", rule);
    }

    /// Adds a mistake in a part of an entry; the text names it.
    pub fn part(&mut self, at: CatalogueEntryRef<'_>, key: &str, rule: impl std::fmt::Display) {
        let CatalogueEntryRef { kind, index, name } = at;
        self.found.push(CatalogueMistake {
            line: self.lines.find(kind, index, key),
            text: format!("{kind} {name}: {rule}"),
        });
    }
}
