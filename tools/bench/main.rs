//! `ringkeeper-bench`: load for any server that speaks ZooKeeper's client protocol, and a comparison of Ringkeeper with real ZooKeeper
//! on the same machine.
//!
//! `run` loads servers that are running already. `compare` starts whole ensembles of both systems itself, one at a time, and prints
//! each row beside what is demanded of it. In a closed loop every session has a fixed number of requests in flight and sends the next
//! one when a reply arrives: latencies are those of a server that is as busy as its clients let it be. In an open loop requests start
//! when they are meant to, and latency counts from then, so that a server that stands still is charged for everybody who waits.

/// Prints a line: `println!` that survives a reader who went away.
macro_rules! say {
    ($($text:tt)*) => { $crate::put(format_args!("{}\n", format_args!($($text)*))) };
}

/// The same without the end of the line.
macro_rules! say_on {
    ($($text:tt)*) => { $crate::put(format_args!($($text)*)) };
}

mod arrivals;
mod bare;
mod brake;
mod budget;
mod compare;
mod device;
mod ensemble;
mod etcd;
#[cfg(test)]
mod fake_server;
mod figures;
mod growth;
mod host;
mod limits;
mod load;
mod progress;
mod report;
mod scenario;
mod servers;
mod session;
mod syscalls;
mod trace;
mod usage;
mod workload;
mod zookeeper;

use arrivals::Arrivals;
use clap::{Parser, Subcommand};
use device::Device;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use usage::Watched;
use workload::Workload;

/// A reason to stop, as a sentence for the person at the terminal.
type Failure = String;

/// Measures coordination servers that speak ZooKeeper's client protocol.
#[derive(Parser)]
#[command(name = "ringkeeper-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Loads running servers.
    Run(RunArguments),
    /// Runs scenarios against running servers: reads and writes in all shares, lists, locks, barriers, storms, mixtures.
    Scenario(scenario::ScenarioArguments),
    /// Starts ensembles of Ringkeeper and real ZooKeeper in turns and compares them.
    Compare(compare::CompareArguments),
    /// Measures how Ringkeeper's operations change with more servers, znodes, sessions, watches, bytes and log shards.
    Growth(growth::GrowthArguments),
    /// Serves answers made up on the spot: what this machine takes from any server.
    Bare(bare::BareArguments),
    /// Listens in between clients and a server, and writes what they ask into a trace.
    Record(trace::RecordArguments),
    /// Makes the load of a trace again.
    Replay(trace::ReplayArguments),
    /// Adds the pieces of a write up from the criterion benches, beside a measured server.
    Budget(budget::BudgetArguments),
    /// Renders a page with tables and plots from measured figures.
    Report(report::ReportArguments),
}

/// Where the servers are.
#[derive(clap::Args, Clone)]
struct Target {
    /// Client ports, HOST:PORT, several with commas; sessions are spread over them.
    #[arg(long, value_delimiter = ',', required = true)]
    connect: Vec<String>,
    /// Process of a server, for its CPU time; may be given several times.
    #[arg(long = "pid")]
    pids: Vec<u32>,
    /// A directory on the device that the servers write to, for its counters.
    #[arg(long, value_name = "DIR")]
    device_of: Option<PathBuf>,
}

impl Target {
    fn watched(&self) -> Result<Watched, Failure> {
        let device = match &self.device_of {
            None => None,
            Some(dir) => Some(Device::of(dir).ok_or_else(|| format!("{} lies on no block device with counters", dir.display()))?),
        };
        Ok(Watched { pids: self.pids.clone(), device })
    }
}

#[derive(clap::Args)]
struct RunArguments {
    #[command(flatten)]
    target: Target,
    /// Sessions, each on a connection of its own.
    #[arg(long, default_value_t = 1)]
    sessions: usize,
    /// Requests that each session keeps in flight; in an open loop the most that it has.
    #[arg(long, default_value_t = 1)]
    outstanding: usize,
    /// set, create, get, exists, mixed:READPERCENT (the rest are sets), multi:SIZE, children:COUNT, hadoop, spark.
    #[arg(long, default_value = "set")]
    workload: Workload,
    /// Bytes of each value.
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// Open loop: requests a second, whatever the server does.
    #[arg(long)]
    rate: Option<f64>,
    /// Open loop: requests come evenly, not as a Poisson process.
    #[arg(long, requires = "rate")]
    even: bool,
    /// Seconds that count.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds of load before, which don't count.
    #[arg(long, default_value_t = 2.0)]
    warmup: f64,
    /// Leave the nodes that were made.
    #[arg(long)]
    keep: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
    /// Microseconds that the generator wastes for each reply, to show that it is noticed.
    #[arg(long, default_value_t = 0, hide = true)]
    wasted_us: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = raise_descriptors().and_then(|()| match arguments.command {
        Command::Run(arguments) => run(&arguments),
        Command::Scenario(arguments) => scenario::run(&arguments),
        Command::Compare(arguments) => compare::compare(&arguments),
        Command::Growth(arguments) => growth::growth(&arguments),
        Command::Bare(arguments) => bare::serve(&arguments),
        Command::Record(arguments) => trace::record(&arguments),
        Command::Replay(arguments) => trace::replay(&arguments),
        Command::Budget(arguments) => budget::budget(&arguments),
        Command::Report(arguments) => report::report(&arguments),
    });
    match outcome {
        Ok(()) if IS_TEXT_LOST.load(Ordering::Relaxed) => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("ringkeeper-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Something that was meant to be printed is lost: the program fails, at its end, since what it measures is recorded all the same.
static IS_TEXT_LOST: AtomicBool = AtomicBool::new(false);

/// To the standard output. Who reads no further (`| head`) misses nothing that he wants.
fn put(text: fmt::Arguments<'_>) {
    match io::stdout().lock().write_fmt(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("ringkeeper-bench: printing: {error}");
            IS_TEXT_LOST.store(true, Ordering::Relaxed);
        }
        Ok(()) | Err(_) => {}
    }
}

fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let figures = load::run(&load::Plan {
        servers: arguments.target.connect.clone(),
        watched: arguments.target.watched()?,
        count_syscalls: true,
        sessions: arguments.sessions,
        outstanding: arguments.outstanding,
        workload: arguments.workload,
        value_bytes: arguments.value_bytes,
        measured: seconds(arguments.seconds)?,
        warmup: seconds(arguments.warmup)?,
        clean_up: !arguments.keep,
        arrivals: arguments.rate.map(|rate_per_s| Arrivals { rate_per_s, poisson: !arguments.even }),
        wasted: Duration::from_micros(arguments.wasted_us),
        apart: None,
    })?;
    print_figures(&figures, arguments.json)
}

fn print_figures(figures: &figures::Figures, json: bool) -> Result<(), Failure> {
    if json {
        say!("{}", serde_json::to_string_pretty(figures).map_err(|e| e.to_string())?);
    } else {
        say_on!("{figures}");
    }
    Ok(())
}

/// Thousands of sessions need thousands of descriptors, here and in the servers that are started from here.
fn raise_descriptors() -> Result<(), Failure> {
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum }).map_err(|e| format!("descriptors: {e}"))
}

/// A duration from the command line.
fn seconds(value: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(value).map_err(|e| format!("{value} seconds: {e}"))
}

/// Creates `path` and everything above it.
fn create_dir(path: &std::path::Path) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(path).map_err(|e| format!("can't create {}: {e}", path.display()))?;
    path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))
}
