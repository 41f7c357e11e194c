//! What is known of the chain without reading the disk: the newest batches, and the identities of many more.
//!
//! Guarantees: both are contiguous and end at the log's tail, so that an answer never jumps over a hole; both are bounded. Leaves to
//! others: what lies further back (`read`).

use crate::base::ids::Zxid;
use crate::base::memory::BatchMemory;
use crate::log::batch::{Batch, Identity};
use crate::log::options::LogOptions;
use crate::mutant;
use std::collections::VecDeque;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Recent<M> {
    /// Submitted batches, oldest first.
    batches: VecDeque<Batch<M>>,
    bytes: usize,
    bytes_max: usize,
    count_max: usize,
    /// Ascending; the first is what the oldest known batch follows.
    known: VecDeque<Identity>,
    known_max: usize,
}

impl<M: BatchMemory> Recent<M> {
    pub(super) fn new(options: &LogOptions, known: Vec<Identity>) -> Recent<M> {
        let mut recent = Recent {
            batches: VecDeque::new(),
            bytes: 0,
            bytes_max: options.cache_bytes_max,
            count_max: options.cache_count_max,
            known: known.into(),
            known_max: options.identities_max.max(1),
        };
        recent.bound();
        recent
    }

    /// A batch was closed or received.
    pub(super) fn enter(&mut self, identity: Identity) {
        self.known.push_back(identity);
        self.bound();
    }

    /// Its bytes are final.
    pub(super) fn keep(&mut self, batch: &Batch<M>) {
        if self.bytes_max == 0 {
            return;
        }
        self.bytes += batch.held_bytes();
        self.batches.push_back(batch.clone());
        self.bound();
    }

    fn bound(&mut self) {
        while self.known.len() > self.known_max {
            self.known.pop_front();
        }
        while self.bytes > self.bytes_max || self.batches.len() > self.count_max {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.bytes -= oldest.held_bytes();
        }
    }

    /// Everything beyond `to` is forgotten.
    pub(super) fn cut(&mut self, to: Identity) {
        if mutant!("cut-keeps-cache") {
            return;
        }
        while self.known.back().is_some_and(|last| last.zxid > to.zxid) {
            self.known.pop_back();
        }
        let stay = self.batches.partition_point(|b| b.last() <= to.zxid);
        self.bytes -= self.batches.drain(stay..).map(|b| b.held_bytes()).sum::<usize>();
    }

    /// The chain goes on at `at`, which isn't connected with what was before.
    pub(super) fn restart(&mut self, at: Identity) {
        (self.bytes, self.known) = (0, [at].into());
        self.batches.clear();
    }

    pub(super) fn knows(&self, identity: Identity) -> bool {
        self.nearest_at_or_below(identity.zxid) == Some(identity)
    }

    pub(super) fn nearest_at_or_below(&self, zxid: Zxid) -> Option<Identity> {
        let above = self.known.partition_point(|i| i.zxid <= zxid);
        above.checked_sub(1).map(|at| self.known[at])
    }

    pub(super) fn oldest_known(&self) -> Option<Identity> {
        self.known.front().copied()
    }

    pub(super) fn after(&self, after: Identity) -> Option<Vec<Batch<M>>> {
        if !self.knows(after) {
            return None;
        }
        let first = self.batches.partition_point(|b| b.last() <= after.zxid);
        let reaches = match self.batches.get(first) {
            Some(batch) => batch.previous() == after,
            None => self.known.back() == Some(&after),
        };
        reaches.then(|| self.batches.iter().skip(first).cloned().collect())
    }
}
