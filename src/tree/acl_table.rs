//! ACL lists, each stored once and known by a number.
//!
//! Guarantees: equal lists have one number while anything uses it, and a number stays with its list until its last use is
//! released; only then may it be given to another list. The tree releases at the end of a transaction.

use crate::base::checksum::seeded_hash;
use crate::invariant;
use crate::model::acl::AclList;
use hashbrown::HashTable;

struct Entry {
    list: Box<[u8]>,
    /// Nodes that use it; 0 marks a free number.
    uses: u32,
}

/// See the module.
pub(super) struct AclTable {
    entries: Vec<Entry>,
    free: Vec<u32>,
    numbers: HashTable<u32>,
    seed: u64,
}

impl AclTable {
    pub(super) fn new(seed: u64) -> AclTable {
        AclTable { entries: Vec::new(), free: Vec::new(), numbers: HashTable::new(), seed }
    }

    /// Lists in use.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The number of `list`, which must be one in wire form, with one more use.
    pub(super) fn intern(&mut self, list: &[u8]) -> u32 {
        let hash = seeded_hash(self.seed, list);
        if let Some(number) = self.numbers.find(hash, |n| *self.entries[*n as usize].list == *list) {
            let number = *number;
            self.retain(number);
            return number;
        }
        invariant!(AclList::parse(list).is_some(), "an ACL list of {} bytes that isn't one", list.len());
        let entry = Entry { list: list.into(), uses: 1 };
        let number = match self.free.pop() {
            Some(number) => {
                self.entries[number as usize] = entry;
                number
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("there are no more lists than nodes")
            }
        };
        self.enter(hash, number);
        number
    }

    fn enter(&mut self, hash: u64, number: u32) {
        let (entries, seed) = (&self.entries, self.seed);
        self.numbers.insert_unique(hash, number, |n| seeded_hash(seed, &entries[*n as usize].list));
    }

    /// One more use of a number in use.
    pub(super) fn retain(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        invariant!(entry.uses > 0, "ACL {number} is used though it is free");
        entry.uses += 1;
    }

    /// One use less; the last one frees the number.
    pub(super) fn release(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        invariant!(entry.uses > 0, "ACL {number} is released once too often");
        entry.uses -= 1;
        if entry.uses > 0 {
            return;
        }
        let hash = seeded_hash(self.seed, &entry.list);
        entry.list = Box::default();
        let found = self.numbers.find_entry(hash, |n| *n == number);
        invariant!(found.map(|n| n.remove()).is_ok(), "ACL {number} isn't in its table");
        self.free.push(number);
    }

    /// The list of a number in use.
    pub(super) fn list(&self, number: u32) -> AclList<'_> {
        // Checked when it was interned.
        AclList::of_checked(&self.entries[number as usize].list)
    }

    /// Numbers in use with their lists, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.entries.iter().enumerate().filter(|(_, entry)| entry.uses > 0).map(|(number, entry)| (number as u32, &*entry.list))
    }

    /// How many nodes use a number.
    #[cfg(test)]
    pub(super) fn uses(&self, number: u32) -> u32 {
        self.entries[number as usize].uses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::acl::{OPEN_UNSAFE, READ_UNSAFE};

    #[test]
    fn a_number_lives_as_long_as_its_last_use() {
        let mut table = AclTable::new(1);
        let open = table.intern(OPEN_UNSAFE);
        assert_eq!((table.intern(OPEN_UNSAFE), table.len()), (open, 1));
        let read = table.intern(READ_UNSAFE);
        assert_ne!(open, read);
        table.release(open);
        assert_eq!(table.list(open).bytes(), OPEN_UNSAFE);
        table.release(open);
        assert_eq!(table.iter().collect::<Vec<_>>(), [(read, READ_UNSAFE)]);
        assert_eq!(table.intern(b"\0\0\0\0"), open, "a free number is used again");
    }

    #[test]
    #[should_panic(expected = "released once too often")]
    fn a_use_is_released_once() {
        let mut table = AclTable::new(1);
        let open = table.intern(OPEN_UNSAFE);
        table.release(open);
        table.release(open);
    }

    #[test]
    #[should_panic(expected = "that isn't one")]
    fn bytes_that_are_no_list_are_refused() {
        AclTable::new(1).intern(b"\0\0\0\x09");
    }
}
