//! Names, numbers and records of a snapshot file.

use super::fields::{Fields, put_bytes};
use crate::base::checksum::checksum;
use crate::base::ids::{SessionId, Zxid};
use crate::model::file::{FilePath, Volume};
use crate::model::image::{AclImage, NodeImage, SessionImage};
use crate::model::stat::PersistedStat;

/// Directory of snapshots below `dataDir`.
pub const SNAPSHOT_DIR: &str = "snapshot";
/// First bytes of the file.
pub(super) const MAGIC: [u8; 8] = *b"RKsnap\r\n";
/// Version of the layout.
pub(super) const VERSION: u32 = 1;
/// Bytes of the file header: magic, version, reserved, zxid, checksum of those.
pub(super) const HEADER_BYTES: usize = 32;
/// Bytes of a chunk's header: kind, number, items, payload length, checksum over those and the payload.
pub(super) const CHUNK_HEADER_BYTES: usize = 24;
/// A chunk is closed at this many payload bytes; a larger record makes a larger chunk.
pub(super) const CHUNK_BYTES: usize = 128 << 10;
/// Data length that says "null".
const NULL: u32 = u32::MAX;

/// What a chunk holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Kind {
    /// Sessions.
    Sessions = 1,
    /// The ACL table.
    Acls = 2,
    /// Nodes.
    Nodes = 3,
    /// Counts and digest; the last one.
    Trailer = 4,
}

impl Kind {
    pub(super) fn from_number(number: u32) -> Option<Kind> {
        [Kind::Sessions, Kind::Acls, Kind::Nodes, Kind::Trailer].into_iter().find(|k| *k as u32 == number)
    }
}

/// Where the snapshot of `zxid` lies.
#[must_use]
pub fn file_path(zxid: Zxid) -> FilePath {
    FilePath::new(Volume::Data, format!("{SNAPSHOT_DIR}/{:016x}.snapshot", zxid.0))
}

/// Where it lies until it is whole.
pub(super) fn temporary_path(zxid: Zxid) -> FilePath {
    FilePath::new(Volume::Data, format!("{SNAPSHOT_DIR}/{:016x}.tmp", zxid.0))
}

/// The zxid that a file's name says; `None` for every other name.
#[must_use]
pub fn zxid_of(name: &str) -> Option<Zxid> {
    let digits = name.strip_suffix(".snapshot")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok().map(Zxid)).flatten()
}

pub(super) fn header(zxid: Zxid) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[16..24].copy_from_slice(&zxid.0.to_le_bytes());
    let sum = checksum(&out[..24]);
    out[24..].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Head of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ChunkHead {
    pub(super) kind: u32,
    pub(super) number: u32,
    pub(super) items: u32,
    pub(super) len: u32,
}

impl ChunkHead {
    pub(super) fn fields(self) -> [u8; 16] {
        let mut out = [0; 16];
        for (at, field) in [self.kind, self.number, self.items, self.len].into_iter().enumerate() {
            out[at * 4..at * 4 + 4].copy_from_slice(&field.to_le_bytes());
        }
        out
    }

    /// Over the head and the payload, so that neither can be exchanged.
    pub(super) fn checksum(self, payload: &[u8]) -> u64 {
        checksum(payload) ^ checksum(&self.fields()).rotate_left(1)
    }
}

pub(super) fn put_session(out: &mut Vec<u8>, image: &SessionImage) {
    out.extend_from_slice(&image.session.0.to_le_bytes());
    out.extend_from_slice(&image.timeout_ms.to_le_bytes());
    out.extend_from_slice(&image.password);
}

pub(super) fn take_session(f: &mut Fields<'_>) -> Option<SessionImage> {
    Some(SessionImage { session: SessionId(f.i64()?), timeout_ms: f.u32()?, password: f.array()? })
}

pub(super) fn put_acl(out: &mut Vec<u8>, image: AclImage<'_>) {
    out.extend_from_slice(&image.acl.to_le_bytes());
    put_bytes(out, image.list);
}

pub(super) fn take_acl<'a>(f: &mut Fields<'a>) -> Option<AclImage<'a>> {
    Some(AclImage { acl: f.u32()?, list: f.bytes()? })
}

pub(super) fn put_node(out: &mut Vec<u8>, image: NodeImage<'_>) {
    for field in [image.slot, image.parent_slot, image.acl] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    let stat = &image.stat;
    for field in [stat.czxid.0, stat.mzxid.0, stat.pzxid.0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    for field in [stat.ctime_ms, stat.mtime_ms, stat.owner] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    for field in [stat.version, stat.cversion, stat.aversion] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    put_bytes(out, image.name);
    match image.data {
        Some(data) => put_bytes(out, data),
        None => out.extend_from_slice(&NULL.to_le_bytes()),
    }
}

pub(super) fn take_node<'a>(f: &mut Fields<'a>) -> Option<NodeImage<'a>> {
    let (slot, parent_slot, acl) = (f.u32()?, f.u32()?, f.u32()?);
    let (czxid, mzxid, pzxid) = (Zxid(f.u64()?), Zxid(f.u64()?), Zxid(f.u64()?));
    let (ctime_ms, mtime_ms, owner) = (f.i64()?, f.i64()?, f.i64()?);
    let (version, cversion, aversion) = (f.i32()?, f.i32()?, f.i32()?);
    let name = f.bytes()?;
    let mut look = *f;
    let data = if look.u32()? == NULL {
        *f = look;
        None
    } else {
        Some(f.bytes()?)
    };
    let stat = PersistedStat { czxid, mzxid, pzxid, ctime_ms, mtime_ms, version, cversion, aversion, owner };
    Some(NodeImage { slot, parent_slot, name, data, acl, stat })
}
