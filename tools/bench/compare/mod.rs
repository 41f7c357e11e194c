//! Both systems on one machine, in turns: for every row and round a fresh ensemble of each, alone on the machine, under the same load.
//! What a machine does over time then hits both alike, and the spread over the rounds shows how much.
//!
//! Guarantees: what was measured is on disk after each round, and a comparison that is started again goes on behind it; a row that
//! fails is told with the servers' last words and left, and the others go on.

mod flushed;
mod looking;
mod measure;
pub mod rows;
pub mod state;
pub mod verdict;

use crate::ensemble::{Recipes, System};
use crate::host::Host;
use crate::{Failure, create_dir, etcd, limits, zookeeper};
use measure::Bench;
use rows::{ROWS, Row, Work};
use state::{Round, Setup, State};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `compare` takes.
#[derive(clap::Args)]
pub struct CompareArguments {
    /// Servers of each ensemble: 1, 3, 5 or 7.
    #[arg(long, default_value_t = 3, value_parser = parse_servers)]
    servers: usize,
    /// Rows by name, several with commas; all if none is named.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// List the rows with what is demanded, and end.
    #[arg(long)]
    list_rows: bool,
    /// Rounds of each row; each measures both sides.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that count.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Seconds of the same load before, which don't count.
    #[arg(long, default_value_t = 3.0)]
    warmup: f64,
    /// Seconds of busy load before that, on both sides; a Java process compiles its hot path meanwhile.
    #[arg(long, default_value_t = 12.0)]
    conditioning: f64,
    /// The program `ringkeeper`; the one beside this program if none is named.
    #[arg(long)]
    ringkeeper: Option<PathBuf>,
    /// Class path of real ZooKeeper; fetched with Maven into the cache directory if none is named.
    #[arg(long)]
    zookeeper_classpath: Option<String>,
    /// Where what Maven finds is kept, and what Go builds.
    #[arg(long)]
    cache_dir: Option<PathBuf>,
    /// Where both systems keep their data; should be on the disk that matters, not in memory.
    #[arg(long, default_value = "target/bench-compare")]
    work_dir: PathBuf,
    /// File with all figures; a comparison that it holds is gone on with. benches/results/compare-N.json for N servers if none is named.
    #[arg(long)]
    state: Option<PathBuf>,
    /// A line for Ringkeeper's configuration, key=value; may be given several times.
    #[arg(long = "ringkeeper-setting")]
    ringkeeper_settings: Vec<String>,
    /// A line for ZooKeeper's configuration, key=value; may be given several times.
    #[arg(long = "zookeeper-setting")]
    zookeeper_settings: Vec<String>,
    /// An argument of ZooKeeper's Java machine; may be given several times.
    #[arg(long = "java-option", default_values = ["-Xms1g", "-Xmx1g"], allow_hyphen_values = true)]
    java_options: Vec<String>,
    /// The two sides; naming one twice shows how far apart equal things come out, `bare` what no server can better, and `etcd` another
    /// system by its own client.
    #[arg(long, value_delimiter = ',', default_value = "ringkeeper,zookeeper")]
    sides: Vec<System>,
    /// Stop the first side's servers for this share of the time, to show that it then comes out slower.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=95))]
    slowed_percent: u8,
    /// Divide the number of sessions of scenarios by this, to try them out.
    #[arg(long, default_value_t = 1)]
    scale_down: usize,
}

fn parse_servers(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| [1, 3, 5, 7].contains(n)).ok_or_else(|| "1, 3, 5 or 7 servers".to_owned())
}

