//! One side of one round: a fresh ensemble, a busy time on both sides that doesn't count, then the row's own work.

use super::flushed::{BATCHES, FLUSHES_PER_BATCH, Flushed};
use super::looking::Looking;
use super::rows::{
    BYTES_PER_SESSION, BYTES_PER_ZNODE, IDLE_KIB, Load, READS_ALONE_P99_US, Row, SYNC_P50_US, TIME_MS, WITHOUT_SNAPSHOT_P99_9_US, Work,
};
use super::state::Setup;
use crate::arrivals::Arrivals;
use crate::brake::Brake;
use crate::device::Device;
use crate::ensemble::{Ensemble, Recipes, System};
use crate::etcd;
use crate::figures::Figures;
use crate::limits::Limits;
use crate::load::{self, Plan};
use crate::scenario;
use crate::usage::{Usage, Watched};
use crate::workload::Workload;
use crate::{Failure, seconds};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Requests in flight of each session while the knee is looked for.
const KNEE_OUTSTANDING: usize = 64;

/// Writes while snapshots are taken: of values that make the log grow fast enough for several within the time.
const WRITES: Load = Load { sessions: 32, outstanding: 256, workload: Workload::Set, value_bytes: 1024 };
const WRITES_PER_S: f64 = 4000.0;
/// How long, at most and in times of the time that counts.
const SNAPSHOTS_TIME: Duration = Duration::from_secs(90);
const SNAPSHOTS_TIMES: u32 = 12;
/// Sessions that make znodes.
const FILLERS: usize = 8;
/// Longest time of a scenario.
const SCENARIO_MAX: Duration = Duration::from_secs(600);
/// What makes a server busy on all its paths.
const BUSY: Load = Load { sessions: 8, outstanding: 64, workload: Workload::Mixed { read_percent: 50 }, value_bytes: 100 };

/// What all rows have in common.
pub struct Bench {
    recipes: Recipes,
    servers: usize,
    slowed_percent: u8,
    scale_down: usize,
    measured: Duration,
    warmup: Duration,
    conditioning: Duration,
    /// Where data lies.
    pub work_dir: PathBuf,
}

impl Bench {
    /// From the set-up.
    pub fn new(setup: &Setup, recipes: Recipes, work_dir: PathBuf) -> Result<Bench, Failure> {
        Ok(Bench {
            recipes,
            servers: setup.servers,
            slowed_percent: setup.slowed_percent,
            scale_down: setup.scale_down,
            measured: seconds(setup.seconds)?,
            warmup: seconds(setup.warmup)?,
            conditioning: seconds(setup.conditioning)?,
            work_dir,
        })
    }

    /// A row on a fresh ensemble of `side`.
    pub fn measure(&self, side: System, row: &Row, knee: Option<f64>, limits: &Limits, slowed: bool) -> Result<Figures, Failure> {
        let mut figures = self.on_a_fresh_ensemble(side, row.name, |ensemble| {
            let _brake = Brake::on(&ensemble.pids(), if slowed { self.slowed_percent } else { 0 });
            self.work(ensemble, row.work, knee)
        })?;
        figures.extra.insert(SYNC_P50_US.to_owned(), limits.sync.p50_us);
        Ok(figures)
    }

    /// What `side` reaches in a closed loop.
    pub fn knee(&self, side: System, load: Load) -> Result<f64, Failure> {
        let closed = Load { outstanding: KNEE_OUTSTANDING, ..load };
        self.on_a_fresh_ensemble(side, "the knee", |ensemble| {
            self.condition(ensemble, &closed)?;
            Ok(self.closed(ensemble, &self.plan(ensemble, &closed))?.ops_per_s)
        })
    }

