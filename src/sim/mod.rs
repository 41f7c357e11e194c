//! The simulated world: its servers, their clients, disks and network, driven from one seed, and the oracles that judge it.
//!
//! The roles are the real ones (`server::front`, `server::keeper`, `server::boot`); only what a host provides is simulated:
//! time, mail, sockets, disk. A seed reproduces a run to the bit: every choice comes from named streams of one generator, and
//! the hash of all events says whether two runs were the same. `docs/simulation.md` tells how to read a failing seed.

pub mod agenda;
pub mod batch;
pub mod checker;
pub mod checks;
pub mod client;
pub mod compare;
pub mod coverage;
pub mod disk;
pub mod history;
pub mod host;
pub mod ledger;
pub mod model;
pub mod net;
pub mod node;
pub mod options;
pub mod peers;
pub mod presence;
pub mod protocol;
pub mod replay;
pub mod role;
pub mod run;

pub mod sweep;
#[cfg(test)]
mod test_agreement;
#[cfg(test)]
mod test_forged;
#[cfg(test)]
mod test_ledger;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod watching;
pub mod workload;
pub mod world;
