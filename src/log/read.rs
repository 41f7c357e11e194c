//! Reading ranges of the log while it is written: what a server that catches up asks for.
//!
//! Guarantees: pure and bounded; only whole, live batches that follow each other through a position that was durable when the request was
//! made; nothing is read but the segments that the log's own books name. Leaves to others: carrying reads out beside appends (hosts).

use crate::base::ids::{ShardId, Zxid};
use crate::base::limits::BLOCK_BYTES;
use crate::base::memory::BatchMemory;
use crate::log::batch::{BadHeader, HEADER_BYTES, Header, Identity, REPLICATED_BYTES};
use crate::log::effect::DiskEffect;
use crate::log::meta::Meta;
use crate::log::recover::is_live;
use crate::log::segment::{LOG_DIR, SEGMENT_HEADER_BYTES};
use crate::log::shard::ClosedSegment;
use crate::log::writer::{Log, Pending};
use crate::model::file::{Damage, FilePath, Files, Stored, Ticket};
use crate::mutant;

/// Bytes that are read at once while headers are looked for.
const WINDOW_BYTES: usize = 256 << 10;
/// Bytes of one answer at most, whatever was asked for; one batch may be longer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What is asked of a host beside the writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadRequest {
    /// Batches after `after`, as many as fit into `bytes_max`, one at least.
    Batches {
        /// Where to begin.
        after: Identity,
        /// How much.
        bytes_max: usize,
        /// The log knows that batches follow there: finding none is damage, not a question for something else.
        known: bool,
        /// What the log knows of its files.
        books: Books,
    },
    /// Is `at` in the log, and if not, what is before it?
    Locate {
        /// Where.
        at: Identity,
        /// What the log knows of its files.
        books: Books,
    },
    /// Bytes of a file.
    File {
        /// Which.
        path: FilePath,
        /// First byte.
        offset: u64,
        /// How many, at most.
        len: usize,
    },
}

/// What the log knows of its files at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Books {
    /// Which generations count how far.
    pub meta: Meta,
    /// The chain on disk is whole from behind this zxid.
    pub floor: Zxid,
    /// Durable through here.
    pub upto: Identity,
    /// Segments that may hold something between the two.
    pub segments: Vec<ClosedSegment>,
}

/// What a read gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadOutcome {
    /// Replicated part of the header and body of each batch, one behind the other.
    Batches {
        /// The batches; none: nothing follows.
        bytes: Vec<u8>,
        /// More were durable.
        more: bool,
    },
    /// Where it is.
    Located(Located),
    /// Bytes of a file; fewer than asked for at its end.
    Bytes(Vec<u8>),
    /// What was asked for isn't there any more, or never was.
    Gone,
    /// What should be there can't be read.
    Damaged(Damage),
}

/// Where a position lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Located {
    /// In this log.
    Here,
    /// Not in this log; this is the last position with a lower zxid that is.
    Before(Identity),
    /// This log begins after it.
    Older,
}

impl<M: BatchMemory> Log<M> {
    /// Asks for batches after `after`, which are durable here.
    pub fn read_batches(&mut self, after: Identity, bytes_max: usize, out: &mut Vec<DiskEffect<M>>) -> Ticket {
        let books = self.books();
        let known = self.knows(after) && self.reaches_back_to(after) && after.zxid < books.upto.zxid;
        self.read(ReadRequest::Batches { after, bytes_max, known, books }, out)
    }

    /// Asks whether `at` is in the log, for positions before [`Log::oldest_known`].
    pub fn locate(&mut self, at: Identity, out: &mut Vec<DiskEffect<M>>) -> Ticket {
        let books = self.books();
        self.read(ReadRequest::Locate { at, books }, out)
    }

    /// Asks for bytes of a file, such as a snapshot.
    pub fn read_file(&mut self, path: FilePath, offset: u64, len: usize, out: &mut Vec<DiskEffect<M>>) -> Ticket {
        self.read(ReadRequest::File { path, offset, len }, out)
    }

    fn read(&mut self, request: ReadRequest, out: &mut Vec<DiskEffect<M>>) -> Ticket {
        let ticket = self.ticket(Pending::Read);
        out.push(DiskEffect::Read { request: Box::new(request), ticket });
        ticket
    }

    /// Segments that are named here stay as they are until every read has ended.
    fn books(&self) -> Books {
        let all = self.old.iter().cloned().chain(self.shards.iter().map(|s| s.in_use()));
        let segments = all.filter(|s| s.last > self.floor).collect();
        Books { meta: self.meta.clone(), floor: self.floor, upto: self.durable, segments }
    }

    /// Whether the disk holds every batch after `after`, for a position that is in this log. Identities are remembered longer than batches.
    #[must_use]
    pub fn reaches_back_to(&self, after: Identity) -> bool {
        after.zxid >= self.floor
    }

    /// Whether segments must stay because one may be read.
    pub(super) fn is_read(&self) -> bool {
        self.pending.iter().any(|(_, what)| *what == Pending::Read)
    }
}

