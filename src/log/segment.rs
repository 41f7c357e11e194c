//! A segment: one preallocated file of one shard and one generation; its header block, its name, and how one is made.
//!
//! Guarantees: a file under its final name was complete (filled, headed, synced) before it got that name. Leaves to others: which
//! segment is in use (`shard`), what lies in it (`scan`).

use crate::base::checksum::checksum;
use crate::base::ids::{ClusterId, ShardId};
use crate::base::limits::{BLOCK_BYTES, SHARDS_MAX};
use crate::log::batch::{FORMAT_VERSION, RUNNING_NUMBER_MAX};
use crate::log::fields::{get_u8, get_u32, get_u64, get_u128, newer_format, put_u8, put_u32, put_u64, put_u128};
use crate::model::file::{FileOp, FilePath, Script, Volume};

/// First bytes of every segment.
pub const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"RKsegmt\n");
/// The header takes a block of its own; batches follow.
pub const SEGMENT_HEADER_BYTES: u64 = BLOCK_BYTES as u64;
/// Bytes of the header block that hold something.
const HEAD_BYTES: usize = 128;
const HEAD_SUM: usize = HEAD_BYTES - 8;
/// Highest logical offset that is believed; leaves room to go on counting.
pub const OFFSET_MAX: u64 = 1 << 62;
/// Highest segment number that is believed.
const SEGMENT_NUMBER_MAX: u64 = 1 << 62;
/// Directory of everything that this module writes, below [`Volume::Log`].
pub const LOG_DIR: &str = "log";
/// Name under which a segment is made.
const TEMP_NAME: &str = "next.tmp";

/// What the header block of a segment says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHead {
    /// Whose log it is.
    pub cluster: ClusterId,
    /// Stripe.
    pub shard: ShardId,
    /// Running number in the stripe, also its name.
    pub number: u64,
    /// The one generation of every live batch in it.
    pub generation: u64,
    /// Logical offset of its first batch.
    pub base: u64,
    /// Bytes for batches: the file's length without the header block.
    pub capacity: u64,
}

impl SegmentHead {
    /// The header block.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK_BYTES];
        put_u64(&mut block, 0, SEGMENT_MAGIC);
        put_u32(&mut block, 8, FORMAT_VERSION);
        put_u8(&mut block, 12, self.shard.0);
        put_u128(&mut block, 16, self.cluster.0);
        put_u64(&mut block, 32, self.number);
        put_u64(&mut block, 40, self.generation);
        put_u64(&mut block, 48, self.base);
        put_u64(&mut block, 56, self.capacity);
        let sum = checksum(&block[..HEAD_SUM]);
        put_u64(&mut block, HEAD_SUM, sum);
        block
    }

    /// Reads and checks a header block.
    ///
    /// # Errors
    /// A sentence that says what was found.
    pub fn decode(block: &[u8]) -> Result<SegmentHead, String> {
        if block.len() < HEAD_BYTES {
            return Err(format!("{} bytes, a segment's header needs {HEAD_BYTES}", block.len()));
        }
        if get_u64(block, 0) != SEGMENT_MAGIC {
            return Err("no segment header".to_owned());
        }
        if checksum(&block[..HEAD_SUM]) != get_u64(block, HEAD_SUM) {
            return Err("the checksum of the segment header is wrong".to_owned());
        }
        let version = get_u32(block, 8);
        if version != FORMAT_VERSION {
            return Err(newer_format(version));
        }
        let head = SegmentHead {
            cluster: ClusterId(get_u128(block, 16)),
            shard: ShardId(get_u8(block, 12)),
            number: get_u64(block, 32),
            generation: get_u64(block, 40),
            base: get_u64(block, 48),
            capacity: get_u64(block, 56),
        };
        let plausible = head.shard.idx() < SHARDS_MAX
            && head.base <= OFFSET_MAX
            && head.capacity <= OFFSET_MAX
            && head.number <= SEGMENT_NUMBER_MAX
            && head.generation <= RUNNING_NUMBER_MAX;
        if plausible { Ok(head) } else { Err("a field of the segment header is out of range".to_owned()) }
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> FilePath {
        segment_path(self.shard, self.number)
    }

    /// Logical offset behind its last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base + self.capacity
    }
}

/// Directory of one shard.
#[must_use]
pub fn shard_dir(shard: ShardId) -> FilePath {
    FilePath::new(Volume::Log, format!("{LOG_DIR}/shard-{}", shard.0))
}

/// File of one segment.
#[must_use]
pub fn segment_path(shard: ShardId, number: u64) -> FilePath {
    FilePath::new(Volume::Log, format!("{LOG_DIR}/shard-{}/{number:016x}.log", shard.0))
}

/// The number in a segment's name, `None` for any other name.
#[must_use]
pub fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|d| d.len() == 16 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u64::from_str_radix(digits, 16).ok().filter(|number| *number <= SEGMENT_NUMBER_MAX)
}

/// Whether `name` is one under which a segment was being made when a crash came.
#[must_use]
pub fn is_leftover(name: &str) -> bool {
    name == TEMP_NAME
}

/// The file under which shard `shard` makes its next segment.
#[must_use]
pub fn temp_path(shard: ShardId) -> FilePath {
    FilePath::new(Volume::Log, format!("{LOG_DIR}/shard-{}/{TEMP_NAME}", shard.0))
}

/// Steps that make a new, really zero-filled segment.
#[must_use]
pub fn create_script(head: &SegmentHead) -> Script {
    let temp = temp_path(head.shard);
    let len = SEGMENT_HEADER_BYTES + head.capacity;
    Script {
        ops: vec![
            FileOp::Create(temp.clone()),
            FileOp::Zero { path: temp.clone(), at: 0, len },
            FileOp::Write { path: temp.clone(), at: 0, bytes: head.encode() },
            FileOp::Sync(temp.clone()),
            FileOp::Rename { from: temp, to: head.path() },
            FileOp::SyncDir(shard_dir(head.shard)),
        ],
    }
}

/// Steps that turn the retired segment `old` into a new one of the same length. Its old batches stay in it: their generation and
/// logical offsets tell them from new ones.
#[must_use]
pub fn recycle_script(old: FilePath, head: &SegmentHead) -> Script {
    let temp = temp_path(head.shard);
    let dir = shard_dir(head.shard);
    Script {
        ops: vec![
            FileOp::Rename { from: old, to: temp.clone() },
            // Durable before the header is overwritten, so that no crash shows the new header under the old name.
            FileOp::SyncDir(dir.clone()),
            FileOp::Write { path: temp.clone(), at: 0, bytes: head.encode() },
            FileOp::Sync(temp.clone()),
            FileOp::Rename { from: temp, to: head.path() },
            FileOp::SyncDir(dir),
        ],
    }
}
