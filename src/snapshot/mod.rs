//! Snapshots: sessions, ACLs and nodes at exactly one zxid, in checksummed chunks (layout: `docs/formats/snapshot.md`).
//!
//! Guarantees: a file under its final name is whole and durable; reading trusts no byte, allocates nothing by a stored length
//! and names file and offset of any damage. Leaves to others: the scan that is exact at one zxid (`tree`), building the tree
//! and comparing its digest with the one stored here (`tree`'s loader), carrying out scripts and mapping files (the host).

mod format;
mod install;
mod output;
mod policy;
mod reader;
mod writer;

pub use format::{DIR, Head, Summary, file_of, keep_names, temp_file_of, zxid_of};
pub use install::{Installer, PieceCheck};
pub use policy::{Choice, Policy, Trigger, choose_newest_good, load_newest_good, select_removable};
pub use reader::{SnapshotSink, read, verify};
pub use writer::SnapshotWriter;

#[cfg(test)]
mod tests;
