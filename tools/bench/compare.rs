//! Both servers on one machine, in turns: for every cell of sessions, window and workload a fresh server of each side, the same
//! load, and the next round again. What a machine does over time then hits both sides alike, and the spread shows how much.

use crate::figures::Figures;
use crate::load::{self, Plan};
use crate::servers::{Recipes, Server, Side};
use crate::table::{Cell, print_table};
use crate::workload::Workload;
use crate::{Failure, create_dir, seconds, zookeeper};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A number of sessions and the window of each, written `32x1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Sessions.
    pub sessions: usize,
    /// Requests in flight of each.
    pub outstanding: usize,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        let parse = |part: &str| part.parse::<usize>().ok().filter(|n| *n > 0);
        let (sessions, outstanding) = text.split_once('x').ok_or_else(|| format!("{text:?} isn't like 32x1"))?;
        match (parse(sessions), parse(outstanding)) {
            (Some(sessions), Some(outstanding)) => Ok(Shape { sessions, outstanding }),
            _ => Err(format!("{text:?} isn't like 32x1")),
        }
    }
}

/// What `compare` takes.
#[derive(clap::Args)]
pub struct CompareArguments {
    /// The program `ringkeeper`.
    #[arg(long)]
    ringkeeper: PathBuf,
    /// Class path of real ZooKeeper.
    #[arg(long, required_unless_present = "fetch_zookeeper")]
    zookeeper_classpath: Option<String>,
    /// Fetch it with Maven (kept in the cache directory) instead.
    #[arg(long, conflicts_with = "zookeeper_classpath")]
    fetch_zookeeper: bool,
    /// Where what Maven finds is kept.
    #[arg(long)]
    cache_dir: Option<PathBuf>,
    /// Where both servers keep their data; should be on the disk that matters, not in memory.
    #[arg(long, default_value = "target/bench-compare")]
    work_dir: PathBuf,
    /// Rounds; each visits every cell with both servers.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Sessions and window of each, several with commas.
    #[arg(long, value_delimiter = ',', default_value = "1x1,32x1,8x64")]
    shapes: Vec<Shape>,
    /// Workloads, several with commas.
    #[arg(long, value_delimiter = ',', default_value = "set,create,get")]
    workloads: Vec<Workload>,
    /// Bytes of each value.
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// Seconds that count in each cell.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Seconds of the cell's own load before.
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seconds of a busy mixture before that, on both sides; a Java process compiles its hot path meanwhile.
    #[arg(long, default_value_t = 4.0)]
    conditioning: f64,
    /// A line for Ringkeeper's configuration, key=value; may be given several times.
    #[arg(long = "ringkeeper-setting")]
    ringkeeper_settings: Vec<String>,
    /// A line for ZooKeeper's configuration, key=value; may be given several times.
    #[arg(long = "zookeeper-setting")]
    zookeeper_settings: Vec<String>,
    /// File for all figures as JSON.
    #[arg(long, default_value = "target/bench-compare.json")]
    json_file: PathBuf,
}

/// Everything that was measured, as it goes to the file.
#[derive(serde::Serialize)]
struct Record<'a> {
    zookeeper_version: &'a str,
    cores: usize,
    kernel: String,
    work_dir: String,
    ringkeeper_settings: &'a [String],
    zookeeper_settings: &'a [String],
    cells: &'a [Cell],
}

/// Runs the comparison.
pub fn compare(arguments: &CompareArguments) -> Result<(), Failure> {
    if arguments.rounds == 0 {
        return Err("at least one round is needed".to_owned());
    }
    let work_dir = create_dir(&arguments.work_dir)?;
    if is_in_memory(&work_dir)? {
        eprintln!("WARNING: {} is in memory; writes cost no disk there on either side", work_dir.display());
    }
    let recipes = recipes(arguments)?;
    let mut cells: Vec<Cell> = Vec::new();
    for shape in &arguments.shapes {
        cells.extend(arguments.workloads.iter().map(|workload| Cell::new(*shape, *workload)));
    }
    for round in 1..=arguments.rounds {
        for at in 0..cells.len() {
            let cell = &mut cells[at];
            for side in [Side::Ringkeeper, Side::ZooKeeper] {
                let figures = measure(arguments, &recipes, &work_dir, side, cell)?;
                let warning = figures.warning().map(|w| format!(" [{w}]")).unwrap_or_default();
                eprintln!("round {round}, {}, {side:?}: {:.0} ops/s{warning}", cell.name(), figures.ops_per_s);
                cell.push(side, figures);
            }
            // Written after every cell: an interrupted comparison keeps what it has.
            write_record(arguments, &work_dir, &cells)?;
        }
    }
    print_table(&cells);
    println!("all figures: {}", arguments.json_file.display());
    Ok(())
}

fn recipes(arguments: &CompareArguments) -> Result<Recipes, Failure> {
    let program = &arguments.ringkeeper;
    let ringkeeper = program.canonicalize().map_err(|e| format!("{}: {e}", program.display()))?;
    let class_path = match &arguments.zookeeper_classpath {
        Some(given) => given.clone(),
        None => zookeeper::fetch(&arguments.cache_dir.clone().unwrap_or_else(zookeeper::default_cache_dir))?,
    };
    Ok(Recipes {
        ringkeeper,
        ringkeeper_settings: arguments.ringkeeper_settings.clone(),
        class_path,
        zookeeper_settings: arguments.zookeeper_settings.clone(),
    })
}

/// One cell of one side on a fresh server.
fn measure(arguments: &CompareArguments, recipes: &Recipes, work_dir: &Path, side: Side, cell: &Cell) -> Result<Figures, Failure> {
    let server = recipes.start(side, &work_dir.join("server"))?;
    let outcome = load_server(arguments, &server, cell);
    let outcome = outcome.map_err(|e| format!("{}, {side:?}: {e}\n{}", cell.name(), server.log_tail()));
    server.stop()?;
    outcome
}

fn load_server(arguments: &CompareArguments, server: &Server, cell: &Cell) -> Result<Figures, Failure> {
    let conditioning = seconds(arguments.conditioning)?;
    let plan = Plan {
        server: server.address.clone(),
        pids: vec![server.pid()],
        sessions: cell.sessions,
        outstanding: cell.outstanding,
        workload: cell.workload,
        value_bytes: arguments.value_bytes,
        measured: seconds(arguments.seconds)?,
        warmup: seconds(arguments.warmup)?,
        clean_up: false,
    };
    if !conditioning.is_zero() {
        let half = conditioning / 2;
        for (sessions, outstanding) in [(8, 64), (cell.sessions, cell.outstanding)] {
            let workload = Workload::Mixed { read_percent: 50 };
            let busy =
                Plan { sessions, outstanding, workload, measured: half, warmup: std::time::Duration::ZERO, clean_up: true, ..plan.clone() };
            load::run(&busy)?;
        }
    }
    load::run(&plan)
}

fn write_record(arguments: &CompareArguments, work_dir: &Path, cells: &[Cell]) -> Result<(), Failure> {
    let record = Record {
        zookeeper_version: zookeeper::VERSION,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        work_dir: work_dir.display().to_string(),
        ringkeeper_settings: &arguments.ringkeeper_settings,
        zookeeper_settings: &arguments.zookeeper_settings,
        cells,
    };
    let text = serde_json::to_string_pretty(&record).map_err(|e| e.to_string())?;
    std::fs::write(&arguments.json_file, text).map_err(|e| format!("{}: {e}", arguments.json_file.display()))
}

/// Whether a directory lies on tmpfs.
fn is_in_memory(dir: &Path) -> Result<bool, Failure> {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    let facts = rustix::fs::statfs(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    Ok(i128::from(facts.f_type) == i128::from(TMPFS_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_parse() {
        assert_eq!("32x1".parse(), Ok(Shape { sessions: 32, outstanding: 1 }));
        for bad in ["32", "0x1", "1x", "x", "axb"] {
            assert!(bad.parse::<Shape>().is_err(), "{bad}");
        }
    }
}
