//! Accepting a loss: what an operator may order when recovery refuses. Cuts at the last good batch in spite of damage.
//!
//! A member of an ensemble does the same by itself, and is then repaired by its peers.
//!
//! Guarantees: nothing is deleted: every damaged file, and every file that holds batches beyond the cut, is copied aside before the
//! cut becomes durable (a file that can't be read is renamed instead); the cut raises the generation, so that what lies beyond it
//! proves nothing afterwards. Leaves to others: asking the operator (`cli`).

use crate::base::ids::ClusterId;
use crate::log::batch::{Identity, Replicated};
use crate::log::case::Case;
use crate::log::fields::is_newer_format;
use crate::log::mark::{Mark, mark_path, read_mark};
use crate::log::meta::{Meta, Span, meta_path, read_meta};
use crate::log::options::LogOptions;
use crate::log::recover::{Chain, Recovery, examine, follow, is_suspect, live_ends, present};
use crate::log::scan::{Scan, scan};
use crate::log::segment::LOG_DIR;
use crate::log::start::next_start;
use crate::log::whose::{Base, cluster_of, judge_strangers};
use crate::model::file::{FileOp, FilePath, Files, Script, Stored, Volume};
use crate::mutant;
use std::collections::{BTreeMap, BTreeSet};

/// As [`crate::log::recover()`], but a case of damage gets a start too: the log is cut at its last good batch. [`Case::Foreign`] gets none: files of
/// another cluster or a newer format are no damage; nor does a directory that can't be listed. `damages` still tells what was accepted.
#[must_use]
pub fn accept_loss<'a>(files: &'a dyn Files, base: impl Into<Base>, options: &LogOptions, fresh: ClusterId) -> Recovery<'a> {
    let base = base.into();
    let recovery = examine(files, &base, options, fresh);
    if !recovery.case.is_damage() || recovery.case == Case::Foreign {
        return recovery;
    }
    // Whoever orders this needn't know: a member whose loss counted as a standalone server's would vote without what it acknowledged.
    let member = options.member || (is_member(files, &base, &recovery) && !mutant!("accept-loss-forgets-membership"));
    accept(files, &base, &LogOptions { member, ..*options }, fresh, recovery)
}

/// Whether these are the files of a member of an ensemble: a standalone server's epoch is 0.
fn is_member(files: &dyn Files, base: &Base, recovery: &Recovery<'_>) -> bool {
    let promised = present(&read_meta(files).meta).map_or(0, |m| m.accepted_epoch);
    let written = scan(files, None).batches.iter().map(|b| b.header.replicated.last.epoch()).max().unwrap_or(0);
    promised.max(written).max(recovery.evidence.epoch()).max(base.at.zxid.epoch()) > 0
}

/// Gives a case of damage its start, unless a directory of the log can't be listed. A member says in its metadata, in the same step in which it cuts, that it has to be repaired.
pub(super) fn accept<'a>(
    files: &'a dyn Files,
    base: &Base,
    options: &LogOptions,
    fresh: ClusterId,
    mut recovery: Recovery<'a>,
) -> Recovery<'a> {
    let mark = present(&read_mark(files).mark).copied();
    let meta = read_meta(files).meta;
    let meta = present(&meta);
    let cluster = cluster_of(files, meta, mark, base).unwrap_or(fresh);
    let mut known = match meta {
        Some(meta) if recovery.case != Case::MetadataLost => Meta { cluster, ..meta.clone() },
        meta => rebuilt(files, mark, cluster, meta, base),
    };
    if options.member && !mutant!("damage-treated-as-torn-tail") {
        known.repairing = true;
        if recovery.case == Case::MetadataLost {
            // Nobody knows what it acknowledged and promised: its history is only what a repair begins with.
            known.current_epoch = 0;
        }
    }
    let mut found = scan(files, Some(known.cluster));
    judge_strangers(&mut found, meta, base);
    if found.unlisted {
        // What lies there can neither be put aside nor be kept from being replaced.
        return recovery;
    }
    let chain = follow(&found, &known, base.at, &mut Vec::new());
    let mut start = next_start(&found, options, &known, mark, chain.stands, &live_ends(&found, &chain));
    start.scripts.insert(0, set_aside(files, &found, &chain, start.log.meta.generation));
    recovery.tail = chain.stands.tail;
    recovery.start = Some(start);
    recovery.take_chain(&chain, base.at, options);
    recovery
}