/// Runs the comparison.
pub fn compare(arguments: &CompareArguments) -> Result<(), Failure> {
    let rows = chosen(&arguments.rows)?;
    if arguments.list_rows {
        list(&rows);
        return Ok(());
    }
    let rows = that_fit(rows, arguments)?;
    let [ours, theirs] = arguments.sides[..] else {
        return Err("--sides takes exactly two".to_owned());
    };
    if arguments.rounds == 0 || arguments.scale_down == 0 {
        return Err("at least one round and a --scale-down of at least 1 are needed".to_owned());
    }
    let work_dir = create_dir(&arguments.work_dir)?;
    let recipes = recipes(arguments)?;
    let host = Host::look(Some(&recipes.ringkeeper), &work_dir);
    if host.filesystem.starts_with("tmpfs") {
        eprintln!("WARNING: {} is in memory; writes cost no disk there on either side", work_dir.display());
    }
    let path = arguments.state.clone().unwrap_or_else(|| format!("benches/results/compare-{}.json", arguments.servers).into());
    let mut state = State::resume(&path, host, setup(arguments, &recipes)?)?;
    let bench = Bench::new(&state.setup, recipes, work_dir)?;
    let names = if ours == theirs { ["first", "second"] } else { [ours.name(), theirs.name()] };
    say_how_long(arguments, &rows, &state);
    let mut failed = Vec::new();
    for row in &rows {
        while state.row(row.name).rounds.len() < arguments.rounds {
            if let Err(failure) = round(&bench, row, &mut state, &path, names) {
                eprintln!("{} FAILED: {failure}", row.name);
                failed.push(row.name);
                break;
            }
        }
        let judged = state.setup.judged_servers();
        verdict::print(row, state.row(row.name), arguments.servers, judged, names);
    }
    say!("\nall figures: {}", path.display());
    if failed.is_empty() { Ok(()) } else { Err(format!("these rows failed, start again to go on with them: {}", failed.join(", "))) }
}

/// One round of a row: the machine itself, then both sides.
fn round(bench: &Bench, row: &Row, state: &mut State, path: &Path, names: [&str; 2]) -> Result<(), Failure> {
    let [ours, theirs] = [state.setup.sides[0], state.setup.sides[1]];
    let row_state = state.row(row.name);
    let number = row_state.rounds.len() + 1;
    if let (Work::OpenAtKnee { load, .. }, None) = (row.work, row_state.knee_per_s) {
        let knee = bench.knee(theirs, load)?;
        eprintln!("{}: {} reaches {knee:.0} ops/s in a closed loop", row.name, names[1]);
        row_state.knee_per_s = Some(knee);
        state.save(path)?;
    }
    let limits = limits::measure(&bench.work_dir)?;
    let knee = state.row(row.name).knee_per_s;
    let mut measured = Vec::with_capacity(2);
    for (side, name) in [ours, theirs].into_iter().zip(names) {
        let is_slowed = measured.is_empty();
        let figures = bench.measure(side, row, knee, &limits, is_slowed)?;
        let warning = figures.warning().map(|w| format!(" [{w}]")).unwrap_or_default();
        eprintln!("{}, round {number}, {name}: {:.0} ops/s, p50 {:.0} µs{warning}", row.name, figures.ops_per_s, figures.latency.p50_us);
        measured.push(figures);
    }
    if let (Some(theirs), Some(ours)) = (measured.pop(), measured.pop()) {
        state.row(row.name).rounds.push(Round { ours, theirs, limits });
    }
    state.save(path)
}

fn chosen(names: &[String]) -> Result<Vec<Row>, Failure> {
    if names.is_empty() {
        return Ok(ROWS.to_vec());
    }
    let find = |name: &String| ROWS.iter().find(|row| row.name == name).copied();
    let known = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    names.iter().map(|name| find(name).ok_or_else(|| format!("no row is called {name:?}; there are {}", known()))).collect()
}

/// Without those that can't be measured with so many servers, or with such; naming one of them is a mistake.
fn that_fit(rows: Vec<Row>, arguments: &CompareArguments) -> Result<Vec<Row>, Failure> {
    let fits = |row: &Row| row.fits(arguments.servers) && arguments.sides.iter().all(|side| row.fits_side(*side));
    let (fit, others): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(fits);
    match others.first() {
        Some(row) if !arguments.rows.is_empty() && row.fits(arguments.servers) => {
            let sides: Vec<_> = arguments.sides.iter().map(|side| side.name()).collect();
            Err(format!("{} isn't measured with --sides {}: not both know what it asks", row.name, sides.join(",")))
        }
        Some(row) if !arguments.rows.is_empty() => Err(format!("{} isn't measured with --servers {}", row.name, arguments.servers)),
        _ => Ok(fit),
    }
}

