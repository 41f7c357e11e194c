//! The writing side of the log: open batch, group commit over the shards, contiguous durable position.
//!
//! Guarantees: `durable_zxid` is contiguous over all shards and never ahead of a completed write; the first failed write or sync
//! latches and nothing after it counts; a full device shows only in the reservation of segments. One append is in flight per
//! shard; a batch closes when a shard is free. Leaves to others: batches of another server (`receive`), generations (`intent`),
//! carrying out the effects (hosts), what was there at the start (`recover`), when the history is committed (the keeper).

use crate::base::checksum::checksum;
use crate::base::ids::{ClusterId, ShardId, Zxid};
use crate::base::limits::{BLOCK_BYTES, RECORD_BYTES_MAX};
use crate::base::memory::{BatchMemory, BatchPool};
use crate::base::progress::Progress;
use crate::base::time::MonoMs;
use crate::log::batch::{Batch, HEADER_BYTES, Header, Identity, Local, Place, Replicated, batch_bytes};
use crate::log::effect::{DiskDone, DiskEffect};
use crate::log::intent::Intent;
use crate::log::mark::Mark;
use crate::log::meta::Meta;
use crate::log::options::{LogFull, LogOptions, LogStart, LogStats};
use crate::log::recent::Recent;
use crate::log::record::{Encoder, FRAME_BYTES, record_bytes_bound};
use crate::log::shard::{ClosedSegment, ShardSegments};
use crate::model::file::{DiskError, Ticket};
use crate::model::ops::OpBuf;
use crate::model::txn::TxnHead;
use crate::{invariant, mutant};
use std::collections::VecDeque;

/// Memory that a batch gets at least, for its records.
const EXPECTED_BODY_BYTES_MIN: usize = 16 << 10;

/// A batch that other servers sent, waiting for a shard.
#[derive(Debug)]
pub(super) struct Received<M> {
    pub(super) memory: M,
    pub(super) replicated: Replicated,
    pub(super) identity: Identity,
}

#[derive(Debug)]
pub(super) struct Open<M> {
    memory: M,
    first: Zxid,
    last: Zxid,
    records: u32,
    body_len: usize,
    /// Bytes for records in `memory`.
    capacity: usize,
}

