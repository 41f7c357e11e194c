//! A seeded generator (SplitMix64) with named sub-streams, the only source of randomness of the core.
//!
//! In production the host seeds it from the kernel, in the simulator from the run's seed. A sub-stream per concern keeps a
//! new draw in one place from changing the schedule of another. Not for secrets by itself: the host mixes kernel entropy
//! into session passwords through [`Prng::from_seed`].

/// The generator. The same seed gives the same sequence on every machine.
#[derive(Clone, Debug)]
pub struct Prng {
    state: u64,
}

impl Prng {
    /// A generator for `seed`.
    #[must_use]
    pub fn from_seed(seed: u64) -> Prng {
        Prng { state: seed }
    }

    /// An independent stream for the concern `name`, derived from this generator's seed without drawing from it.
    #[must_use]
    pub fn stream(&self, name: &str) -> Prng {
        let mut h = self.state ^ 0x51_7c_c1_b7_27_22_0a_95;
        for b in name.bytes() {
            h = mix(h ^ u64::from(b));
        }
        Prng { state: h }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Uniform in `0..bound`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a draw from an empty range");
        // Multiply-shift: the bias is below 2^-32 for every bound that the project draws with.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform index into a slice of `len` items.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "a draw from {low}..={high}");
        low + self.below(high - low + 1)
    }

    /// True with probability `numerator / denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let (mut a, mut b) = (Prng::from_seed(1), Prng::from_seed(1));
        assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
        assert_ne!(Prng::from_seed(1).stream("disk").next_u64(), Prng::from_seed(1).stream("net").next_u64());
    }

    #[test]
    fn draws_stay_in_their_range_and_reach_both_ends() {
        let mut p = Prng::from_seed(3);
        let drawn: Vec<u64> = (0..1000).map(|_| p.between(5, 8)).collect();
        assert!(drawn.iter().all(|d| (5..=8).contains(d)));
        assert!(drawn.contains(&5) && drawn.contains(&8));
    }
}
