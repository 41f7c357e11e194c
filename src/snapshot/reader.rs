//! Reads snapshots: nothing in the bytes is trusted before its checksum, and no length before the bytes are there.

use super::fields::Fields;
use super::format::{
    CHUNK_HEADER_BYTES, ChunkHead, HEADER_BYTES, Kind, MAGIC, SNAPSHOT_DIR, VERSION, file_path, take_acl, take_node, take_session, zxid_of,
};
use crate::base::checksum::checksum;
use crate::base::ids::Zxid;
use crate::model::file::{Damage, FilePath, Files, Stored, Volume};
use crate::model::image::{AclImage, NodeImage, SessionImage};
use crate::mutant;

/// Takes a snapshot's parts in the order of the file: sessions, ACLs, nodes. An error says what is wrong with a part.
#[allow(missing_docs, reason = "each takes what it is named after")]
pub trait SnapshotSink {
    fn session(&mut self, image: SessionImage) -> Result<(), String>;
    fn acl(&mut self, image: AclImage<'_>) -> Result<(), String>;
    fn node(&mut self, image: NodeImage<'_>) -> Result<(), String>;
}

/// A file that may hold a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// As its name says.
    pub zxid: Zxid,
    /// Where.
    pub path: FilePath,
}

/// What a whole snapshot says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Everything through it is in.
    pub zxid: Zxid,
    /// The tree's digest at it.
    pub digest: u64,
    /// Sessions in it.
    pub sessions: u64,
    /// ACLs in it.
    pub acls: u64,
    /// Nodes in it.
    pub nodes: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// All snapshots, oldest first.
///
/// # Errors
/// When the directory can't be listed.
pub fn list(files: &dyn Files) -> Result<Vec<Candidate>, Damage> {
    let entries = files.list(&FilePath::new(Volume::Data, SNAPSHOT_DIR))?;
    let mut found: Vec<Candidate> =
        entries.iter().filter_map(|e| zxid_of(&e.name)).map(|zxid| Candidate { zxid, path: file_path(zxid) }).collect();
    found.sort_by_key(|c| c.zxid);
    Ok(found)
}

/// Reads one snapshot into `sink`.
///
/// # Errors
/// The file, the offset and what is wrong there. `sink` may have been given a part; it is to be thrown away.
pub fn load(files: &dyn Files, candidate: &Candidate, sink: &mut dyn SnapshotSink) -> Result<Summary, Damage> {
    let name = candidate.path.to_string();
    match files.bytes(&candidate.path) {
        Stored::Present(bytes) => {
            let summary = load_bytes(bytes, &name, sink)?;
            if summary.zxid == candidate.zxid {
                return Ok(summary);
            }
            Err(damage(&name, 16, format!("it is of zxid {}, its name says {}", summary.zxid, candidate.zxid)))
        }
        Stored::Empty => Err(damage(&name, 0, "the file is missing".to_owned())),
        Stored::Unreadable(damage) => Err(damage),
    }
}

fn damage(path: &str, offset: usize, what: String) -> Damage {
    Damage { path: path.to_owned(), offset: offset as u64, what }
}

/// Reads a snapshot from its bytes; `name` is for messages.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(bytes: &[u8], name: &str, sink: &mut dyn SnapshotSink) -> Result<Summary, Damage> {
    let zxid = read_header(bytes).map_err(|what| damage(name, 0, what))?;
    let mut at = HEADER_BYTES;
    let mut counts = [0u64; 3];
    for number in 0u32.. {
        let (head, payload) = read_chunk(&bytes[at..], number).map_err(|what| damage(name, at, what))?;
        let Some(kind) = Kind::from_number(head.kind) else {
            return Err(damage(name, at, format!("a chunk of the unknown kind {}", head.kind)));
        };
        let next = at + CHUNK_HEADER_BYTES + payload.len();
        if kind == Kind::Trailer {
            let trailer = read_trailer(payload).ok_or_else(|| damage(name, at, "a trailer that isn't whole".to_owned()))?;
            if trailer.counts != counts || trailer.zxid != zxid || next != bytes.len() {
                let what = format!("the trailer promises {:?} items at {}, found were {counts:?} at {zxid}", trailer.counts, trailer.zxid);
                return Err(damage(name, at, what));
            }
            let [sessions, acls, nodes] = counts;
            return Ok(Summary { zxid, digest: trailer.digest, sessions, acls, nodes, bytes: bytes.len() as u64 });
        }
        read_items(kind, head.items, payload, sink).map_err(|what| damage(name, at, what))?;
        counts[kind as usize - 1] += u64::from(head.items);
        at = next;
    }
    Err(damage(name, at, "more chunks than can be numbered".to_owned()))
}

fn read_header(bytes: &[u8]) -> Result<Zxid, String> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(format!("{} bytes; the header alone has {HEADER_BYTES}", bytes.len()));
    };
    let mut f = Fields(header);
    let magic: Option<[u8; 8]> = f.array();
    if magic != Some(MAGIC) {
        return Err("not a snapshot: the first bytes are others".to_owned());
    }
    let (version, reserved, zxid, sum) = (f.u32(), f.u32(), f.u64(), f.u64());
    if sum != Some(checksum(&header[..24])) {
        return Err("the header's checksum is wrong".to_owned());
    }
    if version != Some(VERSION) || reserved != Some(0) {
        return Err(format!("version {version:?}; this program reads {VERSION}"));
    }
    zxid.map(Zxid).ok_or_else(|| "a short header".to_owned())
}

fn read_chunk(bytes: &[u8], number: u32) -> Result<(ChunkHead, &[u8]), String> {
    let mut f = Fields(bytes);
    let short = || "the file ends before its trailer".to_owned();
    let head = ChunkHead {
        kind: f.u32().ok_or_else(short)?,
        number: f.u32().ok_or_else(short)?,
        items: f.u32().ok_or_else(short)?,
        len: f.u32().ok_or_else(short)?,
    };
    let sum = f.u64().ok_or_else(short)?;
    let payload = usize::try_from(head.len).ok().and_then(|len| f.take(len));
    let payload = payload.ok_or_else(|| format!("a chunk of {} bytes where {} are left", head.len, f.0.len()))?;
    if sum != head.checksum(payload) && !mutant!("snapshot-checksum-ignored") {
        return Err(format!("the checksum of chunk {number} is wrong"));
    }
    if head.number != number {
        return Err(format!("chunk {} where chunk {number} belongs", head.number));
    }
    Ok((head, payload))
}

struct Trailer {
    counts: [u64; 3],
    zxid: Zxid,
    digest: u64,
}

fn read_trailer(payload: &[u8]) -> Option<Trailer> {
    let mut f = Fields(payload);
    let trailer = Trailer { counts: [f.u64()?, f.u64()?, f.u64()?], zxid: Zxid(f.u64()?), digest: f.u64()? };
    f.0.is_empty().then_some(trailer)
}

fn read_items(kind: Kind, items: u32, payload: &[u8], sink: &mut dyn SnapshotSink) -> Result<(), String> {
    let mut f = Fields(payload);
    for item in 0..items {
        let bad = || format!("item {item} of the chunk isn't whole");
        match kind {
            Kind::Sessions => sink.session(take_session(&mut f).ok_or_else(bad)?)?,
            Kind::Acls => sink.acl(take_acl(&mut f).ok_or_else(bad)?)?,
            Kind::Nodes => sink.node(take_node(&mut f).ok_or_else(bad)?)?,
            Kind::Trailer => {}
        }
    }
    if f.0.is_empty() { Ok(()) } else { Err(format!("{} bytes behind the last item of the chunk", f.0.len())) }
}
