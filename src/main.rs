//! The server's program: arguments in, exit status out.

use clap::Parser;
use ringkeeper::cli::{self, args::Cli};
use ringkeeper::runtime;

fn main() {
    runtime::end_on_panic();
    let command = Cli::parse().into_command();
    let status = cli::run(command);
    runtime::flush_logging();
    std::process::exit(status);
}
