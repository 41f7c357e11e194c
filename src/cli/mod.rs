//! The command line: what may be said ([`args`]), and the commands that need no server ([`check_config`]).

pub mod args;
pub mod check_config;
