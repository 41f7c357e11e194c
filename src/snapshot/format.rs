//! The layout in numbers, and what both reader and writer know of it. All integers are little-endian.

use crate::base::ids::{ClusterId, Zxid};
use crate::model::file::{FileOp, FilePath, Script, Volume};
use crate::model::position::Identity;

/// Where snapshots lie, below the data directory.
pub const DIR: &str = "snapshots";
/// First bytes of every chunk.
pub(super) const MAGIC: [u8; 4] = *b"RKSN";
/// Of the layout; a reader refuses every other.
pub(super) const VERSION: u16 = 1;
/// Magic, version, kind, a zero, number, body length, zxid.
pub(super) const CHUNK_HEAD_BYTES: usize = 24;
/// XXH3 of head and body.
pub(super) const CHUNK_SUM_BYTES: usize = 8;
/// A chunk closes when its body has this many bytes; one record may be larger.
pub(super) const CHUNK_BODY_BYTES: usize = 128 << 10;
/// Of a session.
pub(super) const SESSION_BYTES: usize = 28;
/// Of a node without name and data.
pub(super) const NODE_FIXED_BYTES: usize = 80;
/// Data length that stands for null.
pub(super) const NULL_DATA: u32 = u32::MAX;

/// What a chunk holds. Chunks come in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    Head = 1,
    Sessions = 2,
    Acls = 3,
    Nodes = 4,
    Trailer = 5,
}

impl Kind {
    pub(super) fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Head, Kind::Sessions, Kind::Acls, Kind::Nodes, Kind::Trailer].into_iter().find(|k| *k as u8 == byte)
    }
}

/// Of what history a snapshot is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// It holds every change up to here and none after.
    pub zxid: Zxid,
    /// The ensemble's identity.
    pub cluster: ClusterId,
    /// Log generation in which it was taken.
    pub generation: u64,
    /// Checksum of the batch that ends at `zxid`, so that a log can go on from it; 0 when it isn't known.
    pub checksum: u64,
}

impl Head {
    /// Where it stands in the history.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity { zxid: self.zxid, checksum: self.checksum }
    }
}

/// What a whole snapshot says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Of what history it is.
    pub head: Head,
    /// Number of sessions.
    pub sessions: u64,
    /// Number of ACL lists.
    pub acls: u64,
    /// Number of nodes.
    pub nodes: u64,
    /// Digest of the tree at the zxid; whoever builds the tree compares it.
    pub digest: u64,
}

/// The file of the snapshot at `zxid`.
#[must_use]
pub fn file_of(zxid: Zxid) -> FilePath {
    FilePath::new(Volume::Data, format!("{DIR}/{:016x}.snap", zxid.0))
}

/// Its name while it is written.
#[must_use]
pub fn temp_file_of(zxid: Zxid) -> FilePath {
    FilePath::new(Volume::Data, format!("{DIR}/{:016x}.part", zxid.0))
}

/// Makes the names of snapshots durable, and the name of their directory, which may have been made just now.
#[must_use]
pub fn keep_names() -> Script {
    let dir = FilePath::new(Volume::Data, DIR);
    let above = dir.dir();
    Script { ops: vec![FileOp::SyncDir(dir), FileOp::SyncDir(above)] }
}

/// The zxid in a file name; `None` for other files.
pub fn zxid_of(name: &str) -> Option<Zxid> {
    let hex = name.strip_suffix(".snap").filter(|hex| hex.len() == 16)?;
    u64::from_str_radix(hex, 16).ok().map(Zxid).filter(|zxid| file_of(*zxid).name.ends_with(name))
}
