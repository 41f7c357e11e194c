//! Recovery of the log: a real small log, damaged, recovered, started, recovered again; and the loss accepted where it is refused.

use super::disk::Disk;
use super::grow::{CLUSTER, Grown, History, grow, transaction};
use super::log_damage::{Severity, damage};
use super::meter;
use super::target::{Tally, Target, without_numbers};
use ringkeeper::base::ids::{ClusterId, Zxid};
use ringkeeper::base::memory::{BatchMemory, HeapMemory, HeapPool};
use ringkeeper::base::prng::Prng;
use ringkeeper::log::case::CASES;
use ringkeeper::log::mark::read_mark;
use ringkeeper::log::meta::{Meta, meta_path};
use ringkeeper::log::segment::{SegmentHead, segment_number};
use ringkeeper::log::{Case, DiskDone, DiskEffect, Identity, Log, Recovery, Start, accept_loss, inspect, recover};
use ringkeeper::model::file::Stored;

/// See the module.
pub struct Logs;

/// What recovery may hold besides the files: a few hundred bytes for each block that looks like a batch, a thousand findings.
fn held_max(disk: &Disk) -> usize {
    disk.len() / 2 + (1 << 20)
}

impl Target for Logs {
    fn name(&self) -> &'static str {
        "log"
    }

    fn expected(&self) -> Vec<(&'static str, String)> {
        let mut all: Vec<_> = CASES.iter().map(|case| ("case", case_item(*case))).collect();
        let findings = [
            "Unreadable",
            "WornSegmentHeader",
            "ShortSegment",
            "Foreign",
            "WornHeader",
            "WornBody",
            "Stale",
            "Dead",
            "UnknownName",
            "WornCopy",
        ];
        all.extend(findings.map(|kind| ("finding", kind.to_owned())));
        let accepted = [Case::MetadataLost, Case::Corrupt, Case::Missing, Case::Gap, Case::MarkLost, Case::Fork];
        all.extend(accepted.map(|case| ("loss accepted", case_item(case))));
        all
    }

    fn try_one(&self, prng: &mut Prng, tally: &mut Tally) -> Result<(), String> {
        let grown = grow(prng, CLUSTER)?;
        let stranger = if prng.chance(1, 4) { Some(grow(prng, STRANGER)?) } else { None };
        let mut disk = grown.disk.clone();
        let (severity, done) = damage(prng, &mut disk, stranger.as_ref().map_or(&grown.disk, |s| &s.disk));
        for what in done {
            tally.input(&what, b"");
        }
        let after = match prng.below(4) {
            0 if grown.last > Zxid::ZERO => Zxid::new(grown.last.epoch(), prng.below(grown.last.counter() + 3)),
            _ => Zxid::ZERO,
        };
        tally.input(&format!("snapshot at {after}, durable {}, last {}, {severity:?}", grown.durable, grown.last), b"");
        // A file for people to look at is one more decoder.
        let names = disk.names();
        // Drawn in any case, so that an input that is repeated alone is the same.
        let one = prng.index(names.len().max(1));
        let shown = if tally.verbose { names } else { names.get(one).cloned().into_iter().collect() };
        for name in shown {
            let lines = inspect(disk.content(&name).unwrap_or_default(), true);
            if tally.verbose {
                lines.iter().for_each(|line| tally.input(&format!("  {name}: {line}"), b""));
            }
        }
        // Where nothing names the log's own cluster any more, what comes out may be the stranger's: nobody could know better.
        let strangers = stranger.map(|s| s.history).filter(|_| is_strangers(&disk));
        examine(prng, &grown, strangers.as_ref(), disk, after, severity, tally)
    }
}

/// Whose files may stray into the log.
const STRANGER: ClusterId = ClusterId(9);

/// Whether a stranger's segments are there and nothing names the log's own cluster. What a crash left of a segment that was being made names
/// nothing: recovery doesn't read it.
fn is_strangers(disk: &Disk) -> bool {
    let names = disk.names();
    let finished = names.iter().filter(|name| name.rsplit('/').next().is_some_and(|file| segment_number(file).is_some()));
    let segments: Vec<ClusterId> =
        finished.filter_map(|name| SegmentHead::decode(disk.content(name)?).ok()).map(|head| head.cluster).collect();
    let metas = (0..2).filter_map(|idx| Meta::decode(disk.content(&meta_path(idx).name)?).ok()).any(|meta| meta.cluster == CLUSTER);
    !metas && !segments.is_empty() && segments.iter().all(|cluster| *cluster == STRANGER)
}

