//! A batch: header of two parts, body of framed records, padding to whole blocks. `docs/formats/log.md` has the layout.
//!
//! Guarantees: a header is believed only with both checksums right and every field plausible; the body only with its checksum and
//! every record in it checked. The local checksum covers the replicated one, so halves of two headers never pass for one.
//! Leaves to others: where a batch lies in a segment (`segment`), whether it belongs to the history (`recover`).

use crate::base::checksum::checksum;
use crate::base::ids::{ClusterId, ShardId, Zxid};
use crate::base::limits::{BLOCK_BYTES, RECORD_BYTES_MAX, SHARDS_MAX};
use crate::base::memory::BatchMemory;
use crate::log::fields::{get_u8, get_u32, get_u64, get_u128, put_u8, put_u32, put_u64, put_u128};
use crate::log::record::{FRAME_BYTES, Records};
use crate::log::segment::OFFSET_MAX;
pub use crate::model::position::Identity;
use std::sync::Arc;

/// First bytes of every batch.
pub const BATCH_MAGIC: u64 = u64::from_le_bytes(*b"RKbatch\n");
/// Version of the log's formats (batch, segment, metadata, mark).
pub const FORMAT_VERSION: u32 = 1;
/// Bytes of the part that is equal on every server.
pub const REPLICATED_BYTES: usize = 128;
/// Bytes of both parts; the body follows.
pub const HEADER_BYTES: usize = 256;
/// Highest generation or sequence number that is believed. Starts and marks use them up one by one, so no server comes near it, and
/// there is always a next one that will be believed too.
pub const RUNNING_NUMBER_MAX: u64 = 1 << 48;
/// Longest body that is believed: a record that travels alone, and its frame.
pub const BODY_BYTES_MAX: usize = RECORD_BYTES_MAX + FRAME_BYTES;

const REPLICATED_SUM: usize = REPLICATED_BYTES - 8;
const LOCAL_SUM: usize = HEADER_BYTES - 8;

/// The part of a header that is equal on every server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replicated {
    /// Whose history it is.
    pub cluster: ClusterId,
    /// First zxid; its epoch is the epoch of the batch.
    pub first: Zxid,
    /// Last zxid.
    pub last: Zxid,
    /// Bytes of the body.
    pub body_len: u32,
    /// Records in the body, one for each zxid.
    pub records: u32,
    /// Checksum of the body.
    pub body_checksum: u64,
    /// What it follows.
    pub previous: Identity,
    /// Whoever closed the batch knew that everything through here is committed; [`Zxid::ZERO`]: it knew of nothing.
    pub committed: Zxid,
}

/// Where a batch lies in this server's own storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Stripe.
    pub shard: ShardId,
    /// Logical offset in it, never reused.
    pub offset: u64,
    /// Bytes, padding included; 0: no batch.
    pub len: u32,
}

impl Place {
    /// What the first batch of a server follows.
    pub const NONE: Place = Place { shard: ShardId(0), offset: 0, len: 0 };
}

/// This server's own part of a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Local {
    /// Log generation in which it was written.
    pub generation: u64,
    /// Stripe, against misdirected writes.
    pub shard: ShardId,
    /// Logical offset in it.
    pub offset: u64,
    /// The previous batch in this server's order.
    pub previous: Place,
    /// How far this server was durable when the header was written.
    pub durable_cut: Zxid,
}

/// Both parts and the checksum that names the batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Equal everywhere.
    pub replicated: Replicated,
    /// Ours.
    pub local: Local,
    /// Last zxid and replicated checksum.
    pub identity: Identity,
}

/// Why bytes aren't a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadHeader {
    /// No magic: nothing, or something else, is there.
    #[error("no batch")]
    NoBatch,
    /// The magic is there but a checksum is wrong.
    #[error("the header's checksum is wrong")]
    Checksum,
    /// Written by a newer version.
    #[error("format version {0}, this program knows {FORMAT_VERSION}")]
    Version(u32),
    /// Checksums are right but a field can't be.
    #[error("a field of the header is out of range")]
    Field,
}

/// Bytes that a batch with a body of `body_len` takes on disk.
#[must_use]
pub fn batch_bytes(body_len: usize) -> usize {
    (HEADER_BYTES + body_len).next_multiple_of(BLOCK_BYTES)
}

