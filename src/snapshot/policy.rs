//! When a snapshot is due: by the number of transactions and the bytes of log since the last one, with a seeded jitter so that the
//! members of an ensemble don't all take theirs at once (`snapCount`, `snapSizeLimitInKb`).

use crate::base::prng::Prng;

/// What the policy is told.
#[derive(Clone, Copy, Debug)]
pub struct PolicyOptions {
    /// Transactions; a snapshot is due at a random number between half of it and all of it. 0 is never.
    pub txns: u64,
    /// Bytes of log, by the same rule. 0 is no such limit.
    pub log_bytes: u64,
}

/// Counts towards the next snapshot.
#[derive(Clone, Debug)]
pub struct Policy {
    options: PolicyOptions,
    txns: u64,
    bytes: u64,
    due_txns: u64,
    due_bytes: u64,
    prng: Prng,
}

impl Policy {
    /// Counts from `since` transactions, those that the log already holds beyond the last snapshot.
    #[must_use]
    pub fn new(options: PolicyOptions, since: u64, prng: Prng) -> Policy {
        let mut policy = Policy { options, txns: since, bytes: 0, due_txns: 0, due_bytes: 0, prng };
        policy.draw();
        policy
    }

    /// A transaction whose record has `len` bytes was applied.
    pub fn on_applied(&mut self, len: usize) {
        self.txns += 1;
        self.bytes += len as u64;
    }

    /// Whether one is due.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let by_txns = self.options.txns > 0 && self.txns > self.due_txns;
        let by_bytes = self.options.log_bytes > 0 && self.bytes > self.due_bytes;
        by_txns || by_bytes
    }

    /// One begins now.
    pub fn begin(&mut self) {
        self.txns = 0;
        self.bytes = 0;
        self.draw();
    }

    fn draw(&mut self) {
        let mut half = |whole: u64| whole / 2 + self.prng.below((whole / 2).max(1));
        self.due_txns = half(self.options.txns);
        self.due_bytes = half(self.options.log_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_between_half_and_all_and_never_when_off() {
        for seed in 0..50 {
            let mut policy = Policy::new(PolicyOptions { txns: 100, log_bytes: 0 }, 0, Prng::from_seed(seed));
            let taken = (1..).find(|_| {
                policy.on_applied(10);
                policy.is_due()
            });
            assert!((51..=101).contains(&taken.unwrap()), "{taken:?}");
            policy.begin();
            assert!(!policy.is_due());
        }
        let mut off = Policy::new(PolicyOptions { txns: 0, log_bytes: 0 }, 1 << 40, Prng::from_seed(1));
        off.on_applied(1 << 30);
        assert!(!off.is_due());
        let by_bytes = &mut Policy::new(PolicyOptions { txns: 0, log_bytes: 1000 }, 0, Prng::from_seed(1));
        by_bytes.on_applied(1001);
        assert!(by_bytes.is_due());
    }
}
