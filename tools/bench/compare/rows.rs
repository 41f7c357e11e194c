//! The rows of the comparison and what is demanded of each, as data: the one place where the demands stand.
//!
//! A ratio is Ringkeeper's figure ÷ ZooKeeper's. The demands hold for the number of servers that each names; with another number the
//! rows are measured all the same, beside no demand.

use super::flushed::FLUSHES_PER_BATCH;
use crate::ensemble::System;
use crate::etcd;
use crate::figures::Figures;
use crate::load::{APART_P99_9_US, FREE_READS_P99_US};
use crate::scenario::Scenario;
use crate::workload::Workload;

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// For `--rows`.
    pub name: &'static str,
    /// For people.
    pub text: &'static str,
    /// What is measured.
    pub work: Work,
    /// What is demanded.
    pub demands: &'static [Demand],
}

/// What both sides do.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Work {
    /// A closed loop.
    Closed(Load),
    /// A closed loop of reads and writes, and then one of its reads alone.
    WithReadsAlone(Load),
    /// An open loop of setData at this share of what ZooKeeper reaches in a closed loop of the same sessions.
    OpenAtKnee { percent: u32, load: Load },
    /// A scenario, of so many sessions and that size.
    Scenario { scenario: Scenario, sessions: usize, size: usize },
    /// So many sessions, and then the leader's end.
    LeaderLost(usize),
    /// So many znodes, of which the memory is measured, and then a restart of all servers.
    Restart { znodes: usize, parents: usize },
    /// So many sessions that ask nothing.
    IdleSessions(usize),
}

impl Row {
    /// Whether it can be measured with so many servers: a leader that is lost needs others, and one server is enough to weigh.
    pub fn fits(&self, servers: usize) -> bool {
        match self.work {
            Work::LeaderLost(_) => servers >= 3,
            Work::Restart { .. } | Work::IdleSessions(_) => servers == 1,
            _ => true,
        }
    }

    /// Whether `side` knows what is asked; a row of ZooKeeper's protocol asks etcd for closed loops of puts and gets only.
    pub fn fits_side(&self, side: System) -> bool {
        match side {
            System::Ringkeeper | System::ZooKeeper => true,
            System::Bare => self.fits_bare(),
            System::Etcd => matches!(self.work, Work::Closed(load) if etcd::knows(load.workload)),
        }
    }

    /// Whether a server that keeps nothing can be asked it: only what asks for answers, not for what they stand for.
    fn fits_bare(&self) -> bool {
        match self.work {
            Work::Closed(load) => load.workload == Workload::Get,
            Work::Scenario { scenario, .. } => matches!(scenario, Scenario::FanOut | Scenario::Connections),
            _ => false,
        }
    }
}

/// Sessions, window, operations.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Load {
    /// Sessions.
    pub sessions: usize,
    /// Requests in flight of each.
    pub outstanding: usize,
    /// What they ask.
    pub workload: Workload,
    /// Bytes of a value.
    pub value_bytes: usize,
}

/// A figure of a measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Figure {
    /// Replies a second.
    Throughput,
    /// Median latency.
    P50,
    /// 99 of 100.
    P99,
    /// 999 of 1000.
    P999,
    /// The slowest.
    Max,
    /// CPU time of all servers' processes for each reply.
    Cpu,
    /// CPU time of the machine, less the generator's, for each reply.
    MachineCpu,
    /// Context switches of all servers for each reply.
    Switches,
    /// System calls of all servers for each reply.
    Syscalls,
    /// Bytes that the device wrote for each byte of value.
    WriteAmplification,
    /// Flushes of the device for each reply.
    Flushes,
    /// Flushes of the device for each batch that was made durable.
    FlushesPerBatch,
    /// Memory of all servers.
    Memory,
    /// Reads' p99 beside writes ÷ their p99 alone.
    ReadsBesideWrites,
    /// The same of the reads that follow no unanswered write of their own session, which no order holds back.
    FreeReadsBesideWrites,
    /// Median of writes ÷ median of the device's own writes.
    OverSync,
    /// Time that a scenario took.
    Time,
    /// Memory of a server before anything was asked of it.
    IdleMemory,
    /// Memory that a server takes for each znode.
    ZnodeMemory,
    /// Memory that a server takes for each idle session.
    SessionMemory,
    /// p99.9 of writes while snapshots are taken ÷ without.
    BesideSnapshots,
}

