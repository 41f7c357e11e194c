//! The digest of the tree, version 2 of ZooKeeper's: equal trees have equal digests, on every server and in every version.
//!
//! It is the wrapping sum, over all nodes, of the CRC-32 of path (the root's is empty), data and the 60 bytes of the
//! persisted stat. Nodes strictly below `/zookeeper` don't count. Kept incrementally: a change takes the node's old part out
//! and puts the new one in. The state of the checksum after path and data is kept with the node, so a change of the stat
//! alone (a parent's, with every child) reads 60 bytes, however large the data are.

use super::arena::Arena;
use super::crc32::Crc32;
use crate::model::stat::PersistedStat;
use crate::mutant;

/// Nodes whose path begins so don't count.
const UNDIGESTED_PREFIX: &[u8] = b"/zookeeper/";

/// Whether the node at `path` counts.
pub(super) fn counts(path: &[u8]) -> bool {
    !path.starts_with(UNDIGESTED_PREFIX)
}

/// State of a node's checksum after path and data.
pub(super) fn begin(path: &[u8], data: &[u8]) -> Crc32 {
    let path = if path == b"/" { b"" } else { path };
    Crc32::START.with(path).with(data)
}

/// A node's part: the checksum begun with [`begin`], ended with the stat.
pub(super) fn end(begun: Crc32, stat: &PersistedStat) -> u32 {
    let mut bytes = [0u8; 60];
    let longs = [stat.czxid.0, stat.mzxid.0, stat.pzxid.0, stat.ctime_ms.cast_unsigned(), stat.mtime_ms.cast_unsigned()];
    for (at, long) in longs.iter().enumerate() {
        bytes[at * 8..at * 8 + 8].copy_from_slice(&long.to_be_bytes());
    }
    for (at, int) in [stat.version, stat.cversion, stat.aversion].iter().enumerate() {
        bytes[40 + at * 4..44 + at * 4].copy_from_slice(&int.to_be_bytes());
    }
    bytes[52..].copy_from_slice(&stat.owner.to_be_bytes());
    begun.with(&bytes).value()
}

/// The running sum.
pub(super) struct TreeDigest {
    sum: u64,
    skip: bool,
}

impl TreeDigest {
    pub(super) fn new(skip: bool) -> TreeDigest {
        TreeDigest { sum: 0, skip }
    }

    /// The digest; 0 when it isn't kept.
    pub(super) fn value(&self) -> u64 {
        self.sum
    }

    /// Whether it is switched off.
    pub(super) fn is_skipped(&self) -> bool {
        self.skip
    }

    /// Puts a node in whose path or data are new.
    pub(super) fn add(&mut self, arena: &mut Arena, slot: u32, path: &[u8]) {
        if self.skip || !arena.node(slot).is_digested() {
            return;
        }
        arena.node_mut(slot).crc_state = begin(path, arena.node(slot).data().unwrap_or_default()).state();
        self.add_again(arena, slot);
    }

    /// Puts a node in of which only the stat changed since it was taken out.
    pub(super) fn add_again(&mut self, arena: &mut Arena, slot: u32) {
        if self.skip || !arena.node(slot).is_digested() {
            return;
        }
        let crc = end(Crc32::from_state(arena.node(slot).crc_state), &arena.stat(slot));
        arena.node_mut(slot).crc = crc;
        self.sum = self.sum.wrapping_add(u64::from(crc));
    }

    /// Takes a node out before it is changed or removed.
    pub(super) fn take_out(&mut self, arena: &Arena, slot: u32) {
        let node = arena.node(slot);
        if self.skip || !node.is_digested() || mutant!("tree-digest-keeps-old") {
            return;
        }
        self.sum = self.sum.wrapping_sub(u64::from(node.crc));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Zxid;

    #[test]
    fn the_part_of_a_node_is_the_checksum_of_path_data_and_stat() {
        let stat = PersistedStat {
            czxid: Zxid(1),
            mzxid: Zxid(2),
            pzxid: Zxid(3),
            ctime_ms: 4,
            mtime_ms: 5,
            version: 6,
            cversion: 7,
            aversion: -1,
            owner: i64::MIN,
        };
        let mut bytes = b"/a/bdata".to_vec();
        for long in [1u64, 2, 3, 4, 5] {
            bytes.extend(long.to_be_bytes());
        }
        for int in [6i32, 7, -1] {
            bytes.extend(int.to_be_bytes());
        }
        bytes.extend(i64::MIN.to_be_bytes());
        assert_eq!(bytes.len(), 8 + 60);
        assert_eq!(end(begin(b"/a/b", b"data"), &stat), Crc32::START.with(&bytes).value());
        assert_eq!(begin(b"/", b"x"), begin(b"", b"x"), "the root's path is empty here");
    }

    #[test]
    fn what_is_below_zookeeper_does_not_count() {
        assert!(counts(b"/") && counts(b"/zookeeper") && counts(b"/zookeepers/a"));
        assert!(!counts(b"/zookeeper/quota") && !counts(b"/zookeeper/config"));
    }
}
