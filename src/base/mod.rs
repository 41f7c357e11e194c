//! Words that everybody uses: identifiers, time, bounds, randomness, invariants, positions in the log, checksums, exit statuses.
//!
//! Imports nothing of the crate. Guarantees that no file in it reads a clock, draws randomness of its own or does I/O.

pub mod check;
pub mod checksum;
pub mod fatal;
pub mod ids;
pub mod limits;
pub mod memory;
pub mod mutants;
pub mod prng;
pub mod progress;
pub mod time;
