//! Records in numbered slots, in chunks that never move.
//!
//! Guarantees: a slot keeps its number until it is removed; growing never copies what is there (no pause, no doubled memory);
//! freed slots are used again, the last freed first. A loader may place records at given numbers ([`Slab::place`]) and then
//! calls [`Slab::settle`]. Which slots hold something is the record's own knowledge ([`Vacant`]).

use crate::invariant;

/// Slots of one chunk.
const CHUNK_SLOTS: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 10;
/// Most slots of a slab. Far beyond any memory, and low enough that a lying slot number in a file costs little.
pub(super) const SLOTS_MAX: u32 = 1 << 30;
/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// A record that knows an empty form of itself.
pub(super) trait Vacant {
    /// What an unused slot holds.
    fn vacant() -> Self;
    /// Whether this is that.
    fn is_vacant(&self) -> bool;
}

/// See the module.
pub(super) struct Slab<T> {
    /// All but the last are full or, after loading, not allocated at all.
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
    /// Chunks that were never allocated because the loaded image has nothing in them.
    absent_chunks: Vec<u32>,
    used: usize,
}

impl<T: Vacant> Slab<T> {
    pub(super) fn new() -> Slab<T> {
        Slab { chunks: Vec::new(), free: Vec::new(), absent_chunks: Vec::new(), used: 0 }
    }

    /// Records held.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// One past the highest slot that may hold something.
    pub(super) fn end(&self) -> u32 {
        let full = self.chunks.len().saturating_sub(1) * CHUNK_SLOTS;
        let last = self.chunks.last().map_or(0, Vec::len);
        u32::try_from(full + last).expect("a slab has at most 2^30 slots")
    }

    /// The record at `slot`, which the caller knows to be in use.
    #[inline]
    pub(super) fn at(&self, slot: u32) -> &T {
        &self.chunks[(slot >> CHUNK_BITS) as usize][slot as usize % CHUNK_SLOTS]
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn at_mut(&mut self, slot: u32) -> &mut T {
        &mut self.chunks[(slot >> CHUNK_BITS) as usize][slot as usize % CHUNK_SLOTS]
    }

    /// The record at any number, `None` when there is none.
    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        let record = self.chunks.get((slot >> CHUNK_BITS) as usize)?.get(slot as usize % CHUNK_SLOTS)?;
        (!record.is_vacant()).then_some(record)
    }

    /// The highest slot below `slot` that holds something. Chunks that loading left out cost one step each.
    pub(super) fn used_before(&self, slot: u32) -> Option<u32> {
        let mut below = slot.min(self.end()) as usize;
        while let Some(last) = below.checked_sub(1) {
            let (chunk, at) = (last / CHUNK_SLOTS, last % CHUNK_SLOTS);
            let records = self.chunks[chunk].get(..=at).unwrap_or_default();
            if let Some(found) = records.iter().rposition(|record| !record.is_vacant()) {
                return u32::try_from(chunk * CHUNK_SLOTS + found).ok();
            }
            below = chunk * CHUNK_SLOTS;
        }
        None
    }

