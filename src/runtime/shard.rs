//! A log shard's disk: appends of one stripe, one at a time, each durable when it is reported.
//!
//! The segment is opened with O_DIRECT and, by default, O_DSYNC, so that one write is one durable batch
//! without a second call; `fdatasync` remains as an option for devices where it measures better. A short write is an error:
//! the batch's tail would be missing.

use super::exec::{self, DirectFile};
use super::figures::SyncFigures;
use super::files::Roots;
use super::script::disk_error;
use super::wake::Wake;
use crate::base::ids::ShardId;
use crate::base::memory::BatchMemory;
use crate::log::DiskDone;
use crate::model::file::{DiskError, FilePath, Ticket};
use crate::mutant;
use glommio::io::DmaBuffer;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How an append becomes durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SyncMethod {
    /// The write itself is durable (O_DSYNC).
    Dsync,
    /// A write, then fdatasync.
    Fdatasync,
}

/// How a shard writes, and who is told how long it took.
#[derive(Clone, Debug)]
pub(super) struct ShardOptions {
    pub(super) method: SyncMethod,
    /// A longer write is logged.
    pub(super) warn_after: Duration,
    pub(super) figures: SyncFigures,
}

/// One append, as the log wants it.
pub(super) struct Append<M> {
    pub(super) file: FilePath,
    pub(super) at: u64,
    pub(super) memory: M,
    pub(super) ticket: Ticket,
}

/// Memory that can be given to the ring.
pub(super) trait RingMemory: BatchMemory {
    /// The bytes as a DMA buffer; shared where they lie in one already, copied where they come from another executor.
    fn ring_buffer(&self) -> Rc<DmaBuffer>;
}

impl RingMemory for super::memory::DmaMemory {
    fn ring_buffer(&self) -> Rc<DmaBuffer> {
        self.share()
    }
}

impl RingMemory for crate::base::memory::HeapMemory {
    fn ring_buffer(&self) -> Rc<DmaBuffer> {
        let mut buffer = glommio::allocate_dma_buffer_global(self.bytes().len());
        buffer.as_bytes_mut().copy_from_slice(self.bytes());
        Rc::new(buffer)
    }
}

/// Handle on a shard's disk task. Clones share it.
pub(super) struct ShardDisk<M>(Rc<State<M>>);

impl<M> Clone for ShardDisk<M> {
    fn clone(&self) -> Self {
        ShardDisk(Rc::clone(&self.0))
    }
}

struct State<M> {
    shard: ShardId,
    roots: Roots,
    method: SyncMethod,
    warn_after: Duration,
    waiting: RefCell<VecDeque<Append<M>>>,
    work: Wake,
    done: RefCell<Vec<DiskDone>>,
    ring: Wake,
    figures: SyncFigures,
}

impl<M: RingMemory> ShardDisk<M> {
    /// Starts the task on this executor; `ring` is rung when something is done.
    pub(super) fn start(shard: ShardId, roots: Roots, how: ShardOptions, ring: Wake) -> ShardDisk<M> {
        let disk = ShardDisk(Rc::new(State {
            shard,
            roots,
            method: how.method,
            warn_after: how.warn_after,
            waiting: RefCell::default(),
            work: Wake::default(),
            done: RefCell::default(),
            ring,
            figures: how.figures,
        }));
        exec::spawn_local(disk.clone().run()).detach();
        disk
    }

    /// Queues an append. The log has at most one outstanding for each shard.
    pub(super) fn append(&self, append: Append<M>) {
        self.0.waiting.borrow_mut().push_back(append);
        self.0.work.ring();
    }

    /// Moves what is done into `out`.
    pub(super) fn take_done(&self, out: &mut Vec<DiskDone>) {
        out.append(&mut self.0.done.borrow_mut());
    }

    async fn run(self) {
        let state = &self.0;
        let mut open: Option<(FilePath, DirectFile)> = None;
        loop {
            let next = state.waiting.borrow_mut().pop_front();
            let Some(append) = next else {
                state.work.rung().await;
                continue;
            };
            let began = Instant::now();
            let result = self.carry_out(&mut open, &append).await;
            self.book(&append, began.elapsed());
            let result = if mutant!("disk-error-swallowed") { Ok(()) } else { result };
            if mutant!("disk-early-completion") {
                continue; // it was reported before the write began
            }
            state.done.borrow_mut().push(DiskDone::of(append.ticket, result));
            state.ring.ring();
        }
    }

    fn book(&self, append: &Append<M>, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.figures.record(us);
        if took >= self.0.warn_after {
            tracing::warn!(
                "slow sync: {} bytes on shard {} took {} ms ({})",
                append.memory.bytes().len(),
                self.0.shard.0,
                took.as_millis(),
                append.file
            );
        }
    }

    async fn carry_out(&self, open: &mut Option<(FilePath, DirectFile)>, append: &Append<M>) -> Result<(), DiskError> {
        let place = self.0.roots.resolve(&append.file).display().to_string();
        if open.as_ref().is_none_or(|(path, _)| *path != append.file) {
            let before = open.take();
            let file = self.open(&append.file).await.map_err(|e| disk_error("opening", &place, &e))?;
            *open = Some((append.file.clone(), file));
            if let Some((_, file)) = before {
                // Its last batch is durable already.
                file.close().await;
            }
        }
        let Some((_, file)) = open else { return Err(disk_error("opening", &place, &io::ErrorKind::NotFound.into())) };
        if mutant!("disk-early-completion") {
            self.0.done.borrow_mut().push(DiskDone::of(append.ticket, Ok(())));
            self.0.ring.ring();
        }
        let buffer = append.memory.ring_buffer();
        let wanted = buffer.len();
        let buffer = if mutant!("disk-short-write") { half(&buffer) } else { buffer };
        let wrote = file.write_at(buffer, append.at).await.map_err(|e| disk_error("writing", &place, &e))?;
        if wrote != wanted && !mutant!("disk-short-write") {
            let short = io::Error::new(io::ErrorKind::WriteZero, format!("{wrote} of {wanted} bytes were written"));
            return Err(disk_error("writing", &place, &short));
        }
        if self.0.method == SyncMethod::Fdatasync {
            file.sync_data().await.map_err(|e| disk_error("syncing", &place, &e))?;
        }
        Ok(())
    }

    async fn open(&self, path: &FilePath) -> io::Result<DirectFile> {
        let durable = self.0.method == SyncMethod::Dsync && !mutant!("disk-no-dsync");
        DirectFile::open(self.0.roots.resolve(path), durable).await
    }
}

/// For the deliberate fault `disk-short-write`.
fn half(buffer: &DmaBuffer) -> Rc<DmaBuffer> {
    let len = (buffer.len() / 2 / 4096).max(1) * 4096;
    let mut short = glommio::allocate_dma_buffer_global(len);
    short.as_bytes_mut().copy_from_slice(&buffer.as_bytes()[..len]);
    Rc::new(short)
}
