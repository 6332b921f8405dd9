//! A map that never grows beyond a number of entries, for what strangers may name any number of.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

/// A map of at most `MOST` entries. When it is full, a new key takes the place of others; which
/// ones, each way of inserting says for itself.
#[derive(Debug)]
pub struct BoundedMap<K, V, const MOST: usize>(HashMap<K, V>);

impl<K, V, const MOST: usize> Default for BoundedMap<K, V, MOST> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V, const MOST: usize> BoundedMap<K, V, MOST> {
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.get(key)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key, which is `new` if it has none. For a new key outdated entries make room
    /// first, then all.
    pub fn get_or_insert(&mut self, key: K, new: V, is_current: impl Fn(&V) -> bool) -> &mut V {
        if !self.0.contains_key(&key) && !self.has_room(is_current) {
            self.0.clear();
        }
        self.0.entry(key).or_insert(new)
    }

    /// Sets the value of a key. For a new key outdated entries make room first, then the least.
    pub fn insert_over_least(&mut self, key: K, value: V, is_current: impl Fn(&V) -> bool)
    where
        K: Clone,
        V: Ord,
    {
        if !self.0.contains_key(&key) && !self.has_room(is_current) {
            let least = self.0.iter().min_by_key(|(_, value)| *value);
            if let Some(least) = least.map(|(key, _)| key.clone()) {
                self.0.remove(&least);
            }
        }
        self.0.insert(key, value);
    }

    /// Sets the values of these keys. If they do not fit beside the others, those make room; of
    /// more than fit at all, the first are kept.
    pub fn insert_all(&mut self, new: impl ExactSizeIterator<Item = (K, V)>) {
        if self.0.len() + new.len() > MOST {
            self.0.clear();
        }
        self.0.extend(new.take(MOST));
    }

    /// Whether there is room for one more, if necessary after removing outdated entries.
    fn has_room(&mut self, is_current: impl Fn(&V) -> bool) -> bool {
        if self.0.len() >= MOST {
            self.0.retain(|_, value| is_current(value));
        }
        self.0.len() < MOST
    }
}

#[cfg(test)]
mod tests {
    use super::BoundedMap;

    type MapOfThree = BoundedMap<char, i32, 3>;

    fn keys(map: &MapOfThree) -> String {
        let mut keys: Vec<char> = map.0.keys().copied().collect();
        keys.sort_unstable();
        keys.into_iter().collect()
    }

    #[test]
    fn what_is_outdated_makes_room_and_then_all_does() {
        let is_current = |value: &i32| *value >= 10;
        let mut map = MapOfThree::default();
        for (key, value) in [('a', 10), ('b', 1), ('c', 12)] {
            map.get_or_insert(key, value, is_current);
        }
        // What is there needs no room.
        *map.get_or_insert('a', 0, is_current) += 1;
        assert_eq!((keys(&map).as_str(), map.get(&'a')), ("abc", Some(&11)));
        map.get_or_insert('d', 13, is_current);
        assert_eq!(keys(&map), "acd");
        map.get_or_insert('e', 14, is_current);
        assert_eq!(keys(&map), "e");
    }

    #[test]
    fn what_is_outdated_makes_room_and_then_the_least_does() {
        let is_current = |value: &i32| *value >= 10;
        let mut map = MapOfThree::default();
        for (key, value) in [('a', 10), ('b', 1), ('c', 12)] {
            map.insert_over_least(key, value, is_current);
        }
        map.insert_over_least('a', 11, is_current);
        assert_eq!((keys(&map).as_str(), map.get(&'a')), ("abc", Some(&11)));
        map.insert_over_least('d', 13, is_current);
        assert_eq!(keys(&map), "acd");
        map.insert_over_least('e', 14, is_current);
        assert_eq!(keys(&map), "cde");
    }

    #[test]
    fn those_that_do_not_fit_beside_the_others_replace_them() {
        let mut map = MapOfThree::default();
        map.insert_all([('a', 1), ('b', 2)].into_iter());
        map.insert_all([('c', 3)].into_iter());
        assert_eq!(keys(&map), "abc");
        map.insert_all([('d', 4)].into_iter());
        assert_eq!(keys(&map), "d");
        map.insert_all([('e', 5), ('f', 6), ('g', 7), ('h', 8)].into_iter());
        assert_eq!((keys(&map).as_str(), map.len()), ("efg", 3));
    }
}
