//! Finds the lines of entries and keys in a catalogue file.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// The lines of a file's entries and their keys, counted from 1.
#[derive(Debug, Default)]
pub struct CatalogueLineIndex {
    entries: BTreeMap<(String, usize), CatalogueEntryLines>,
    /// Lines of texts and keys with NUL, which PostgreSQL cannot store.
    pub with_nul: Vec<usize>,
}

#[derive(Debug, Default)]
struct CatalogueEntryLines {
    line: usize,
    /// By full path of a key: `send.to`, `parameter.0.example`.
    keys: BTreeMap<String, usize>,
}

/// The line of a byte position in a text.
pub fn line_at(text: &str, place: usize) -> usize {
    let before = text.get(..place).unwrap_or(text);
    before.matches('\n').count() + 1
}

impl CatalogueLineIndex {
    /// Reads the lines of a text that has been parsed before; a text that cannot be parsed has
    /// none.
    pub fn of(text: &str) -> Self {
        let Ok(document) = DeTable::parse(text) else {
            return Self::default();
        };
        let mut lines = Self::default();
        let places = LineEnds::of(text);
        for (kind, value) in document.get_ref() {
            let DeValue::Array(entries) = value.get_ref() else {
                let mut keys = BTreeMap::new();
                let line = places.line(value.span().start);
                lines.gather(&places, "", line, value.get_ref(), &mut keys);
                continue;
            };
            for (index, entry) in entries.iter().enumerate() {
                let mut keys = BTreeMap::new();
                let line = places.line(entry.span().start);
                lines.gather(&places, "", line, entry.get_ref(), &mut keys);
                let at = (kind.get_ref().to_string(), index);
                lines.entries.insert(at, CatalogueEntryLines { line, keys });
            }
        }
        lines
    }

    /// Collects the lines of everything in a value.
    fn gather(
        &mut self,
        places: &LineEnds,
        way: &str,
        line: usize,
        value: &DeValue<'_>,
        keys: &mut BTreeMap<String, usize>,
    ) {
        let deeper = |name: &str| match way {
            "" => name.to_owned(),
            way => format!("{way}.{name}"),
        };
        match value {
            DeValue::String(text) if text.contains('\0') => self.with_nul.push(line),
            DeValue::Table(table) => {
                for (key, value) in table {
                    let line = places.line(key.span().start);
                    if key.get_ref().contains('\0') {
                        self.with_nul.push(line);
                    }
                    let way = deeper(key.get_ref());
                    self.gather(places, &way, line, value.get_ref(), keys);
                    keys.insert(way, line);
                }
            }
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let line = places.line(item.span().start);
                    let way = deeper(&index.to_string());
                    self.gather(places, &way, line, item.get_ref(), keys);
                    keys.insert(way, line);
                }
            }
            _ => {}
        }
    }

    /// The line of a key in an entry; if absent, that of its parent or of the entry.
    pub fn find(&self, kind: &str, index: usize, field: &str) -> Option<usize> {
        let entry = self.entries.get(&(kind.to_owned(), index))?;
        let mut way = field;
        loop {
            if let Some(line) = entry.keys.get(way) {
                return Some(*line);
            }
            match way.rsplit_once('.') {
                Some((before, _)) => way = before,
                None => return Some(entry.line),
            }
        }
    }
}

/// Where the lines of a text end. Counting from the beginning for each position would be quadratic
/// in files with many entries.
struct LineEnds(Vec<usize>);

impl LineEnds {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(place, _)| place).collect())
    }

    fn line(&self, place: usize) -> usize {
        self.0.partition_point(|end| *end < place) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::CatalogueLineIndex;

    #[test]
    fn entries_and_their_keys_are_found() {
        let text = "name = \"x\"\n\n[[route]]\nname = \"a\"\n[route.params]\nb = \"c\"\n\n[[route]]\nname = \"b\"\nto = [\n  \"x\",\n]\n";
        let lines = CatalogueLineIndex::of(text);
        assert_eq!(lines.find("route", 0, "name"), Some(4));
        assert_eq!(lines.find("route", 0, "params"), Some(5));
        assert_eq!(lines.find("route", 0, "params.b"), Some(6));
        assert_eq!(lines.find("route", 0, "params.c"), Some(5));
        assert_eq!(lines.find("route", 1, "to"), Some(10));
        assert_eq!(lines.find("route", 1, "to.0"), Some(11));
        assert_eq!(lines.find("route", 1, "missing"), Some(8));
        assert_eq!(lines.find("route", 2, "to"), None);
    }
}