impl Replicated {
    /// Writes the part with its checksum and returns the identity of the batch.
    ///
    /// # Panics
    /// If `block` is shorter than [`REPLICATED_BYTES`].
    pub fn write(&self, block: &mut [u8]) -> Identity {
        let block = &mut block[..REPLICATED_BYTES];
        block.fill(0);
        put_u64(block, 0, BATCH_MAGIC);
        put_u32(block, 8, FORMAT_VERSION);
        put_u32(block, 12, self.first.epoch());
        put_u128(block, 16, self.cluster.0);
        put_u64(block, 32, self.first.0);
        put_u64(block, 40, self.last.0);
        put_u32(block, 48, self.body_len);
        put_u32(block, 52, self.records);
        put_u64(block, 56, self.body_checksum);
        put_u64(block, 64, self.previous.zxid.0);
        put_u64(block, 72, self.previous.checksum);
        put_u64(block, 80, self.committed.0);
        let sum = checksum(&block[..REPLICATED_SUM]);
        put_u64(block, REPLICATED_SUM, sum);
        Identity { zxid: self.last, checksum: sum }
    }

    /// Reads and checks the part.
    ///
    /// # Errors
    /// [`BadHeader`] says what is wrong.
    pub fn read(block: &[u8]) -> Result<(Replicated, Identity), BadHeader> {
        if block.len() < REPLICATED_BYTES || get_u64(block, 0) != BATCH_MAGIC {
            return Err(BadHeader::NoBatch);
        }
        let sum = get_u64(block, REPLICATED_SUM);
        if checksum(&block[..REPLICATED_SUM]) != sum {
            return Err(BadHeader::Checksum);
        }
        let version = get_u32(block, 8);
        if version != FORMAT_VERSION {
            return Err(BadHeader::Version(version));
        }
        let part = Replicated {
            cluster: ClusterId(get_u128(block, 16)),
            first: Zxid(get_u64(block, 32)),
            last: Zxid(get_u64(block, 40)),
            body_len: get_u32(block, 48),
            records: get_u32(block, 52),
            body_checksum: get_u64(block, 56),
            previous: Identity { zxid: Zxid(get_u64(block, 64)), checksum: get_u64(block, 72) },
            committed: Zxid(get_u64(block, 80)),
        };
        if !part.is_plausible() || get_u32(block, 12) != part.first.epoch() {
            return Err(BadHeader::Field);
        }
        Ok((part, Identity { zxid: part.last, checksum: sum }))
    }

    /// One epoch, one record for each zxid, a body that can hold them, a predecessor and a committed position that are earlier.
    fn is_plausible(&self) -> bool {
        self.first <= self.last
            && self.first.epoch() == self.last.epoch()
            && self.records > 0
            && self.last.0 - self.first.0 == u64::from(self.records) - 1
            && self.previous.zxid < self.first
            && self.committed < self.first
            && self.body_len as usize <= BODY_BYTES_MAX
            && self.body_len as usize >= self.records as usize * FRAME_BYTES
    }

    /// Bytes of the whole batch on disk.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        batch_bytes(self.body_len as usize)
    }

    /// Whether `body` is the one that this header names: length, checksum, and every record in it.
    #[must_use]
    pub fn body_is_whole(&self, body: &[u8]) -> bool {
        body.len() == self.body_len as usize && checksum(body) == self.body_checksum && self.records_match(body)
    }

    fn records_match(&self, body: &[u8]) -> bool {
        let mut expected = self.first.0;
        let all = Records::new(body).all(|record| {
            let fits = record.is_ok_and(|r| r.head().zxid.0 == expected);
            expected = expected.wrapping_add(1);
            fits
        });
        all && expected == self.last.0.wrapping_add(1)
    }
}

impl Local {
    /// Writes the part behind a replicated part that is already there.
    ///
    /// # Panics
    /// If `block` is shorter than [`HEADER_BYTES`].
    pub fn write(&self, block: &mut [u8]) {
        block[REPLICATED_BYTES..HEADER_BYTES].fill(0);
        put_u64(block, 128, self.generation);
        put_u64(block, 136, self.offset);
        put_u64(block, 144, self.previous.offset);
        put_u32(block, 152, self.previous.len);
        put_u8(block, 156, self.shard.0);
        put_u8(block, 157, self.previous.shard.0);
        put_u64(block, 160, self.durable_cut.0);
        let sum = checksum(&block[REPLICATED_SUM..LOCAL_SUM]);
        put_u64(block, LOCAL_SUM, sum);
    }