/// A snapshot there, of which no batch tells.
fn snapshot_at(zxid: Zxid) -> Identity {
    Identity { zxid, checksum: 0 }
}

fn case_item(case: Case) -> String {
    format!("{} {}", case.letter(), case.name())
}

fn examine(
    prng: &mut Prng,
    grown: &Grown,
    strangers: Option<&History>,
    mut disk: Disk,
    after: Zxid,
    severity: Severity,
    tally: &mut Tally,
) -> Result<(), String> {
    let recovery = meter::bounded("recovery", held_max(&disk), || recover(&disk, snapshot_at(after), &grown.options, CLUSTER))?;
    tally.met("case", case_item(recovery.case));
    for finding in &recovery.findings {
        tally.met("finding", format!("{:?}", finding.kind));
    }
    for damage in &recovery.damages {
        tally.met("damage", without_numbers(&damage.what));
    }
    check_shape(&recovery)?;
    if severity < Severity::Forgery {
        check_content(&recovery, &grown.history).or_else(|what| strangers.map_or(Err(what), |s| check_content(&recovery, s)))?;
    }
    if recovery.case.is_damage() {
        if severity == Severity::None {
            return Err(format!("an undamaged log is refused: {:?} {:?}", recovery.case, recovery.damages));
        }
        return accept(prng, grown, disk, after, tally);
    }
    tally.accepted += 1;
    if severity <= Severity::Rot {
        check_loss(grown, &disk, after, severity, &recovery)?;
    }
    let (tail, firsts) = (recovery.tail.zxid, firsts_of(&recovery));
    let start = recovery.start.ok_or("no damage and no start")?;
    go_on(prng, grown, &mut disk, after, &start, tail, &firsts)
}

/// What holds of every recovery, whatever the files say.
fn check_shape(recovery: &Recovery<'_>) -> Result<(), String> {
    let case = recovery.case;
    if case.is_damage() != recovery.start.is_none() || case.is_damage() == recovery.damages.is_empty() {
        return Err(format!("{case:?} with {} damages, start {}", recovery.damages.len(), recovery.start.is_some()));
    }
    if !case.is_damage() && recovery.evidence > recovery.tail.zxid {
        return Err(format!("{case:?} keeps through {} of {}", recovery.tail.zxid, recovery.evidence));
    }
    let mut last = Zxid::ZERO;
    for batch in &recovery.batches {
        if batch.header.replicated.first <= last {
            return Err(format!("the batch from {} comes after {last}", batch.header.replicated.first));
        }
        for record in batch.records() {
            let zxid = record.map_err(|e| format!("a replayed batch holds a bad record: {e}"))?.head().zxid;
            if zxid < batch.header.replicated.first || zxid > batch.header.replicated.last {
                return Err(format!("{zxid} in the batch from {}", batch.header.replicated.first));
            }
        }
        last = batch.header.replicated.last;
    }
    if last > recovery.tail.zxid { Err(format!("replayed through {last}, the tail is {}", recovery.tail.zxid)) } else { Ok(()) }
}

/// No transaction comes out that never went in.
fn check_content(recovery: &Recovery<'_>, history: &History) -> Result<(), String> {
    for record in recovery.batches.iter().flat_map(|b| b.records()).flatten() {
        let known = history.get(&record.head().zxid).into_iter().flatten();
        if !known.into_iter().any(|(head, ops)| *head == record.head() && ops.iter().eq(record.ops())) {
            return Err(format!("the transaction {} never was in the log", record.head().zxid));
        }
    }
    Ok(())
}

/// Without damage everything durable is there. With one bad block in a segment, everything that the mark names; with one
/// elsewhere, everything that was there.
fn check_loss(grown: &Grown, disk: &Disk, after: Zxid, severity: Severity, recovery: &Recovery<'_>) -> Result<(), String> {
    let before = recover(&grown.disk, snapshot_at(after), &grown.options, CLUSTER);
    let is_segment = |name: &String| name.contains("shard-");
    let rotten_segment = disk.names().iter().filter(|n| is_segment(n)).any(|n| disk.content(n) != grown.disk.content(n));
    let least = match severity {
        _ if !rotten_segment => before.tail.zxid.max(if severity == Severity::None { grown.durable } else { Zxid::ZERO }),
        _ => match read_mark(&grown.disk).mark {
            Stored::Present(mark) => mark.durable.zxid.min(before.evidence),
            _ => Zxid::ZERO,
        },
    };
    let found = recovery.tail.zxid.max(after);
    if found < least { Err(format!("durable through {least}, found through {found}")) } else { Ok(()) }
}