/// Carries a read out.
#[must_use]
pub fn serve_read(files: &dyn Files, request: &ReadRequest) -> ReadOutcome {
    match request {
        ReadRequest::Batches { after, bytes_max, known, books } => {
            match batches(files, *after, (*bytes_max).min(ANSWER_BYTES_MAX), books) {
                // A block that reads as zeros or as something older looks like nothing at all.
                ReadOutcome::Gone if *known && !mutant!("log-missing-is-gone") => ReadOutcome::Damaged(missing(*after, books)),
                outcome => outcome,
            }
        }
        ReadRequest::Locate { at, books } => locate(files, *at, books).map_or_else(ReadOutcome::Damaged, ReadOutcome::Located),
        ReadRequest::File { path, offset, len } => match files.range(path, *offset, (*len).min(ANSWER_BYTES_MAX)) {
            Stored::Present(bytes) => ReadOutcome::Bytes(bytes),
            Stored::Empty => ReadOutcome::Gone,
            Stored::Unreadable(damage) => ReadOutcome::Damaged(damage),
        },
    }
}

/// No batch follows `after`, in a log that goes on there: the segment in which it may have been.
fn missing(after: Identity, books: &Books) -> Damage {
    let near = books.segments.iter().filter(|s| s.last > after.zxid).min_by_key(|s| s.first);
    let path = near.map_or_else(|| LOG_DIR.to_owned(), |s| s.path.name.clone());
    let what = format!("the batch after {} isn't found, although this server was durable through {}", after.zxid, books.upto.zxid);
    Damage { path, offset: 0, what }
}

fn batches(files: &dyn Files, after: Identity, bytes_max: usize, books: &Books) -> ReadOutcome {
    if after == books.upto {
        return ReadOutcome::Batches { bytes: Vec::new(), more: false };
    }
    if after.zxid < books.floor || after.zxid >= books.upto.zxid {
        return ReadOutcome::Gone;
    }
    let mut segments: Vec<&ClosedSegment> = books.segments.iter().filter(|s| s.last > after.zxid).collect();
    segments.sort_by_key(|s| std::cmp::Reverse(s.first));
    let mut open: Vec<Walk<'_>> = Vec::new();
    let (mut bytes, mut at) = (Vec::new(), after);
    while at != books.upto {
        let found = match next(&mut open, files, books, at) {
            Ok(found) => found,
            Err(damage) => return if bytes.is_empty() { ReadOutcome::Damaged(damage) } else { ReadOutcome::Batches { bytes, more: true } },
        };
        let Some(idx) = found else {
            if let Some(segment) = segments.pop() {
                open.push(Walk::new(segment));
                continue;
            }
            return dead_end(bytes, after, at, &open);
        };
        let Some(header) = open[idx].ahead.take() else { continue };
        let len = REPLICATED_BYTES + header.replicated.body_len as usize;
        if !bytes.is_empty() && bytes.len() + len > bytes_max {
            break;
        }
        if let Err(damage) = open[idx].copy(files, &header, &mut bytes) {
            return if bytes.is_empty() { ReadOutcome::Damaged(damage) } else { ReadOutcome::Batches { bytes, more: true } };
        }
        at = header.identity;
    }
    ReadOutcome::Batches { bytes, more: at != books.upto }
}

