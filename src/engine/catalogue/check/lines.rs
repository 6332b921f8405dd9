//! Where in a catalogue's file things stand.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// The lines of a file's entries and of their keys, counted from 1.
#[derive(Debug, Default)]
pub struct Lines(BTreeMap<(String, usize), Entry>);

#[derive(Debug, Default)]
struct Entry {
    line: usize,
    /// By the whole way to a key: `send.to`, `parameter.0.example`.
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
                gather(text, "", entry.get_ref(), &mut keys);
                let line = line_at(text, entry.span().start);
                lines.insert((kind.get_ref().to_string(), index), Entry { line, keys });
            }
        }
        Self(lines)
    }

    /// The line of a key of an entry; of what it stands in, or of the entry, if there is none.
    pub fn find(&self, kind: &str, index: usize, field: &str) -> Option<usize> {
        let entry = self.0.get(&(kind.to_owned(), index))?;
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

/// The lines of all that stands in a value.
fn gather(text: &str, way: &str, value: &DeValue<'_>, keys: &mut BTreeMap<String, usize>) {
    let mut add = |name: &str, place: usize, value: &DeValue<'_>| {
        let way = match way {
            "" => name.to_owned(),
            way => format!("{way}.{name}"),
        };
        gather(text, &way, value, keys);
        keys.insert(way, line_at(text, place));
    };
    match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                add(key.get_ref(), key.span().start, value.get_ref());
            }
        }
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                add(&index.to_string(), item.span().start, item.get_ref());
            }
        }
        _ => {}
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
        assert_eq!(lines.find("route", 0, "params"), Some(5));
        assert_eq!(lines.find("route", 0, "params.b"), Some(6));
        assert_eq!(lines.find("route", 0, "params.c"), Some(5));
        assert_eq!(lines.find("route", 1, "to"), Some(10));
        assert_eq!(lines.find("route", 1, "to.0"), Some(11));
        assert_eq!(lines.find("route", 1, "missing"), Some(8));
        assert_eq!(lines.find("route", 2, "to"), None);
    }
}
