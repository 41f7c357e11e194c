//! The log between servers: batches of another one are taken in as they are, our own are handed to those who want them.
//!
//! Guarantees: a received batch is checked wholly before a byte of it is kept, and follows our tail by zxid and checksum; the
//! replicated bytes stay as they came. Leaves to others: asking and sending (the keeper), ranges on disk (`read`).

use crate::base::ids::{ClusterId, Zxid};
use crate::base::memory::{BatchMemory, BatchPool};
use crate::log::batch::{BadHeader, Batch, HEADER_BYTES, Identity, REPLICATED_BYTES, Replicated};
use crate::log::writer::{Log, Received, follows};
use crate::{invariant, mutant};

/// Why a batch of another server wasn't taken. Nothing of it is in the log then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReceiveError {
    /// As many batches as allowed wait for the disk; the same bytes may be handed in again later.
    #[error("too many batches wait for the disk")]
    Busy,
    /// A write or sync failed earlier.
    #[error("the log has failed")]
    Failed,
    /// The header isn't one.
    #[error("the batch after {after}: {what}")]
    Header {
        /// Our tail.
        after: Zxid,
        /// What is wrong.
        what: BadHeader,
    },
    /// The batch is of another cluster.
    #[error("the batch through {last} is of cluster {found}, this is {expected}")]
    Cluster {
        /// Its last zxid.
        last: Zxid,
        /// Whose it is.
        found: ClusterId,
        /// Whose this log is.
        expected: ClusterId,
    },
    /// The batch follows another one than our last.
    #[error("the batch from {first} follows {} ({:016x}), this log ends at {} ({:016x})", found.zxid, found.checksum, expected.zxid, expected.checksum)]
    Chain {
        /// Its first zxid.
        first: Zxid,
        /// What it follows.
        found: Identity,
        /// Our tail.
        expected: Identity,
    },
    /// Zxids between our tail and the batch are missing.
    #[error("the batch from {first} leaves a gap after {after}")]
    Gap {
        /// Its first zxid.
        first: Zxid,
        /// Our tail.
        after: Zxid,
    },
    /// Fewer or more bytes than the header says.
    #[error("the batch through {last} came with {found} bytes of body, its header says {expected}")]
    Length {
        /// Its last zxid.
        last: Zxid,
        /// Bytes that came.
        found: usize,
        /// Bytes that should.
        expected: usize,
    },
    /// The body isn't the one that the header names, or a record in it can't be read.
    #[error("the body of the batch through {last} isn't whole")]
    Body {
        /// Its last zxid.
        last: Zxid,
    },
}

impl<M: BatchMemory> Log<M> {
    /// Takes in a batch as another server sent it: the replicated part of the header and the body. It is written as soon as a shard
    /// is free ([`Log::submit`]).
    ///
    /// # Errors
    /// [`ReceiveError`]; nothing was taken then.
    ///
    /// # Panics
    /// While batches of our own are open or a cut is under way: a server that leads or cuts receives nothing.
    pub fn receive(&mut self, pool: &mut dyn BatchPool<Memory = M>, bytes: &[u8]) -> Result<Identity, ReceiveError> {
        invariant!(self.open.is_none() && self.sealed.is_empty(), "a batch is received beside batches of our own");
        invariant!(!self.is_cutting(), "a batch is received during a cut");
        if self.has_fault() {
            return Err(ReceiveError::Failed);
        }
        let (replicated, identity) = self.check_head(bytes)?;
        if self.undurable() >= self.options.batches_held_max {
            return Err(ReceiveError::Busy);
        }
        let (last, body) = (identity.zxid, &bytes[REPLICATED_BYTES..]);
        if body.len() != replicated.body_len as usize {
            return Err(ReceiveError::Length { last, found: body.len(), expected: replicated.body_len as usize });
        }
        if !replicated.body_is_whole(body) {
            return Err(ReceiveError::Body { last });
        }
        let len = replicated.batch_bytes();
        let mut memory = pool.take(len);
        memory.seal(len);
        let whole = memory.bytes_mut().expect("nobody else holds fresh memory");
        whole[..REPLICATED_BYTES].copy_from_slice(&bytes[..REPLICATED_BYTES]);
        whole[HEADER_BYTES..HEADER_BYTES + body.len()].copy_from_slice(body);
        whole[HEADER_BYTES + body.len()..].fill(0);
        self.received.push_back(Received { memory, replicated, identity });
        self.tail = identity;
        self.recent.enter(identity);
        self.progress.accept(last.0);
        self.committed = self.committed.max(replicated.committed);
        Ok(identity)
    }

