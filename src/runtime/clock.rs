//! The one place that reads the clocks.

use crate::base::time::{MonoMs, Now};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Both clocks, counted from the start of the process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at 1 ms, so that 0 stays "never".
    pub(super) fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Both clocks now.
    pub(super) fn now(self) -> Now {
        let since = self.start.elapsed();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: MonoMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add(1)),
            mono_ns: self.mono_ns(),
            wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Monotonic nanoseconds.
    pub(super) fn mono_ns(self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