    fn on_a_fresh_ensemble<T>(
        &self,
        side: System,
        what: &str,
        work: impl FnOnce(&mut Ensemble) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut ensemble = self.recipes.start(side, self.servers, &self.work_dir.join("ensemble"))?;
        let outcome = work(&mut ensemble).map_err(|e| format!("{what}, {}: {e}\n{}", side.name(), ensemble.log_tails()));
        ensemble.stop()?;
        outcome
    }

    fn work(&self, ensemble: &mut Ensemble, work: Work, knee: Option<f64>) -> Result<Figures, Failure> {
        match work {
            Work::Closed(load) => {
                self.condition(ensemble, &load)?;
                let plan = Plan { count_syscalls: true, ..self.plan(ensemble, &load) };
                if load.workload == Workload::Get || !ensemble.system().counts_its_syncs() {
                    return self.closed(ensemble, &plan);
                }
                self.closed_with_flushes(ensemble, &plan)
            }
            Work::WithReadsAlone(load) => {
                self.condition(ensemble, &load)?;
                let mut figures = load::run(&Plan { clean_up: true, ..self.plan(ensemble, &load) })?;
                let alone = load::run(&self.plan(ensemble, &Load { workload: Workload::Get, ..load }))?;
                figures.extra.insert(READS_ALONE_P99_US.to_owned(), alone.latency.p99_us);
                Ok(figures)
            }
            Work::OpenAtKnee { percent, load } => {
                let knee = knee.ok_or("the knee isn't known")?;
                self.condition(ensemble, &Load { outstanding: KNEE_OUTSTANDING, ..load })?;
                let arrivals = Arrivals { rate_per_s: knee * f64::from(percent) / 100.0, poisson: true };
                load::run(&Plan { arrivals: Some(arrivals), ..self.plan(ensemble, &load) })
            }
            Work::Scenario { scenario, sessions, size } => {
                self.condition(ensemble, &BUSY)?;
                let plan = self.scenario_plan(ensemble, (sessions / self.scale_down).max(1), size);
                scenario.run(&plan)?.pop().ok_or_else(|| "the scenario measured nothing".to_owned())
            }
            Work::LeaderLost(sessions) => {
                self.condition(ensemble, &BUSY)?;
                let mut plan = self.scenario_plan(ensemble, (sessions / self.scale_down).max(1), 0);
                // What a process used is gone with it.
                plan.watched.pids.clear();
                scenario::storms::leader_lost(&plan, || ensemble.crash_leader())
            }
            Work::Restart { znodes, parents } => self.restart(ensemble, znodes, parents),
            Work::IdleSessions(sessions) => self.idle_sessions(ensemble, sessions),
        }
    }

    /// A closed loop, through the client that the servers understand.
    fn closed(&self, ensemble: &Ensemble, plan: &Plan) -> Result<Figures, Failure> {
        match ensemble.system() {
            System::Etcd => etcd::run(self.recipes.etcd()?, plan),
            _ => load::run(plan),
        }
    }

    /// A closed loop, and what the device flushed for each batch from before its first request until after its last.
    fn closed_with_flushes(&self, ensemble: &Ensemble, plan: &Plan) -> Result<Figures, Failure> {
        let so_far = || plan.watched.device.as_ref().map(|device| Flushed::so_far(ensemble, device)).transpose();
        let before = so_far()?;
        let mut figures = self.closed(ensemble, plan)?;
        if let Some((batches, flushes_per_batch)) = so_far()?.zip(before).and_then(|(after, before)| after.since(&before)) {
            figures.extra.insert(BATCHES.to_owned(), batches);
            figures.extra.insert(FLUSHES_PER_BATCH.to_owned(), flushes_per_batch);
        }
        Ok(figures)
    }

    fn scenario_plan(&self, ensemble: &Ensemble, sessions: usize, size: usize) -> scenario::Plan {
        scenario::Plan {
            servers: ensemble.addresses(),
            watched: self.watched(ensemble),
            sessions,
            size,
            measured: self.measured,
            time_max: SCENARIO_MAX,
        }
    }

