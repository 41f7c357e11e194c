//! What the process may use: locked memory and descriptors. The server raises both to the hard limit, so that one counts.

use super::Plan;
use super::called::{Called, Limit};
use super::finding::Finding;
use crate::base::fatal::Fatal;

/// Below this few clients fit.
const DESCRIPTORS_FEW: u64 = 4096;
/// Below this no client does.
const DESCRIPTORS_MIN: u64 = 64;

pub(super) fn judge(called: &Called, plan: &Plan, out: &mut Vec<Finding>) {
    out.push(locked(called.locked, plan.locked_bytes));
    out.push(descriptors(called.descriptors));
}

fn locked(limit: Limit, need: u64) -> Finding {
    let text = match limit.hard {
        None => "no limit".to_owned(),
        Some(hard) => format!("{} KiB may be locked", hard / 1024),
    };
    let found = Finding::ok("limits.locked-memory", "getrlimit(RLIMIT_MEMLOCK)", format!("{text}, the executors need {} KiB", need / 1024));
    if limit.hard.is_none_or(|hard| hard >= need) {
        return found;
    }
    let need_kb = need.div_ceil(1024);
    let mend = format!("ulimit -l {need_kb}, LimitMEMLOCK=64M in the systemd unit, or --ulimit memlock={need} of the container");
    found.stops(Fatal::LockedMemory, "the rings and their memory can't be locked: no server starts", mend)
}

fn descriptors(limit: Limit) -> Finding {
    let text = limit.hard.map_or_else(|| "no limit".to_owned(), |hard| format!("{hard} descriptors may be open"));
    let found = Finding::ok("limits.descriptors", "getrlimit(RLIMIT_NOFILE)", text);
    let cost = "each client is a descriptor; beyond the limit connections are refused";
    let mend = "ulimit -n 1048576, or LimitNOFILE=1048576 in the systemd unit";
    match limit.hard {
        Some(hard) if hard < DESCRIPTORS_MIN => found.warning(cost, mend),
        Some(hard) if hard < DESCRIPTORS_FEW => found.advice(cost, mend),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::forge::{called, finding_of, plan};
    use super::*;

    fn judged(id: &str, hard: Option<u64>) -> Finding {
        let limit = Limit { soft: Some(16), hard };
        finding_of(id, Called { locked: limit, descriptors: limit, ..called() }, &plan())
    }

    #[test]
    fn too_little_locked_memory_stops_a_server() {
        let low = judged("limits.locked-memory", Some(64 << 10));
        assert_eq!((low.severity, low.status), (Severity::Error, Some(16)));
        assert!(low.mend.starts_with("ulimit -l 2048"), "{low:?}");
        for enough in [Some(2 << 20), None] {
            assert_eq!(judged("limits.locked-memory", enough).severity, Severity::Ok);
        }
    }

    #[test]
    fn few_descriptors_are_few_clients() {
        let cases = [(Some(63), Severity::Warning), (Some(1024), Severity::Advice), (Some(4096), Severity::Ok), (None, Severity::Ok)];
        for (hard, severity) in cases {
            assert_eq!(judged("limits.descriptors", hard).severity, severity, "{hard:?}");
        }
    }
}