/// Metadata as far as the log itself shows it: each generation begins after the predecessor of its first batch and ends where a
/// later one begins. The epochs are the highest that batches, mark and snapshot carry: a promise beyond them is forgotten.
fn rebuilt(files: &dyn Files, mark: Option<Mark>, cluster: ClusterId, old: Option<&Meta>, base: &Base) -> Meta {
    let found = scan(files, Some(cluster));
    let mut bounds: BTreeMap<u64, (Replicated, Identity)> = BTreeMap::new();
    for batch in &found.batches {
        let (replicated, identity) = (batch.header.replicated, batch.header.identity);
        let (first, last) = bounds.entry(batch.header.local.generation).or_insert((replicated, identity));
        if replicated.first < first.first {
            *first = replicated;
        }
        if identity.zxid > last.zxid {
            *last = identity;
        }
    }
    let heads = found.segments.iter().filter_map(|s| s.head.map(|h| h.generation));
    let others = mark.map(|m| m.generation).into_iter().chain(old.map(|m| m.generation));
    let generation = heads.chain(bounds.keys().copied()).chain(others).max().unwrap_or(0);
    let mut start = bounds.last_key_value().map_or_else(Identity::default, |(_, (_, last))| *last);
    let mut ended = Vec::new();
    for (number, (first, _)) in bounds.iter().rev() {
        let began = if first.previous.zxid < start.zxid { first.previous } else { start };
        if *number < generation {
            ended.push(Span { generation: *number, start: began, end: start });
        }
        start = began;
    }
    // The newest generation begins where the one before it ends, or, when it is the only one, before its first batch.
    let start = ended.first().map_or(start, |s| s.end);
    ended.reverse();
    let by_mark = mark.map(|m| m.durable.zxid.epoch());
    let epoch = found.batches.iter().map(|b| b.header.replicated.last.epoch()).chain(by_mark).chain([base.at.zxid.epoch()]);
    let epoch = epoch.max().unwrap_or(0);
    let (accepted_epoch, current_epoch) = old.map_or((epoch, epoch), |m| (m.accepted_epoch.max(epoch), m.current_epoch.max(epoch)));
    let repairing = old.is_some_and(|m| m.repairing);
    Meta { cluster, accepted_epoch, current_epoch, repairing, generation, start, sequence: old.map_or(0, |m| m.sequence), ended }
}

/// Copies of every file that is damaged or holds something beyond the cut.
fn set_aside(files: &dyn Files, found: &Scan<'_>, chain: &Chain<'_, '_>, generation: u64) -> Script {
    let suspect: BTreeSet<&str> = found.findings.iter().filter(|f| is_suspect(f.kind)).map(|f| f.place.path.as_str()).collect();
    let cut = chain.stands.tail.zxid;
    let beyond: BTreeSet<usize> = found.batches.iter().filter(|b| b.header.replicated.last > cut).map(|b| b.segment).collect();
    let segments = found.segments.iter().enumerate();
    let mut paths: Vec<FilePath> =
        segments.filter(|(idx, s)| beyond.contains(idx) || suspect.contains(s.path().name.as_str())).map(|(_, s)| s.path()).collect();
    paths.extend([meta_path(0), meta_path(1), mark_path()]);
    let dir = FilePath::new(Volume::Log, format!("{LOG_DIR}/aside-{generation}"));
    let mut ops = vec![FileOp::MakeDir(dir.clone()), FileOp::SyncDir(FilePath::new(Volume::Log, LOG_DIR))];
    for path in paths {
        let name = path.name.trim_start_matches(LOG_DIR).trim_start_matches('/').replace('/', "-");
        let to = FilePath::new(Volume::Log, format!("{}/{name}", dir.name));
        match files.bytes(&path) {
            Stored::Empty => {}
            Stored::Present(_) => ops.extend([FileOp::Copy { from: path, to: to.clone() }, FileOp::Sync(to)]),
            Stored::Unreadable(damage) if is_newer_format(&damage.what) => {}
            Stored::Unreadable(_) => {
                let left = path.dir();
                ops.push(FileOp::Rename { from: path, to });
                ops.push(FileOp::SyncDir(left));
            }
        }
    }
    ops.push(FileOp::SyncDir(dir));
    Script { ops }
}
