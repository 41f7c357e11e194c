//! What a run counts: latencies by kind, how late the generator was, and each second of the time that counts.

use super::{APART_COUNT, APART_P99_9_US, FREE_READS_P99_US, Plan};
use crate::Failure;
use crate::figures::{Figures, Interval, Latency};
use crate::session::{Burst, Replies};
use crate::usage::Usage;
use crate::workload::Kind;
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Latencies above this count as this.
const LATENCY_NS_MAX: u64 = 120_000_000_000;
/// Seconds that are listed one by one; what comes later counts, but isn't listed.
const INTERVALS_MAX: usize = 3600;

/// Histograms in nanoseconds.
pub struct Latencies {
    reads: Histogram<u64>,
    /// Those of them before which no write of the same session was on its way.
    free_reads: Histogram<u64>,
    writes: Histogram<u64>,
    service: Histogram<u64>,
    lateness: Histogram<u64>,
    /// Writes that were answered while this is set.
    apart: Option<(Arc<AtomicBool>, Histogram<u64>)>,
    unserved: u64,
    /// Starts of requests that count.
    counts_ns: std::ops::Range<u64>,
    intervals: Vec<Interval>,
}

impl Latencies {
    /// Counts everything until told otherwise.
    pub fn new() -> Result<Latencies, Failure> {
        let histogram = || Histogram::new_with_bounds(100, LATENCY_NS_MAX, 3).map_err(|e| e.to_string());
        Ok(Latencies {
            reads: histogram()?,
            free_reads: histogram()?,
            writes: histogram()?,
            service: histogram()?,
            lateness: histogram()?,
            apart: None,
            unserved: 0,
            counts_ns: 0..u64::MAX,
            intervals: Vec::new(),
        })
    }

    /// As the plan wants it.
    pub fn for_plan(plan: &Plan) -> Result<Latencies, Failure> {
        let mut latencies = Latencies::new()?;
        latencies.apart = plan.apart.clone().map(|flag| (flag, latencies.writes.clone()));
        Ok(latencies)
    }

    /// The time that counts begins; what was asked before and is answered from now on counts too, as in any closed loop.
    pub fn count_from(&mut self, now_ns: u64) {
        self.counts_ns = now_ns..u64::MAX;
    }

    /// Counts what is meant to start within these moments (open loop).
    pub fn count_only(&mut self, from_ns: u64, to_ns: u64) {
        self.counts_ns = from_ns..to_ns;
    }

    /// Counts nothing any more.
    pub fn stop(&mut self) {
        self.counts_ns = 0..0;
    }

    fn is_closed(&self) -> bool {
        self.counts_ns.end == u64::MAX
    }

    /// A request meant for `start_ns` leaves at `now_ns`.
    pub fn started(&mut self, start_ns: u64, now_ns: u64) {
        if self.counts_ns.contains(&start_ns) {
            self.lateness.saturating_record(now_ns.saturating_sub(start_ns));
        }
    }

    /// Requests that were meant for `start_ns` weren't answered until `now_ns` and won't be waited for.
    pub fn unserved(&mut self, start_ns: u64, kind: Kind, count: u64, now_ns: u64) {
        if self.counts_ns.contains(&start_ns) {
            self.unserved += count;
            self.histogram(kind).saturating_record_n(now_ns.saturating_sub(start_ns), count);
        }
    }

    fn histogram(&mut self, kind: Kind) -> &mut Histogram<u64> {
        match kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
        }
    }

    /// Replies that count.
    pub fn count(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }

    /// Replies so far.
    pub fn progress(&self) -> String {
        let replies = self.count();
        let slowest_ns = self.reads.max().max(self.writes.max());
        format!("{replies} replies, the slowest {:.1} ms", slowest_ns as f64 / 1e6)
    }

    /// What it all says.
    pub fn figures(self, plan: &Plan, measured: Duration, used: &Usage) -> Result<Figures, Failure> {
        let mut all = self.reads.clone();
        all.add(&self.writes).map_err(|e| e.to_string())?;
        let latency = Latency::of(&all).ok_or("no reply arrived in the time that counts")?;
        let (reads, writes) = (Latency::of(&self.reads), Latency::of(&self.writes));
        let mixed = reads.is_some() && writes.is_some();
        let apart = self.apart.as_ref().map_or(0, |(_, apart)| apart.len());
        let operations = all.len() + apart - self.unserved;
        let mut figures = Figures {
            seconds: measured.as_secs_f64(),
            offered_per_s: plan.arrivals.map(|arrivals| arrivals.rate_per_s),
            unserved: self.unserved,
            operations,
            ops_per_s: operations as f64 / measured.as_secs_f64(),
            latency,
            reads: reads.filter(|_| mixed),
            writes: writes.filter(|_| mixed),
            service: Latency::of(&self.service),
            lateness: Latency::of(&self.lateness),
            intervals: self.intervals,
            ..plan.figures()
        };
        if let Some(apart) = self.apart.as_ref().and_then(|(_, apart)| Latency::of(apart)) {
            figures.extra.insert(APART_P99_9_US.to_owned(), apart.p99_9_us);
            figures.extra.insert(APART_COUNT.to_owned(), apart.count as f64);
        }
        if let Some(free) = Latency::of(&self.free_reads).filter(|_| mixed) {
            figures.extra.insert(FREE_READS_P99_US.to_owned(), free.p99_us);
        }
        figures.set_usage(used);
        Ok(figures)
    }
}

impl Replies for Latencies {
    fn answered(&mut self, burst: &Burst, now_ns: u64) {
        let closed = self.is_closed();
        if !closed && !self.counts_ns.contains(&burst.start_ns) {
            return;
        }
        let latency_ns = now_ns.saturating_sub(burst.start_ns);
        match &mut self.apart {
            Some((flag, apart)) if burst.kind == Kind::Write && flag.load(Ordering::Relaxed) => {
                apart.saturating_record_n(latency_ns, burst.count);
            }
            _ => self.histogram(burst.kind).saturating_record_n(latency_ns, burst.count),
        }
        if burst.kind == Kind::Read && !burst.behind_a_write {
            self.free_reads.saturating_record_n(latency_ns, burst.count);
        }
        if !closed {
            self.service.saturating_record_n(now_ns.saturating_sub(burst.sent_ns), burst.count);
        }
        let second = (now_ns.saturating_sub(self.counts_ns.start) / 1_000_000_000) as usize;
        if second < INTERVALS_MAX && self.counts_ns.start > 0 {
            let none = Interval { operations: 0, max_us: 0.0 };
            self.intervals.resize(self.intervals.len().max(second + 1), none);
            let interval = &mut self.intervals[second];
            interval.operations += burst.count;
            interval.max_us = interval.max_us.max(latency_ns as f64 / 1000.0);
        }
    }
}