#[derive(Debug)]
pub(super) struct Closed<M> {
    pub(super) batch: Batch<M>,
    pub(super) is_durable: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Pending {
    Append { shard: ShardId, last: Zxid },
    Spare { shard: ShardId },
    Mark { mark: Mark },
    Remove { count: u64 },
    Meta,
    Intent,
    Read,
}

/// The log of one server.
#[derive(Debug)]
pub struct Log<M> {
    pub(super) options: LogOptions,
    pub(super) meta: Meta,
    encoder: Encoder,
    pub(super) shards: Vec<ShardSegments>,
    busy: Vec<bool>,
    next_shard: usize,
    pub(super) open: Option<Open<M>>,
    pub(super) sealed: VecDeque<Open<M>>,
    pub(super) received: VecDeque<Received<M>>,
    pub(super) closed: VecDeque<Closed<M>>,
    /// How many at the front of `closed` were handed out by `next_applicable`.
    pub(super) handed_out: usize,
    /// How many at the front of `closed` recovery left unapplied.
    pub(super) recovered: usize,
    /// The last one that was handed out by `next_applicable`.
    pub(super) applied: Identity,
    /// The last batch that was closed or received.
    pub(super) tail: Identity,
    /// The last batch that was handed to the disk.
    pub(super) submitted: Identity,
    pub(super) place: Place,
    pub(super) progress: Progress,
    pub(super) recent: Recent<M>,
    /// Submitted batches that nobody asked for yet.
    pub(super) to_send: VecDeque<Batch<M>>,
    /// As far as anybody said.
    pub(super) committed: Zxid,
    /// The disk holds every batch of the chain beyond it.
    pub(super) floor: Zxid,
    pub(super) intent: Option<Intent>,
    pub(super) durable: Identity,
    pub(super) pending: Vec<(Ticket, Pending)>,
    next_ticket: u64,
    fault: Option<DiskError>,
    pub(super) mark: Mark,
    pub(super) mark_at: MonoMs,
    /// When a full device was tried again last.
    pub(super) retried_at: MonoMs,
    /// What found the device full and is asked for again.
    pub(super) refused: Vec<Ticket>,
    pub(super) durable_at_tick: Zxid,
    pub(super) old: Vec<ClosedSegment>,
    pub(super) retain: Zxid,
    pub(super) stats: LogStats,
    /// Bytes of records that the next batch is given memory for.
    expected_body_len: usize,
}

impl<M: BatchMemory> Log<M> {
    /// Goes on from `start`, whose scripts the host has carried out. Tickets count up from `first_ticket`.
    ///
    /// # Panics
    /// If `options` make no sense; configuration refuses that.
    #[must_use]
    pub fn new(start: LogStart, options: LogOptions, first_ticket: u64) -> Log<M> {
        assert!(options.segment_bytes.is_multiple_of(BLOCK_BYTES as u64), "segments of {} bytes", options.segment_bytes);
        assert!(options.first_segment_bytes.is_multiple_of(BLOCK_BYTES as u64), "first segments of {} bytes", options.first_segment_bytes);
        assert!(options.batch_body_bytes_max > 0 && options.batch_records_max > 0, "batches of nothing");
        assert!(start.segments.len() == usize::from(options.shards), "{} first segments", start.segments.len());
        assert!(start.free.len() == start.segments.len(), "spares for {} shards", start.free.len());
        let durable = start.tail.zxid;
        let floor = start.known.first().unwrap_or(&start.tail).zxid;
        let mut recent = Recent::new(&options, start.known);
        let recovered = start.unapplied.len();
        let closed: VecDeque<_> = start.unapplied.into_iter().map(|kept| Closed { batch: Batch::kept(kept), is_durable: true }).collect();
        closed.iter().for_each(|c| recent.keep(&c.batch));
        Log {
            options,
            encoder: Encoder::default(),
            busy: vec![false; start.segments.len()],
            shards: start.segments.into_iter().zip(start.free).map(|(first, free)| ShardSegments::new(first, free)).collect(),
            next_shard: 0,
            open: None,
            sealed: VecDeque::new(),
            received: VecDeque::new(),
            closed,
            handed_out: 0,
            recovered,
            applied: start.applied,
            tail: start.tail,
            submitted: start.tail,
            recent,
            to_send: VecDeque::new(),
            committed: start.committed,
            floor,
            intent: None,
            place: start.place,
            progress: Progress::starting_at(durable.0),
            durable: start.tail,
            pending: Vec::new(),
            next_ticket: first_ticket,
            fault: None,
            // The start scripts wrote this mark and its twin.
            mark: start.mark.next(start.mark.generation, start.mark.durable),
            mark_at: MonoMs(0),
            retried_at: MonoMs(0),
            refused: Vec::new(),
            durable_at_tick: durable,
            old: start.closed,
            retain: Zxid::ZERO,
            meta: start.meta,
            stats: LogStats::default(),
            expected_body_len: EXPECTED_BODY_BYTES_MIN.min(options.batch_body_bytes_max),
        }
    }

