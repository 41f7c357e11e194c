//! Epoch metadata: what must be known before anything else in the log means something. Two checksummed copies.
//!
//! Guarantees: the copies are written one after the other, each durable before the next is touched, so a crash leaves at least one
//! whole; the one with the higher sequence counts. A start makes both files anew; from then on they are written in place, in blocks that
//! they have already: a new epoch must be possible on a full disk. Leaves to others: when it changes (`recover` at a start, `writer` for
//! epochs).

use crate::base::checksum::checksum;
use crate::base::ids::{ClusterId, EPOCH_MAX, Zxid};
use crate::base::limits::BLOCK_BYTES;
use crate::log::batch::{FORMAT_VERSION, Identity, RUNNING_NUMBER_MAX};
use crate::log::fields::{get_u32, get_u64, get_u128, newer_format, put_u32, put_u64, put_u128};
use crate::log::segment::LOG_DIR;
use crate::model::file::{Damage, FileOp, FilePath, Files, Script, Stored, Volume};

/// First bytes of each copy.
pub const META_MAGIC: u64 = u64::from_le_bytes(*b"RKepoch\n");
/// Bytes in front of the list of ended generations.
const FIXED_BYTES: usize = 80;
/// Bytes of one ended generation.
const SPAN_BYTES: usize = 40;
const SUM_BYTES: usize = 8;
/// Bit of the flags.
const FLAG_REPAIRING: u32 = 1;

/// A generation that is over. Whatever it holds beyond its end is dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Its number.
    pub generation: u64,
    /// What its first batch follows.
    pub start: Identity,
    /// Its last live batch; equal to `start` when it has none.
    pub end: Identity,
}

/// The content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meta {
    /// Whose history this is.
    pub cluster: ClusterId,
    /// Highest epoch that this server promised.
    pub accepted_epoch: u32,
    /// Epoch of the leader whose history this server holds.
    pub current_epoch: u32,
    /// It lacks something that it once made durable, until a leader has synchronised it: its word doesn't count.
    pub repairing: bool,
    /// Log generation in use.
    pub generation: u64,
    /// What the first batch of that generation follows.
    pub start: Identity,
    /// Grows with each change; the higher copy counts.
    pub sequence: u64,
    /// Earlier generations of which segments may remain, ascending.
    pub ended: Vec<Span>,
}

/// File of copy 0 or 1.
#[must_use]
pub fn meta_path(copy: usize) -> FilePath {
    FilePath::new(Volume::Log, format!("{LOG_DIR}/epoch-{copy}.meta"))
}

impl Meta {
    /// The bytes of one copy. In the file zeros follow, to the end of the block.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; FIXED_BYTES + self.ended.len() * SPAN_BYTES + SUM_BYTES];
        put_u64(&mut out, 0, META_MAGIC);
        put_u32(&mut out, 8, FORMAT_VERSION);
        put_u32(&mut out, 12, u32::try_from(self.ended.len()).expect("fewer generations than 2^32"));
        put_u128(&mut out, 16, self.cluster.0);
        put_u32(&mut out, 32, self.accepted_epoch);
        put_u32(&mut out, 36, self.current_epoch);
        put_u64(&mut out, 40, self.generation);
        put_u64(&mut out, 48, self.sequence);
        put_identity(&mut out, 56, self.start);
        put_u32(&mut out, 72, if self.repairing { FLAG_REPAIRING } else { 0 });
        for (idx, span) in self.ended.iter().enumerate() {
            let at = FIXED_BYTES + idx * SPAN_BYTES;
            put_u64(&mut out, at, span.generation);
            put_identity(&mut out, at + 8, span.start);
            put_identity(&mut out, at + 24, span.end);
        }
        let at = out.len() - SUM_BYTES;
        let sum = checksum(&out[..at]);
        put_u64(&mut out, at, sum);
        out
    }

    /// Reads and checks one copy.
    ///
    /// # Errors
    /// A sentence that says what was found.
    pub fn decode(bytes: &[u8]) -> Result<Meta, String> {
        if bytes.len() < FIXED_BYTES + SUM_BYTES {
            return Err(format!("{} bytes, epoch metadata has at least {}", bytes.len(), FIXED_BYTES + SUM_BYTES));
        }
        if get_u64(bytes, 0) != META_MAGIC {
            return Err("no epoch metadata".to_owned());
        }
        let spans = get_u32(bytes, 12) as usize;
        let Some(at) = spans.checked_mul(SPAN_BYTES).map(|len| len.saturating_add(FIXED_BYTES)).filter(|at| *at <= bytes.len() - SUM_BYTES)
        else {
            return Err("the number of generations doesn't fit the length".to_owned());
        };
        if checksum(&bytes[..at]) != get_u64(bytes, at) {
            return Err("the checksum of the epoch metadata is wrong".to_owned());
        }
        let version = get_u32(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(newer_format(version));
        }
        let flags = get_u32(bytes, 72);
        if flags & !FLAG_REPAIRING != 0 {
            return Err(format!("unknown flags {flags:#x} in the epoch metadata"));
        }
        let meta = Meta {
            cluster: ClusterId(get_u128(bytes, 16)),
            accepted_epoch: get_u32(bytes, 32),
            current_epoch: get_u32(bytes, 36),
            repairing: get_u32(bytes, 72) & FLAG_REPAIRING != 0,
            generation: get_u64(bytes, 40),
            start: get_identity(bytes, 56),
            sequence: get_u64(bytes, 48),
            ended: bytes[FIXED_BYTES..at].chunks_exact(SPAN_BYTES).map(read_span).collect(),
        };
        if meta.is_plausible() { Ok(meta) } else { Err("a field of the epoch metadata is out of range".to_owned()) }
    }

    fn is_plausible(&self) -> bool {
        self.accepted_epoch <= EPOCH_MAX
            && self.current_epoch <= EPOCH_MAX
            && self.ended.windows(2).all(|w| w[0].generation < w[1].generation)
            && self.ended.last().is_none_or(|s| s.generation < self.generation)
            && self.is_in_order()
            && self.generation <= RUNNING_NUMBER_MAX
            && self.sequence <= RUNNING_NUMBER_MAX
    }

    /// No generation reaches into a later one: a batch could count twice.
    pub(super) fn is_in_order(&self) -> bool {
        self.ended.iter().all(|s| s.start.zxid <= s.end.zxid)
            && self.ended.windows(2).all(|w| w[0].end.zxid <= w[1].start.zxid)
            && self.ended.last().is_none_or(|s| s.end.zxid <= self.start.zxid)
    }

    /// The ended generation `generation`, if it is remembered.
    #[must_use]
    pub fn span(&self, generation: u64) -> Option<&Span> {
        self.ended.binary_search_by_key(&generation, |s| s.generation).ok().map(|idx| &self.ended[idx])
    }

    /// What a copy's file holds.
    fn padded(&self) -> Vec<u8> {
        let mut bytes = self.encode();
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        bytes
    }

    /// Steps that write both copies in place, one after the other. They need no room on the disk, unless there are so many ended
    /// generations that another block is begun.
    #[must_use]
    pub fn update_script(&self) -> Script {
        let copy = |path: FilePath| [FileOp::Write { path: path.clone(), at: 0, bytes: self.padded() }, FileOp::Sync(path)];
        Script { ops: (0..2).map(meta_path).flat_map(copy).collect() }
    }

    /// Steps that make both copies' files anew, one after the other.
    #[must_use]
    pub fn store_script(&self) -> Script {
        let dir = FilePath::new(Volume::Log, LOG_DIR);
        let mut ops = Vec::new();
        for copy in 0..2 {
            let path = meta_path(copy);
            let temp = FilePath::new(Volume::Log, format!("{}.tmp", path.name));
            ops.push(FileOp::Create(temp.clone()));
            ops.push(FileOp::Write { path: temp.clone(), at: 0, bytes: self.padded() });
            ops.push(FileOp::Sync(temp.clone()));
            ops.push(FileOp::Rename { from: temp, to: path });
            ops.push(FileOp::SyncDir(dir.clone()));
        }
        Script { ops }
    }
}

