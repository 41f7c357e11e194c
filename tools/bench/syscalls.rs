//! How many system calls processes make, counted by the kernel's own tracepoint.
//!
//! Counting costs each call a little, so it has a time of its own behind the one that counts. What an io_uring carries out without a call
//! isn't one; entering the ring is.

use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};
use std::fs;

/// Where the kernel says the number of its tracepoint at the entry of every system call.
const EVENT_IDS: [&str; 2] =
    ["/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", "/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id"];

/// Counts from its making on.
pub struct Syscalls {
    counters: Vec<Counter>,
}

impl Syscalls {
    /// Of all threads that the processes have; `None` where tracefs isn't mounted, the kernel doesn't let this process count, or there are none.
    pub fn of(pids: &[u32]) -> Option<Syscalls> {
        let id = EVENT_IDS.iter().find_map(|path| fs::read_to_string(path).ok()?.trim_end().parse().ok())?;
        let mut counters = Vec::new();
        for pid in pids {
            for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
                let Some(thread) = task.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
                // A thread that ended meanwhile makes no call any more.
                let Ok(mut counter) = Builder::new(Tracepoint::with_id(id)).observe_pid(thread).include_kernel().build() else { continue };
                counter.enable().ok()?;
                counters.push(counter);
            }
        }
        (!counters.is_empty()).then_some(Syscalls { counters })
    }

    /// Calls since it was made, of the threads that there were then.
    pub fn count(mut self) -> u64 {
        self.counters.iter_mut().map(|counter| counter.read().unwrap_or(0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_this_process_are_counted_where_the_kernel_allows() {
        let Some(counting) = Syscalls::of(&[std::process::id()]) else { return };
        for _ in 0..500 {
            let _ = rustix::process::getppid();
        }
        assert!((500..50_000).contains(&counting.count()));
        assert!(Syscalls::of(&[]).is_none());
    }
}
