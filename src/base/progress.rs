//! Where a log stands, in the house's five words: accepted, submitted, durable (and, at the keeper, committed and applied).
//!
//! [`Progress`] holds the first three of one writer and keeps their law: `durable <= submitted <= accepted`, none ever falls.

use crate::invariant;

/// Positions of one append stream. The unit is the caller's: batches of one shard, or zxids of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    accepted: u64,
    submitted: u64,
    durable: u64,
}

impl Progress {
    /// All three at `position`, as after recovery.
    #[must_use]
    pub fn starting_at(position: u64) -> Progress {
        Progress { accepted: position, submitted: position, durable: position }
    }

    /// Taken on: encoded, in memory.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Handed to the disk.
    #[must_use]
    pub fn submitted(&self) -> u64 {
        self.submitted
    }

    /// On durable media.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Moves `accepted` forward.
    pub fn accept(&mut self, to: u64) {
        invariant!(to >= self.accepted, "accepted falls from {} to {to}", self.accepted);
        self.accepted = to;
    }

    /// What was accepted and not submitted is forgotten.
    pub fn forget_accepted(&mut self) {
        self.accepted = self.submitted;
    }

    /// Moves `submitted` forward.
    pub fn submit(&mut self, to: u64) {
        invariant!(
            to >= self.submitted && to <= self.accepted,
            "submitted moves from {} to {to} with accepted {}",
            self.submitted,
            self.accepted
        );
        self.submitted = to;
    }

    /// Moves `durable` forward.
    pub fn complete(&mut self, to: u64) {
        invariant!(
            to >= self.durable && to <= self.submitted,
            "durable moves from {} to {to} with submitted {}",
            self.durable,
            self.submitted
        );
        self.durable = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "durable moves")]
    fn durable_never_passes_submitted() {
        let mut p = Progress::starting_at(4);
        p.accept(9);
        p.submit(6);
        p.complete(7);
    }
}
