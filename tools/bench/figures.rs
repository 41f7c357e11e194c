//! What one measurement says, for people and as JSON, and when it says more about the generator than about the server.

use crate::usage::Usage;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Above this share of one core, of the time for which it had one, the generator itself may be what limits the throughput.
const GENERATOR_BUSY_MAX: f64 = 0.9;
/// Above this share of the time without a CPU although it was ready, its latencies are partly its own.
const GENERATOR_WAITED_MAX: f64 = 0.1;
/// The share of an open loop's rate below which the rate wasn't kept.
const RATE_SHARE_MIN: f64 = 0.99;
/// Lateness of the generator, as a share of the median latency, above which the latencies are partly its own.
const LATENESS_MAX: f64 = 0.1;

/// Latencies in microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Replies.
    pub count: u64,
    /// Half of them took no longer.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1000.
    pub p99_9_us: f64,
    /// All of them.
    pub max_us: f64,
}

impl Latency {
    /// From a histogram of nanoseconds; `None` if it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Latency> {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        (!histogram.is_empty()).then(|| Latency {
            count: histogram.len(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: histogram.max() as f64 / 1000.0,
        })
    }
}

/// One second of the time that counts.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Interval {
    /// Replies.
    pub operations: u64,
    /// The slowest.
    pub max_us: f64,
}

/// One measurement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// What was asked.
    pub name: String,
    /// Sessions.
    pub sessions: usize,
    /// Requests in flight of each: in a closed loop always, in an open one at most.
    pub outstanding: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Time under the same load before, which doesn't count.
    pub warmup_seconds: f64,
    /// Time that counted.
    pub seconds: f64,
    /// Requests a second that an open loop was to send; `None` for a closed one.
    pub offered_per_s: Option<f64>,
    /// Requests of an open loop that were never answered; they count as what they had waited when the run was ended.
    pub unserved: u64,
    /// Replies.
    pub operations: u64,
    /// Replies a second.
    pub ops_per_s: f64,
    /// Of all replies; in an open loop from the moment for which the request was meant.
    pub latency: Latency,
    /// Of reads and writes apart, in a mixture.
    pub reads: Option<Latency>,
    /// See `reads`.
    pub writes: Option<Latency>,
    /// In an open loop: from the moment at which the request was really sent.
    pub service: Option<Latency>,
    /// In an open loop: how much later than meant the generator sent, where no full window held it up.
    pub lateness: Option<Latency>,
    /// CPU time of the named processes for each reply.
    pub server_cpu_us_per_op: Option<f64>,
    /// CPU time of everything on the machine but the generator for each reply.
    pub rest_of_machine_cpu_us_per_op: f64,
    /// Context switches of the named processes for each reply.
    pub server_switches_per_op: f64,
    /// System calls of the named processes for each reply; `None` where they weren't counted.
    #[serde(default)]
    pub server_syscalls_per_op: Option<f64>,
    /// Writes that the servers' device ended for each reply; everything on the machine counts.
    #[serde(default)]
    pub device_writes_per_op: Option<f64>,
    /// Bytes of them.
    #[serde(default)]
    pub device_bytes_per_op: Option<f64>,
    /// Flushes that it ended.
    #[serde(default)]
    pub device_flushes_per_op: Option<f64>,
    /// Memory of the named processes at the end.
    pub server_rss_kib: u64,
    /// CPU time of the generator for each reply.
    pub generator_cpu_us_per_op: f64,
    /// Its share of one core.
    pub generator_busy: f64,
    /// Share of the time for which it was ready to run and had no CPU; `None` if that isn't known, of a generator with many threads.
    pub generator_waited: Option<f64>,
    /// Second by second.
    pub intervals: Vec<Interval>,
    /// What else a scenario counts, each with its unit in the name.
    pub extra: BTreeMap<String, f64>,
}

