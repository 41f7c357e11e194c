//! Facts about a host that take a system call, as `runtime` found them. Values only; nothing here calls anything.

use super::tree::Fact;
use std::path::PathBuf;

/// All of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Called {
    /// Whether io_uring can be used.
    pub ring: Ring,
    /// Limit of locked memory in bytes.
    pub locked: Limit,
    /// Limit of open descriptors.
    pub descriptors: Limit,
    /// `dataDir`.
    pub data: Directory,
    /// `dataLogDir`.
    pub log: Directory,
}

/// A resource limit; `None` is unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// What holds now.
    pub soft: Option<u64>,
    /// What the process may raise it to.
    pub hard: Option<u64>,
}

/// What trying io_uring gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ring {
    /// A ring was made, and entered.
    Usable {
        /// Bits of `IORING_FEAT_…`.
        features: u32,
        /// Operations that the executor needs and this kernel lacks.
        missing_calls: Fact<Vec<&'static str>>,
    },
    /// One of its three calls was refused.
    Refused {
        /// Which.
        call: &'static str,
        /// What the system said.
        errno: i32,
    },
}

/// A directory of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    /// As configured, absolute.
    pub path: PathBuf,
    /// Itself, or the nearest directory above it that exists; links are resolved.
    pub nearest: PathBuf,
    /// Whether files can be made in it.
    pub standing: Standing,
    /// Whether the log's way of writing works there.
    pub direct: Direct,
    /// Major and minor number of the device below `nearest`; major 0 is one without a block device of its own.
    pub device: (u32, u32),
    /// Bytes that an ordinary user may still write.
    pub free_bytes: Fact<u64>,
    /// Whether Apache ZooKeeper's data lies in it.
    pub foreign: bool,
}

/// Whether a server could use a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is there, and a file was made in it and removed.
    Writable,
    /// It is missing, and could be made.
    Makeable,
    /// It is there, or the one above it, and no file can be made in it: why.
    Unwritable(String),
    /// Something else has its name.
    NoDirectory,
}

/// Whether an aligned block can be written with O_DIRECT and O_DSYNC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Direct {
    /// One was written.
    Works,
    /// The filesystem has no O_DIRECT. One in memory is written through the page cache.
    Missing {
        /// Whether it is tmpfs.
        in_memory: bool,
    },
    /// It wasn't tried, or failed otherwise: why.
    Untried(String),
}
