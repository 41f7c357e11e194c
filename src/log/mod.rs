//! The replicated log of one server: records, batches, segments over shards, epoch metadata, the durable mark, recovery.
//!
//! Everything is pure: appends and file scripts leave as [`effect::DiskEffect`]s, completions come in as [`effect::DiskDone`], and
//! recovery reads through [`crate::model::file::Files`]. `docs/formats/log.md` has the bytes, `docs/recovery.md` the decisions.
//! Leaves to others: carrying out effects (hosts), committing (the keeper), peers (`zab`).

pub mod accept;
pub mod batch;
pub mod case;
pub mod effect;
mod fields;
pub mod inspect;
pub mod intent;
pub mod mark;
pub mod meta;
pub mod options;
pub mod read;
pub mod receive;
mod recent;
pub mod record;
pub mod recover;
pub mod scan;
pub mod segment;
pub mod shard;
pub mod start;
#[cfg(test)]
mod tests;
mod unused;
pub mod upkeep;
pub mod whose;
pub mod writer;

pub use accept::accept_loss;
pub use batch::{Batch, BatchView, Identity, KeptBatch};
pub use case::Case;
pub use effect::{DiskDone, DiskEffect};
pub use inspect::inspect;
pub use intent::MetaChange;
pub use options::{LogFull, LogOptions, LogStart, LogStats};
pub use read::{Located, ReadOutcome, ReadRequest, serve_read};
pub use receive::ReceiveError;
pub use record::{Record, Records};
pub use recover::{Recovery, recover};
pub use scan::expect_segments;
pub use start::Start;
pub use whose::Base;
pub use writer::Log;