    /// Takes a transaction into the open batch.
    ///
    /// # Errors
    /// [`LogFull`]; nothing was taken then.
    ///
    /// # Panics
    /// If the zxid isn't the next of its epoch or the first of a later one, or while a cut is under way.
    pub fn append(&mut self, pool: &mut dyn BatchPool<Memory = M>, head: &TxnHead, ops: &OpBuf) -> Result<(), LogFull> {
        let bound = record_bytes_bound(ops);
        if self.fault.is_some() {
            return Err(LogFull::Failed);
        }
        if bound > RECORD_BYTES_MAX {
            return Err(LogFull::TooLarge);
        }
        let accepted = Zxid(self.progress.accepted());
        invariant!(follows(accepted, head.zxid), "{:?} is appended after {accepted:?}", head.zxid);
        invariant!(!self.is_cutting(), "{:?} is appended during a cut", head.zxid);
        let fits = self.open.as_ref().is_some_and(|open| {
            open.body_len + bound <= open.capacity
                && (open.records as usize) < self.options.batch_records_max
                && open.last.epoch() == head.zxid.epoch()
        });
        if !fits {
            if self.held() >= self.options.batches_held_max {
                return Err(LogFull::Busy);
            }
            if let Some(full) = self.open.take() {
                self.expected_body_len = (full.capacity * 2).min(self.options.batch_body_bytes_max);
                self.sealed.push_back(full);
            }
            // Twice what the last batch needed: an idle server doesn't touch a megabyte for each write, a busy one grows to it.
            let capacity = self.expected_body_len.max(bound);
            let memory = pool.take(batch_bytes(capacity));
            self.open = Some(Open { memory, capacity, first: head.zxid, last: head.zxid, records: 0, body_len: 0 });
        }
        let open = self.open.as_mut().expect("a batch was opened above");
        encode_into(&mut self.encoder, open, head, ops);
        self.progress.accept(head.zxid.0);
        Ok(())
    }

    /// Closes the open batch if a shard is free, writes what waits, prepares segments.
    pub fn submit(&mut self, out: &mut Vec<DiskEffect<M>>) {
        self.pump(true, out);
    }

    pub(super) fn pump(&mut self, may_close: bool, out: &mut Vec<DiskEffect<M>>) {
        if self.fault.is_some() || self.is_cutting() {
            return;
        }
        while let Some(body_len) = self.waiting_body_len(may_close) {
            let Some(shard) = self.pick_shard(batch_bytes(body_len) as u64) else { break };
            out.push(match self.received.pop_front() {
                Some(Received { memory, replicated, identity }) => self.write(memory, replicated, identity, shard),
                None => {
                    let open = self.sealed.pop_front().or_else(|| self.open.take()).expect("a batch that waits");
                    self.close(open, shard)
                }
            });
        }
        self.prepare_segments(out);
    }

    fn waiting_body_len(&self, may_close: bool) -> Option<usize> {
        let open = if may_close { self.open.as_ref() } else { None };
        let own = self.sealed.front().or(open).map(|o| o.body_len);
        self.received.front().map(|r| r.replicated.body_len as usize).or(own)
    }

    /// The next shard in turn that has no append in flight and room for `len` bytes. If none
    /// at all has room, one is asked to get it.
    fn pick_shard(&mut self, len: u64) -> Option<usize> {
        let count = self.shards.len();
        for step in 0..count {
            let idx = (self.next_shard + step) % count;
            if !self.busy[idx] && self.shards[idx].has_room(len) {
                self.next_shard = (idx + 1) % count;
                return Some(idx);
            }
        }
        if self.shards.iter().all(|s| !s.has_room(len)) {
            self.shards[self.next_shard].want(len);
        }
        None
    }

    /// Closes a batch of our own: it becomes the next of the chain.
    fn close(&mut self, mut open: Open<M>, idx: usize) -> DiskEffect<M> {
        let len = batch_bytes(open.body_len);
        // What goes to disk is exactly this; a long buffer isn't written for a short batch.
        open.memory.seal(len);
        self.expected_body_len = (open.body_len * 2).max(EXPECTED_BODY_BYTES_MIN).min(self.options.batch_body_bytes_max);
        let bytes = open.memory.bytes_mut().expect("nobody else holds an open batch");
        bytes[HEADER_BYTES + open.body_len..len].fill(0);
        let replicated = Replicated {
            cluster: self.meta.cluster,
            first: open.first,
            last: open.last,
            body_len: open.body_len as u32,
            records: open.records,
            body_checksum: checksum(&bytes[HEADER_BYTES..HEADER_BYTES + open.body_len]),
            previous: self.tail,
            committed: self.committed.min(self.tail.zxid),
        };
        let identity = replicated.write(bytes);
        self.tail = identity;
        self.recent.enter(identity);
        self.write(open.memory, replicated, identity, idx)
    }