impl Figures {
    /// Fills in what follows from what was used meanwhile.
    pub fn set_usage(&mut self, used: &Usage) {
        let per_op = |n: u64| n as f64 / self.operations.max(1) as f64;
        self.server_cpu_us_per_op = used.servers_us.map(per_op);
        self.rest_of_machine_cpu_us_per_op = per_op(used.machine_us.saturating_sub(used.generator_us));
        self.server_switches_per_op = per_op(used.servers_switches);
        self.device_writes_per_op = used.device.map(|device| per_op(device.writes));
        self.device_bytes_per_op = used.device.map(|device| per_op(device.written_bytes));
        self.device_flushes_per_op = used.device.map(|device| per_op(device.flushes));
        self.server_rss_kib = used.servers_rss_kib;
        self.generator_cpu_us_per_op = per_op(used.generator_us);
        self.generator_busy = used.generator_us as f64 / 1e6 / self.seconds;
        self.generator_waited = used.generator_waited_us.map(|us| us as f64 / 1e6 / self.seconds);
    }

    /// Why the figures may say more about the generator than about the server.
    pub fn warning(&self) -> Option<String> {
        let percent = self.generator_busy * 100.0;
        // Of many threads: none of them is known to be the bottleneck, but what they use their servers lack.
        let Some(waited) = self.generator_waited else {
            return (self.generator_busy > 0.1)
                .then(|| format!("the generator's threads used {percent:.0}% of one core beside the servers"));
        };
        let busy_when_let = self.generator_busy / (1.0 - waited).max(0.01);
        if busy_when_let >= GENERATOR_BUSY_MAX && self.generator_busy > 0.1 {
            let without = waited * 100.0;
            let used = format!("it used {percent:.0}% of one core and lacked a CPU for {without:.0}% of the time");
            return Some(format!("the generator was the bottleneck: {used}; the server can do more than this"));
        }
        if self.unserved > 0 {
            return Some(format!("{} requests were never served: the server can't keep this rate", self.unserved));
        }
        if let Some(rate) = self.offered_per_s.filter(|rate| self.ops_per_s < rate * RATE_SHARE_MIN) {
            return Some(format!("the rate wasn't kept: {:.0} of {rate:.0} requests a second", self.ops_per_s));
        }
        if let Some(late) = self.lateness.filter(|late| late.p99_us > LATENESS_MAX * self.latency.p50_us) {
            return Some(format!("the generator was late by {:.0} µs (p99): latencies are partly its own", late.p99_us));
        }
        if waited >= GENERATOR_WAITED_MAX {
            let percent = waited * 100.0;
            return Some(format!("the generator lacked a CPU for {percent:.0}% of the time: latencies are partly its own"));
        }
        None
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { name, sessions, outstanding, value_bytes, seconds, warmup_seconds, .. } = self;
        writeln!(f, "{name}, {sessions} sessions x {outstanding} outstanding, {value_bytes}-byte values, {seconds:.1} s")?;
        let kind = match self.offered_per_s {
            Some(rate) => format!("open loop, {rate:.0} requests a second; latency from the intended start"),
            None => "closed loop".to_owned(),
        };
        writeln!(f, "load         {kind}; {warmup_seconds:.1} s before it don't count")?;
        writeln!(f, "throughput   {:.0} ops/s ({} replies)", self.ops_per_s, self.operations)?;
        let latency = Some(self.latency);
        let rows = [("latency", latency), ("  reads", self.reads), ("  writes", self.writes), ("  service", self.service)];
        for (name, latency) in rows.into_iter().chain([("  lateness", self.lateness)]) {
            if let Some(l) = latency {
                let (p50, p99, p99_9, max) = (l.p50_us, l.p99_us, l.p99_9_us, l.max_us);
                writeln!(f, "{name:12} p50 {p50:.0} µs, p99 {p99:.0} µs, p99.9 {p99_9:.0} µs, max {max:.0} µs")?;
            }
        }
        match self.server_cpu_us_per_op {
            Some(us) => {
                let (switches, mib) = (self.server_switches_per_op, self.server_rss_kib >> 10);
                writeln!(f, "server       {us:.2} µs/op of CPU, {switches:.3} context switches/op, {mib} MiB")?;
            }
            None => writeln!(f, "server       unknown (name its processes with --pid)")?,
        }
        if let Some(calls) = self.server_syscalls_per_op {
            writeln!(f, "             {calls:.3} system calls/op")?;
        }
        if let (Some(writes), Some(bytes), Some(flushes)) =
            (self.device_writes_per_op, self.device_bytes_per_op, self.device_flushes_per_op)
        {
            writeln!(f, "device       {writes:.4} writes/op, {bytes:.0} bytes/op, {flushes:.4} flushes/op; of everything on the machine")?;
        }
        let rest = self.rest_of_machine_cpu_us_per_op;
        writeln!(f, "machine      {rest:.2} µs/op of CPU, everything but the generator")?;
        let (us, busy) = (self.generator_cpu_us_per_op, self.generator_busy * 100.0);
        let waited = self.generator_waited.map_or_else(String::new, |waited| format!(", waited for a CPU {:.0}%", waited * 100.0));
        writeln!(f, "generator    {us:.2} µs/op of CPU, {busy:.0}% of one core{waited}")?;
        for (name, value) in &self.extra {
            writeln!(f, "{name:12} {value:.3}")?;
        }
        match self.warning() {
            Some(warning) => writeln!(f, "WARNING: {warning}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let latency = Latency { count: 1_000_000, p50_us: 100.0, p99_us: 100.0, p99_9_us: 100.0, max_us: 100.0 };
        Figures { seconds: 2.0, operations: 1_000_000, ops_per_s: 500_000.0, latency, generator_waited: Some(0.0), ..Figures::default() }
    }

    #[test]
    fn a_busy_or_starved_generator_is_reported() {
        let mut figures = figures();
        let mut used = Usage {
            servers_us: Some(3_000_000),
            generator_us: 500_000,
            generator_waited_us: Some(0),
            machine_us: 4_000_000,
            ..Usage::default()
        };
        figures.set_usage(&used);
        assert_eq!((figures.server_cpu_us_per_op, figures.rest_of_machine_cpu_us_per_op), (Some(3.0), 3.5));
        assert_eq!((figures.generator_cpu_us_per_op, figures.generator_busy, figures.warning()), (0.5, 0.25, None));
        used.generator_us = 1_900_000;
        figures.set_usage(&used);
        assert!(figures.warning().is_some_and(|w| w.starts_with("the generator was the bottleneck: it used 95%")));
        used = Usage { generator_us: 950_000, generator_waited_us: Some(1_000_000), ..used };
        figures.set_usage(&used);
        assert!(figures.warning().is_some_and(|w| w.starts_with("the generator was the bottleneck")), "busy whenever it was let");
        used = Usage { generator_us: 500_000, generator_waited_us: Some(400_000), ..used };
        figures.set_usage(&used);
        assert!(figures.warning().is_some_and(|w| w.starts_with("the generator lacked a CPU for 20%")));
        figures.set_usage(&Usage { generator_us: 3_000_000, generator_waited_us: None, ..used });
        assert!(figures.warning().is_some_and(|w| w.starts_with("the generator's threads used 150% of one core")));
    }

    #[test]
    fn an_open_loop_that_was_not_kept_is_reported() {
        let open = Figures { offered_per_s: Some(500_000.0), ..figures() };
        assert_eq!(open.warning(), None);
        let late = Latency { p99_us: 11.0, ..Latency::default() };
        let behind = Figures { offered_per_s: Some(510_000.0), ..figures() };
        for (figures, start) in [
            (Figures { unserved: 3, ..open.clone() }, "3 requests were never served"),
            (Figures { lateness: Some(late), ..open.clone() }, "the generator was late by 11 µs"),
            (behind, "the rate wasn't kept"),
        ] {
            assert!(figures.warning().is_some_and(|w| w.starts_with(start)), "{start}");
        }
    }
}
