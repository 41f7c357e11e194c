//! From a path to a node's place: hash tables over a seeded hash of the whole path.
//!
//! The path itself isn't stored; whoever looks up compares a candidate with the names on its way to the root. The hash is
//! split over many small tables, so that a table that grows moves a small part of all entries: no long pause in a big tree.

use crate::base::checksum::seeded_hash;
use hashbrown::HashTable;

/// Tables; a power of two.
const TABLES: usize = 256;

/// One entry: the low half of the hash saves most looks at other nodes, and all of them when a table grows.
#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    slot: u32,
}

/// Hash of a path, computed once for each use of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PathHash(u64);

impl PathHash {
    /// Of a full path. The empty path is an alias of the root, as in ZooKeeper (T70).
    pub(super) fn of(seed: u64, path: &[u8]) -> PathHash {
        PathHash(seeded_hash(seed, if path.is_empty() { b"/" } else { path }))
    }

    fn table(self) -> usize {
        (self.0 >> 32) as usize % TABLES
    }

    fn low(self) -> u32 {
        self.0 as u32
    }
}

/// The tables.
pub(super) struct PathIndex {
    tables: Vec<HashTable<Entry>>,
}

/// All 64 bits that a table wants, from the 32 that an entry keeps.
fn spread(low: u32) -> u64 {
    u64::from(low).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl PathIndex {
    pub(super) fn new() -> PathIndex {
        PathIndex { tables: std::iter::repeat_with(HashTable::new).take(TABLES).collect() }
    }

    /// The place under `hash` that `is_it` accepts.
    pub(super) fn find(&self, hash: PathHash, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let low = hash.low();
        self.tables[hash.table()].find(spread(low), |entry| entry.hash == low && is_it(entry.slot)).map(|entry| entry.slot)
    }

    /// Enters a place that isn't there yet.
    pub(super) fn insert(&mut self, hash: PathHash, slot: u32) {
        let entry = Entry { hash: hash.low(), slot };
        self.tables[hash.table()].insert_unique(spread(entry.hash), entry, |entry| spread(entry.hash));
    }

    /// Enters a place unless one is there that `is_it` accepts; false then.
    pub(super) fn insert_new(&mut self, hash: PathHash, slot: u32, mut is_it: impl FnMut(u32) -> bool) -> bool {
        let new = Entry { hash: hash.low(), slot };
        let is_same = |entry: &Entry| entry.hash == new.hash && is_it(entry.slot);
        match self.tables[hash.table()].entry(spread(new.hash), is_same, |entry| spread(entry.hash)) {
            hashbrown::hash_table::Entry::Occupied(_) => false,
            hashbrown::hash_table::Entry::Vacant(free) => {
                free.insert(new);
                true
            }
        }
    }

    /// Takes a place out; false if it isn't there.
    pub(super) fn remove(&mut self, hash: PathHash, slot: u32) -> bool {
        let found = self.tables[hash.table()].find_entry(spread(hash.low()), |entry| entry.slot == slot);
        found.map(|entry| entry.remove()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_until_they_are_removed() {
        let mut index = PathIndex::new();
        let hash = |n: u32| PathHash::of(7, format!("/node/{n}").as_bytes());
        (0..5000).for_each(|n| index.insert(hash(n), n));
        assert!((0..5000).all(|n| index.find(hash(n), |slot| slot == n) == Some(n)));
        assert_eq!(index.find(hash(5000), |_| true), None);
        assert!(index.remove(hash(17), 17) && !index.remove(hash(17), 17));
        assert_eq!(index.find(hash(17), |_| true), None);
        assert!(index.insert_new(hash(17), 6000, |_| true) && !index.insert_new(hash(17), 6001, |slot| slot == 6000));
        assert!(index.insert_new(hash(17), 6001, |_| false), "another path with the same hash");
        assert_eq!(index.find(hash(17), |slot| slot == 6001), Some(6001));
        assert_eq!(PathHash::of(7, b""), PathHash::of(7, b"/"));
        assert_ne!(PathHash::of(7, b"/a"), PathHash::of(8, b"/a"));
    }
}
