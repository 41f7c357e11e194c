//! How often something is tried that pays only at times.
//!
//! Guarantees: each try in vain doubles the chances that pass untried, each success halves them, so that what fails more often than it
//! succeeds becomes rare and comes back soon when it pays again.

/// After so many more tries in vain than successes, one chance of 2^this is taken.
pub(super) const DOUBLINGS_MAX: u32 = 5;

/// What came of the last tries.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct Backoff {
    /// By how many tries in vain outnumber the successes, at most [`DOUBLINGS_MAX`].
    vain: u32,
    /// Chances that are still to pass untried.
    pass: u32,
}

impl Backoff {
    /// Whether this chance may be taken.
    pub(super) fn may_try(&self) -> bool {
        self.pass == 0
    }

    /// A chance passed.
    pub(super) fn passed(&mut self) {
        self.pass = self.pass.saturating_sub(1);
    }

    /// It was tried and worth it.
    pub(super) fn paid(&mut self) {
        self.vain = self.vain.saturating_sub(1);
        self.pass_some();
    }

    /// It was tried in vain.
    pub(super) fn in_vain(&mut self) {
        self.vain = (self.vain + 1).min(DOUBLINGS_MAX);
        self.pass_some();
    }

    fn pass_some(&mut self) {
        self.pass = if self.vain == 0 { 0 } else { 1 << self.vain };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(backoff: &mut Backoff, chances: u32, pays: bool) -> u32 {
        let mut tries = 0;
        for _ in 0..chances {
            backoff.passed();
            if backoff.may_try() {
                tries += 1;
                if pays { backoff.paid() } else { backoff.in_vain() }
            }
        }
        tries
    }

    #[test]
    fn tries_in_vain_become_rare_and_successes_bring_them_back() {
        let mut backoff = Backoff::default();
        assert_eq!(tries(&mut backoff, 100, true), 100);
        let (rare, made) = (100_000 >> DOUBLINGS_MAX, tries(&mut backoff, 100_000, false));
        assert!((rare..rare + 2 * DOUBLINGS_MAX).contains(&made), "{made} tries in vain");
        assert!(tries(&mut backoff, 200, true) > 100, "they come back");
        assert_eq!(tries(&mut backoff, 100, true), 100);
    }

    /// A success now and then doesn't bring back what is mostly in vain.
    #[test]
    fn what_pays_seldom_stays_rare() {
        let (mut backoff, mut tries) = (Backoff::default(), 0);
        for _ in 0..100_000 {
            backoff.passed();
            if backoff.may_try() {
                tries += 1;
                if tries % 3 == 0 { backoff.paid() } else { backoff.in_vain() }
            }
        }
        assert!(tries < 100_000 >> (DOUBLINGS_MAX - 2), "{tries} tries, of which two in three are in vain");
    }
}