    /// Puts `record` into a free slot.
    pub(super) fn insert(&mut self, record: T) -> u32 {
        self.used += 1;
        if self.free.is_empty()
            && let Some(chunk) = self.absent_chunks.pop()
        {
            self.open_chunk(chunk);
        }
        if let Some(slot) = self.free.pop() {
            *self.at_mut(slot) = record;
            return slot;
        }
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK_SLOTS) {
            self.chunks.push(Vec::with_capacity(CHUNK_SLOTS));
        }
        let slot = self.end();
        invariant!(slot < SLOTS_MAX, "a tree of more than {SLOTS_MAX} nodes");
        self.chunks.last_mut().expect("a chunk was just made sure of").push(record);
        slot
    }

    /// Allocates a chunk that loading left out.
    fn open_chunk(&mut self, chunk: u32) {
        self.chunks[chunk as usize] = Self::vacant_chunk();
        let first = chunk << CHUNK_BITS;
        self.free.extend((first..first + CHUNK_SLOTS as u32).rev());
    }

    fn vacant_chunk() -> Vec<T> {
        std::iter::repeat_with(T::vacant).take(CHUNK_SLOTS).collect()
    }

    /// Takes the record out of `slot`.
    pub(super) fn remove(&mut self, slot: u32) -> T {
        let record = std::mem::replace(self.at_mut(slot), T::vacant());
        invariant!(!record.is_vacant(), "slot {slot} is freed twice");
        self.used -= 1;
        self.free.push(slot);
        record
    }

    /// Puts `record` at a given number. Gives it back if the number is taken or out of range.
    pub(super) fn place(&mut self, slot: u32, record: T) -> Result<(), T> {
        if slot >= SLOTS_MAX || self.get(slot).is_some() {
            return Err(record);
        }
        let chunk = (slot >> CHUNK_BITS) as usize;
        while self.chunks.len() <= chunk {
            self.chunks.push(Vec::new());
        }
        if self.chunks[chunk].is_empty() {
            self.chunks[chunk] = Self::vacant_chunk();
        }
        self.used += 1;
        *self.at_mut(slot) = record;
        Ok(())
    }

    /// Ends placing: finds the free slots.
    pub(super) fn settle(&mut self) {
        self.free.clear();
        self.absent_chunks.clear();
        for (chunk, records) in self.chunks.iter().enumerate().rev() {
            let chunk = u32::try_from(chunk).expect("a slab has at most 2^20 chunks");
            if records.is_empty() {
                self.absent_chunks.push(chunk);
            }
            let vacant = records.iter().enumerate().rev().filter(|(_, record)| record.is_vacant());
            self.free.extend(vacant.map(|(at, _)| (chunk << CHUNK_BITS) + at as u32));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Vacant for u64 {
        fn vacant() -> u64 {
            0
        }
        fn is_vacant(&self) -> bool {
            *self == 0
        }
    }

    #[test]
    fn slots_are_reused_and_keep_their_numbers() {
        let mut slab = Slab::new();
        let slots: Vec<u32> = (1..=3000u64).map(|v| slab.insert(v)).collect();
        assert_eq!(slots, (0..3000).collect::<Vec<u32>>());
        assert_eq!(slab.remove(7), 8);
        assert_eq!((slab.get(7), slab.get(2999), slab.get(3000)), (None, Some(&3000), None));
        assert_eq!(slab.insert(9), 7);
        assert_eq!((slab.insert(1), slab.used(), slab.end()), (3000, 3001, 3001));
    }

    #[test]
    fn placed_records_leave_their_gaps_free() {
        let mut slab = Slab::new();
        assert_eq!(slab.place(5000, 1u64), Ok(()));
        assert_eq!(slab.place(2, 2), Ok(()));
        assert_eq!(slab.place(2, 3), Err(3));
        assert_eq!(slab.place(SLOTS_MAX, 3), Err(3));
        slab.settle();
        assert_eq!((slab.used_before(9000), slab.used_before(5000), slab.used_before(2)), (Some(5000), Some(2), None));
        assert_eq!((0..9000).filter(|slot| slab.get(*slot).is_some()).collect::<Vec<_>>(), [2, 5000]);
        let filled: std::collections::BTreeSet<u32> = (0..5118).map(|v| slab.insert(v + 10)).collect();
        assert_eq!(filled.len(), 5118, "every gap is handed out once");
        assert!(filled.iter().all(|slot| *slot < 5120 && *slot != 2 && *slot != 5000));
        assert_eq!(slab.insert(1), 5120, "only then does it grow");
    }

    #[test]
    #[should_panic(expected = "freed twice")]
    fn a_slot_is_freed_once() {
        let mut slab = Slab::new();
        let slot = slab.insert(1u64);
        slab.remove(slot);
        slab.remove(slot);
    }
}