fn list(rows: &[Row]) {
    for row in rows {
        say!("{:18} {}", row.name, row.text);
        for demand in row.demands {
            let sign = if demand.figure.more_is_better() { "≥" } else { "≤" };
            let of = if demand.figure.is_ours_alone() { "ours" } else { "ratio" };
            let aim = demand.aim.map(|aim| format!(", aim {aim}")).unwrap_or_default();
            say!("{:18}   {} {of} {sign} {}{aim} (of {} servers)", "", demand.figure.name(), demand.bound, demand.servers);
        }
    }
}

/// Before hours of work: how many.
fn say_how_long(arguments: &CompareArguments, rows: &[Row], state: &State) {
    let done = |row: &Row| state.rows.iter().find(|known| known.name == row.name).map_or(0, |known| known.rounds.len());
    let rounds: usize = rows.iter().map(|row| arguments.rounds.saturating_sub(done(row))).sum();
    // Starting and ending an ensemble, and removing what the conditioning made.
    let overhead = 6.0 + 2.0 * arguments.servers as f64;
    let minutes = (2 * rounds) as f64 * (arguments.seconds + arguments.warmup + arguments.conditioning + overhead) / 60.0;
    eprintln!("{rounds} rounds to measure, about {minutes:.0} minutes");
}

fn recipes(arguments: &CompareArguments) -> Result<Recipes, Failure> {
    let beside = || std::env::current_exe().map(|program| program.with_file_name("ringkeeper")).map_err(|e| e.to_string());
    let program = arguments.ringkeeper.clone().map_or_else(beside, Ok)?;
    let ringkeeper = program.canonicalize().map_err(|e| format!("{}: {e}; build it, or name it with --ringkeeper", program.display()))?;
    let cache_dir = arguments.cache_dir.clone().unwrap_or_else(zookeeper::default_cache_dir);
    let etcd = if arguments.sides.contains(&System::Etcd) { Some(etcd::build(&cache_dir)?) } else { None };
    let class_path = match &arguments.zookeeper_classpath {
        Some(given) => given.clone(),
        None if !arguments.sides.contains(&System::ZooKeeper) => String::new(),
        None => zookeeper::fetch(&cache_dir)?,
    };
    Ok(Recipes {
        ringkeeper,
        ringkeeper_settings: arguments.ringkeeper_settings.clone(),
        class_path,
        zookeeper_settings: arguments.zookeeper_settings.clone(),
        java_options: arguments.java_options.clone(),
        etcd,
    })
}

fn setup(arguments: &CompareArguments, recipes: &Recipes) -> Result<Setup, Failure> {
    let program = std::fs::read(&recipes.ringkeeper).map_err(|e| format!("{}: {e}", recipes.ringkeeper.display()))?;
    let java = if arguments.sides.contains(&System::ZooKeeper) { java_version()? } else { String::new() };
    Ok(Setup {
        servers: arguments.servers,
        sides: arguments.sides.clone(),
        seconds: arguments.seconds,
        warmup: arguments.warmup,
        conditioning: arguments.conditioning,
        scale_down: arguments.scale_down,
        ringkeeper_build: format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&program)),
        ringkeeper_settings: recipes.ringkeeper_settings.clone(),
        zookeeper_version: zookeeper::VERSION.to_owned(),
        zookeeper_settings: recipes.zookeeper_settings.clone(),
        java,
        java_options: recipes.java_options.clone(),
        slowed_percent: arguments.slowed_percent,
        etcd_version: if recipes.etcd.is_some() { etcd::VERSION.to_owned() } else { String::new() },
    })
}

fn java_version() -> Result<String, Failure> {
    let output = Command::new("java").arg("-version").output().map_err(|e| format!("can't run java: {e}"))?;
    Ok(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned())
}