/// No batch follows `at` although the log goes on: it was asked for something that isn't in the log, or it is worn.
fn dead_end(bytes: Vec<u8>, after: Identity, at: Identity, open: &[Walk<'_>]) -> ReadOutcome {
    if !bytes.is_empty() {
        return ReadOutcome::Batches { bytes, more: true };
    }
    match open.iter().find_map(|walk| walk.worn.clone()) {
        Some(worn) if at == after => ReadOutcome::Damaged(worn),
        _ => ReadOutcome::Gone,
    }
}

/// Which of the walks stands before the batch that follows `at`.
fn next(open: &mut [Walk<'_>], files: &dyn Files, books: &Books, at: Identity) -> Result<Option<usize>, Damage> {
    for (idx, walk) in open.iter_mut().enumerate() {
        walk.skip_through(files, books, at.zxid)?;
        if walk.ahead.is_some_and(|h| h.replicated.previous == at) {
            return Ok(Some(idx));
        }
    }
    Ok(None)
}

fn locate(files: &dyn Files, at: Identity, books: &Books) -> Result<Located, Damage> {
    if at == books.upto {
        return Ok(Located::Here);
    }
    if at.zxid > books.upto.zxid {
        return Ok(Located::Before(books.upto));
    }
    // A segment that stays may hold it, but what follows it on other shards is gone.
    if at.zxid < books.floor {
        return Ok(Located::Older);
    }
    let mut before: Option<Identity> = None;
    let mut offer = |identity: Identity| {
        // A predecessor that only a snapshot names has no checksum and proves nothing.
        let is_known = identity.checksum != 0 || identity == Identity::default();
        if is_known && identity.zxid < at.zxid && before.is_none_or(|b| b.zxid < identity.zxid) {
            before = Some(identity);
        }
    };
    for segment in books.segments.iter().filter(|s| s.first <= at.zxid || s.first <= first_of(books)) {
        // A later segment of the same shard begins before it too: everything here is further back.
        let is_passed = |other: &ClosedSegment| other.shard == segment.shard && other.first > segment.first && other.first <= at.zxid;
        if books.segments.iter().any(is_passed) {
            continue;
        }
        let mut walk = Walk::new(segment);
        while walk.step(files, books)? {
            let Some(header) = walk.ahead.take() else { break };
            if header.identity == at || header.replicated.previous == at {
                return Ok(Located::Here);
            }
            if header.replicated.previous.zxid >= books.floor {
                offer(header.replicated.previous);
                offer(header.identity);
            }
            if header.replicated.first > at.zxid {
                break;
            }
        }
    }
    Ok(before.map_or(Located::Older, Located::Before))
}

fn first_of(books: &Books) -> Zxid {
    books.segments.iter().map(|s| s.first).filter(|first| *first > books.floor).min().unwrap_or(books.floor)
}

/// Goes through one segment from batch to batch.
struct Walk<'b> {
    segment: &'b ClosedSegment,
    at: u64,
    /// The last zxid that it met; the highest when it is through.
    last: Zxid,
    /// The live batch before which it stands, at byte `ahead_at`.
    ahead: Option<Header>,
    ahead_at: u64,
    window: Vec<u8>,
    window_at: u64,
    /// The first place that looks like a batch and isn't one.
    worn: Option<Damage>,
}

impl<'b> Walk<'b> {
    fn new(segment: &'b ClosedSegment) -> Walk<'b> {
        Walk { segment, at: SEGMENT_HEADER_BYTES, last: Zxid::ZERO, ahead: None, ahead_at: 0, window: Vec::new(), window_at: 0, worn: None }
    }

    /// Stands before the first live batch that ends beyond `zxid`, if there is one.
    fn skip_through(&mut self, files: &dyn Files, books: &Books, zxid: Zxid) -> Result<(), Damage> {
        while self.ahead.is_none_or(|h| h.identity.zxid <= zxid) {
            if !self.step(files, books)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Goes on to the next live batch.
    fn step(&mut self, files: &dyn Files, books: &Books) -> Result<bool, Damage> {
        self.ahead = None;
        let end = SEGMENT_HEADER_BYTES + self.segment.capacity;
        // Batches of one segment ascend, so nothing that counts lies behind its last one.
        while self.at < end && self.last < self.segment.last {
            let at = self.at;
            let header = Header::read(self.bytes(files, at, HEADER_BYTES)?);
            match header {
                Ok(header) if is_ours(books, &header, self.segment.shard) => {
                    self.last = header.identity.zxid;
                    if self.last > books.upto.zxid {
                        break;
                    }
                    self.at += header.replicated.batch_bytes() as u64;
                    (self.ahead, self.ahead_at) = (Some(header), at);
                    return Ok(true);
                }
                Err(bad) if bad != BadHeader::NoBatch && self.worn.is_none() => {
                    self.worn = Some(Damage { path: self.segment.path.name.clone(), offset: at, what: bad.to_string() });
                }
                // Recycled content. Batches begin at any block.
                Ok(_) | Err(_) => {}
            }
            self.at += BLOCK_BYTES as u64;
        }
        self.last = Zxid(u64::MAX);
        Ok(false)
    }

    /// Adds the replicated part and the body of `header`'s batch.
    fn copy(&mut self, files: &dyn Files, header: &Header, out: &mut Vec<u8>) -> Result<(), Damage> {
        let (at, len) = (self.ahead_at, HEADER_BYTES + header.replicated.body_len as usize);
        let whole = self.bytes(files, at, len)?;
        let body = whole.get(HEADER_BYTES..).unwrap_or_default();
        if !header.replicated.body_is_whole(body) {
            let what = format!("the batch {} to {} isn't whole", header.replicated.first, header.replicated.last);
            return Err(Damage { path: self.segment.path.name.clone(), offset: at, what });
        }
        out.extend_from_slice(&whole[..REPLICATED_BYTES]);
        out.extend_from_slice(body);
        Ok(())
    }

    /// `len` bytes at `at`; fewer where the file ends.
    fn bytes(&mut self, files: &dyn Files, at: u64, len: usize) -> Result<&[u8], Damage> {
        let inside = |window_at: u64, window: &[u8]| at >= window_at && at + len as u64 <= window_at + window.len() as u64;
        if !inside(self.window_at, &self.window) {
            self.window = match files.range(&self.segment.path, at, len.max(WINDOW_BYTES)) {
                Stored::Present(bytes) => bytes,
                Stored::Empty => {
                    let what = "the segment isn't there".to_owned();
                    return Err(Damage { path: self.segment.path.name.clone(), offset: at, what });
                }
                Stored::Unreadable(damage) => return Err(damage),
            };
            self.window_at = at;
        }
        let from = (at - self.window_at) as usize;
        Ok(&self.window[from..(from + len).min(self.window.len())])
    }
}

fn is_ours(books: &Books, header: &Header, shard: ShardId) -> bool {
    header.replicated.cluster == books.meta.cluster && header.local.shard == shard && is_live(&books.meta, header)
}
