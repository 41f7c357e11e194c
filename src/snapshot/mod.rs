//! Snapshots: all nodes, ACLs and sessions exactly at one zxid, in chunks that each carry their checksum.
//!
//! Pure: the writer takes images and leaves file scripts, the reader takes a byte slice. Guarantees: a snapshot counts only with
//! its trailer, under its final name, after it was synced and read back; any truncated or changed byte is found and named by its
//! offset. Leaves to others: which images belong to one zxid (`tree`'s scan), when one is due (`policy`), what is loaded into what
//! (`server::boot`). The byte layout is `docs/formats/snapshot.md`.

mod fields;
mod format;
mod policy;
mod reader;
mod writer;

pub use format::{Kind, SNAPSHOT_DIR, file_path, zxid_of};
pub use policy::{Policy, PolicyOptions};
pub use reader::{Candidate, SnapshotSink, Summary, list, load, load_bytes};
pub use writer::{Begin, SnapshotWriter};
