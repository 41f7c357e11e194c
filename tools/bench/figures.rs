//! What one measurement says.

use crate::usage::Usage;
use crate::workload::Workload;
use hdrhistogram::Histogram;
use std::fmt;

/// Above this share of one core the generator itself may be what limits the throughput.
const GENERATOR_BUSY_MAX: f64 = 0.9;
/// Above this share of the time without a CPU although it was ready, its latencies are partly its own.
const GENERATOR_WAITED_MAX: f64 = 0.1;

/// Latencies in microseconds.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize)]
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

/// One measurement.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Figures {
    /// What was asked.
    pub workload: Workload,
    /// Sessions.
    pub sessions: usize,
    /// Requests in flight of each.
    pub outstanding: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Time that counted.
    pub seconds: f64,
    /// Replies in it.
    pub operations: u64,
    /// Replies a second.
    pub ops_per_s: f64,
    /// Of all replies.
    pub latency: Latency,
    /// Of reads and writes apart, in a mixture.
    pub reads: Option<Latency>,
    /// See `reads`.
    pub writes: Option<Latency>,
    /// CPU time of the named processes for each reply.
    pub server_cpu_us_per_op: Option<f64>,
    /// CPU time of everything on the machine but the generator for each reply.
    pub rest_of_machine_cpu_us_per_op: f64,
    /// CPU time of the generator for each reply.
    pub generator_cpu_us_per_op: f64,
    /// Its share of one core.
    pub generator_busy: f64,
    /// Share of the time for which it was ready to run and had no CPU.
    pub generator_waited: f64,
}

impl Figures {
    /// Of one workload, with throughput and latency; everything else is still to be filled in.
    pub fn of(workload: Workload, ops_per_s: f64, latency: Latency) -> Figures {
        Figures {
            workload,
            sessions: 0,
            outstanding: 0,
            value_bytes: 0,
            seconds: 0.0,
            operations: latency.count,
            ops_per_s,
            latency,
            reads: None,
            writes: None,
            server_cpu_us_per_op: None,
            rest_of_machine_cpu_us_per_op: 0.0,
            generator_cpu_us_per_op: 0.0,
            generator_busy: 0.0,
            generator_waited: 0.0,
        }
    }

    /// Fills in what follows from the CPU times used meanwhile.
    pub fn set_usage(&mut self, used: &Usage) {
        let per_op = |us: u64| us as f64 / self.operations.max(1) as f64;
        self.server_cpu_us_per_op = used.servers_us.map(per_op);
        self.rest_of_machine_cpu_us_per_op = per_op(used.machine_us.saturating_sub(used.generator_us));
        self.generator_cpu_us_per_op = per_op(used.generator_us);
        self.generator_busy = used.generator_us as f64 / 1e6 / self.seconds;
        self.generator_waited = used.generator_waited_us as f64 / 1e6 / self.seconds;
    }

    /// Why the figures may say more about the generator than about the server.
    pub fn warning(&self) -> Option<String> {
        if self.generator_busy >= GENERATOR_BUSY_MAX {
            let percent = self.generator_busy * 100.0;
            return Some(format!("the generator was the bottleneck: it used {percent:.0}% of one core; the server can do more than this"));
        }
        if self.generator_waited >= GENERATOR_WAITED_MAX {
            let percent = self.generator_waited * 100.0;
            return Some(format!("the generator lacked a CPU for {percent:.0}% of the time: latencies are partly its own"));
        }
        None
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { workload, sessions, outstanding, value_bytes, .. } = self;
        writeln!(f, "{workload}, {sessions} sessions x {outstanding} outstanding, {value_bytes}-byte values, {:.1} s", self.seconds)?;
        writeln!(f, "throughput   {:.0} ops/s ({} replies)", self.ops_per_s, self.operations)?;
        let rows = [("latency", Some(self.latency)), ("  reads", self.reads), ("  writes", self.writes)];
        for (name, latency) in rows {
            if let Some(l) = latency {
                let (p50, p99, p99_9, max) = (l.p50_us, l.p99_us, l.p99_9_us, l.max_us);
                writeln!(f, "{name:12} p50 {p50:.0} µs, p99 {p99:.0} µs, p99.9 {p99_9:.0} µs, max {max:.0} µs")?;
            }
        }
        match self.server_cpu_us_per_op {
            Some(us) => writeln!(f, "server CPU   {us:.2} µs/op")?,
            None => writeln!(f, "server CPU   unknown (name its processes with --pid)")?,
        }
        let rest = self.rest_of_machine_cpu_us_per_op;
        writeln!(f, "machine      {rest:.2} µs/op of CPU, everything but the generator")?;
        let (us, busy) = (self.generator_cpu_us_per_op, self.generator_busy * 100.0);
        writeln!(f, "generator    {us:.2} µs/op of CPU, {busy:.0}% of one core, waited for a CPU {:.0}%", self.generator_waited * 100.0)?;
        match self.warning() {
            Some(warning) => writeln!(f, "WARNING: {warning}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_or_starved_generator_is_reported() {
        let latency = Latency { count: 1_000_000, p50_us: 1.0, p99_us: 1.0, p99_9_us: 1.0, max_us: 1.0 };
        let mut figures = Figures { seconds: 2.0, ..Figures::of(Workload::Get, 500_000.0, latency) };
        let mut used = Usage { servers_us: Some(3_000_000), generator_us: 500_000, generator_waited_us: 0, machine_us: 4_000_000 };
        figures.set_usage(&used);
        assert_eq!((figures.server_cpu_us_per_op, figures.rest_of_machine_cpu_us_per_op), (Some(3.0), 3.5));
        assert_eq!((figures.generator_cpu_us_per_op, figures.generator_busy, figures.warning()), (0.5, 0.25, None));
        used.generator_us = 1_900_000;
        figures.set_usage(&used);
        assert!(figures.warning().is_some_and(|w| w.starts_with("the generator was the bottleneck: it used 95%")));
        used = Usage { generator_us: 500_000, generator_waited_us: 400_000, ..used };
        figures.set_usage(&used);
        assert!(figures.warning().is_some_and(|w| w.starts_with("the generator lacked a CPU for 20%")));
    }
}