    fn read(block: &[u8]) -> Result<Local, BadHeader> {
        if block.len() < HEADER_BYTES || checksum(&block[REPLICATED_SUM..LOCAL_SUM]) != get_u64(block, LOCAL_SUM) {
            return Err(BadHeader::Checksum);
        }
        let part = Local {
            generation: get_u64(block, 128),
            shard: ShardId(get_u8(block, 156)),
            offset: get_u64(block, 136),
            previous: Place { shard: ShardId(get_u8(block, 157)), offset: get_u64(block, 144), len: get_u32(block, 152) },
            durable_cut: Zxid(get_u64(block, 160)),
        };
        let plausible = part.shard.idx() < SHARDS_MAX
            && part.previous.shard.idx() < SHARDS_MAX
            && part.offset <= OFFSET_MAX
            && part.generation <= RUNNING_NUMBER_MAX;
        if plausible { Ok(part) } else { Err(BadHeader::Field) }
    }
}

impl Header {
    /// Reads and checks both parts.
    ///
    /// # Errors
    /// [`BadHeader`] says what is wrong.
    pub fn read(block: &[u8]) -> Result<Header, BadHeader> {
        let (replicated, identity) = Replicated::read(block)?;
        let local = Local::read(block)?;
        // The cut was known before this batch was written, so it lies before it.
        if local.durable_cut >= replicated.first {
            return Err(BadHeader::Field);
        }
        Ok(Header { replicated, local, identity })
    }

    /// Where the batch lies.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { shard: self.local.shard, offset: self.local.offset, len: self.replicated.batch_bytes() as u32 }
    }
}

/// A batch that recovery read and that nobody applied yet: its header, and its bytes from the start of the header to the end of the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptBatch {
    /// Its header.
    pub header: Header,
    /// Both parts of the header and the body.
    pub bytes: Arc<[u8]>,
}

#[derive(Clone, Debug)]
enum Content<M> {
    Pool(M),
    Kept(Arc<[u8]>),
}

/// A closed batch in memory: immutable, and the very bytes that are on their way to the disk, or were read from it at the start.
#[derive(Clone, Debug)]
pub struct Batch<M> {
    content: Content<M>,
    header: Header,
}

impl<M: BatchMemory> Batch<M> {
    pub(super) fn new(memory: M, header: Header) -> Batch<M> {
        Batch { content: Content::Pool(memory), header }
    }

    pub(super) fn kept(kept: KeptBatch) -> Batch<M> {
        Batch { content: Content::Kept(kept.bytes), header: kept.header }
    }

    fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Pool(memory) => memory.bytes(),
            Content::Kept(bytes) => bytes,
        }
    }

    /// Memory that it keeps from being used for anything else.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.content {
            Content::Pool(memory) => memory.held_bytes(),
            Content::Kept(bytes) => bytes.len(),
        }
    }

    /// What names it.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.header.identity
    }

    /// What names its predecessor.
    #[must_use]
    pub fn previous(&self) -> Identity {
        self.header.replicated.previous
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// First zxid.
    #[must_use]
    pub fn first(&self) -> Zxid {
        self.header.replicated.first
    }

    /// Last zxid.
    #[must_use]
    pub fn last(&self) -> Zxid {
        self.header.replicated.last
    }

    /// The framed records.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes()[HEADER_BYTES..HEADER_BYTES + self.header.replicated.body_len as usize]
    }

    /// Replicated part of the header, as bytes; followed by [`Self::body`] it is what other servers get.
    #[must_use]
    pub fn replicated_bytes(&self) -> &[u8] {
        &self.bytes()[..REPLICATED_BYTES]
    }

    /// Its transactions in zxid order.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records::new(self.body())
    }
}

/// A checked batch in a file.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    /// Its header.
    pub header: Header,
    /// The same as bytes.
    pub head: &'a [u8],
    /// The framed records; checked.
    pub body: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Its transactions in zxid order.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records::new(self.body)
    }

    /// A copy of it.
    #[must_use]
    pub fn keep(&self) -> KeptBatch {
        KeptBatch { header: self.header, bytes: [self.head, self.body].concat().into() }
    }
}
