//! CPU time, context switches and memory from `/proc`: of the servers' processes with all their threads, of the thread that makes the
//! load, and of the whole machine.
//!
//! The machine's figure also holds what the kernel does for a server without charging it (workers behind io_uring, interrupts),
//! and what anything else on the machine does, and the kernel samples it with its tick: on a busy machine, or below a second, it
//! says little.

use crate::Failure;
use crate::device::{Counters, Device};
use std::fs;

/// Fields of `/proc/PID/stat` after the command's closing parenthesis, from 0: utime and stime.
const UTIME_FIELD: usize = 11;
const STIME_FIELD: usize = 12;
/// Fields of the first line of `/proc/stat` that are no work: idle, iowait, steal (guest time is part of user time).
const IDLE_FIELDS: [usize; 5] = [3, 4, 7, 8, 9];

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// The servers' processes.
    pub pids: Vec<u32>,
    /// The device that they write to, if it is known.
    pub device: Option<Device>,
}

/// What was used up to one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time of the servers; `None` if no process was named.
    pub servers_us: Option<u64>,
    /// Times that their threads gave up or lost a CPU.
    pub servers_switches: u64,
    /// Memory that they hold now.
    pub servers_rss_kib: u64,
    /// CPU time of the calling thread, which makes the load.
    pub generator_us: u64,
    /// Time for which that thread was ready to run and had no CPU; `None` where others made the load.
    pub generator_waited_us: Option<u64>,
    /// CPU time of everything on the machine.
    pub machine_us: u64,
    /// What the device had done, of everything on the machine.
    pub device: Option<Counters>,
}

impl Usage {
    /// Reads all of it.
    pub fn now(watched: &Watched) -> Result<Usage, Failure> {
        let (generator_us, generator_waited_us) = thread_us()?;
        let machine_us = machine_us(&read("/proc/stat")?).ok_or("/proc/stat isn't as expected")?;
        let device = watched.device.as_ref().map(Device::counters).transpose()?;
        let mut usage = Usage { generator_us, generator_waited_us: Some(generator_waited_us), machine_us, device, ..Usage::default() };
        for pid in &watched.pids {
            usage.servers_us = Some(usage.servers_us.unwrap_or(0) + process_us(*pid)?);
            usage.servers_switches += switches(*pid)?;
            usage.servers_rss_kib += number_after(&read(&format!("/proc/{pid}/status"))?, "VmRSS:").unwrap_or(0);
        }
        Ok(usage)
    }

    /// What was used since `earlier`; memory stays what it is now.
    pub fn since(&self, earlier: &Usage) -> Usage {
        Usage {
            servers_us: self.servers_us.zip(earlier.servers_us).map(|(now, then)| now.saturating_sub(then)),
            // A thread that ended meanwhile took its count along.
            servers_switches: self.servers_switches.saturating_sub(earlier.servers_switches),
            servers_rss_kib: self.servers_rss_kib,
            generator_us: self.generator_us.saturating_sub(earlier.generator_us),
            generator_waited_us: self.generator_waited_us.zip(earlier.generator_waited_us).map(|(now, then)| now.saturating_sub(then)),
            machine_us: self.machine_us.saturating_sub(earlier.machine_us),
            device: self.device.zip(earlier.device).map(|(now, then)| now.since(&then)),
        }
    }
}

fn read(path: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

fn tick_us() -> u64 {
    1_000_000 / rustix::param::clock_ticks_per_second().max(1)
}

fn process_us(pid: u32) -> Result<u64, Failure> {
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

/// Of all threads that live.
fn switches(pid: u32) -> Result<u64, Failure> {
    let path = format!("/proc/{pid}/task");
    let mut sum = 0;
    for task in fs::read_dir(&path).map_err(|e| format!("{path}: {e}"))?.flatten() {
        // A thread that ended since the directory was read has nothing to say.
        let Ok(text) = fs::read_to_string(task.path().join("status")) else { continue };
        for name in ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"] {
            sum += number_after(&text, name).unwrap_or(0);
        }
    }
    Ok(sum)
}

/// The number on the line that begins with `name`.
fn number_after(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
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

/// CPU time of this thread, and the time it waited for a CPU.
fn thread_us() -> Result<(u64, u64), Failure> {
    const PATH: &str = "/proc/thread-self/schedstat";
    let text = read(PATH)?;
    let mut fields = text.split_whitespace().map(str::parse::<u64>);
    match (fields.next(), fields.next()) {
        (Some(Ok(ran_ns)), Some(Ok(waited_ns))) => Ok((ran_ns / 1000, waited_ns / 1000)),
        _ => Err(format!("{PATH} isn't as expected")),
    }
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
        assert_eq!(number_after("VmPeak:\t 9 kB\nVmRSS:\t  123 kB\n", "VmRSS:"), Some(123));
        let usage = Usage::now(&Watched { pids: vec![std::process::id()], device: None }).expect("this process exists");
        assert!(usage.servers_us.is_some() && usage.machine_us > 0 && usage.servers_rss_kib > 0 && usage.servers_switches > 0);
    }
}
