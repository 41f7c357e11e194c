//! How long a leader waits for a batch to carry the commit that nobody waits for.
//!
//! Under a client that writes one thing after the other, its next proposal follows the commit of the last one within a few hundred microseconds. Told
//! by messages of their own, commits are two more sends and a wake-up of every learner for each write; carried by the batch they cost nothing.
//! So such a commit may wait, but only while that pays: each wait in vain doubles the commits that are told at once, each success halves them.
//!
//! Leaves to others: what somebody waits for, which never waits ([`crate::server::keeper::Tell`]); the timer.

/// How long the next batch is waited for. A learner's reads and watches are behind by so much at most.
const WAIT_NS: u64 = 400_000;
/// After so many more waits in vain than successes one of 2^this commits may wait.
const DOUBLINGS_MAX: u32 = 5;

/// What came of the last waits.
#[derive(Debug, Default)]
pub(super) struct Patience {
    since_ns: Option<u64>,
    /// By how many waits in vain outnumber the successes, at most [`DOUBLINGS_MAX`].
    vain: u32,
    /// Commits that are still told at once.
    pass: u32,
}

impl Patience {
    /// Something is left untold after a turn. Until when it may wait; `None`: it is told now.
    pub(super) fn left(&mut self, now_ns: u64) -> Option<u64> {
        if self.pass > 0 {
            self.pass -= 1;
            return None;
        }
        let until = *self.since_ns.get_or_insert(now_ns) + WAIT_NS;
        if now_ns < until {
            return Some(until);
        }
        self.since_ns = None;
        self.vain = (self.vain + 1).min(DOUBLINGS_MAX);
        self.pass_some();
        None
    }

    /// Nothing is left: a batch carried what had been.
    pub(super) fn nothing_left(&mut self) {
        if self.since_ns.take().is_some() {
            self.vain = self.vain.saturating_sub(1);
            self.pass_some();
        }
    }

    fn pass_some(&mut self) {
        self.pass = if self.vain == 0 { 0 } else { 1 << self.vain };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns that leave something, and how many of them told it at once.
    fn told_at_once(patience: &mut Patience, turns: u32, is_carried: bool) -> u32 {
        let mut told = 0;
        for turn in 0..u64::from(turns) {
            let now = turn * 10 * WAIT_NS;
            match patience.left(now) {
                None => told += 1,
                Some(until) if is_carried => {
                    assert_eq!(until, now + WAIT_NS);
                    assert_eq!(patience.left(now + 1), Some(until), "the first that is left counts");
                    patience.nothing_left();
                }
                Some(until) => assert_eq!(patience.left(until), None),
            }
        }
        told
    }

    #[test]
    fn what_is_carried_waits_and_what_is_not_becomes_rare() {
        let mut patience = Patience::default();
        assert_eq!(told_at_once(&mut patience, 100, true), 0);
        assert!(told_at_once(&mut patience, 1000, false) > 950);
        assert!(told_at_once(&mut patience, 200, true) < 100, "it comes back");
        assert_eq!(told_at_once(&mut patience, 100, true), 0);
    }

    #[test]
    fn a_turn_that_leaves_nothing_is_no_success() {
        let mut patience = Patience { vain: 3, pass: 1, ..Patience::default() };
        patience.nothing_left();
        assert_eq!((patience.vain, patience.pass), (3, 1));
    }
}
