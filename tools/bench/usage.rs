//! CPU time from `/proc`: of the servers' processes with all their threads, of this process, and of the whole machine.
//!
//! The machine's figure also holds what the kernel does for a server without charging it (workers behind io_uring, interrupts),
//! and what anything else on the machine does, and the kernel samples it with its tick: on a busy machine, or below a second, it
//! says little.

use crate::Failure;
use std::fs;

/// Fields of `/proc/PID/stat` after the command's closing parenthesis, from 0: utime and stime.
const UTIME_FIELD: usize = 11;
const STIME_FIELD: usize = 12;
/// Fields of the first line of `/proc/stat` that are no work: idle, iowait, steal (guest time is part of user time).
const IDLE_FIELDS: [usize; 5] = [3, 4, 7, 8, 9];

/// CPU time used up to one moment, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Of the servers; `None` if no process was named.
    pub servers_us: Option<u64>,
    /// Of this process.
    pub generator_us: u64,
    /// Time for which this process was ready to run and had no CPU.
    pub generator_waited_us: u64,
    /// Of everything on the machine.
    pub machine_us: u64,
}

impl Usage {
    /// Reads all of it.
    pub fn now(pids: &[u32]) -> Result<Usage, Failure> {
        let mut servers_us = (!pids.is_empty()).then_some(0);
        for pid in pids {
            servers_us = servers_us.map(|sum| Ok::<u64, Failure>(sum + process_us(&pid.to_string())?)).transpose()?;
        }
        Ok(Usage {
            servers_us,
            generator_us: process_us("self")?,
            generator_waited_us: waited_us()?,
            machine_us: machine_us(&read("/proc/stat")?).ok_or("/proc/stat isn't as expected")?,
        })
    }

    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Usage) -> Usage {
        Usage {
            servers_us: self.servers_us.zip(earlier.servers_us).map(|(now, then)| now.saturating_sub(then)),
            generator_us: self.generator_us.saturating_sub(earlier.generator_us),
            generator_waited_us: self.generator_waited_us.saturating_sub(earlier.generator_waited_us),
            machine_us: self.machine_us.saturating_sub(earlier.machine_us),
        }
    }
}

fn read(path: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

fn tick_us() -> u64 {
    1_000_000 / rustix::param::clock_ticks_per_second().max(1)
}

fn process_us(pid: &str) -> Result<u64, Failure> {
    let path = format!("/proc/{pid}/stat");
    let ticks = process_ticks(&read(&path)?).ok_or_else(|| format!("{path} isn't as expected"))?;
    Ok(ticks * tick_us())
}

/// The command may hold spaces and parentheses; the fields begin after the last closing one.
fn process_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(field(UTIME_FIELD)? + field(STIME_FIELD)?)
}

fn machine_us(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let mut busy = 0;
    for (at, field) in line.split_whitespace().enumerate() {
        if !IDLE_FIELDS.contains(&at) {
            busy += field.parse::<u64>().ok()?;
        }
    }
    Some(busy * tick_us())
}

/// The second number of `/proc/self/schedstat`, in nanoseconds; the load runs on the main thread. 0 where the kernel doesn't
/// keep it.
fn waited_us() -> Result<u64, Failure> {
    let Ok(text) = fs::read_to_string("/proc/self/schedstat") else {
        return Ok(0);
    };
    let waited_ns = text.split_whitespace().nth(1).and_then(|f| f.parse::<u64>().ok());
    waited_ns.map(|ns| ns / 1000).ok_or_else(|| "/proc/self/schedstat isn't as expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_times_are_found() {
        let stat = "12 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 300 45 0 0 20";
        assert_eq!(process_ticks(stat), Some(345));
        assert_eq!(machine_us("cpu  10 1 5 1000 7 2 3 50 9 9\ncpu0 1\n"), Some(21 * tick_us()));
        assert_eq!(process_ticks("nonsense"), None);
        let usage = Usage::now(&[std::process::id()]).expect("this process exists");
        assert!(usage.servers_us.is_some() && usage.machine_us > 0);
    }
}
