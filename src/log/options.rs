//! What the log is told at its start, and the plain values it answers with.

use crate::base::ids::Zxid;
use crate::base::limits::{BATCH_BODY_BYTES_MAX, BATCH_RECORDS_MAX, RECORD_BYTES_MAX};
use crate::log::batch::{Identity, KeptBatch, Place, batch_bytes};
use crate::log::mark::Mark;
use crate::log::meta::Meta;
use crate::log::segment::SegmentHead;
use crate::log::shard::{ClosedSegment, FreeSegment};

/// Sizes and times of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogOptions {
    /// Stripes, 1 to [`crate::base::limits::SHARDS_MAX`].
    pub shards: u8,
    /// Bytes for batches in a usual segment; a multiple of the block size.
    pub segment_bytes: u64,
    /// Bytes for batches in the segment that is filled before serving; a multiple of the block size.
    pub first_segment_bytes: u64,
    /// A batch closes at this many body bytes.
    pub batch_body_bytes_max: usize,
    /// A batch closes at this many records.
    pub batch_records_max: usize,
    /// Batches that are held in memory at most, waiting for a shard, the disk, or to be applied.
    pub batches_held_max: usize,
    /// Under load the durable mark is written this often.
    pub mark_interval_ms: u64,
    /// It belongs to an ensemble: only what is known to be committed is applied at a start, damage is repaired from the peers, and what
    /// enters the chain is kept for them.
    pub member: bool,
    /// Memory for recent batches at most, in bytes; 0: none are kept.
    pub cache_bytes_max: usize,
    /// Recent batches in memory at most.
    pub cache_count_max: usize,
    /// Identities that are remembered at most.
    pub identities_max: usize,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            shards: 2,
            segment_bytes: 64 << 20,
            first_segment_bytes: 4 << 20,
            batch_body_bytes_max: BATCH_BODY_BYTES_MAX,
            batch_records_max: BATCH_RECORDS_MAX,
            batches_held_max: 256,
            mark_interval_ms: 100,
            member: false,
            cache_bytes_max: 64 << 20,
            cache_count_max: 4096,
            identities_max: 1 << 16,
        }
    }
}

/// A segment is so many times as large as the one before it, until it has the usual size: a server that writes little neither fills nor
/// reads at its start what it never uses.
const SEGMENT_GROWTH: u64 = 4;

impl LogOptions {
    /// Bytes for batches in the segment that follows one of `before` bytes in the same generation.
    #[must_use]
    pub fn segment_bytes_after(&self, before: u64) -> u64 {
        self.segment_bytes.min(before.saturating_mul(SEGMENT_GROWTH))
    }

    /// Whether segments of `capacity` bytes are made over and over, so that an unused one is worth keeping.
    #[must_use]
    pub fn is_usual(&self, capacity: u64) -> bool {
        capacity == self.segment_bytes || capacity == self.segment_bytes_after(self.first_segment_bytes)
    }

    /// Bytes of memory that a usual batch is encoded into; what a host's pool should keep ready.
    #[must_use]
    pub fn batch_memory_bytes(&self) -> usize {
        batch_bytes(self.batch_body_bytes_max)
    }
}

/// Where a log goes on after recovery. Made by [`crate::log::recover()`] alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogStart {
    /// Epoch metadata of the new generation.
    pub meta: Meta,
    /// What the next batch follows.
    pub tail: Identity,
    /// Where that lies in this server's storage.
    pub place: Place,
    /// The durable mark that the start scripts write.
    pub mark: Mark,
    /// First segment of each shard in the new generation.
    pub segments: Vec<SegmentHead>,
    /// For each shard, unused segments to be made into spares.
    pub free: Vec<Vec<FreeSegment>>,
    /// Segments of earlier generations.
    pub closed: Vec<ClosedSegment>,
    /// Identities of the chain that ends at `tail`, ascending; the first is what its oldest batch follows.
    pub known: Vec<Identity>,
    /// Through here the recovered state is applied.
    pub applied: Identity,
    /// What the chain holds beyond that.
    pub unapplied: Vec<KeptBatch>,
    /// The furthest committed position that anything says.
    pub committed: Zxid,
}

/// Why a transaction wasn't taken. Nothing of it is in the log then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogFull {
    /// As many batches as allowed wait for the disk or to be applied.
    #[error("too many batches wait for the disk")]
    Busy,
    /// The record is longer than any batch can be.
    #[error("the record is longer than {RECORD_BYTES_MAX} bytes")]
    TooLarge,
    /// A write or sync failed earlier.
    #[error("the log has failed")]
    Failed,
}

/// Figures for metrics; all but the last two only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogStats {
    /// Batches handed to the disk.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of bodies.
    pub body_bytes: u64,
    /// Bytes written, headers and padding included.
    pub written_bytes: u64,
    /// Marks written.
    pub marks: u64,
    /// Segments prepared, recycled ones among them.
    pub segments_made: u64,
    /// Segments removed.
    pub segments_removed: u64,
    /// Appends in flight.
    pub in_flight: usize,
    /// Batches held in memory, waiting for a shard, the disk, or to be applied.
    pub held: usize,
}
