//! The production host: executors (our own on one ring, or glommio's), sockets, files, the clock. The only place that names any of them.
//!
//! It runs the roles of [`crate::server`] either all on one executor (`one`: no hop between them, batches encoded straight
//! into DMA memory) or spread over several (`spread`). In both, tasks only read and append to plain buffers; one turn runs
//! after all that were ready, in a fixed order: completions, commit, apply, close the batch, submit the disk write, answer.

mod aside;
mod ask;
mod backlog;
mod backoff;
mod boot;
mod children;
mod clock;
mod direct;
mod dirs;
mod figures;
mod files;
mod fronts;
mod exec;
mod host;
mod limits;
mod listener;
mod logging;
mod loss;
mod memory;
mod one;
mod patience;
mod peers;
mod placement;
mod probe;
mod reactor;
mod script;
mod shard;
mod signals;
mod spread;
mod wake;

pub use ask::{again_every, once_all_serve, word as ask_word};
pub use boot::{Started, serve};
pub use children::{ChildEvent, ChildSpec, Others, end_with_parent, run_children};
pub use files::{DiskFiles, Roots};
pub use host::{examine, plan};
pub use logging::{end_on_panic, flush as flush_logging, init as init_logging, last_line, log_note};
pub use loss::accept_loss;
pub use probe::{Probed, probe_disk};
pub use script::run_script;