    fn check_head(&self, bytes: &[u8]) -> Result<(Replicated, Identity), ReceiveError> {
        let (replicated, identity) = Replicated::read(bytes).map_err(|what| ReceiveError::Header { after: self.tail.zxid, what })?;
        if replicated.cluster != self.cluster() {
            return Err(ReceiveError::Cluster { last: identity.zxid, found: replicated.cluster, expected: self.cluster() });
        }
        let (first, found, expected) = (replicated.first, replicated.previous, self.tail);
        let is_next = if mutant!("receive-skips-chain-check") { found.zxid == expected.zxid } else { found == expected };
        if !is_next {
            return Err(ReceiveError::Chain { first, found, expected });
        }
        if !follows(expected.zxid, first) {
            return Err(ReceiveError::Gap { first, after: expected.zxid });
        }
        Ok((replicated, identity))
    }

    /// Batches that were received or submitted and aren't durable yet.
    #[must_use]
    pub fn undurable(&self) -> usize {
        self.received.len() + self.closed.iter().rev().filter(|c| !c.is_durable).count()
    }

    /// A role ended: batches of our own that weren't submitted, and received ones that weren't, are forgotten. The log ends at the last
    /// submitted batch then.
    pub fn drop_unsubmitted(&mut self) {
        self.open = None;
        self.sealed.clear();
        self.received.clear();
        self.progress.forget_accepted();
        self.tail = self.submitted;
        self.recent.cut(self.tail);
    }

    /// Everything through `zxid` is known to be committed: batches that are closed from now on say so. It never falls.
    pub fn set_committed(&mut self, zxid: Zxid) {
        self.committed = self.committed.max(zxid);
    }

    /// The furthest committed position that anybody told this log: by [`Log::set_committed`], or in the header of any batch that it
    /// recovered or received. It may lie beyond the tail.
    #[must_use]
    pub fn known_committed(&self) -> Zxid {
        self.committed
    }

    /// Each batch that entered the chain, when it is submitted, once and in order; of a member only. Who doesn't lead takes them too, and
    /// lets them go.
    pub fn next_to_send(&mut self) -> Option<Batch<M>> {
        self.to_send.pop_front()
    }

    /// The last batch that was closed or received.
    #[must_use]
    pub fn tail(&self) -> Identity {
        self.tail
    }

    /// The last batch through which everything is on durable media, over all shards.
    #[must_use]
    pub fn durable(&self) -> Identity {
        self.durable
    }

    /// The last batch that was applied: handed out by [`Log::next_applicable`], or in the recovered state.
    #[must_use]
    pub fn applied_identity(&self) -> Identity {
        self.applied
    }

    /// Whether `identity` is known to lie in this log's history. An old one may lie in it without being known.
    #[must_use]
    pub fn knows(&self, identity: Identity) -> bool {
        self.recent.knows(identity)
    }

    /// The greatest known identity at or below `zxid`; `None`: they begin behind it.
    #[must_use]
    pub fn nearest_at_or_below(&self, zxid: Zxid) -> Option<Identity> {
        self.recent.nearest_at_or_below(zxid)
    }

    /// The oldest known identity; [`Identity::default`] when they reach back to the start of the history.
    #[must_use]
    pub fn oldest_known(&self) -> Option<Identity> {
        self.recent.oldest_known()
    }

    /// All batches after `after` through the tail; `None` when `after` isn't known, or not all of them are in memory.
    #[must_use]
    pub fn recent_after(&self, after: Identity) -> Option<Vec<Batch<M>>> {
        if self.received.is_empty() { self.recent.after(after) } else { None }
    }
}
