//! Drives a log over the disk in memory by a seed, and remembers what it must not lose.

use super::disk::Disk;
use crate::base::ids::{ClusterId, SessionId, Zxid};
use crate::base::memory::{HeapMemory, HeapPool};
use crate::base::prng::Prng;
use crate::base::time::MonoMs;
use crate::log::meta::Meta;
use crate::log::{DiskDone, DiskEffect, Identity, Log, LogFull, LogOptions, ReadOutcome, ReadRequest, Recovery, recover, serve_read};
use crate::model::file::{DiskError, FileOp, Ticket};
use crate::model::ops::OpBuf;
use crate::model::txn::{OpRef, TxnHead};
use std::collections::VecDeque;

/// An effect under way: the steps that are left.
#[derive(Debug)]
struct Running {
    lane: usize,
    ticket: Ticket,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
enum Step {
    Op(FileOp),
    Append { name: String, at: u64, bytes: Vec<u8> },
    Landed { name: String, at: u64, len: usize },
    Read(Box<ReadRequest>),
}

pub(super) const CLUSTER: ClusterId = ClusterId(0x1234_5678_9abc_def0_0fed_cba9_8765_4321);

/// What a start found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) letter: char,
    pub(super) applied: Identity,
    pub(super) tail: Identity,
    pub(super) meta: Meta,
    pub(super) replayed: Vec<Identity>,
    pub(super) finished: bool,
}

/// One server with its disk.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) options: LogOptions,
    pub(super) disk: Disk,
    pub(super) log: Option<Log<HeapMemory>>,
    pool: HeapPool,
    running: Vec<Running>,
    /// Data of every transaction in order, from zxid 1.
    pub(super) history: Vec<Vec<u8>>,
    pub(super) epochs: Vec<Zxid>,
    pub(super) acked: usize,
    /// Zxid of the newest snapshot.
    pub(super) snapshot: Zxid,
    now: MonoMs,
    out: Vec<DiskEffect<HeapMemory>>,
    /// The device has no room for new files.
    pub(super) full: bool,
    tickets: u64,
    /// What is durable is applied at once; a member's log is applied by order.
    pub(super) applies: bool,
    /// Position of the newest snapshot, when it names its batch.
    pub(super) exact: Option<Identity>,
    /// Identity for a first start.
    pub(super) fresh: ClusterId,
    /// Tickets that completed.
    pub(super) done: Vec<Ticket>,
    /// What reads gave.
    pub(super) reads: Vec<ReadOutcome>,
}

pub(super) fn tiny(shards: u8) -> LogOptions {
    LogOptions {
        shards,
        segment_bytes: 6 * 4096,
        first_segment_bytes: 3 * 4096,
        batch_body_bytes_max: 6000,
        batch_records_max: 5,
        batches_held_max: 12,
        mark_interval_ms: 100,
        ..LogOptions::default()
    }
}

/// The position of a snapshot that doesn't name its batch.
pub(super) fn after(zxid: Zxid) -> Identity {
    Identity { zxid, checksum: 0 }
}

pub(super) fn head(zxid: Zxid) -> TxnHead {
    TxnHead { zxid, session: SessionId(77), cxid: 5, time_ms: 1_700_000_000_000 }
}

pub(super) fn set_data(data: &[u8]) -> OpBuf {
    let mut ops = OpBuf::default();
    ops.push(OpRef::SetData { path: b"/a/node", data: Some(data), version: 3 });
    ops
}

impl Driver {
    pub(super) fn new(options: LogOptions) -> Driver {
        Driver {
            options,
            disk: Disk::default(),
            log: None,
            pool: HeapPool::default(),
            running: Vec::new(),
            history: Vec::new(),
            epochs: Vec::new(),
            acked: 0,
            snapshot: Zxid::ZERO,
            now: MonoMs(0),
            out: Vec::new(),
            full: false,
            tickets: 0,
            applies: true,
            exact: None,
            fresh: CLUSTER,
            done: Vec::new(),
            reads: Vec::new(),
        }
    }

    /// Transactions through `zxid`.
    pub(super) fn history_len(&self, zxid: Zxid) -> usize {
        self.position(zxid)
    }

    /// Forgets all but the first `len` transactions.
    pub(super) fn truncate(&mut self, len: usize) {
        self.history.truncate(len);
        self.epochs.truncate(len);
        self.acked = len;
    }

    pub(super) fn zxid_of(&self, idx: usize) -> Zxid {
        self.epochs[idx]
    }

    fn position(&self, zxid: Zxid) -> usize {
        self.epochs.partition_point(|z| *z <= zxid)
    }

