//! Tests of the log as a whole, over a disk in memory that loses what wasn't synced.
//!
//! With the feature `mutants` and a fault's name in the environment variable `RINGKEEPER_MUTANT` these same tests must fail.

mod crash;
mod cuts;
mod damage;
mod disk;
mod driver;
mod garbage;
mod ensemble;
mod golden;
mod member;
mod ranges;
mod table;
mod writing;
