//! How long a leader waits for a batch to carry the commit that nobody waits for.
//!
//! Under a client that writes one thing after the other, its next proposal follows the commit of the last one within a few hundred microseconds. Told
//! by messages of their own, commits are two more sends and a wake-up of every learner for each write; carried by the batch they cost nothing.
//! So such a commit may wait, but only while that pays ([`Backoff`]).
//!
//! Guarantees: nothing is left for longer than [`WAIT_NS`] and one turn, whatever else keeps the executor busy meanwhile. Leaves to others: what
//! somebody waits for, which never waits ([`crate::server::keeper::Tell`]); the timer.

use super::backoff::Backoff;

/// How long the next batch is waited for. A learner's reads and watches are behind by so much at most.
const WAIT_NS: u64 = 400_000;

/// What becomes of what a turn left untold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    /// It is told now.
    Tell,
    /// It may wait until then (monotonic nanoseconds).
    Until(u64),
}

/// What came of the last waits.
#[derive(Debug, Default)]
pub(super) struct Patience {
    since_ns: Option<u64>,
    backoff: Backoff,
}

impl Patience {
    /// Something is left untold after a turn.
    pub(super) fn left(&mut self, now_ns: u64) -> Left {
        if !self.backoff.may_try() {
            self.backoff.passed();
            return Left::Tell;
        }
        let until = *self.since_ns.get_or_insert(now_ns) + WAIT_NS;
        if now_ns < until {
            return Left::Until(until);
        }
        self.since_ns = None;
        self.backoff.in_vain();
        Left::Tell
    }

    /// Nothing is left: a batch carried what had been.
    pub(super) fn nothing_left(&mut self) {
        if self.since_ns.take().is_some() {
            self.backoff.paid();
        }
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
                Left::Tell => told += 1,
                Left::Until(until) if is_carried => {
                    assert_eq!(until, now + WAIT_NS);
                    assert_eq!(patience.left(now + 1), Left::Until(until), "the first that is left counts");
                    patience.nothing_left();
                }
                Left::Until(until) => assert_eq!(patience.left(until), Left::Tell),
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
        let mut patience = Patience::default();
        patience.backoff.in_vain();
        patience.nothing_left();
        assert!(!patience.backoff.may_try());
    }
}