    pub(super) fn base(&self) -> Identity {
        self.exact.unwrap_or(after(self.snapshot))
    }

    /// Recovers without a look at what comes back; a crash may cut the start scripts after `crash_after` steps.
    pub(super) fn restart(&mut self, crash_after: Option<usize>) -> Found {
        self.log = None;
        self.running.clear();
        let disk = self.disk.clone();
        let Recovery { case, damages, batches, start, .. } = recover(&disk, self.base(), &self.options, self.fresh);
        let Some(start) = start else { panic!("{case:?}: {damages:#?}") };
        let (applied, tail, meta) = (start.log.applied, start.log.tail, start.log.meta.clone());
        let replayed = batches.iter().map(|b| b.header.identity).collect();
        let steps = start.scripts.iter().flat_map(|s| s.ops.iter());
        let finished = crash_after.is_none_or(|n| steps.clone().count() <= n);
        steps.take(crash_after.unwrap_or(usize::MAX)).for_each(|op| self.disk.apply(op).unwrap());
        self.tickets += 1_000_000;
        if finished {
            self.log = Some(Log::new(start.log, self.options, self.tickets));
        }
        Found { letter: case.letter(), applied, tail, meta, replayed, finished }
    }

    /// Carries out `steps` steps of whatever is under way, then the process is killed; with `power` the power is gone too.
    pub(super) fn crash_after(&mut self, steps: usize, power: bool, prng: &mut Prng) {
        (0..steps).for_each(|_| self.step(prng));
        self.log = None;
        self.running.clear();
        if power {
            self.disk = self.disk.after_power_cut(prng);
        }
    }

    /// Steps that are left of everything under way.
    pub(super) fn steps_left(&self) -> usize {
        self.running.iter().map(|r| r.steps.len()).sum()
    }

    /// The log and its memory.
    pub(super) fn parts(&mut self) -> (&mut Log<HeapMemory>, &mut HeapPool) {
        (self.log.as_mut().unwrap(), &mut self.pool)
    }

    /// Recovers and checks what comes back against what was promised; a crash may cut the start scripts after `crash_after` steps.
    /// Returns the letter of the case and whether the start was finished.
    pub(super) fn start(&mut self, crash_after: Option<usize>) -> (char, bool) {
        self.log = None;
        self.running.clear();
        let disk = self.disk.clone();
        let recovery = recover(&disk, self.base(), &self.options, self.fresh);
        assert!(!recovery.case.is_damage(), "{:?}: {:#?}", recovery.case, recovery.damages);
        self.check(&recovery);
        let letter = recovery.case.letter();
        let start = recovery.start.expect("a start without damage");
        let steps = start.scripts.iter().flat_map(|s| s.ops.iter());
        for (done, op) in steps.enumerate() {
            if crash_after == Some(done) {
                return (letter, false);
            }
            self.disk.apply(op).unwrap();
        }
        let kept = self.position(start.log.tail.zxid);
        self.truncate(kept);
        // From now on it is served.
        self.acked = self.history.len();
        self.tickets += 1_000_000;
        self.log = Some(Log::new(start.log, self.options, self.tickets));
        (letter, true)
    }

    /// Everything acknowledged is there, in order, without a gap, and nothing that was never written.
    pub(super) fn check(&self, recovery: &Recovery<'_>) {
        let mut expected = self.position(self.snapshot);
        for batch in &recovery.batches {
            for record in batch.records() {
                let record = record.unwrap();
                if record.head().zxid <= self.snapshot {
                    continue;
                }
                assert_eq!(record.head(), head(self.epochs[expected]), "record {expected}");
                let data = record.ops().map(|op| match op {
                    OpRef::SetData { data, .. } => data.unwrap().to_vec(),
                    other => panic!("{other:?}"),
                });
                assert!(data.eq([self.history[expected].clone()]), "record {expected} holds something else");
                expected += 1;
            }
        }
        assert!(expected >= self.acked, "{} of {} acknowledged came back ({:?})", expected, self.acked, recovery.case);
        assert!(self.position(recovery.tail.zxid) == expected, "{:?} after {expected}", recovery.tail);
    }

    pub(super) fn append(&mut self, data: Vec<u8>, new_epoch: bool) -> Result<(), LogFull> {
        let last = self.epochs.last().copied().unwrap_or_default();
        let zxid = if new_epoch { Zxid::new(last.epoch() + 1, 1) } else { last.next().unwrap() };
        self.log.as_mut().unwrap().append(&mut self.pool, &head(zxid), &set_data(&data))?;
        self.history.push(data);
        self.epochs.push(zxid);
        Ok(())
    }

