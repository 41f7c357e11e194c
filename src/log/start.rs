//! What a start writes before it serves: the new generation, its mark, its first segments.
//!
//! Guarantees: the end of the old generation is durable before anything of the new one exists; the metadata of a first start
//! comes last, so that it alone says that a log exists. Everything that the log is taken to hold was synced before.

use crate::base::ids::{ClusterId, ShardId, Zxid};
use crate::log::batch::{Identity, Place};
use crate::log::mark::Mark;
use crate::log::meta::{Meta, Span};
use crate::log::options::{LogOptions, LogStart};
use crate::log::scan::{Found, Scan, SegmentFile};
use crate::log::segment::{LOG_DIR, SEGMENT_HEADER_BYTES, SegmentHead, create_script, recycle_script, shard_dir};
use crate::log::shard::ClosedSegment;
use crate::log::unused::Unused;
use crate::model::file::{FileOp, FilePath, Script, Volume};
use crate::{invariant, mutant};

/// What a start needs: carry out `scripts` in order, then hand `log` to [`crate::log::writer::Log::new`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    /// To be carried out, each completed before the next. An error in any of them is an error of the start.
    pub scripts: Vec<Script>,
    /// Where the log goes on.
    pub log: LogStart,
}

/// Where the history stands when a new generation begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct End {
    /// The last batch that stays; ends the old generation.
    pub(super) log: Identity,
    /// What the next batch follows: the same, or the snapshot when that reaches further.
    pub(super) tail: Identity,
    /// Where the last batch lies.
    pub(super) place: Place,
}

impl Meta {
    /// The metadata of a first start.
    pub(super) fn first(cluster: ClusterId) -> Meta {
        let start = Identity::default();
        Meta { cluster, accepted_epoch: 0, current_epoch: 0, repairing: false, generation: 1, start, sequence: 1, ended: Vec::new() }
    }

    /// The metadata of the next generation: this one and every earlier one end at `log` at the latest, the next begins after `tail`.
    /// Generations below `oldest` are forgotten: no segment of theirs is left.
    pub(super) fn raised(&self, log: Identity, tail: Identity, oldest: u64) -> Meta {
        let cut = |identity: Identity| if identity.zxid > log.zxid { log } else { identity };
        let mut ended: Vec<Span> = self.ended.iter().filter(|s| s.generation >= oldest).copied().collect();
        for span in &mut ended {
            (span.start, span.end) = (cut(span.start), cut(span.end));
        }
        let end = if log.zxid < self.start.zxid { cut(self.start) } else { log };
        ended.push(Span { generation: self.generation, start: cut(self.start), end });
        let generation = if mutant!("log_generation_not_raised") { self.generation } else { self.generation + 1 };
        if generation == self.generation {
            ended.pop();
        }
        let raised = Meta { generation, start: tail, sequence: self.sequence + 1, ended, ..self.clone() };
        invariant!(raised.is_in_order(), "generations that overlap: {raised:?}");
        raised
    }
}

/// A first start: directories, mark, segments, and last the metadata.
pub(super) fn first_start(scan: &Scan<'_>, options: &LogOptions, cluster: ClusterId) -> Start {
    let meta = Meta::first(cluster);
    let mark = Mark { cluster, sequence: 0, generation: meta.generation, durable: Identity::default() };
    // Durably gone, or they would be a foreign cluster's to a later start with fewer shards.
    let leftovers = scan.segments.iter().map(|s| (s.shard, s.path())).chain(scan.leftovers.iter().cloned());
    let leftovers = removal(leftovers);
    let segments = first_segments(&Scan::default(), options, &meta);
    let mut scripts = vec![directories(options), leftovers, mark.create_script()];
    scripts.extend(segments.iter().map(create_script));
    scripts.push(meta.store_script());
    let log = LogStart::new(meta, mark, segments, Identity::default());
    Start { scripts, log }
}

impl LogStart {
    fn new(meta: Meta, mark: Mark, segments: Vec<SegmentHead>, tail: Identity) -> LogStart {
        LogStart {
            meta,
            tail,
            place: Place::NONE,
            mark,
            free: vec![Vec::new(); segments.len()],
            segments,
            closed: Vec::new(),
            known: vec![tail],
            applied: tail,
            unapplied: Vec::new(),
            committed: Zxid::ZERO,
        }
    }
}

fn removal(segments: impl Iterator<Item = (ShardId, FilePath)>) -> Script {
    Script { ops: segments.flat_map(|(shard, path)| [FileOp::Remove(path), FileOp::SyncDir(shard_dir(shard))]).collect() }
}

