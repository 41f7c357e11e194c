//! The tree of znodes: what every transaction changes and every read asks.
//!
//! Guarantees: applying can't fail (the transaction carries resulting values) and gives the same tree, stats and digest on
//! every server; a node costs its bytes and about 80 more; a snapshot scan is exact at one zxid while changes go on.
//! Leaves to others: whether a request is allowed (`prep`), watches, sessions, and the bytes of log and snapshot.
//!
//! `arena` holds the nodes, `index` finds them by path, `acl_table` interns ACL lists; `apply` changes, `query` reads, `scan`
//! hands everything to a snapshot and `load` takes it back; `ephemeral`, `expire`, `quota_usage` and `digest` keep what
//! follows from the nodes.

pub mod watch;
mod acl_table;
mod apply;
mod arena;
#[cfg(test)]
mod behaviour_test;
mod crc32;
mod digest;
mod ephemeral;
mod expire;
mod index;
mod load;
#[cfg(test)]
mod model_test;
mod node;
mod query;
mod quota_usage;
mod scan;
mod slab;

pub use arena::NodeId;
pub use load::{LoadError, TreeLoader};
pub use quota_usage::Quota;

use crate::base::ids::Zxid;
use crate::model::acl::{AclList, OPEN_UNSAFE, READ_UNSAFE};
use crate::model::image::NodeImage;
use crate::model::stat::PersistedStat;
use crate::model::watch_kind::EventType;
use acl_table::AclTable;
use arena::{Arena, NewNode};
use digest::TreeDigest;
use ephemeral::Ephemerals;
use expire::Reaper;
use index::{PathHash, PathIndex};
use quota_usage::QuotaPaths;
use scan::Scan;

/// What a tree must know from the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TreeOptions {
    /// Drawn by the host, so that a client can't build paths that collide.
    pub hash_seed: u64,
    /// `zookeeper.extendedTypesEnabled`: an owner with top byte 0xff is a TTL, not a session.
    pub extended_types: bool,
    /// `zookeeper.digest.enabled=false`: the digest is 0 and isn't checked when loading.
    pub skip_digest: bool,
}

/// One event of a change, for the watches.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What happened.
    pub event: EventType,
    /// Where.
    pub path: &'a [u8],
    /// Whose READ permission filters the event: the node's own list (as it was, for a deleted node), the parent's for
    /// `NodeChildrenChanged` (T29).
    pub acl: AclList<'a>,
}

/// Takes what applying brings about.
pub trait ApplySink {
    /// An event, in the order of T23.
    fn changed(&mut self, change: Change<'_>);
    /// During a snapshot scan: a node as it was at the scan's zxid, just before it changes for the first time.
    fn old_image(&mut self, image: NodeImage<'_>);
}

/// A sink for replaying without watches and without a scan.
#[derive(Clone, Copy, Debug, Default)]
pub struct IgnoreChanges;

impl ApplySink for IgnoreChanges {
    fn changed(&mut self, _: Change<'_>) {}
    fn old_image(&mut self, _: NodeImage<'_>) {}
}

/// All znodes at one zxid.
pub struct Tree {
    options: TreeOptions,
    arena: Arena,
    index: PathIndex,
    acls: AclTable,
    ephemerals: Ephemerals,
    reaper: Reaper,
    quotas: QuotaPaths,
    digest: TreeDigest,
    scan: Option<Scan>,
    /// Bytes of all paths and data.
    data_bytes: u64,
    last_zxid: Zxid,
    /// Between the first change of a transaction and its end.
    in_txn: bool,
    /// ACL numbers to release at the end of the transaction.
    released_acls: Vec<u32>,
    /// For building paths.
    scratch: Vec<u8>,
}

/// The nodes that always exist besides the root, with their ACLs (T45).
const BUILT_IN: [(&[u8], &[u8]); 3] = [(b"/zookeeper", OPEN_UNSAFE), (quota_usage::QUOTA_ROOT, OPEN_UNSAFE), (CONFIG, READ_UNSAFE)];
/// Who belongs to the ensemble.
const CONFIG: &[u8] = b"/zookeeper/config";

impl Tree {
    /// The tree of a fresh standalone server: the root, `/zookeeper`, `/zookeeper/quota` and `/zookeeper/config`, whose ACL
    /// version is -1 because a server gives it its ACL at birth (T45).
    #[must_use]
    pub fn new(options: TreeOptions) -> Tree {
        let mut tree = Tree::bare(options);
        tree.add_built_in(b"/", OPEN_UNSAFE, 0);
        for (path, acl) in BUILT_IN {
            let aversion = if acl == READ_UNSAFE { -1 } else { 0 };
            tree.add_built_in(path, acl, aversion);
        }
        tree
    }

    /// What `/zookeeper/config` holds on a member of an ensemble: each server writes it for itself, by no transaction, as ZooKeeper does
    /// (data version -1, `mzxid` the version of the membership). It counts for no digest.
    pub fn set_config(&mut self, text: &[u8], version: u64, wall_ms: i64) {
        let Some(node) = self.find(CONFIG) else { return };
        let stat = PersistedStat { mzxid: Zxid(version), mtime_ms: wall_ms, version: -1, ..self.arena.stat(node.0) };
        self.rewrite(node.0, CONFIG, Some(text), &stat);
    }

    /// Without any node, not even a root.
    fn bare(options: TreeOptions) -> Tree {
        Tree {
            options,
            arena: Arena::new(),
            index: PathIndex::new(),
            acls: AclTable::new(options.hash_seed),
            ephemerals: Ephemerals::new(),
            reaper: Reaper::new(),
            quotas: QuotaPaths::new(),
            digest: TreeDigest::new(options.skip_digest),
            scan: None,
            // The alias of the root counts with its path, as in ZooKeeper (T70).
            data_bytes: 1,
            last_zxid: Zxid::ZERO,
            in_txn: false,
            released_acls: Vec::new(),
            scratch: Vec::new(),
        }
    }

    fn add_built_in(&mut self, path: &[u8], acl: &[u8], aversion: i32) {
        let parent = crate::model::path::parent(path).and_then(|parent| self.find(parent)).unwrap_or(NodeId::ROOT);
        let stat = PersistedStat { aversion, ..PersistedStat::default() };
        let (acl, digested) = (self.acls.intern(acl), digest::counts(path));
        let name = crate::model::path::name(path);
        let slot = self.arena.add(&NewNode { parent: parent.0, name, data: Some(b""), acl, stat, digested });
        self.enter(slot, path);
    }

    /// Makes a node in the arena known to index, digest and count of bytes.
    fn enter(&mut self, slot: u32, path: &[u8]) {
        self.index.insert(self.hash(path), slot);
        self.count_in(slot, path);
    }

    /// Adds a node to the digest and to the count of bytes.
    fn count_in(&mut self, slot: u32, path: &[u8]) {
        self.digest.add(&mut self.arena, slot, path);
        self.data_bytes += Tree::counted_bytes(slot, path, self.arena.node(slot).data_len());
    }

    /// What a node adds to the approximate size: its path (the root's own is empty, its alias is counted apart) and data.
    fn counted_bytes(slot: u32, path: &[u8], data_len: usize) -> u64 {
        let path_len = if slot == NodeId::ROOT.0 { 0 } else { path.len() };
        (path_len + data_len) as u64
    }

    fn hash(&self, path: &[u8]) -> PathHash {
        PathHash::of(self.options.hash_seed, path)
    }
}