    /// Completes a batch with our own part of its header and makes the append of it.
    fn write(&mut self, mut memory: M, replicated: Replicated, identity: Identity, idx: usize) -> DiskEffect<M> {
        let len = replicated.batch_bytes();
        let (spot, left) = self.shards[idx].take(len as u64, replicated.first, replicated.last);
        self.old.extend(left);
        let shard = self.shards[idx].id;
        let local =
            Local { generation: self.meta.generation, shard, offset: spot.offset, previous: self.place, durable_cut: self.durable.zxid };
        local.write(memory.bytes_mut().expect("nobody else holds a batch that isn't submitted"));
        let header = Header { replicated, local, identity };
        (self.submitted, self.place) = (identity, header.place());
        self.progress.submit(identity.zxid.0);
        self.busy[idx] = true;
        self.stats.batches += 1;
        self.stats.records += u64::from(replicated.records);
        self.stats.body_bytes += u64::from(replicated.body_len);
        self.stats.written_bytes += len as u64;
        let batch = Batch::new(memory.clone(), header);
        self.recent.keep(&batch);
        if self.options.member {
            self.to_send.push_back(batch.clone());
        }
        self.closed.push_back(Closed { batch, is_durable: false });
        let ticket = self.ticket(Pending::Append { shard, last: identity.zxid });
        DiskEffect::Append { shard, file: spot.file, at: spot.at, memory, len, ticket }
    }

    pub(super) fn ticket(&mut self, what: Pending) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.pending.push((ticket, what));
        ticket
    }

    fn prepare_segments(&mut self, out: &mut Vec<DiskEffect<M>>) {
        for idx in 0..self.shards.len() {
            let (cluster, generation) = (self.meta.cluster, self.meta.generation);
            let Some((script, given_up)) = self.shards[idx].prepare(cluster, generation, &self.options) else { continue };
            self.old.extend(given_up);
            let shard = self.shards[idx].id;
            let ticket = self.ticket(Pending::Spare { shard });
            out.push(DiskEffect::Script { shard: Some(shard), script, ticket });
        }
    }

    /// Takes a completion. Tickets that aren't the log's are ignored and answered with false.
    pub fn on_disk(&mut self, done: DiskDone, out: &mut Vec<DiskEffect<M>>) -> bool {
        let Some(at) = self.pending.iter().position(|(ticket, _)| *ticket == done.ticket) else { return false };
        let (_, what) = self.pending.swap_remove(at);
        match (what, done.result) {
            // A range that can't be read says nothing about writes.
            (Pending::Read, Err(_)) => {}
            (Pending::Spare { shard }, Err(error)) if error.no_space => self.shards[shard.idx()].not_made(),
            (what @ (Pending::Meta | Pending::Intent), Err(error)) if error.no_space && !mutant!("log_epochs_need_room") => {
                self.refuse(done.ticket, what);
            }
            (_, Err(error)) => self.latch(error),
            (Pending::Append { shard, last }, Ok(())) => self.landed(shard, last),
            (Pending::Spare { shard }, Ok(())) => {
                self.shards[shard.idx()].made();
                self.stats.segments_made += 1;
            }
            (Pending::Mark { mark }, Ok(())) => self.mark = mark,
            (Pending::Remove { count }, Ok(())) => self.stats.segments_removed += count,
            (Pending::Intent, Ok(())) => self.intent_done(),
            (Pending::Meta | Pending::Read, Ok(())) => {}
        }
        self.go_on_with_intent(out);
        self.pump(false, out);
        true
    }

