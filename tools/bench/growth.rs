//! `growth`: how fast Ringkeeper's operations are, and what they cost, with more of everything: servers, znodes, sessions, watches, bytes,
//! stripes of the log. Nothing may grow faster than its work.
//!
//! Guarantees: every point starts servers of its own; what was measured is on disk after each point, and a run that is started again
//! with the same program goes on behind it. Leaves to others: the plots (`report`).

use crate::ensemble::{Ensemble, Recipes, System};
use crate::figures::Figures;
use crate::host::Host;
use crate::scenario::{self, fill};
use crate::usage::{Usage, Watched};
use crate::workload::Workload;
use crate::{Failure, create_dir, load, seconds};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// At the start of every file with its figures.
pub const FORMAT: &str = "ringkeeper-growth-1";
/// Longest time to make what a point needs.
const PREPARE_MAX: Duration = Duration::from_secs(900);
/// Sessions that make znodes or watches.
const MAKERS: usize = 8;
/// Parents of the znodes.
const PARENTS: usize = 1000;
/// Name in [`Figures::extra`]: memory of a server, on average.
pub const RSS_MIB: &str = "server_mib";

/// What there is more of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dimension {
    /// Servers of the ensemble.
    Servers,
    /// Znodes in the tree.
    Znodes,
    /// Sessions, each with one request in flight.
    Sessions,
    /// Watches that aren't touched.
    Watches,
    /// Bytes of a value.
    Bytes,
    /// Stripes of the log.
    Shards,
}

impl Dimension {
    /// For titles.
    pub fn name(self) -> &'static str {
        match self {
            Dimension::Servers => "servers",
            Dimension::Znodes => "znodes",
            Dimension::Sessions => "sessions",
            Dimension::Watches => "watches",
            Dimension::Bytes => "bytes of a value",
            Dimension::Shards => "log shards",
        }
    }

    fn points(self) -> &'static [usize] {
        match self {
            Dimension::Servers => &[1, 3, 5, 7],
            Dimension::Znodes => &[10_000, 100_000, 1_000_000, 5_000_000],
            Dimension::Sessions => &[1, 10, 100, 1000, 10_000],
            Dimension::Watches => &[0, 1000, 10_000, 100_000, 1_000_000],
            Dimension::Bytes => &[100, 1000, 10_000, 100_000],
            Dimension::Shards => &[1, 2, 4],
        }
    }

    /// What is measured at each point, with sessions and requests in flight of each.
    fn works(self) -> &'static [(Workload, usize, usize)] {
        match self {
            Dimension::Servers | Dimension::Znodes | Dimension::Watches => &[(Workload::Set, 8, 64), (Workload::Get, 8, 64)],
            Dimension::Sessions => &[(Workload::Set, 0, 1), (Workload::Get, 0, 1)],
            Dimension::Bytes => &[(Workload::Set, 8, 8), (Workload::Get, 8, 8)],
            Dimension::Shards => &[(Workload::Set, 64, 32)],
        }
    }
}

/// What `growth` takes.
#[derive(clap::Args)]
pub struct GrowthArguments {
    /// What there is to be more of, several with commas; everything if nothing is named.
    #[arg(value_delimiter = ',')]
    dimensions: Vec<Dimension>,
    /// The program `ringkeeper`; the one beside this program if none is named.
    #[arg(long)]
    ringkeeper: Option<PathBuf>,
    /// Where the servers keep their data; should be on the disk that matters, not in memory.
    #[arg(long, default_value = "target/bench-growth")]
    work_dir: PathBuf,
    /// File with all figures; a run that it holds is gone on with.
    #[arg(long, default_value = "benches/results/growth.json")]
    save: PathBuf,
    /// Seconds that count, of each point.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Divide every number by this, but not below the first of its kind, to try it out.
    #[arg(long, default_value_t = 1)]
    scale_down: usize,
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// What there was more of.
    pub dimension: Dimension,
    /// How much of it.
    pub at: usize,
    /// What came out.
    pub figures: Figures,
}

/// The file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Growth {
    /// [`FORMAT`].
    pub format: String,
    /// Where and when it began.
    pub host: Host,
    /// Checksum of the program.
    pub build: String,
    /// Seconds that counted.
    pub seconds: f64,
    /// What came out.
    pub points: Vec<Point>,
}

/// Measures what isn't in the file yet.
pub fn growth(arguments: &GrowthArguments) -> Result<(), Failure> {
    if arguments.scale_down == 0 {
        return Err("--scale-down is at least 1".to_owned());
    }
    let work_dir = create_dir(&arguments.work_dir)?;
    let beside = || std::env::current_exe().map(|program| program.with_file_name("ringkeeper")).map_err(|e| e.to_string());
    let ringkeeper = arguments.ringkeeper.clone().map_or_else(beside, Ok)?;
    let mut growth = resume(arguments, &ringkeeper, &work_dir)?;
    let all = <Dimension as clap::ValueEnum>::value_variants();
    for dimension in if arguments.dimensions.is_empty() { all } else { &arguments.dimensions } {
        for at in scaled(dimension.points(), arguments.scale_down) {
            if growth.points.iter().any(|point| point.dimension == *dimension && point.at == at) {
                continue;
            }
            for figures in measure(*dimension, at, &ringkeeper, &work_dir, arguments.seconds)? {
                let p99 = figures.latency.p99_us;
                eprintln!("{at} {}, {}: {:.0} ops/s, p99 {p99:.0} µs", dimension.name(), figures.name, figures.ops_per_s);
                growth.points.push(Point { dimension: *dimension, at, figures });
            }
            save(&growth, &arguments.save)?;
        }
    }
    say!("all figures: {}", arguments.save.display());
    Ok(())
}

