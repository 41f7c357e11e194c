//! Time as the core sees it: a number that the host hands in. Nothing here reads a clock.
//!
//! Monotonic milliseconds decide everything (expiry, reaping, intervals). Wall time ends up in `ctime` and `mtime`, and says at a start or
//! a change of leader how old TTL nodes are by then, never less than nothing and never more than their time: a clock that jumps later
//! can't expire a session or delete a node.

/// Monotonic milliseconds since the host started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct MonoMs(pub u64);

impl MonoMs {
    /// This much later.
    #[must_use]
    pub fn plus(self, ms: u64) -> MonoMs {
        MonoMs(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: MonoMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The two clocks of one moment, read once by the host for a whole turn.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Now {
    /// Decides.
    pub mono: MonoMs,
    /// Monotonic nanoseconds since the host started, for latency figures only.
    pub mono_ns: u64,
    /// Milliseconds since 1970: for `ctime` and `mtime`, the age of TTL nodes at a start, and texts for people.
    pub wall_ms: i64,
}

/// `deadline` rounded up to the next multiple of `tick_ms`, as ZooKeeper buckets session expiry (T35).
///
/// # Panics
/// If `tick_ms` is 0; configuration refuses that.
#[must_use]
pub fn round_up_to_tick(deadline: MonoMs, tick_ms: u64) -> MonoMs {
    assert!(tick_ms > 0, "a tick of 0 ms");
    MonoMs((deadline.0 / tick_ms).saturating_add(1).saturating_mul(tick_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_round_up_and_never_down() {
        assert_eq!(round_up_to_tick(MonoMs(1999), 2000), MonoMs(2000));
        assert_eq!(round_up_to_tick(MonoMs(2000), 2000), MonoMs(4000));
        assert_eq!(MonoMs(5).since(MonoMs(9)), 0);
    }
}
