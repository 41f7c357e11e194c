//! When the requests of an open loop are meant to start: at a given rate, evenly or as a Poisson process, whatever the server does.
//!
//! Guarantees: the moments depend on rate, kind and seed alone, each is drawn once, and only the next one is kept, so that a server
//! that stands still costs no memory.

use crate::Failure;
use ringkeeper::base::prng::Prng;

/// Most requests a second that can be asked for.
const RATE_MAX_PER_S: f64 = 5e6;

/// How requests arrive.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Arrivals {
    /// In the mean.
    pub rate_per_s: f64,
    /// With exponentially distributed gaps in place of even ones.
    pub poisson: bool,
}

impl Arrivals {
    /// Refuses rates that can't be kept.
    pub fn check(&self) -> Result<(), Failure> {
        if self.rate_per_s > 0.0 && self.rate_per_s <= RATE_MAX_PER_S {
            Ok(())
        } else {
            Err(format!("{} requests a second: the rate has to be above 0 and at most {RATE_MAX_PER_S:.0}", self.rate_per_s))
        }
    }
}

/// The moments, one after the other.
#[derive(Debug)]
pub struct Schedule {
    gap_ns: f64,
    poisson: bool,
    random: Prng,
    next_ns: f64,
}

impl Schedule {
    /// The first moment is `start_ns` (evenly), or one gap later (Poisson).
    pub fn new(arrivals: Arrivals, start_ns: u64, random: Prng) -> Schedule {
        let mut schedule = Schedule { gap_ns: 1e9 / arrivals.rate_per_s, poisson: arrivals.poisson, random, next_ns: start_ns as f64 };
        if schedule.poisson {
            schedule.advance();
        }
        schedule
    }

    /// The next moment.
    pub fn next_ns(&self) -> u64 {
        self.next_ns as u64
    }

    /// That one is done with.
    pub fn advance(&mut self) {
        self.next_ns += if self.poisson {
            // 53 random bits: never 1, so the logarithm is finite.
            let uniform = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            -(1.0 - uniform).ln() * self.gap_ns
        } else {
            self.gap_ns
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(poisson: bool) -> Vec<u64> {
        let mut schedule = Schedule::new(Arrivals { rate_per_s: 10_000.0, poisson }, 1000, Prng::from_seed(5));
        let mut all = Vec::new();
        while schedule.next_ns() < 1_000_000_000 {
            all.push(schedule.next_ns());
            schedule.advance();
        }
        all
    }

    #[test]
    fn even_arrivals_are_even() {
        let all = moments(false);
        assert_eq!((all[0], all[1], all.len()), (1000, 101_000, 10_000));
    }

    #[test]
    fn poisson_arrivals_keep_the_rate_and_cluster() {
        let all = moments(true);
        assert!((9_700..10_300).contains(&all.len()), "{}", all.len());
        let gaps: Vec<u64> = all.windows(2).map(|w| w[1] - w[0]).collect();
        let short = gaps.iter().filter(|gap| **gap < 50_000).count() as f64 / gaps.len() as f64;
        assert!((0.37..0.42).contains(&short), "1 - e^-0.5 of the gaps are below half the mean, not {short}");
        assert_eq!(all, moments(true), "the same seed gives the same moments");
    }

    #[test]
    fn rates_that_make_no_sense_are_refused() {
        for rate_per_s in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Arrivals { rate_per_s, poisson: false }.check().is_err());
        }
    }
}