/// Every figure, in the order of the table.
pub const FIGURES: [Figure; 21] = [
    Figure::Throughput,
    Figure::P50,
    Figure::P99,
    Figure::P999,
    Figure::Max,
    Figure::Time,
    Figure::Cpu,
    Figure::MachineCpu,
    Figure::Switches,
    Figure::Syscalls,
    Figure::WriteAmplification,
    Figure::Flushes,
    Figure::FlushesPerBatch,
    Figure::Memory,
    Figure::IdleMemory,
    Figure::ZnodeMemory,
    Figure::SessionMemory,
    Figure::BesideSnapshots,
    Figure::ReadsBesideWrites,
    Figure::FreeReadsBesideWrites,
    Figure::OverSync,
];

/// Names in [`Figures::extra`].
pub const READS_ALONE_P99_US: &str = "reads_alone_p99_us";
/// See [`READS_ALONE_P99_US`].
pub const SYNC_P50_US: &str = "sync_p50_us";
/// See [`READS_ALONE_P99_US`].
pub const TIME_MS: &str = "time_ms";
/// See [`READS_ALONE_P99_US`].
pub const IDLE_KIB: &str = "idle_kib";
/// See [`READS_ALONE_P99_US`].
pub const BYTES_PER_ZNODE: &str = "bytes_per_znode";
/// See [`READS_ALONE_P99_US`].
pub const BYTES_PER_SESSION: &str = "bytes_per_session";
/// See [`READS_ALONE_P99_US`].
pub const WITHOUT_SNAPSHOT_P99_9_US: &str = "without_snapshot_p99_9_us";

impl Figure {
    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Figure::Throughput => "ops/s",
            Figure::P50 => "p50 µs",
            Figure::P99 => "p99 µs",
            Figure::P999 => "p99.9 µs",
            Figure::Max => "max µs",
            Figure::Cpu => "CPU µs/op",
            Figure::MachineCpu => "machine µs/op",
            Figure::Switches => "switches/op",
            Figure::Syscalls => "syscalls/op",
            Figure::WriteAmplification => "written ÷ value",
            Figure::Flushes => "flushes/op",
            Figure::FlushesPerBatch => "flushes/batch",
            Figure::Memory => "memory MiB",
            Figure::ReadsBesideWrites => "read p99 ÷ alone",
            Figure::FreeReadsBesideWrites => "free read p99 ÷ alone",
            Figure::OverSync => "p50 ÷ sync p50",
            Figure::Time => "time ms",
            Figure::IdleMemory => "idle MiB",
            Figure::ZnodeMemory => "bytes/znode",
            Figure::SessionMemory => "bytes/session",
            Figure::BesideSnapshots => "snapshot p99.9 ÷",
        }
    }

    /// Its value; `None` where the measurement doesn't have it.
    pub fn of(self, figures: &Figures) -> Option<f64> {
        let extra = |name: &str| figures.extra.get(name).copied();
        let value = match self {
            Figure::Throughput => Some(figures.ops_per_s),
            Figure::P50 => Some(figures.latency.p50_us),
            Figure::P99 => Some(figures.latency.p99_us),
            Figure::P999 => Some(figures.latency.p99_9_us),
            Figure::Max => Some(figures.latency.max_us),
            Figure::Cpu => figures.server_cpu_us_per_op,
            Figure::MachineCpu => Some(figures.rest_of_machine_cpu_us_per_op),
            Figure::Switches => Some(figures.server_switches_per_op),
            Figure::Syscalls => figures.server_syscalls_per_op,
            Figure::WriteAmplification => figures.device_bytes_per_op.map(|bytes| bytes / figures.value_bytes as f64),
            Figure::Flushes => figures.device_flushes_per_op,
            Figure::FlushesPerBatch => extra(FLUSHES_PER_BATCH),
            Figure::Memory => Some(figures.server_rss_kib as f64 / 1024.0),
            Figure::ReadsBesideWrites => figures.reads.zip(extra(READS_ALONE_P99_US)).map(|(reads, alone)| reads.p99_us / alone),
            Figure::FreeReadsBesideWrites => extra(FREE_READS_P99_US).zip(extra(READS_ALONE_P99_US)).map(|(free, alone)| free / alone),
            Figure::OverSync => extra(SYNC_P50_US).map(|sync| figures.latency.p50_us / sync),
            Figure::Time => extra(TIME_MS),
            Figure::IdleMemory => extra(IDLE_KIB).map(|kib| kib / 1024.0),
            Figure::ZnodeMemory => extra(BYTES_PER_ZNODE),
            Figure::SessionMemory => extra(BYTES_PER_SESSION),
            Figure::BesideSnapshots => extra(APART_P99_9_US).zip(extra(WITHOUT_SNAPSHOT_P99_9_US)).map(|(with, without)| with / without),
        };
        value.filter(|value| value.is_finite())
    }

    /// Whether more of it is better.
    pub fn more_is_better(self) -> bool {
        self == Figure::Throughput
    }

    /// Whether a demand is on our figure itself, not on the ratio.
    pub fn is_ours_alone(self) -> bool {
        matches!(
            self,
            Figure::ReadsBesideWrites
                | Figure::FreeReadsBesideWrites
                | Figure::OverSync
                | Figure::WriteAmplification
                | Figure::FlushesPerBatch
                | Figure::IdleMemory
                | Figure::ZnodeMemory
                | Figure::SessionMemory
                | Figure::BesideSnapshots
        )
    }
}

