//! A real small log: written by [`Log`] over a few lives, with crashes between and at the end, on a disk in memory.

use super::disk::Disk;
use ringkeeper::base::ids::{ClusterId, SessionId, Zxid};
use ringkeeper::base::memory::{BatchMemory, HeapMemory, HeapPool};
use ringkeeper::base::prng::Prng;
use ringkeeper::base::time::MonoMs;
use ringkeeper::log::{DiskDone, DiskEffect, Identity, Log, LogOptions, recover};
use ringkeeper::model::file::FileOp;
use ringkeeper::model::ops::OpBuf;
use ringkeeper::model::txn::{OpRef, TxnHead};
use std::collections::BTreeMap;

/// Whose logs these are.
pub const CLUSTER: ClusterId = ClusterId(0x1234_5678_9abc_def0_0fed_cba9_8765_4321);
/// What a transaction may be that ever was in the log; a zxid whose transaction was cut is given again.
pub type History = BTreeMap<Zxid, Vec<(TxnHead, OpBuf)>>;

/// A log and what is known of it.
pub struct Grown {
    /// Its files.
    pub disk: Disk,
    /// What it was written with.
    pub options: LogOptions,
    /// Everything that was ever appended.
    pub history: History,
    /// Durable through here, as the log said.
    pub durable: Zxid,
    /// The last one ever appended.
    pub last: Zxid,
}

/// Small sizes, so that a few transactions fill batches and segments.
pub fn options(shards: u8) -> LogOptions {
    LogOptions {
        shards,
        segment_bytes: 4 * 4096,
        first_segment_bytes: 3 * 4096,
        batch_body_bytes_max: 6000,
        batch_records_max: 5,
        batches_held_max: 12,
        mark_interval_ms: 100,
        ..LogOptions::default()
    }
}

/// Draws a log of up to three lives, or one whose first start never ended.
///
/// # Errors
/// What a whole or torn log must never do: be refused at a start, or lose what was durable.
pub fn grow(prng: &mut Prng, cluster: ClusterId) -> Result<Grown, String> {
    let options = options([1, 1, 2, 2, 4][prng.index(5)]);
    let mut grown = Grown { disk: Disk::default(), options, history: History::new(), durable: Zxid::ZERO, last: Zxid::ZERO };
    if prng.chance(1, 20) {
        let start = recover(&grown.disk, Identity::default(), &options, cluster).start.ok_or("an empty disk is refused")?;
        let ops: Vec<FileOp> = start.scripts.into_iter().flat_map(|script| script.ops).collect();
        ops.iter().take(prng.index(ops.len())).try_for_each(|op| grown.disk.step(op))?;
        return Ok(grown);
    }
    for _ in 0..1 + prng.below(3) {
        live(prng, &mut grown, cluster)?;
    }
    Ok(grown)
}

/// One life, from a start to a crash.
fn live(prng: &mut Prng, grown: &mut Grown, cluster: ClusterId) -> Result<(), String> {
    let recovery = recover(&grown.disk, Identity::default(), &grown.options, cluster);
    let (case, tail) = (recovery.case, recovery.tail.zxid);
    let start = recovery.start.ok_or_else(|| format!("a log that only crashed is refused: {case:?}"))?;
    if tail < grown.durable {
        return Err(format!("durable through {}, found through {tail}", grown.durable));
    }
    start.scripts.iter().try_for_each(|script| grown.disk.run(script))?;
    let mut log: Log<HeapMemory> = Log::new(start.log, grown.options, 1);
    let (mut pool, mut running, mut at) = (HeapPool::default(), Vec::new(), tail);
    let mut now = MonoMs(0);
    for _ in 0..prng.below(24) {
        let next = if prng.chance(1, 15) { Zxid::new(at.epoch() + 1, 1) } else { at.next().ok_or("a zxid overflows")? };
        let (head, ops) = transaction(prng, next);
        if log.append(&mut pool, &head, &ops).is_ok() {
            at = next;
            grown.last = grown.last.max(at);
            grown.history.entry(next).or_default().push((head, ops));
        }
        if prng.chance(2, 3) {
            log.submit(&mut running);
        }
        while !running.is_empty() && prng.chance(2, 3) {
            let effect = running.remove(prng.index(running.len().min(2)));
            carry_out(&mut log, &mut grown.disk, effect, &mut running)?;
        }
        if prng.chance(1, 4) {
            now = now.plus(prng.below(120));
            log.on_tick(now, &mut running);
        }
    }
    if prng.chance(1, 2) {
        settle(&mut log, &mut grown.disk, &mut running)?;
    }
    grown.durable = log.durable_zxid();
    running.into_iter().try_for_each(|effect| crash(prng, &mut grown.disk, effect))
}

