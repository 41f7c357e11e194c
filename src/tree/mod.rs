//! The tree of znodes and what hangs on it.

pub mod watch;
