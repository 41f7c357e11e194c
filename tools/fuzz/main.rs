//! `ringkeeper-fuzz`: structured fuzzing of every decoder that reads what somebody else wrote.
//!
//! Each target makes valid inputs from a grammar, changes them (with checksums made right again in a share of the cases, so that
//! the checks behind them are reached), and checks: no panic, no memory out of proportion to the input, what was accepted reads
//! the same when it is written again, what is refused names its error. The table of outcomes shows how deep the inputs reach;
//! an expected outcome that was never met fails the run. Coverage doesn't steer it: that needs a nightly compiler.
//!
//! Exits with 0 when everything held; with 1 and the line that repeats the failure otherwise; with 2 for bad arguments.

mod config;
mod connect;
mod disk;
mod grow;
mod log;
mod log_damage;
mod meter;
mod mutate;
mod request;
mod request_grammar;
mod snapshot;
mod snapshot_grammar;
mod target;

use clap::Parser;
use ringkeeper::base::prng::Prng;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;
use target::{Tally, Target};

#[global_allocator]
static ALLOCATOR: meter::Counting = meter::Counting;

/// Throws damaged inputs at a decoder and checks what must hold.
#[derive(Parser)]
#[command(name = "ringkeeper-fuzz", version)]
struct Arguments {
    /// request, connect, log, snapshot, config, or all of them in turn.
    target: String,
    /// Seconds of CPU for each target.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Decides every input together with its number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tries only the input of this number, and prints it.
    #[arg(long)]
    iteration: Option<u64>,
}

/// One input may take this much CPU time; far more than any honest one.
const INPUT_MAX: Duration = Duration::from_secs(10);
/// Bytes of an input that a report prints.
const SHOWN_BYTES_MAX: usize = 2048;

thread_local! {
    /// What the last panic said.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What this thread has used so far. By this clock a run on a busy machine tries as much as on an idle one.
fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn targets() -> Vec<Box<dyn Target>> {
    vec![
        Box::new(request::Requests),
        Box::new(connect::Connects),
        Box::new(log::Logs),
        Box::new(snapshot::Snapshots),
        Box::new(config::Configs),
    ]
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen: Vec<_> = targets().into_iter().filter(|t| arguments.target == "all" || t.name() == arguments.target).collect();
    if chosen.is_empty() {
        eprintln!("ringkeeper-fuzz: there is no target {:?}: request, connect, log, snapshot, config or all", arguments.target);
        return ExitCode::from(2);
    }
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        PANIC.with(|panic| *panic.borrow_mut() = text);
    }));
    for target in &chosen {
        let held = match arguments.iteration {
            Some(iteration) => one(target.as_ref(), arguments.seed, iteration),
            None => many(target.as_ref(), &arguments),
        };
        if !held {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Tries one input. What failed, if something did.
fn attempt(target: &dyn Target, seed: u64, iteration: u64, tally: &mut Tally) -> Result<(), String> {
    tally.input.clear();
    let mut prng = Prng::from_seed(seed ^ iteration.wrapping_mul(0x9e37_79b9_7f4a_7c15)).stream(target.name());
    let began = cpu_time();
    match catch_unwind(AssertUnwindSafe(|| target.try_one(&mut prng, tally))) {
        Ok(Ok(())) if cpu_time() - began > INPUT_MAX => Err(format!("it took {:.1} s", (cpu_time() - began).as_secs_f64())),
        Ok(outcome) => outcome,
        Err(_) => Err(PANIC.with(|panic| panic.borrow().clone())),
    }
}

fn many(target: &dyn Target, arguments: &Arguments) -> bool {
    let (began, mut tally, mut tried) = (cpu_time(), Tally::default(), 0);
    let budget = Duration::from_secs_f64(arguments.seconds.max(0.0));
    while cpu_time() - began < budget {
        if let Err(what) = attempt(target, arguments.seed, tried, &mut tally) {
            report(target.name(), arguments.seed, tried, &what, &tally);
            return false;
        }
        tried += 1;
    }
    println!(
        "{}: {tried} inputs in {:.1} s of CPU, {} accepted, {} distinct outcomes (seed {})",
        target.name(),
        (cpu_time() - began).as_secs_f64(),
        tally.accepted,
        tally.distinct(),
        arguments.seed
    );
    tally.print();
    let missing = tally.missing(&target.expected());
    if !missing.is_empty() {
        println!("FAILED {}: never met: {}", target.name(), missing.join("; "));
    }
    missing.is_empty()
}

fn one(target: &dyn Target, seed: u64, iteration: u64) -> bool {
    let mut tally = Tally::default();
    tally.verbose = true;
    let outcome = attempt(target, seed, iteration, &mut tally);
    show(&tally);
    tally.print();
    match outcome {
        Ok(()) => println!("{}: input {iteration} of seed {seed} holds", target.name()),
        Err(what) => {
            report(target.name(), seed, iteration, &what, &tally);
            return false;
        }
    }
    true
}

fn report(target: &str, seed: u64, iteration: u64, what: &str, tally: &Tally) {
    show(tally);
    println!("{what}");
    println!("FAILED ringkeeper-fuzz {target} --seed {seed} --iteration {iteration}");
}

fn show(tally: &Tally) {
    for (name, bytes) in &tally.input {
        let hex: String = bytes.iter().take(SHOWN_BYTES_MAX).map(|b| format!("{b:02x}")).collect();
        let more = if bytes.len() > SHOWN_BYTES_MAX { "..." } else { "" };
        if bytes.is_empty() {
            println!("{name}");
        } else {
            println!("{name}: {} bytes: {hex}{more}", bytes.len());
        }
    }
}
