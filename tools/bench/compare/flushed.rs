//! How many flushes of the device a server needs for each batch that it makes durable.
//!
//! Batches are the servers' own count: both systems book each in `mntr` as one `fsynctime`, Ringkeeper for each batch of a log shard,
//! ZooKeeper for each commit of its transaction log. `tests/bench` holds Ringkeeper's count against the batches that lie in its log.
//! Flushes are the device's count: of everything on the machine, so also of new segments and snapshots.

use crate::Failure;
use crate::device::{Counters, Device};
use crate::ensemble::Ensemble;
use std::time::Duration;

/// Name in [`crate::figures::Figures::extra`].
pub const FLUSHES_PER_BATCH: &str = "flushes_per_batch";
/// Name in [`crate::figures::Figures::extra`]: the batches that were counted.
pub const BATCHES: &str = "batches";

/// The count of syncs in `mntr`; it isn't there before the first.
const SYNCS: &str = "zk_cnt_fsynctime";
/// Ringkeeper's `mntr` shows it at most so late.
const SHOWN_AFTER: Duration = Duration::from_millis(1500);

/// A moment without load.
pub struct Flushed {
    device: Counters,
    batches: u64,
}

impl Flushed {
    /// Waits until the servers show what they did, and reads both counts.
    pub fn so_far(ensemble: &Ensemble, device: &Device) -> Result<Flushed, Failure> {
        std::thread::sleep(SHOWN_AFTER);
        let batches = ensemble.four_letter("mntr")?.iter().map(|text| syncs(text)).sum::<Result<u64, Failure>>()?;
        Ok(Flushed { device: device.counters()?, batches })
    }

    /// Batches since `earlier`, and flushes for each; `None` if there was no batch.
    pub fn since(&self, earlier: &Flushed) -> Option<(f64, f64)> {
        let batches = self.batches.checked_sub(earlier.batches).filter(|batches| *batches > 0)? as f64;
        Some((batches, self.device.since(&earlier.device).flushes as f64 / batches))
    }
}

fn syncs(mntr: &str) -> Result<u64, Failure> {
    if !mntr.starts_with("zk_version") {
        return Err(format!("mntr was answered by {:?}", mntr.lines().next().unwrap_or_default()));
    }
    let line = mntr.lines().find_map(|line| line.strip_prefix(SYNCS));
    line.map_or(Ok(0), |number| number.trim().parse().map_err(|e| format!("{SYNCS} is {:?}: {e}", number.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_found_in_what_either_system_says() {
        assert_eq!(syncs("zk_version\t3.9.5\nzk_sum_fsynctime\t9\nzk_cnt_fsynctime\t12\n"), Ok(12));
        assert_eq!(syncs("zk_version\t3.9.5\nzk_avg_latency\t1.0\n"), Ok(0), "none yet");
        assert!(syncs("mntr is not executed because it is not in the whitelist.\n").is_err_and(|said| said.contains("whitelist")));
        assert!(syncs("zk_version\t3.9.5\nzk_cnt_fsynctime\tmany\n").is_err_and(|said| said.contains("\"many\"")));
    }

    #[test]
    fn flushes_are_those_between_two_moments() {
        let at = |flushes, batches| Flushed { device: Counters { flushes, ..Counters::default() }, batches };
        assert_eq!(at(130, 60).since(&at(100, 40)), Some((20.0, 1.5)));
        assert_eq!(at(130, 40).since(&at(100, 40)), None, "nothing was written");
        assert_eq!(at(130, 0).since(&at(100, 40)), None, "a server that was started again counts anew");
    }
}
