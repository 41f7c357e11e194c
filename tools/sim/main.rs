//! `ringkeeper-sim`: runs the simulator. Exits with 0 when everything held, else 1 with the failing seed and its options in the
//! last line; 2 for arguments that make no sense.

use clap::Parser;
use ringkeeper::cli::{self, args::Command, args::Settings};
use ringkeeper::runtime;
use ringkeeper::sim::batch::{Tally, run_all};
use ringkeeper::sim::options::Options;
use ringkeeper::sim::run::run;
use ringkeeper::sim::sweep;
use ringkeeper::sim::world::Verdict;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Runs the whole server in a simulated world, from a seed.
#[derive(Parser, Debug)]
#[command(version, about)]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Runs only this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Tells the story of the seed.
    #[arg(long, requires = "seed")]
    verbose: bool,
    /// Servers that vote; 1: a lone server, 0: each seed draws an ensemble of 3, 5 or 7.
    #[arg(long, default_value_t = 1)]
    servers: u8,
    /// Stripes of the log, instead of what each seed draws.
    #[arg(long)]
    shards: Option<u8>,
    /// Sets an option of every run, as the last line of a failure prints it.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Threads.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    jobs: usize,
    /// Switches a deliberate fault on (needs the feature `mutants`).
    #[arg(long)]
    mutant: Option<String>,
    /// Lists the deliberate faults.
    #[arg(long)]
    list_mutants: bool,
    /// Crashes a workload at every step of its disk.
    #[arg(long)]
    crash_sweep: bool,
    /// Tries every subset of unsynced sectors at many crash points, for 1, 2 and 4 shards.
    #[arg(long)]
    sector_sweep: bool,
    /// Minutes for the sector sweep.
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Crash points with an append on its way in the sector sweep, for each number of shards.
    #[arg(long, default_value_t = 200)]
    points: u64,
    /// What to do instead of simulating.
    #[command(subcommand)]
    instead: Option<Instead>,
}

