//! What the log asks of its host, and what it hears back.

use crate::base::ids::ShardId;
use crate::log::read::{ReadOutcome, ReadRequest};
use crate::model::file::{DiskError, FilePath, Script, Ticket};

/// One request to the host. Effects of one shard are carried out in the order in which they were left.
#[derive(Clone, Debug)]
pub enum DiskEffect<M> {
    /// Writes the first `len` bytes of `memory` at byte `at` of `file`. It completes when they are on durable media: either the file
    /// is open with O_DSYNC, or an fdatasync begun after the write has completed too. `at` and `len` are multiples of the block size.
    Append {
        /// Stripe.
        shard: ShardId,
        /// Segment; it exists, is as long as needed and really filled.
        file: FilePath,
        /// Where in it.
        at: u64,
        /// What; not changed by anyone from now on.
        memory: M,
        /// How much of it.
        len: usize,
        /// Comes back in [`DiskDone`].
        ticket: Ticket,
    },
    /// Carries out the steps in order, beside appends.
    Script {
        /// Stripe that it prepares something for, if any.
        shard: Option<ShardId>,
        /// The steps.
        script: Script,
        /// Comes back in [`DiskDone`].
        ticket: Ticket,
    },
    /// Reads ([`crate::log::serve_read`]), beside everything else.
    Read {
        /// What.
        request: Box<ReadRequest>,
        /// Comes back in [`DiskDone`].
        ticket: Ticket,
    },
}

/// A request was carried out wholly and durably, or failed.
#[derive(Clone, Debug)]
pub struct DiskDone {
    /// Of the request.
    pub ticket: Ticket,
    /// How it ended.
    pub result: Result<(), DiskError>,
    /// Of a read: what it gave. Whoever asked takes it before the log hears of the completion.
    pub read: Option<ReadOutcome>,
}

impl DiskDone {
    /// Of a write or a script.
    #[must_use]
    pub fn of(ticket: Ticket, result: Result<(), DiskError>) -> DiskDone {
        DiskDone { ticket, result, read: None }
    }

    /// Of a read.
    #[must_use]
    pub fn read(ticket: Ticket, outcome: ReadOutcome) -> DiskDone {
        DiskDone { ticket, result: Ok(()), read: Some(outcome) }
    }
}
