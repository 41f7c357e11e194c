//! The scenarios that are closed loops of ready-made requests.

use super::Plan;
use crate::Failure;
use crate::figures::Figures;
use crate::load;
use crate::workload::Workload;
use std::time::Duration;

const READ_PERCENTS: [u8; 6] = [0, 20, 50, 80, 95, 100];
const CHILDREN: [u32; 3] = [100, 10_000, 100_000];
/// The last one is just under the default of jute.maxbuffer, 1,048,575, with room for the path.
const VALUE_BYTES: [usize; 5] = [100, 1000, 16_000, 100_000, 1_048_000];

/// One workload.
pub fn one(plan: &Plan, workload: &str, outstanding: usize, value_bytes: usize) -> Result<Vec<Figures>, Failure> {
    measure(plan, workload.parse()?, outstanding, value_bytes).map(|figures| vec![figures])
}

/// From writes alone to reads alone.
pub fn read_ratio(plan: &Plan) -> Result<Vec<Figures>, Failure> {
    READ_PERCENTS.iter().map(|read_percent| measure(plan, Workload::Mixed { read_percent: *read_percent }, 16, 100)).collect()
}

/// Longer and longer lists.
pub fn children(plan: &Plan) -> Result<Vec<Figures>, Failure> {
    let up_to_size = CHILDREN.iter().filter(|count| **count as usize <= plan.size);
    up_to_size.map(|count| measure(plan, Workload::Children { count: *count }, 1, 0)).collect()
}

/// Larger and larger values, written and read.
pub fn values(plan: &Plan) -> Result<Vec<Figures>, Failure> {
    let mut all = Vec::new();
    for value_bytes in VALUE_BYTES.into_iter().filter(|bytes| *bytes <= plan.size) {
        for workload in [Workload::Set, Workload::Get] {
            all.push(measure(plan, workload, 1, value_bytes)?);
        }
    }
    Ok(all)
}

fn measure(plan: &Plan, workload: Workload, outstanding: usize, value_bytes: usize) -> Result<Figures, Failure> {
    load::run(&load::Plan {
        servers: plan.servers.clone(),
        watched: plan.watched.clone(),
        count_syscalls: false,
        sessions: plan.sessions,
        outstanding,
        workload,
        value_bytes,
        measured: plan.measured,
        warmup: plan.measured / 4,
        clean_up: true,
        arrivals: None,
        wasted: Duration::ZERO,
        apart: None,
    })
}