/// What reading both copies gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaCopies {
    /// The metadata.
    pub meta: Stored<Meta>,
    /// A copy that can't be read, or is missing, although the other is good. The next start writes both anew.
    pub worn: Option<Damage>,
}

/// Reads both copies. It is unreadable when neither is good and anything of them is there.
#[must_use]
pub fn read_meta(files: &dyn Files) -> MetaCopies {
    let read = |copy: usize| match files.bytes(&meta_path(copy)) {
        Stored::Empty => Stored::Empty,
        Stored::Unreadable(damage) => Stored::Unreadable(damage),
        Stored::Present(bytes) => match Meta::decode(bytes) {
            Ok(meta) => Stored::Present(meta),
            Err(what) => Stored::Unreadable(Damage { path: meta_path(copy).name, offset: 0, what }),
        },
    };
    match (read(0), read(1)) {
        (Stored::Present(a), Stored::Present(b)) => {
            MetaCopies { meta: Stored::Present(if a.sequence >= b.sequence { a } else { b }), worn: None }
        }
        (Stored::Present(good), Stored::Unreadable(worn)) | (Stored::Unreadable(worn), Stored::Present(good)) => {
            MetaCopies { meta: Stored::Present(good), worn: Some(worn) }
        }
        (Stored::Present(good), Stored::Empty) => MetaCopies { meta: Stored::Present(good), worn: Some(missing(1)) },
        (Stored::Empty, Stored::Present(good)) => MetaCopies { meta: Stored::Present(good), worn: Some(missing(0)) },
        (Stored::Unreadable(damage), _) | (_, Stored::Unreadable(damage)) => MetaCopies { meta: Stored::Unreadable(damage), worn: None },
        (Stored::Empty, Stored::Empty) => MetaCopies { meta: Stored::Empty, worn: None },
    }
}

fn missing(copy: usize) -> Damage {
    Damage { path: meta_path(copy).name, offset: 0, what: "this copy of the epoch metadata is missing".to_owned() }
}

fn put_identity(out: &mut [u8], at: usize, identity: Identity) {
    put_u64(out, at, identity.zxid.0);
    put_u64(out, at + 8, identity.checksum);
}

fn get_identity(bytes: &[u8], at: usize) -> Identity {
    Identity { zxid: Zxid(get_u64(bytes, at)), checksum: get_u64(bytes, at + 8) }
}

fn read_span(bytes: &[u8]) -> Span {
    Span { generation: get_u64(bytes, 0), start: get_identity(bytes, 8), end: get_identity(bytes, 24) }
}