fn scaled(points: &[usize], down: usize) -> Vec<usize> {
    let first = points.first().copied().unwrap_or(0);
    let mut all: Vec<usize> = points.iter().map(|at| (at / down).max(first.min(*at))).collect();
    all.dedup();
    all
}

fn resume(arguments: &GrowthArguments, ringkeeper: &Path, work_dir: &Path) -> Result<Growth, Failure> {
    let failed = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let program = fs::read(ringkeeper).map_err(|e| failed(ringkeeper, &e))?;
    let build = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&program));
    let fresh = Growth {
        format: FORMAT.to_owned(),
        host: Host::look(Some(ringkeeper), work_dir),
        build,
        seconds: arguments.seconds,
        points: Vec::new(),
    };
    let text = match fs::read_to_string(&arguments.save) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(fresh),
        Err(e) => return Err(failed(&arguments.save, &e)),
    };
    let found: Growth = serde_json::from_str(&text).map_err(|e| failed(&arguments.save, &e))?;
    if (&found.format, &found.build, found.seconds) != (&fresh.format, &fresh.build, fresh.seconds) {
        return Err(failed(&arguments.save, &"it holds figures of another program or of other times; name another file with --save"));
    }
    Ok(found)
}

fn save(growth: &Growth, path: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let text = serde_json::to_string_pretty(growth).map_err(|e| e.to_string())?;
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        create_dir(dir)?;
    }
    let temp = path.with_extension("json.tmp");
    fs::write(&temp, text + "\n").map_err(failed)?;
    fs::rename(&temp, path).map_err(failed)
}

/// Both works of a point, on servers of its own.
fn measure(dimension: Dimension, at: usize, ringkeeper: &Path, work_dir: &Path, counts: f64) -> Result<Vec<Figures>, Failure> {
    let mut settings = Vec::new();
    if dimension == Dimension::Shards {
        settings.push(format!("ringkeeper.log.shards={at}"));
    }
    let recipes = Recipes {
        ringkeeper: ringkeeper
            .canonicalize()
            .map_err(|e| format!("{}: {e}; build it, or name it with --ringkeeper", ringkeeper.display()))?,
        ringkeeper_settings: settings,
        class_path: String::new(),
        zookeeper_settings: Vec::new(),
        java_options: Vec::new(),
        etcd: None,
    };
    let servers = if dimension == Dimension::Servers { at } else { 1 };
    let ensemble = recipes.start(System::Ringkeeper, servers, &work_dir.join("ensemble"))?;
    let outcome = on(&ensemble, dimension, at, counts).map_err(|e| format!("{at} {}: {e}\n{}", dimension.name(), ensemble.log_tails()));
    ensemble.stop()?;
    outcome
}

fn on(ensemble: &Ensemble, dimension: Dimension, at: usize, counts: f64) -> Result<Vec<Figures>, Failure> {
    let watched = Watched { pids: ensemble.pids(), device: None };
    let prepare = scenario::Plan {
        servers: ensemble.addresses(),
        watched: Watched::default(),
        sessions: MAKERS,
        size: at,
        measured: Duration::ZERO,
        time_max: PREPARE_MAX,
    };
    let mut watching = None;
    match dimension {
        Dimension::Znodes => drop(fill::fill(&prepare, PARENTS.min(at))?),
        Dimension::Watches if at > 0 => watching = Some(fill::watches(&prepare)?),
        _ => {}
    }
    let mut all = Vec::new();
    for (workload, sessions, outstanding) in dimension.works() {
        let plan = load::Plan {
            servers: ensemble.addresses(),
            watched: watched.clone(),
            count_syscalls: false,
            sessions: if *sessions == 0 { at } else { *sessions },
            outstanding: *outstanding,
            workload: *workload,
            value_bytes: if dimension == Dimension::Bytes { at } else { 100 },
            measured: seconds(counts)?,
            warmup: seconds(counts / 4.0)?,
            clean_up: true,
            arrivals: None,
            wasted: Duration::ZERO,
            apart: None,
        };
        let mut figures = load::run(&plan)?;
        let rss_kib = Usage::now(&watched)?.servers_rss_kib as f64;
        figures.extra.insert(RSS_MIB.to_owned(), rss_kib / 1024.0 / ensemble.pids().len() as f64);
        figures.intervals.clear();
        all.push(figures);
    }
    if let Some(pool) = watching {
        pool.close_all()?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_scaled_down_without_repeating() {
        assert_eq!(scaled(&[10, 100, 1000, 5000], 1000), [10]);
        assert_eq!(scaled(&[1, 10, 100], 10), [1, 10]);
        assert_eq!(scaled(&[0, 1000, 10_000], 100), [0, 10, 100]);
        assert_eq!(scaled(&[1, 2, 4], 1), [1, 2, 4]);
    }
}
