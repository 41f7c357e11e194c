//! Reads a snapshot from bytes that nobody has vouched for.
//!
//! Each chunk is checked before its records are handed on, the trailer last: a sink must throw away what it took when
//! [`read`] fails. Lengths are compared with the bytes that are there before they are used, and nothing is copied.

use super::format::{CHUNK_HEAD_BYTES, Head, Kind, MAGIC, NULL_DATA, Summary, VERSION};
use crate::base::checksum::checksum;
use crate::base::ids::{ClusterId, SessionId, Zxid};
use crate::model::acl::AclList;
use crate::model::file::Damage;
use crate::model::image::{AclImage, NodeImage, SessionImage};
use crate::model::stat::PersistedStat;
use crate::mutant;

/// Takes what a snapshot holds: the head, then sessions, ACL lists, nodes. An error of a sink (what is wrong with the record)
/// becomes damage at the record's offset.
#[allow(missing_docs, reason = "one method for each kind of record")]
pub trait SnapshotSink {
    fn head(&mut self, head: &Head) -> Result<(), String>;
    fn session(&mut self, image: SessionImage) -> Result<(), String>;
    fn acl(&mut self, image: AclImage<'_>) -> Result<(), String>;
    fn node(&mut self, image: NodeImage<'_>) -> Result<(), String>;
}

/// Takes nothing.
pub(super) struct Nothing;

impl SnapshotSink for Nothing {
    fn head(&mut self, _: &Head) -> Result<(), String> {
        Ok(())
    }
    fn session(&mut self, _: SessionImage) -> Result<(), String> {
        Ok(())
    }
    fn acl(&mut self, _: AclImage<'_>) -> Result<(), String> {
        Ok(())
    }
    fn node(&mut self, _: NodeImage<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// Checks a whole snapshot and loads nothing.
///
/// # Errors
/// The first damage.
pub fn verify(path: &str, bytes: &[u8]) -> Result<Summary, Damage> {
    read(path, bytes, &mut Nothing)
}

/// Reads the snapshot in `bytes`; `path` is for the damage report.
///
/// # Errors
/// The first damage, with its offset in the file.
pub fn read<S: SnapshotSink>(path: &str, bytes: &[u8], sink: &mut S) -> Result<Summary, Damage> {
    read_chunks(bytes, sink).map_err(|(offset, what)| Damage { path: path.to_owned(), offset: offset as u64, what })
}

pub(super) type Broken = (usize, String);

fn read_chunks<S: SnapshotSink>(bytes: &[u8], sink: &mut S) -> Result<Summary, Broken> {
    let mut chunks = Chunks::default();
    loop {
        let at = chunks.at;
        let chunk = chunk_at(bytes.get(at..).unwrap_or_default(), at)?;
        let end = chunk.end;
        if let Some(summary) = chunks.take(&chunk, sink)? {
            let after = bytes.len() - end;
            return if after == 0 { Ok(summary) } else { Err((end, format!("{after} bytes after the trailer"))) };
        }
    }
}

/// Takes the chunks of one file in order and knows what may come next.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks {
    /// Where the next chunk begins.
    pub(super) at: usize,
    number: u32,
    head: Option<Head>,
    kind: Option<Kind>,
    counts: [u64; 3],
}

impl Chunks {
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Takes the chunk that begins at `self.at`; the trailer gives the summary.
    pub(super) fn take<S: SnapshotSink>(&mut self, chunk: &Chunk<'_>, sink: &mut S) -> Result<Option<Summary>, Broken> {
        let at = self.at;
        let mut body = Cursor { bytes: chunk.body, at: 0, base: at + CHUNK_HEAD_BYTES };
        let Some((head, before)) = self.head.zip(self.kind) else {
            if chunk.kind != Kind::Head {
                return Err((at, "the first chunk is no head".to_owned()));
            }
            let head = body.head(chunk.zxid)?;
            sink.head(&head).map_err(|what| (at, what))?;
            (self.at, self.number, self.head, self.kind) = (chunk.end, 1, Some(head), Some(Kind::Head));
            return Ok(None);
        };
        let number = self.number;
        if chunk.number != number || chunk.zxid != head.zxid || chunk.kind < before || chunk.kind == Kind::Head {
            let found = format!("chunk {} of zxid {} ({:?})", chunk.number, chunk.zxid, chunk.kind);
            return Err((at, format!("{found} where chunk {number} of zxid {} belongs, after {before:?}", head.zxid)));
        }
        if chunk.kind == Kind::Trailer {
            return trailer(&mut body, head, self.counts, at).map(Some);
        }
        while body.at < body.bytes.len() {
            let start = body.offset();
            let taken = match chunk.kind {
                Kind::Sessions => sink.session(body.session()?),
                Kind::Acls => sink.acl(body.acl()?),
                _ => sink.node(body.node()?),
            };
            taken.map_err(|what| (start, what))?;
            self.counts[chunk.kind as usize - Kind::Sessions as usize] += 1;
        }
        (self.at, self.number, self.kind) = (chunk.end, number + 1, Some(chunk.kind));
        Ok(None)
    }
}

fn trailer(body: &mut Cursor<'_>, head: Head, counts: [u64; 3], at: usize) -> Result<Summary, Broken> {
    let stored = [body.u64()?, body.u64()?, body.u64()?];
    let digest = body.u64()?;
    body.end()?;
    if stored != counts {
        return Err((at, format!("the trailer counts {stored:?} sessions, lists and nodes, the file holds {counts:?}")));
    }
    Ok(Summary { head, sessions: counts[0], acls: counts[1], nodes: counts[2], digest })
}

pub(super) struct Chunk<'a> {
    kind: Kind,
    number: u32,
    zxid: Zxid,
    body: &'a [u8],
    /// Where the next one begins.
    end: usize,
}

/// The chunk at the start of `rest`, which begins at byte `at` of the file; its checksum verified.
pub(super) fn chunk_at(rest: &[u8], at: usize) -> Result<Chunk<'_>, Broken> {
    let mut head = Cursor { bytes: rest, at: 0, base: at };
    let (magic, version, [kind, zero]) = (head.array::<4>()?, u16::from_le_bytes(head.array()?), head.array::<2>()?);
    if magic != MAGIC {
        return Err((at, "no chunk begins here".to_owned()));
    }
    if version != VERSION {
        return Err((at + 4, format!("format version {version}; this program reads {VERSION}")));
    }
    let (number, body_len, zxid) = (head.u32()?, head.u32()?, Zxid(head.u64()?));
    let body_len = usize::try_from(body_len).map_err(|_| (at + 12, "a chunk larger than memory".to_owned()))?;
    // A length that lies is the chunk's damage, so its own offset is named, not the place where the bytes ran out.
    let body = head.take(body_len).map_err(|(_, what)| (at, format!("in the chunk's body, {what}")))?;
    let covered = head.at;
    let stored = head.u64().map_err(|(_, what)| (at, format!("in the chunk's checksum, {what}")))?;
    let found = checksum(&rest[..covered]);
    if stored != found && !mutant!("snapshot-checksum-ignored") {
        return Err((at, format!("the chunk's checksum is {found:016x}, stored is {stored:016x}")));
    }
    match Kind::from_byte(kind) {
        Some(kind) if zero == 0 => Ok(Chunk { kind, number, zxid, body, end: at + head.at }),
        _ => Err((at + 6, format!("chunk kind {kind}/{zero} is unknown"))),
    }
}

/// A place in bytes; `base` is where they begin in the file.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    base: usize,
}