/// What is demanded of a ratio, or of our figure where [`Figure::is_ours_alone`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Demand {
    /// With so many servers.
    pub servers: usize,
    /// Of which figure.
    pub figure: Figure,
    /// At least this if more is better, else at most.
    pub bound: f64,
    /// What is hoped for.
    pub aim: Option<f64>,
}

const fn three(figure: Figure, bound: f64, aim: f64) -> Demand {
    Demand { servers: 3, figure, bound, aim: Some(aim) }
}

const fn closed(sessions: usize, outstanding: usize, workload: Workload, value_bytes: usize) -> Work {
    Work::Closed(Load { sessions, outstanding, workload, value_bytes })
}

const fn one(figure: Figure, bound: f64, aim: Option<f64>) -> Demand {
    Demand { servers: 1, figure, bound, aim }
}

use Figure::{
    BesideSnapshots, Cpu, FlushesPerBatch, FreeReadsBesideWrites, IdleMemory, OverSync, P50, P99, P999, ReadsBesideWrites, SessionMemory,
    Throughput, Time, WriteAmplification, ZnodeMemory,
};

/// One flush for each batch of a log shard. What else is flushed meanwhile (new segments, the mark, snapshots, other files of the
/// machine) may come to one in twenty.
const ONE_FLUSH: Demand = one(FlushesPerBatch, 1.05, None);
const OPEN: Load = Load { sessions: 32, outstanding: 256, workload: Workload::Set, value_bytes: 100 };
const MIXED: Load = Load { sessions: 32, outstanding: 8, workload: Workload::Mixed { read_percent: 90 }, value_bytes: 100 };

