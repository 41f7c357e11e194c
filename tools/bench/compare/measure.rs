//! One side of one round: a fresh ensemble, a busy time on both sides that doesn't count, then the row's own work.

use super::rows::{Load, READS_ALONE_P99_US, Row, SYNC_P50_US, Work};
use super::state::Setup;
use crate::arrivals::Arrivals;
use crate::brake::Brake;
use crate::device::Device;
use crate::ensemble::{Ensemble, Recipes, System};
use crate::figures::Figures;
use crate::limits::Limits;
use crate::load::{self, Plan};
use crate::scenario;
use crate::usage::Watched;
use crate::workload::Workload;
use crate::{Failure, seconds};
use std::path::PathBuf;
use std::time::Duration;

/// Requests in flight of each session while the knee is looked for.
const KNEE_OUTSTANDING: usize = 64;

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
            Ok(load::run(&self.plan(ensemble, &closed))?.ops_per_s)
        })
    }

    fn on_a_fresh_ensemble<T>(&self, side: System, what: &str, work: impl FnOnce(&Ensemble) -> Result<T, Failure>) -> Result<T, Failure> {
        let ensemble = self.recipes.start(side, self.servers, &self.work_dir.join("ensemble"))?;
        let outcome = work(&ensemble).map_err(|e| format!("{what}, {}: {e}\n{}", side.name(), ensemble.log_tails()));
        ensemble.stop()?;
        outcome
    }

    fn work(&self, ensemble: &Ensemble, work: Work, knee: Option<f64>) -> Result<Figures, Failure> {
        match work {
            Work::Closed(load) => {
                self.condition(ensemble, &load)?;
                load::run(&Plan { count_syscalls: true, ..self.plan(ensemble, &load) })
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
                let plan = scenario::Plan {
                    servers: ensemble.addresses(),
                    watched: self.watched(ensemble),
                    sessions: (sessions / self.scale_down).max(1),
                    size,
                    measured: self.measured,
                    time_max: SCENARIO_MAX,
                };
                scenario.run(&plan)?.pop().ok_or_else(|| "the scenario measured nothing".to_owned())
            }
        }
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
        }
    }

    /// Half the time a busy mixture, half the row's own load.
    fn condition(&self, ensemble: &Ensemble, load: &Load) -> Result<(), Failure> {
        if self.conditioning.is_zero() {
            return Ok(());
        }
        for load in [&BUSY, load] {
            let plan = self.plan(ensemble, load);
            load::run(&Plan { measured: self.conditioning / 2, warmup: Duration::ZERO, clean_up: true, ..plan })?;
        }
        Ok(())
    }
}
