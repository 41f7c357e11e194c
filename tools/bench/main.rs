//! `ringkeeper-bench`: a closed-loop load generator, and a comparison of Ringkeeper with real ZooKeeper on the same machine.
//!
//! `run` loads one server that is running already. `compare` starts both servers itself, one at a time, and prints a table.
//! Every session has a fixed number of requests in flight and sends the next one when a reply arrives, so latencies are those
//! of a server that is as busy as its clients let it be; they are not those of an open system at a given rate.

mod compare;
#[cfg(test)]
mod fake_server;
mod figures;
mod load;
mod servers;
mod session;
mod table;
mod usage;
mod workload;
mod zookeeper;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
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
    /// Loads a running server.
    Run(RunArguments),
    /// Starts Ringkeeper and real ZooKeeper in turns and compares them.
    Compare(compare::CompareArguments),
}

#[derive(clap::Args)]
struct RunArguments {
    /// Address of the client port, HOST:PORT.
    #[arg(long)]
    server: String,
    /// Process of the server, for its CPU time; may be given several times.
    #[arg(long = "pid")]
    pids: Vec<u32>,
    /// Sessions, each on a connection of its own.
    #[arg(long, default_value_t = 1)]
    sessions: usize,
    /// Requests that each session keeps in flight.
    #[arg(long, default_value_t = 1)]
    outstanding: usize,
    /// set, create, get, or mixed:READPERCENT (the rest are sets).
    #[arg(long, default_value = "set")]
    workload: Workload,
    /// Bytes of each value.
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
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
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Compare(arguments) => compare::compare(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("ringkeeper-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let figures = load::run(&load::Plan {
        server: arguments.server.clone(),
        pids: arguments.pids.clone(),
        sessions: arguments.sessions,
        outstanding: arguments.outstanding,
        workload: arguments.workload,
        value_bytes: arguments.value_bytes,
        measured: seconds(arguments.seconds)?,
        warmup: seconds(arguments.warmup)?,
        clean_up: !arguments.keep,
    })?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures).map_err(|e| e.to_string())?);
    } else {
        print!("{figures}");
    }
    Ok(())
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