    pub(super) fn with_log<R>(&mut self, f: impl FnOnce(&mut Log<HeapMemory>, &mut Vec<DiskEffect<HeapMemory>>) -> R) -> R {
        let log = self.log.as_mut().unwrap();
        let answer = f(log, &mut self.out);
        for effect in std::mem::take(&mut self.out) {
            self.running.push(match effect {
                DiskEffect::Append { shard, file, at, memory, len, ticket } => {
                    use crate::base::memory::BatchMemory;
                    self.pool.keep(&memory);
                    let bytes = memory.bytes()[..len].to_vec();
                    let landed = Step::Landed { name: file.name.clone(), at, len };
                    let steps = [Step::Append { name: file.name, at, bytes }, landed].into();
                    Running { lane: shard.idx(), ticket, steps }
                }
                DiskEffect::Script { shard, script, ticket } => {
                    let lane = shard.map_or(99, |s| 100 + s.idx());
                    Running { lane, ticket, steps: script.ops.into_iter().map(Step::Op).collect() }
                }
                DiskEffect::Read { request, ticket } => Running { lane: 98, ticket, steps: [Step::Read(request)].into() },
            });
        }
        let log = self.log.as_mut().unwrap();
        let durable = log.durable_zxid();
        while self.applies
            && let Some(batch) = log.next_applicable(durable)
        {
            assert!(batch.records().all(|r| r.is_ok()));
        }
        self.acked = self.acked.max(self.position(durable));
        answer
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// Carries out one step of one effect; the first of its lane.
    pub(super) fn step(&mut self, prng: &mut Prng) {
        let firsts: Vec<usize> =
            (0..self.running.len()).filter(|idx| !self.running[..*idx].iter().any(|r| r.lane == self.running[*idx].lane)).collect();
        if firsts.is_empty() {
            return;
        }
        let idx = firsts[prng.index(firsts.len())];
        let failed = match self.running[idx].steps.pop_front() {
            Some(Step::Op(FileOp::Create(_) | FileOp::Zero { .. })) if self.full => {
                Some(DiskError { no_space: true, message: "no space".to_owned() })
            }
            Some(Step::Op(op)) => {
                self.disk.apply(&op).unwrap();
                None
            }
            Some(Step::Append { name, at, bytes }) => {
                self.disk.write(&name, at, &bytes).unwrap();
                None
            }
            Some(Step::Landed { name, at, len }) => {
                self.disk.sync_range(&name, at, len);
                None
            }
            Some(Step::Read(request)) => {
                self.reads.push(serve_read(&self.disk, &request));
                None
            }
            None => None,
        };
        if failed.is_some() || self.running[idx].steps.is_empty() {
            let ticket = self.running.remove(idx).ticket;
            let result = failed.map_or(Ok(()), Err);
            self.done.push(ticket);
            self.with_log(|log, out| assert!(log.on_disk(DiskDone::of(ticket, result), out)));
        }
    }

    /// Fails whatever runs on `lane`.
    pub(super) fn fail_lane(&mut self, lane: usize, error: DiskError) {
        let idx = self.running.iter().position(|r| r.lane == lane).unwrap();
        let ticket = self.running.remove(idx).ticket;
        self.with_log(|log, out| assert!(log.on_disk(DiskDone::of(ticket, Err(error)), out)));
    }

    pub(super) fn finish(&mut self, prng: &mut Prng) {
        let mut steps = 0;
        while self.is_busy() {
            self.step(prng);
            steps += 1;
            assert!(steps < 100_000, "never finished");
        }
    }

    pub(super) fn tick(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        let now = self.now;
        self.with_log(|log, out| log.on_tick(now, out));
    }

    /// One random thing.
    pub(super) fn act(&mut self, prng: &mut Prng) {
        match prng.below(20) {
            0..=5 => {
                let len = if prng.chance(1, 12) { prng.below(40_000) } else { prng.below(3000) };
                let mut data = vec![0; len as usize];
                prng.fill(&mut data);
                let new_epoch = prng.chance(1, 30);
                match self.append(data, new_epoch) {
                    Ok(()) | Err(LogFull::Busy) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            6..=8 => self.with_log(|log, out| log.submit(out)),
            9 => self.tick(prng.below(120)),
            10 if prng.chance(1, 4) && self.acked > 0 => {
                self.snapshot = self.snapshot.max(self.zxid_of(self.acked - 1));
                let snapshot = self.snapshot;
                self.with_log(|log, out| log.retain_from(snapshot, out));
            }
            _ => self.step(prng),
        }
    }
}