#[derive(clap::Subcommand, Debug)]
enum Instead {
    /// Serves a configuration on the real host, with real files: how a test shows that it kills a fault of the runtime.
    Serve {
        /// A `zoo.cfg`.
        file: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list_mutants {
        for mutant in ringkeeper::base::mutants::CATALOGUE {
            println!("{}\t{}", mutant.name, mutant.what);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(name) = &args.mutant
        && let Err(what) = choose(name)
    {
        eprintln!("ringkeeper-sim: {what}");
        return ExitCode::from(2);
    }
    if let Some(Instead::Serve { file }) = args.instead {
        return serve(file);
    }
    if args.sector_sweep {
        return sweep_sectors(&args);
    }
    match plans(&args) {
        Ok(plans) if args.seed.is_some() && !args.crash_sweep => one(&plans[0], &args),
        Ok(plans) => many(&plans, &args),
        Err(what) => {
            eprintln!("ringkeeper-sim: {what}");
            ExitCode::from(2)
        }
    }
}

#[cfg(feature = "mutants")]
fn choose(name: &str) -> Result<(), String> {
    if ringkeeper::base::mutants::choose(name) { Ok(()) } else { Err(format!("there is no mutant {name:?}; see --list-mutants")) }
}

#[cfg(not(feature = "mutants"))]
fn choose(name: &str) -> Result<(), String> {
    Err(format!("--mutant {name}: this program was built without them; build it with --features mutants"))
}

/// As `ringkeeper serve FILE`, which has no faults to switch on.
fn serve(file: std::path::PathBuf) -> ExitCode {
    runtime::end_on_panic();
    let status = cli::run(Command::Serve { file: Some(file), settings: Settings::default(), bootstrap: false, end_with_parent: false });
    runtime::flush_logging();
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

fn plans(args: &Args) -> Result<Vec<Options>, String> {
    let seeds = args.seed.map_or(args.first_seed..args.first_seed.saturating_add(args.seeds), |seed| seed..seed.saturating_add(1));
    let mut plans = Vec::new();
    for seed in seeds {
        let mut options = match args.servers {
            _ if args.crash_sweep => sweep::workload(seed, args.shards.unwrap_or(2)),
            1 => Options::draw(seed),
            servers @ (0 | 2..=13) => Options::draw_ensemble(seed, servers),
            servers => return Err(format!("--servers {servers}: 13 at most")),
        };
        if let Some(shards) = args.shards {
            options.shards = shards;
        }
        for set in &args.set {
            let (name, value) = set.split_once('=').ok_or_else(|| format!("--set {set}: NAME=VALUE is wanted"))?;
            options.set(name, value)?;
        }
        if args.crash_sweep {
            plans.extend(sweep::crash_points(&options));
        } else {
            plans.push(options);
        }
    }
    Ok(plans)
}

/// A third of the time for each number of shards; several workloads where one has too few crash points.
fn sweep_sectors(args: &Args) -> ExitCode {
    let all = [1, 2, 4];
    let shards = args.shards.as_ref().map_or(&all[..], std::slice::from_ref);
    let budget = Duration::from_secs_f64(args.minutes * 60.0 / shards.len() as f64);
    for shards in shards {
        let (began, mut swept) = (Instant::now(), sweep::Swept::default());
        let mut seed = args.first_seed;
        while swept.appending < args.points && began.elapsed() < budget {
            let options = sweep::workload(seed, *shards);
            if let Err(what) = sweep::sectors(&options, args.points, &|| began.elapsed() < budget, &mut swept) {
                println!("{what}");
                println!("FAILED {options}");
                return ExitCode::FAILURE;
            }
            seed += 1;
        }
        let by_size: Vec<String> = swept.points.iter().enumerate().skip(1).map(|(n, count)| format!("{n}: {count}")).collect();
        println!(
            "{shards} shards: every subset at {} crash points, {} of them with an append on its way (by unsynced sectors and names: {}), {} larger ones in part, {} starts, {:.0} s",
            swept.whole(),
            swept.appending,
            by_size.join(", "),
            swept.larger,
            swept.starts,
            began.elapsed().as_secs_f64()
        );
        if swept.appending == 0 {
            println!("FAILED no crash point was found with {shards} shards");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// How to see a failing run again.
fn repeat(options: &Options, args: &Args) -> String {
    let shards = args.shards.map_or_else(String::new, |shards| format!(" --shards {shards}"));
    let sets: String = args.set.iter().map(|set| format!(" --set {set}")).collect();
    let mutant = args.mutant.as_ref().map_or_else(String::new, |name| format!(" --mutant {name}"));
    format!("ringkeeper-sim --verbose --seed {} --servers {}{shards}{sets}{mutant}", options.seed, args.servers)
}

fn one(options: &Options, args: &Args) -> ExitCode {
    println!("{options}");
    let outcome = run(options, args.verbose);
    println!("hash {:016x}, {} disk steps", outcome.hash, outcome.disk_steps);
    match outcome.verdict {
        Ok(Verdict::Passed) => println!("seed {} passed", options.seed),
        Ok(Verdict::Refused) => println!("seed {}: the server refused to start on damage that was planted", options.seed),
        Err(what) => {
            println!("{what}");
            println!("FAILED {options}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn many(plans: &[Options], args: &Args) -> ExitCode {
    let began = Instant::now();
    let Tally { passed, refused, failed, coverage } = run_all(plans, args.jobs);
    let met: Vec<String> = coverage.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    println!("met (runs): {}", met.join(", "));
    println!("{passed} runs passed, {refused} refused damaged data, in {:.1} s", began.elapsed().as_secs_f64());
    if let Some((options, what)) = failed {
        println!("see it with: {}", repeat(&options, args));
        println!("{what}");
        println!("FAILED {options}");
        return ExitCode::FAILURE;
    }
    let mut missing = coverage.missing(passed + refused, args.servers != 1);
    // A hole needs two stripes.
    missing.retain(|kind| *kind != "case-F" || args.shards != Some(1));
    if !args.crash_sweep && args.set.is_empty() && args.mutant.is_none() && plans.len() >= 300 && !missing.is_empty() {
        println!("FAILED hardly any run met: {}", missing.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