fn firsts_of(recovery: &Recovery<'_>) -> Vec<Zxid> {
    recovery.batches.iter().map(|b| b.header.replicated.first).collect()
}

/// Segments that a log makes at most before it writes one batch.
const SEGMENTS_MADE_MAX: usize = 8;

/// Carries the start out: a second recovery finds the same, and a log that goes on from it keeps what it writes.
fn go_on(prng: &mut Prng, grown: &Grown, disk: &mut Disk, after: Zxid, start: &Start, tail: Zxid, firsts: &[Zxid]) -> Result<(), String> {
    start.scripts.iter().try_for_each(|script| disk.run(script))?;
    let again = recover(disk, snapshot_at(after), &grown.options, CLUSTER);
    // Files with an epoch are a member's: accepting its loss hands out only what is known to be committed, and leaves all of it in the log.
    let fits = if start.log.meta.repairing { firsts_of(&again).starts_with(firsts) } else { firsts_of(&again) == firsts };
    if again.case.is_damage() || again.tail.zxid != tail || !fits {
        let found = firsts_of(&again);
        return Err(format!(
            "after the start: {:?} through {} {found:?}, before: through {tail} {firsts:?}; {:?}",
            again.case, again.tail.zxid, again.damages
        ));
    }
    let Some(next) = tail.next() else { return Ok(()) };
    let mut log: Log<HeapMemory> = Log::new(start.log.clone(), grown.options, 1);
    let (head, ops) = transaction(prng, next);
    let mut out = Vec::new();
    log.append(&mut HeapPool::default(), &head, &ops).map_err(|full| full.to_string())?;
    log.submit(&mut out);
    // A batch that the first segment has no room for waits until a larger one is made.
    for _ in 0..SEGMENTS_MADE_MAX {
        let Some(DiskEffect::Script { script, ticket, .. }) = out.first().cloned() else { break };
        disk.run(&script)?;
        out.clear();
        log.on_disk(DiskDone::of(ticket, Ok(())), &mut out);
        log.submit(&mut out);
    }
    let Some(DiskEffect::Append { file, at, memory, len, ticket, .. }) = out.first().cloned() else {
        return Err("the log doesn't write what it took".to_owned());
    };
    disk.write(&file.name, at, &memory.bytes()[..len])?;
    log.on_disk(DiskDone::of(ticket, Ok(())), &mut out);
    let third = recover(disk, snapshot_at(after), &grown.options, CLUSTER);
    if third.case.is_damage() || third.tail.zxid != next {
        return Err(format!("{next} was written after a start; then {:?} through {}: {:?}", third.case, third.tail.zxid, third.damages));
    }
    Ok(())
}

/// An operator accepts the loss: what is left starts, unless the files belong to somebody else.
fn accept(prng: &mut Prng, grown: &Grown, mut disk: Disk, after: Zxid, tally: &mut Tally) -> Result<(), String> {
    let bytes_max = disk.len() * 3 + (2 << 20);
    let accepted = meter::bounded("accepting a loss", bytes_max, || accept_loss(&disk, snapshot_at(after), &grown.options, CLUSTER))?;
    let case = accepted.case;
    let Some(start) = accepted.start.clone() else {
        // What lies in a directory that can't be listed could be neither put aside nor kept from being replaced.
        return if case == Case::Foreign || disk.is_spoiled() { Ok(()) } else { Err(format!("the loss of {case:?} can't be accepted")) };
    };
    tally.met("loss accepted", case_item(case));
    let (tail, firsts) = (accepted.tail.zxid, firsts_of(&accepted));
    // A directory that can't be listed stays so; what it holds can't be set aside.
    if disk.is_spoiled() {
        return Ok(());
    }
    go_on(prng, grown, &mut disk, after, &start, tail, &firsts)
}
