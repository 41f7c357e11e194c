//! Sweeps over crash points: one workload, crashed at every step of the disk, or with every subset of its unsynced sectors.

use super::options::Options;
use super::run::run;

/// A workload that is short enough to be repeated for each of its disk steps.
#[must_use]
pub fn workload(seed: u64, shards: u8) -> Options {
    Options {
        shards,
        clients: 3,
        requests: 60,
        pipeline: 3,
        endings: 0,
        fail_op: 0,
        full_ms: 0,
        rot: 0,
        wall_jumps: 0,
        session_timeout_ms: 2000,
        tick_ms: 200,
        snap_count: 8,
        segment_kb: 16,
        ..Options::draw(seed)
    }
}

/// The plans of a crash sweep: the power fails at each disk step of the workload, boot and segment changes included.
#[must_use]
pub fn crash_points(base: &Options) -> Vec<Options> {
    let steps = run(base, false).disk_steps;
    (1..=steps).map(|at| Options { crash_at_step: at, ..base.clone() }).collect()
}