/// Everything is written, the mark last, as at a clean stop.
fn settle(log: &mut Log<HeapMemory>, disk: &mut Disk, running: &mut Vec<DiskEffect<HeapMemory>>) -> Result<(), String> {
    log.submit(running);
    for _ in 0..1000 {
        if running.is_empty() && log.is_idle() {
            log.write_mark(running);
        }
        if running.is_empty() {
            return Ok(());
        }
        let effect = running.remove(0);
        carry_out(log, disk, effect, running)?;
    }
    Err("the log never comes to rest".to_owned())
}

fn carry_out(
    log: &mut Log<HeapMemory>,
    disk: &mut Disk,
    effect: DiskEffect<HeapMemory>,
    out: &mut Vec<DiskEffect<HeapMemory>>,
) -> Result<(), String> {
    let ticket = match effect {
        DiskEffect::Append { file, at, memory, len, ticket, .. } => {
            disk.write(&file.name, at, &memory.bytes()[..len])?;
            ticket
        }
        DiskEffect::Script { script, ticket, .. } => {
            disk.run(&script)?;
            ticket
        }
        DiskEffect::Read { .. } => return Err("nobody asked for a read".to_owned()),
    };
    log.on_disk(DiskDone::of(ticket, Ok(())), out);
    let durable = log.durable_zxid();
    while log.next_applicable(durable).is_some() {}
    Ok(())
}

/// What a crash leaves of an effect that nobody heard of any more: nothing, a part, or all.
fn crash(prng: &mut Prng, disk: &mut Disk, effect: DiskEffect<HeapMemory>) -> Result<(), String> {
    match effect {
        DiskEffect::Append { file, at, memory, len, .. } => {
            let part = [0, len, prng.index(len + 1) / 512 * 512][prng.index(3)];
            disk.write(&file.name, at, &memory.bytes()[..part])
        }
        DiskEffect::Script { script, .. } => script.ops.iter().take(prng.index(script.ops.len() + 1)).try_for_each(|op| disk.step(op)),
        DiskEffect::Read { .. } => Ok(()),
    }
}

/// A transaction of any kind.
pub fn transaction(prng: &mut Prng, zxid: Zxid) -> (TxnHead, OpBuf) {
    let head = TxnHead { zxid, session: SessionId(77), cxid: prng.below(100) as i32, time_ms: 1_700_000_000_000 };
    let mut ops = OpBuf::default();
    for _ in 0..prng.below(4) {
        let mut data = vec![0; if prng.chance(1, 10) { prng.index(5000) } else { prng.index(300) }];
        prng.fill(&mut data);
        ops.push(match prng.below(6) {
            0 => OpRef::Create { path: b"/a/b", data: Some(&data), acl: b"acl", owner: 0, parent_cversion: 3 },
            1 => OpRef::Delete { path: b"/a/b" },
            2 => OpRef::SetAcl { path: b"/a", acl: &data, aversion: 4 },
            3 => OpRef::CreateSession { timeout_ms: 4000, password: &[9; 16] },
            4 => OpRef::CloseSession,
            _ => OpRef::SetData { path: b"/a/node", data: if prng.chance(1, 4) { None } else { Some(&data) }, version: 3 },
        });
    }
    (head, ops)
}