/// All rows.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    Row { name: "set-8x64", text: "setData 100 B, 8 sessions × 64 outstanding", work: closed(8, 64, Workload::Set, 100),
        demands: &[three(Throughput, 7.0, 12.0), three(Cpu, 0.10, 0.06), one(Cpu, 0.15, None), ONE_FLUSH] },
    Row { name: "set-64x32", text: "setData 100 B, 64 × 32", work: closed(64, 32, Workload::Set, 100),
        demands: &[three(Throughput, 8.0, 14.0), three(Cpu, 0.10, 0.05)] },
    Row { name: "create-8x64", text: "create 100 B, 8 × 64", work: closed(8, 64, Workload::Create, 100),
        demands: &[three(Throughput, 5.0, 8.0), three(Cpu, 0.13, 0.08), one(Cpu, 0.15, None)] },
    Row { name: "set1k-8x64", text: "setData 1 KB, 8 × 64", work: closed(8, 64, Workload::Set, 1024),
        demands: &[three(Throughput, 4.0, 8.0), three(Cpu, 0.15, 0.08), one(WriteAmplification, 1.5, Some(1.3)), ONE_FLUSH] },
    Row { name: "set-1x1", text: "setData 100 B, 1 × 1", work: closed(1, 1, Workload::Set, 100),
        demands: &[three(P50, 0.65, 0.55), three(Cpu, 0.40, 0.33), one(Cpu, 0.5, None), one(OverSync, 1.5, Some(1.2)),
            ONE_FLUSH] },
    Row { name: "set-4x1", text: "setData 100 B, 4 × 1", work: closed(4, 1, Workload::Set, 100),
        demands: &[three(Throughput, 1.8, 2.4)] },
    Row { name: "set-10x1", text: "setData 100 B, 10 × 1", work: closed(10, 1, Workload::Set, 100),
        demands: &[three(Throughput, 2.1, 2.8)] },
    Row { name: "set-32x1", text: "setData 100 B, 32 × 1", work: closed(32, 1, Workload::Set, 100),
        demands: &[three(Throughput, 2.5, 3.4), three(Cpu, 0.25, 0.18), one(Cpu, 0.3, None)] },
    Row { name: "create-1x1", text: "create 100 B, 1 × 1", work: closed(1, 1, Workload::Create, 100),
        demands: &[one(Cpu, 0.5, None)] },
    Row { name: "create-32x1", text: "create 100 B, 32 × 1", work: closed(32, 1, Workload::Create, 100),
        demands: &[one(Cpu, 0.3, None)] },
    Row { name: "get-8x64", text: "getData 100 B, 8 × 64", work: closed(8, 64, Workload::Get, 100),
        demands: &[three(Throughput, 12.0, 25.0), three(Cpu, 0.04, 0.02), one(Cpu, 0.15, None)] },
    Row { name: "get-32x1", text: "getData 100 B, 32 × 1", work: closed(32, 1, Workload::Get, 100),
        demands: &[three(Throughput, 2.8, 4.0), three(Cpu, 0.25, 0.16), one(Cpu, 0.3, None)] },
    Row { name: "get-1x1", text: "getData 100 B, 1 × 1", work: closed(1, 1, Workload::Get, 100),
        demands: &[three(P50, 0.25, 0.15), three(Cpu, 0.15, 0.09), one(Cpu, 0.5, None)] },
    Row { name: "mixed90-32x8", text: "90 % getData, 10 % setData, 100 B, 32 × 8", work: Work::WithReadsAlone(MIXED),
        demands: &[three(Throughput, 6.0, 10.0), three(Cpu, 0.10, 0.06), Demand { servers: 3, figure: ReadsBesideWrites, bound: 1.5, aim: None },
            Demand { servers: 3, figure: FreeReadsBesideWrites, bound: 1.5, aim: None }] },
    Row { name: "open-set-70", text: "open loop, Poisson, setData 100 B at 70 % of ZooKeeper's knee", work: Work::OpenAtKnee { percent: 70, load: OPEN },
        demands: &[Demand { servers: 3, figure: P99, bound: 0.2, aim: None }, three(P999, 0.15, 0.05)] },
    Row { name: "fan-out-10000", text: "watch fan-out 1 → 10,000: time until the last is delivered",
        work: Work::Scenario { scenario: Scenario::FanOut, sessions: 10_000, size: 0 }, demands: &[three(Time, 0.3, 0.15)] },
    Row { name: "connections-10000", text: "connection storm: 10,000 sessions at once, each answered once",
        work: Work::Scenario { scenario: Scenario::Connections, sessions: 10_000, size: 0 }, demands: &[three(Time, 0.3, 0.15)] },
    Row { name: "leader-lost-10000", text: "the leader is killed under 10,000 idle sessions: time until each is back at another server and answered",
        work: Work::LeaderLost(10_000), demands: &[three(Time, 0.3, 0.15)] },
    Row { name: "expiry-10000x10", text: "expiry storm: 10,000 sessions × 10 ephemerals: first to last removal",
        work: Work::Scenario { scenario: Scenario::Expiry, sessions: 10_000, size: 10 }, demands: &[three(Time, 0.3, 0.15)] },
    Row { name: "restart-1m", text: "1,000,000 znodes (100 B, names of 30 B, 1,000 parents): memory, snapshots under load, and a restart until the first answer",
        work: Work::Restart { znodes: 1_000_000, parents: 1000 },
        demands: &[one(Time, 0.2, None), one(ZnodeMemory, 270.0, Some(200.0)), one(IdleMemory, 30.0, Some(15.0)), one(BesideSnapshots, 3.0, Some(1.5))] },
    Row { name: "idle-10000", text: "10,000 sessions that ask nothing: memory",
        work: Work::IdleSessions(10_000), demands: &[one(SessionMemory, 2048.0, Some(600.0))] },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_demands_point_where_better_is() {
        assert_eq!(ROWS.iter().map(|row| row.name).collect::<BTreeSet<_>>().len(), ROWS.len());
        for row in ROWS {
            assert!(!row.demands.is_empty(), "{}", row.name);
            for demand in row.demands {
                let aim = demand.aim.unwrap_or(demand.bound);
                let harder = if demand.figure.more_is_better() { aim >= demand.bound } else { aim <= demand.bound };
                assert!(harder, "{}: the aim is no harder than the bound", row.name);
            }
        }
    }
}