/// A later start: what is kept is synced, the generation raised, then mark and segments. `live` gives the first and last zxid that
/// count in each scanned segment.
pub(super) fn next_start(scan: &Scan<'_>, options: &LogOptions, old: &Meta, mark: Option<Mark>, end: End, live: &[(Zxid, Zxid)]) -> Start {
    let oldest = scan.segments.iter().filter_map(|s| s.head.map(|h| h.generation)).min().unwrap_or(old.generation);
    // A worn header hides a generation, so then nothing is forgotten.
    let oldest = if scan.segments.iter().any(|s| s.head.is_none()) { 0 } else { oldest };
    let meta = old.raised(end.log, end.tail, oldest);
    let sequence = mark.map_or(0, |m| m.sequence + 1);
    let unknown = unknown_ranges(scan, mark.map_or(Zxid::ZERO, |m| m.durable.zxid), end.log);
    let mark = Mark { cluster: meta.cluster, sequence, generation: meta.generation, durable: end.tail };
    let segments = first_segments(scan, options, &meta);
    let counts = |segment: &SegmentFile, last: Zxid| last > Zxid::ZERO && segment.head.is_none_or(|h| h.generation == old.generation);
    let kept = scan.segments.iter().zip(live).zip(unknown).filter(|((s, (_, last)), _)| counts(s, *last));
    let kept = kept.flat_map(|((segment, _), unknown)| secured(segment.path(), unknown));
    let kept = if mutant!("log_trusts_unsynced_tail") { Vec::new() } else { kept.collect() };
    let unused = Unused::of(scan, options);
    let gone = removal(scan.leftovers.iter().chain(&unused.superfluous).cloned());
    let mut scripts = vec![Script { ops: kept }];
    scripts.extend([meta.store_script(), mark.create_script(), directories(options), gone]);
    let made = |(head, old): (&SegmentHead, Option<FilePath>)| old.map_or_else(|| create_script(head), |old| recycle_script(old, head));
    scripts.extend(segments.iter().zip(unused.first).map(made));
    let closed = scan.segments.iter().zip(live).enumerate().filter(|(idx, _)| unused.all.binary_search(idx).is_err());
    let closed = closed.map(|(_, (segment, (first, last)))| ClosedSegment {
        shard: segment.shard,
        path: segment.path(),
        capacity: segment.len.saturating_sub(SEGMENT_HEADER_BYTES),
        first: *first,
        last: *last,
        generation: segment.head.map_or(0, |h| h.generation),
    });
    let closed = closed.collect();
    let log = LogStart { place: end.place, closed, free: unused.free, ..LogStart::new(meta, mark, segments, end.tail) };
    Start { scripts, log }
}

/// Of each segment what lies beyond `durable`, up to `end`: first byte and the one behind the last.
fn unknown_ranges(scan: &Scan<'_>, durable: Zxid, end: Identity) -> Vec<Option<(u64, u64)>> {
    let mut ranges = vec![None; scan.segments.len()];
    let beyond = |b: &&Found<'_>| b.body.is_some() && b.header.replicated.last > durable && b.header.replicated.last <= end.zxid;
    for batch in scan.batches.iter().filter(beyond) {
        let to = batch.at + batch.header.replicated.batch_bytes() as u64;
        let (first, last) = ranges[batch.segment].get_or_insert((batch.at, to));
        (*first, *last) = (batch.at.min(*first), to.max(*last));
    }
    ranges
}

/// Makes a segment that is kept durable. What the mark doesn't vouch for is written again first: no sync of it is known to have
/// succeeded, and if one failed (in a start that ended with that error, say) the next one succeeds without it.
fn secured(path: FilePath, unknown: Option<(u64, u64)>) -> impl Iterator<Item = FileOp> {
    let rewrite = unknown.map(|(at, to)| FileOp::Rewrite { path: path.clone(), at, len: to - at });
    let rewrite = if mutant!("log_trusts_the_next_sync") { None } else { rewrite };
    rewrite.into_iter().chain([FileOp::Sync(path)])
}

fn directories(options: &LogOptions) -> Script {
    let mut ops = Vec::new();
    for shard in 0..options.shards {
        ops.push(FileOp::MakeDir(shard_dir(ShardId(shard))));
    }
    ops.push(FileOp::SyncDir(FilePath::new(Volume::Log, LOG_DIR)));
    ops.push(FileOp::SyncDir(FilePath::new(Volume::Log, "")));
    Script { ops }
}

/// The first segment of each shard in a generation: numbers and logical offsets behind all that was ever used.
fn first_segments(scan: &Scan<'_>, options: &LogOptions, meta: &Meta) -> Vec<SegmentHead> {
    let first = |shard: ShardId| {
        let files = || scan.segments.iter().filter(|s| s.shard == shard);
        let by_head = files().filter_map(|s| s.head.map(|h| h.end())).max().unwrap_or(0);
        let batches = scan.batches.iter().filter(|b| b.header.local.shard == shard);
        let by_batch = batches.map(|b| b.header.local.offset.saturating_add(b.header.replicated.batch_bytes() as u64)).max().unwrap_or(0);
        // A segment with a worn header may have used offsets that nothing names any more.
        let unknown: u64 = files().filter(|s| s.head.is_none()).map(|s| s.len.next_multiple_of(SEGMENT_HEADER_BYTES)).sum();
        SegmentHead {
            cluster: meta.cluster,
            shard,
            number: files().map(|s| s.number + 1).max().unwrap_or(1),
            generation: meta.generation,
            base: by_head.max(by_batch).saturating_add(unknown),
            capacity: options.first_segment_bytes,
        }
    };
    (0..options.shards).map(|shard| first(ShardId(shard))).collect()
}
