//! Tests of the log as a whole, over a disk in memory that loses what wasn't synced.

mod crash;
mod disk;
mod driver;
