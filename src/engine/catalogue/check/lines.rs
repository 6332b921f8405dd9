//! Where in a catalogue's file things stand.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// The lines of a file's entries and of their keys, counted from 1.
#[derive(Debug, Default)]
pub struct Lines(BTreeMap<(String, usize), Entry>);

#[derive(Debug, Default)]
struct Entry {
    line: usize,
    keys: BTreeMap<String, usize>,
}

/// The line of a place in a text.
pub fn line_at(text: &str, place: usize) -> usize {
    let before = text.get(..place).unwrap_or(text);
    before.matches('\n').count() + 1
}

impl Lines {
    /// Of a text that was read before: what cannot be read has no lines.
    pub fn of(text: &str) -> Self {
        let Ok(document) = DeTable::parse(text) else {
            return Self::default();
        };
        let mut lines = BTreeMap::new();
        for (kind, value) in document.get_ref() {
            let DeValue::Array(entries) = value.get_ref() else {
                continue;
            };
            for (index, entry) in entries.iter().enumerate() {
                let mut keys = BTreeMap::new();
                if let DeValue::Table(table) = entry.get_ref() {
                    for (key, _) in table {
                        let line = line_at(text, key.span().start);
                        keys.insert(key.get_ref().to_string(), line);
                    }
                }
                let line = line_at(text, entry.span().start);
                lines.insert((kind.get_ref().to_string(), index), Entry { line, keys });
            }
        }
        Self(lines)
    }

    /// The line of a key of an entry; of the entry, if it has no such key.
    pub fn find(&self, kind: &str, index: usize, field: &str) -> Option<usize> {
        let entry = self.0.get(&(kind.to_owned(), index))?;
        let key = field.split('.').next().unwrap_or_default();
        Some(entry.keys.get(key).copied().unwrap_or(entry.line))
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn entries_and_their_keys_are_found() {
        let text = "name = \"x\"\n\n[[route]]\nname = \"a\"\n[route.params]\nb = \"c\"\n\n[[route]]\nname = \"b\"\nto = [\n  \"x\",\n]\n";
        let lines = Lines::of(text);
        assert_eq!(lines.find("route", 0, "name"), Some(4));
        assert_eq!(lines.find("route", 0, "params.b"), Some(5));
        assert_eq!(lines.find("route", 1, "to"), Some(10));
        assert_eq!(lines.find("route", 1, "missing"), Some(8));
        assert_eq!(lines.find("route", 2, "to"), None);
    }
}