    /// Memory of each server before, what each znode adds, and how long all take to come back.
    fn restart(&self, ensemble: &mut Ensemble, znodes: usize, parents: usize) -> Result<Figures, Failure> {
        let idle_kib = self.rss_kib(ensemble)?;
        let plan = self.scenario_plan(ensemble, FILLERS, (znodes / self.scale_down).max(1));
        let (mut figures, last) = scenario::fill::fill(&plan, (parents / self.scale_down).max(1))?;
        let grown_kib = self.rss_kib(ensemble)? - idle_kib;
        let loaded = self.while_snapshots_are_taken(ensemble)?;
        let took = ensemble.crash_and_restart(&last)?;
        figures.extra.insert(IDLE_KIB.to_owned(), idle_kib);
        figures.extra.insert(BYTES_PER_ZNODE.to_owned(), grown_kib * 1024.0 / plan.size as f64);
        figures.extra.insert(WITHOUT_SNAPSHOT_P99_9_US.to_owned(), loaded.latency.p99_9_us);
        figures.extra.extend(loaded.extra);
        figures.extra.insert(TIME_MS.to_owned(), took.as_secs_f64() * 1000.0);
        Ok(figures)
    }

    /// Writes come evenly while the servers take snapshots as they do; those that are answered meanwhile are counted apart.
    fn while_snapshots_are_taken(&self, ensemble: &Ensemble) -> Result<Figures, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        let looking = Looking::at(ensemble.data_dirs(), Arc::clone(&flag));
        let plan = Plan {
            arrivals: Some(Arrivals { rate_per_s: WRITES_PER_S, poisson: true }),
            measured: SNAPSHOTS_TIME.min(self.measured * SNAPSHOTS_TIMES),
            apart: Some(flag),
            ..self.plan(ensemble, &WRITES)
        };
        let figures = load::run(&plan);
        looking.end()?;
        figures
    }

    /// What each idle session adds to the memory of its server.
    fn idle_sessions(&self, ensemble: &Ensemble, sessions: usize) -> Result<Figures, Failure> {
        let before_kib = self.rss_kib(ensemble)?;
        let plan = self.scenario_plan(ensemble, (sessions / self.scale_down).max(1), 0);
        let (mut figures, with_kib) = scenario::fill::idle_sessions(&plan, || self.rss_kib(ensemble))?;
        figures.extra.insert(BYTES_PER_SESSION.to_owned(), (with_kib - before_kib) * 1024.0 / plan.sessions as f64);
        Ok(figures)
    }

    /// Memory of a server, on average.
    fn rss_kib(&self, ensemble: &Ensemble) -> Result<f64, Failure> {
        Ok(Usage::now(&self.watched(ensemble))?.servers_rss_kib as f64 / self.servers as f64)
    }

    fn watched(&self, ensemble: &Ensemble) -> Watched {
        Watched { pids: ensemble.pids(), device: Device::of(&self.work_dir) }
    }

    fn plan(&self, ensemble: &Ensemble, load: &Load) -> Plan {
        Plan {
            servers: ensemble.addresses(),
            watched: self.watched(ensemble),
            count_syscalls: false,
            sessions: load.sessions,
            outstanding: load.outstanding,
            workload: load.workload,
            value_bytes: load.value_bytes,
            measured: self.measured,
            warmup: self.warmup,
            clean_up: false,
            arrivals: None,
            wasted: Duration::ZERO,
            apart: None,
        }
    }

    /// Half the time a busy mixture, half the row's own load.
    fn condition(&self, ensemble: &Ensemble, load: &Load) -> Result<(), Failure> {
        if self.conditioning.is_zero() {
            return Ok(());
        }
        for load in [&BUSY, load] {
            let plan = self.plan(ensemble, load);
            self.closed(ensemble, &Plan { measured: self.conditioning / 2, warmup: Duration::ZERO, clean_up: true, ..plan })?;
        }
        Ok(())
    }
}
