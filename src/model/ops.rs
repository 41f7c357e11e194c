//! A reusable list of changes: what `prep` leaves for the log to encode, without an allocation per transaction.
//!
//! Everything is copied into one scratch buffer, so the list borrows nothing from the request.

use crate::model::txn::{OpRef, PASSWORD_BYTES};
use std::ops::Range;

#[derive(Clone, Debug)]
enum Slot {
    Create { path: Range<usize>, data: Option<Range<usize>>, acl: Range<usize>, owner: i64, parent_cversion: i32 },
    Delete { path: Range<usize> },
    SetData { path: Range<usize>, data: Option<Range<usize>>, version: i32 },
    SetAcl { path: Range<usize>, acl: Range<usize>, aversion: i32 },
    CreateSession { timeout_ms: u32, password: Box<[u8; PASSWORD_BYTES]> },
    CloseSession,
}

/// The changes of one transaction, owned.
#[derive(Clone, Debug, Default)]
pub struct OpBuf {
    scratch: Vec<u8>,
    slots: Vec<Slot>,
}

impl OpBuf {
    /// Forgets all changes, keeps the memory.
    pub fn clear(&mut self) {
        self.scratch.clear();
        self.slots.clear();
    }

    /// Number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none (an empty multi, or one of checks only).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of all paths, data and lists, to bound a record before it is encoded.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.scratch.len()
    }

    /// Forgets everything after the first `len` changes (a multi that failed half-way).
    pub fn truncate(&mut self, len: usize) {
        self.slots.truncate(len);
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.scratch.len();
        self.scratch.extend_from_slice(bytes);
        start..self.scratch.len()
    }

    /// Adds a copy of `op`.
    pub fn push(&mut self, op: OpRef<'_>) {
        let slot = match op {
            OpRef::Create { path, data, acl, owner, parent_cversion } => {
                let (path, data, acl) = (self.keep(path), data.map(|d| self.keep(d)), self.keep(acl));
                Slot::Create { path, data, acl, owner, parent_cversion }
            }
            OpRef::Delete { path } => Slot::Delete { path: self.keep(path) },
            OpRef::SetData { path, data, version } => {
                let (path, data) = (self.keep(path), data.map(|d| self.keep(d)));
                Slot::SetData { path, data, version }
            }
            OpRef::SetAcl { path, acl, aversion } => {
                let (path, acl) = (self.keep(path), self.keep(acl));
                Slot::SetAcl { path, acl, aversion }
            }
            OpRef::CreateSession { timeout_ms, password } => Slot::CreateSession { timeout_ms, password: Box::new(*password) },
            OpRef::CloseSession => Slot::CloseSession,
        };
        self.slots.push(slot);
    }

    /// The change at `idx`.
    #[must_use]
    pub fn get(&self, idx: usize) -> Option<OpRef<'_>> {
        let at = |r: &Range<usize>| &self.scratch[r.clone()];
        Some(match self.slots.get(idx)? {
            Slot::Create { path, data, acl, owner, parent_cversion } => OpRef::Create {
                path: at(path),
                data: data.as_ref().map(at),
                acl: at(acl),
                owner: *owner,
                parent_cversion: *parent_cversion,
            },
            Slot::Delete { path } => OpRef::Delete { path: at(path) },
            Slot::SetData { path, data, version } => OpRef::SetData { path: at(path), data: data.as_ref().map(at), version: *version },
            Slot::SetAcl { path, acl, aversion } => OpRef::SetAcl { path: at(path), acl: at(acl), aversion: *aversion },
            Slot::CreateSession { timeout_ms, password } => OpRef::CreateSession { timeout_ms: *timeout_ms, password },
            Slot::CloseSession => OpRef::CloseSession,
        })
    }

    /// All changes in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = OpRef<'_>> {
        (0..self.slots.len()).map(|idx| self.get(idx).expect("an index below the length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_as_they_went_in() {
        let ops = [
            OpRef::Create { path: b"/a", data: None, acl: b"acl", owner: 3, parent_cversion: 4 },
            OpRef::SetData { path: b"/b", data: Some(b""), version: 1 },
            OpRef::Delete { path: b"/c" },
            OpRef::CreateSession { timeout_ms: 5, password: &[7; PASSWORD_BYTES] },
            OpRef::CloseSession,
        ];
        let mut buf = OpBuf::default();
        ops.iter().for_each(|op| buf.push(*op));
        assert!(buf.iter().eq(ops));
        buf.truncate(1);
        assert_eq!(buf.len(), 1);
    }
}
