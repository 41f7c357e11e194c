//! The command line: what may be said ([`args`]), and one module for each command. Each ends in an exit status; a refusal says on
//! standard error what was found, where, and what to do.

pub mod accept_loss;
pub mod args;
pub mod check_config;
pub mod companions;
pub mod doctor;
pub mod inspect;
pub mod latency;
pub mod local;
pub mod serve;

use crate::base::fatal::FatalError;
use crate::runtime::Probed;
use crate::server::config::{ConfigFile, Input};
use args::Command;
use companions::Companions;
use std::io::Write;

/// Exit status of a measurement that a signal ended.
const STOPPED: i32 = 1;

/// Carries out a command. Returns the exit status, which `docs/operations.md` lists.
#[must_use]
pub fn run(command: Command) -> i32 {
    let done = match command {
        Command::Serve { file, bootstrap, end_with_parent, settings } => {
            let options = serve::Options { bootstrap, end_with_parent };
            serve::run(file.as_deref(), options, &settings.defines).map(|()| 0)
        }
        Command::Local { servers, dir, base_port, settings } => {
            local::run(&local::Plan { servers, dir, base_port, defines: settings.defines })
        }
        Command::CheckConfig { file, settings } => check_config(&file, &settings.defines),
        Command::Inspect { path } => inspect::run(&path, &mut std::io::stdout().lock()).map(|()| 0),
        Command::AcceptLoss { data_dir, log_dir } => accept_loss::run(&data_dir, log_dir.as_deref()).map(|lines| {
            lines.iter().for_each(|line| say(line));
            0
        }),
        Command::Doctor { file, json, settings } => doctor::run(file.as_deref(), &settings.defines).map(|report| {
            say(if json { report.json() } else { report.table() }.trim_end());
            report.status
        }),
        Command::Latency { servers, every } => Ok(latency::run(&latency::Plan { servers, every_s: every }, &mut std::io::stdout().lock())),
        Command::ProbeDisk { dir, seconds, json } => crate::runtime::probe_disk(&dir, seconds).map(|probed| probe_ended(probed, json)),
    };
    done.unwrap_or_else(|error| {
        complain(&refusal(&error));
        error.kind.status()
    })
}

/// Prints what measuring a disk gave. Returns the exit status.
fn probe_ended(probed: Probed, json: bool) -> i32 {
    match probed {
        Probed::Done(report) => {
            say(if json { report.json() } else { report.table() }.trim_end());
            0
        }
        Probed::Stopped => {
            complain("ringkeeper probe-disk: stopped before the end; its files are removed");
            STOPPED
        }
    }
}

fn check_config(file: &std::path::Path, defines: &[(String, String)]) -> Result<i32, FatalError> {
    let bytes = check_config::read_file(file)?;
    let name = file.display().to_string();
    let file = Some(ConfigFile { name: &name, bytes: &bytes });
    let input = Input { file, overrides: defines, cores_available: cores_available() };
    let report = check_config::run(&input, &Companions::read(&input).beside());
    say(report.effective.trim_end());
    complain(report.findings.trim_end());
    Ok(report.status)
}

/// The last line of a process that ends with a status.
fn refusal(error: &FatalError) -> String {
    crate::runtime::flush_logging();
    let status = error.kind.status();
    crate::runtime::last_line(status, &format!("ringkeeper: status {status}, {}: {error}", error.kind.name()))
}

/// A line on standard output; when nobody reads it there is nothing to do.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A line on standard error.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Processor cores that this process may use.
fn cores_available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
