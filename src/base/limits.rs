//! Every hard bound that isn't configurable, unit and `_max` in the name, with their relations proven at compile time.

/// Unit of every write to the log: batches start at and are padded to multiples of it (O_DIRECT on 4 KiB devices).
pub const BLOCK_BYTES: usize = 4096;
/// Default for the largest client frame, as ZooKeeper's `jute.maxbuffer`.
pub const FRAME_BYTES_DEFAULT: usize = 0xf_ffff;
/// Highest `jute.maxbuffer` that is accepted: a record must fit a batch that travels alone.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// A batch closes at this many body bytes. A single record above it travels in a batch of its own.
pub const BATCH_BODY_BYTES_MAX: usize = 1 << 20;
/// A batch closes at this many records.
pub const BATCH_RECORDS_MAX: usize = 4096;
/// Largest record: the largest frame and what a transaction adds to it (resolved ACLs, expanded names).
pub const RECORD_BYTES_MAX: usize = FRAME_BYTES_MAX * 2;
/// Most log shards of one server.
pub const SHARDS_MAX: usize = 16;
/// Most fronts of one server.
pub const FRONTS_MAX: usize = 256;
/// A four-letter word and nothing else.
pub const WORD_BYTES: usize = 4;
/// Unanswered requests of one connection before its socket is no longer read.
pub const CONN_OUTSTANDING_MAX: usize = 1000;
/// Unsent reply bytes of one connection before its socket is no longer read.
pub const CONN_UNSENT_SOFT_BYTES_MAX: usize = 4 << 20;
/// Unsent bytes of one connection (replies and events) at which it is closed; on top of a single answer that was longer.
pub const CONN_UNSENT_HARD_BYTES_MAX: usize = 64 << 20;
/// Bytes of the values and names in one answer; a longer one is refused. An answer may be as long as what a parent's children are called.
pub const REPLY_BYTES_MAX: usize = 1 << 30;
/// The same for a multiRead, which can name one large node thousands of times in a few bytes.
pub const MULTI_READ_BYTES_MAX: usize = 64 << 20;
/// Deepest path, in components; bounds every walk from a node to the root.
pub const PATH_DEPTH_MAX: usize = FRAME_BYTES_MAX / 2;

const _: () = assert!(FRAME_BYTES_DEFAULT <= FRAME_BYTES_MAX);
const _: () = assert!(RECORD_BYTES_MAX >= FRAME_BYTES_MAX);
const _: () = assert!(BATCH_BODY_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