    fn latch(&mut self, error: DiskError) {
        if self.fault.is_none() {
            self.fault = Some(error);
        }
    }

    /// An append completed: the durable position moves to the last batch that has no hole before it.
    fn landed(&mut self, shard: ShardId, last: Zxid) {
        self.busy[shard.idx()] = false;
        if self.fault.is_some() {
            return;
        }
        let at = self.closed.partition_point(|c| c.batch.last() < last);
        self.closed[at].is_durable = true;
        let before_hole = self.closed.iter().take_while(|c| c.is_durable).count();
        let reached = if mutant!("log_durable_is_maximum") { at + 1 } else { before_hole };
        if let Some(batch) = reached.checked_sub(1).and_then(|idx| self.closed.get(idx)) {
            let identity = batch.batch.header().identity;
            if identity.zxid.0 > self.progress.durable() {
                self.progress.complete(identity.zxid.0);
                self.durable = identity;
            }
        }
        self.drop_finished();
    }

    fn drop_finished(&mut self) {
        while self.handed_out > 0 && self.closed.front().is_some_and(|c| c.is_durable) {
            self.closed.pop_front();
            self.handed_out -= 1;
            self.recovered = self.recovered.saturating_sub(1);
        }
    }

    /// The next submitted batch in zxid order that ends at or below `upto`, each once: of our own, received, or left unapplied by
    /// recovery.
    pub fn next_applicable(&mut self, upto: Zxid) -> Option<Batch<M>> {
        let batch = self.closed.get(self.handed_out).filter(|c| c.batch.last() <= upto)?.batch.clone();
        self.handed_out += 1;
        self.applied = batch.identity();
        self.drop_finished();
        Some(batch)
    }

    /// Everything through it is on durable media, over all shards.
    #[must_use]
    pub fn durable_zxid(&self) -> Zxid {
        if mutant!("log_acks_before_completion") { Zxid(self.progress.submitted()) } else { self.durable.zxid }
    }

    /// Accepted, submitted and durable zxids.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The first failed write or sync; it stays.
    #[must_use]
    pub fn fault(&self) -> Option<&DiskError> {
        self.fault.as_ref()
    }

    /// Whether a segment couldn't be reserved for lack of space. What is reserved can still be written: closing sessions uses it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shards.iter().any(|s| s.is_full)
    }

    /// Whose history it is.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.meta.cluster
    }

    /// Epoch metadata as of the last change that was asked for.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Figures for metrics.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        LogStats { in_flight: self.busy.iter().filter(|b| **b).count(), held: self.held(), ..self.stats }
    }

    pub(super) fn held(&self) -> usize {
        self.closed.len() - self.recovered + self.received.len() + self.sealed.len() + usize::from(self.open.is_some())
    }

    /// Whether nothing is open, waiting or in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open.is_none() && self.sealed.is_empty() && self.received.is_empty() && self.busy.iter().all(|b| !b)
    }

    pub(super) fn has_fault(&self) -> bool {
        self.fault.is_some()
    }
}

/// Whether `next` may come after `last`: the next of its epoch, or the first of a later one.
pub(super) fn follows(last: Zxid, next: Zxid) -> bool {
    last.next() == Some(next) || (next.epoch() > last.epoch() && next.counter() <= 1)
}

/// Adds one framed record behind the others.
fn encode_into<M: BatchMemory>(encoder: &mut Encoder, open: &mut Open<M>, head: &TxnHead, ops: &OpBuf) {
    let bytes = open.memory.bytes_mut().expect("nobody else holds an open batch");
    let at = HEADER_BYTES + open.body_len;
    let (frame, rest) = bytes[at..].split_at_mut(FRAME_BYTES);
    let len = encoder.encode(head, ops, rest).expect("the bound holds every record");
    frame.copy_from_slice(&u32::try_from(len).expect("a record is shorter than its limit").to_le_bytes());
    open.body_len += FRAME_BYTES + len;
    open.records += 1;
    open.last = head.zxid;
}
