//! What a host gives a server, judged: facts in ([`Host`]), findings out ([`judge`]), each with what it costs and what mends it.
//!
//! Guarantees: judging is pure; every file is read below a root that is given ([`tree::Tree`]), bounded, and a missing or strange
//! one is a finding and never a panic. Leaves to others: facts that take a system call ([`called::Called`], made by `runtime`),
//! measuring a disk (`runtime`; what the figures mean is said by [`disk_advice`]), and carrying out what a finding advises.

pub mod called;
mod container;
mod cpu;
mod device;
mod directory;
pub mod disk_advice;
pub mod disk_report;
mod filesystem;
mod finding;
#[cfg(test)]
mod forge;
mod interrupts;
mod kernel;
mod limits;
mod memory;
mod mounts;
mod network;
mod report;
pub mod tree;

pub use finding::{Finding, Severity};
pub use kernel::{status_of, why_ring_refused};
pub use report::Report;

use called::Called;
use std::path::PathBuf;
use tree::Tree;

/// What a server on this host is to be: what the configuration decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// `dataDir`, absolute.
    pub data_dir: PathBuf,
    /// `dataLogDir`, absolute.
    pub log_dir: PathBuf,
    /// Whether missing directories are made.
    pub autocreate: bool,
    /// Locked memory that its executors need, in bytes.
    pub locked_bytes: u64,
    /// Cores that executors are pinned to; empty pins none.
    pub cores: Vec<usize>,
    /// Processor cores that the process may use.
    pub cores_available: usize,
    /// Bytes that the log reserves at a first start.
    pub log_bytes: u64,
    /// Length of the accept queue that it asks for.
    pub listen_backlog: u64,
    /// Whether it is a member of an ensemble.
    pub in_ensemble: bool,
}

/// Everything that is known about a host.
#[derive(Clone, Debug)]
pub struct Host {
    called: Called,
    kernel: kernel::Kernel,
    cpu: cpu::Cpu,
    interrupts: interrupts::Interrupts,
    memory: memory::Memory,
    network: network::Network,
    container: container::Container,
    /// Of the log's directory, then of the data directory where that is another device.
    volumes: Vec<Volume>,
}

/// Where directories of the server lie.
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    /// `dataLogDir`, `dataDir`, or both.
    keys: &'static str,
    mount: tree::Fact<mounts::Mount>,
    device: tree::Fact<device::Device>,
}

impl Host {
    /// Reads `/proc` and `/sys` below `tree`; `called` are the facts that no file holds.
    #[must_use]
    pub fn read(tree: &Tree, called: Called) -> Host {
        let mounts = mounts::read(tree);
        let volume = |keys, at: &called::Directory| {
            let mount = mounts::of(&mounts, &at.nearest);
            let device = device::read(tree, at.device, &mount);
            Volume { keys, mount, device }
        };
        let shared = called.data.device == called.log.device;
        let mut volumes = vec![volume(if shared { "dataDir and dataLogDir" } else { "dataLogDir" }, &called.log)];
        if !shared {
            volumes.push(volume("dataDir", &called.data));
        }
        Host {
            kernel: kernel::Kernel::read(tree),
            cpu: cpu::Cpu::read(tree),
            interrupts: interrupts::Interrupts::read(tree),
            memory: memory::Memory::read(tree),
            network: network::Network::read(tree),
            container: container::Container::read(tree, called.log.device),
            volumes,
            called,
        }
    }
}

/// All findings about `host` for a server as `plan` says, in the order in which a start would meet what stops it.
#[must_use]
pub fn judge(host: &Host, plan: &Plan) -> Vec<Finding> {
    let mut out = Vec::new();
    kernel::judge(&host.kernel, &host.called.ring, &mut out);
    limits::judge(&host.called, plan, &mut out);
    directory::judge(&host.called, plan, &mut out);
    for volume in &host.volumes {
        filesystem::judge(volume, &mut out);
        device::judge(volume, &mut out);
    }
    cpu::judge(&host.cpu, &mut out);
    interrupts::judge(&host.interrupts, plan, &mut out);
    memory::judge(&host.memory, &mut out);
    network::judge(&host.network, plan, &mut out);
    container::judge(&host.container, plan, &mut out);
    out
}