impl<'a> Cursor<'a> {
    fn offset(&self) -> usize {
        self.base + self.at
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Broken> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..len) else {
            return Err((self.offset(), format!("{len} bytes should follow, {} do", rest.len())));
        };
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, Broken> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Broken> {
        self.array().map(u64::from_le_bytes)
    }

    fn end(&self) -> Result<(), Broken> {
        let left = self.bytes.len() - self.at;
        if left == 0 { Ok(()) } else { Err((self.offset(), format!("{left} bytes too many"))) }
    }

    /// Files from before the checksum was kept end after the generation.
    fn head(&mut self, zxid: Zxid) -> Result<Head, Broken> {
        let (cluster, generation) = (ClusterId(u128::from_le_bytes(self.array()?)), self.u64()?);
        let checksum = if self.at == self.bytes.len() { 0 } else { self.u64()? };
        self.end()?;
        Ok(Head { zxid, cluster, generation, checksum })
    }

    fn session(&mut self) -> Result<SessionImage, Broken> {
        Ok(SessionImage { session: SessionId(self.u64()?.cast_signed()), timeout_ms: self.u32()?, password: self.array()? })
    }

    fn acl(&mut self) -> Result<AclImage<'a>, Broken> {
        let (start, acl, len) = (self.offset(), self.u32()?, self.u32()?);
        let list = self.take(len as usize)?;
        AclList::parse(list).ok_or((start, format!("ACL {acl} is no list")))?;
        Ok(AclImage { acl, list })
    }

    fn node(&mut self) -> Result<NodeImage<'a>, Broken> {
        let (slot, parent_slot, acl, name_len, data_len) = (self.u32()?, self.u32()?, self.u32()?, self.u32()?, self.u32()?);
        let [czxid, mzxid, pzxid] = [Zxid(self.u64()?), Zxid(self.u64()?), Zxid(self.u64()?)];
        let [ctime_ms, mtime_ms, owner] = [self.u64()?, self.u64()?, self.u64()?].map(u64::cast_signed);
        let [version, cversion, aversion] = [self.u32()?, self.u32()?, self.u32()?].map(u32::cast_signed);
        let name = self.take(name_len as usize)?;
        let data = if data_len == NULL_DATA { None } else { Some(self.take(data_len as usize)?) };
        let stat = PersistedStat { czxid, mzxid, pzxid, ctime_ms, mtime_ms, version, cversion, aversion, owner };
        Ok(NodeImage { slot, parent_slot, name, data, acl, stat })
    }
}
