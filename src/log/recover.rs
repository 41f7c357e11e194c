//! Recovery: from the files as they are to what the log holds, in one of the cases of [`crate::log::case`].
//!
//! Guarantees: a pure function of the files; nothing at or below the evidence is ever cut; what is above it and not whole is cut
//! with everything behind it, at a start that raises the generation first. Leaves to others: asking peers (`zab`), applying what is
//! replayed (the keeper), choosing the snapshot (`snapshot`). A member of an ensemble cuts damage away too and is repaired (`accept`).

use crate::base::ids::{ClusterId, Zxid};
use crate::log::accept::accept;
use crate::log::batch::{BatchView, Header, Identity, Place};
use crate::log::case::{Case, ChainEnd, Fact, Facts, decide};
use crate::log::fields::is_newer_format;
use crate::log::mark::{Mark, MarkSectors, mark_path, read_mark};
use crate::log::meta::{Meta, MetaCopies, meta_path, read_meta};
use crate::log::options::LogOptions;
use crate::log::scan::{Finding, FindingKind, Found, NO_CLUSTER, Scan, scan};
use crate::log::start::{End, Start, first_start, next_start};
use crate::log::whose::{Base, cluster_of, is_nothing, judge_strangers};
use crate::model::file::{Damage, Files, Stored};
use crate::mutant;

/// What recovery found and decided.
#[derive(Clone, Debug)]
pub struct Recovery<'a> {
    /// The case of the decision table.
    pub case: Case,
    /// What makes it a case of damage, the most telling first; empty otherwise.
    pub damages: Vec<Damage>,
    /// Other things worth a line in the log.
    pub findings: Vec<Finding>,
    /// Whole batches in zxid order that hold everything after the snapshot (of a member: everything of it that is committed); the first
    /// may begin before it.
    pub batches: Vec<BatchView<'a>>,
    /// The position that stays.
    pub tail: Identity,
    /// The furthest committed position that a live header names.
    pub committed: Zxid,
    /// How far this server is known to have been durable.
    pub evidence: Zxid,
    /// What must be written before serving; `None` when the case is damage that isn't repaired from peers.
    pub start: Option<Start>,
}

/// Evidence that this server was durable through `zxid`.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    pub(super) zxid: Zxid,
    source: String,
}

/// The chain of whole batches beyond the snapshot.
#[derive(Debug)]
pub(super) struct Chain<'s, 'a> {
    /// Live batches in zxid order, also those before the snapshot and beyond the end.
    pub(super) live: Vec<&'s Found<'a>>,
    /// Those of `live` that are replayed.
    pub(super) replayed: Vec<&'s Found<'a>>,
    pub(super) end: ChainEnd,
    /// The batch at which the chain ends.
    pub(super) broken: Option<&'s Found<'a>>,
    /// Where the history stands.
    pub(super) stands: End,
    pub(super) beyond: bool,
}

/// Reads the log. `base` is the snapshot that was loaded, or its position alone, `fresh` the identity for a first start.
#[must_use]
pub fn recover<'a>(files: &'a dyn Files, base: impl Into<Base>, options: &LogOptions, fresh: ClusterId) -> Recovery<'a> {
    let base = base.into();
    let recovery = examine(files, &base, options, fresh);
    let repairs = options.member && recovery.case.is_damage() && recovery.case != Case::Foreign && !mutant!("member-refuses-damage");
    if repairs { accept(files, &base, options, fresh, recovery) } else { recovery }
}

/// As [`recover`], but damage gets no start whatever the server is.
pub(super) fn examine<'a>(files: &'a dyn Files, base: &Base, options: &LogOptions, fresh: ClusterId) -> Recovery<'a> {
    let after = base.at;
    let copies = read_meta(files);
    let sectors = read_mark(files);
    let meta = present(&copies.meta);
    let mark = present(&sectors.mark).copied();
    // Without metadata the files still have to agree on whose they are.
    let cluster = cluster_of(files, meta, mark, base);
    let strange = base.contradiction(cluster);
    let mut found = scan(files, cluster);
    judge_strangers(&mut found, meta, base);
    let known = &meta.map_or_else(|| Meta::first(fresh), |m| Meta { cluster: cluster.unwrap_or(m.cluster), ..m.clone() });
    let mut findings = found.findings.clone();
    let chain = follow(&found, known, after, &mut findings);
    let evidence = evidence(&chain.live, known, mark);
    let mut facts = facts(&copies, &sectors, &found, &chain, &evidence, base, cluster);
    facts.foreign |= strange.is_some();
    let case = decide(&facts);
    note_copies(&copies, &sectors, &mut findings);
    let start = match case {
        Case::FirstStart | Case::UnfinishedFirstStart => Some(first_start(&found, options, fresh)),
        // A standalone server that nobody ever wrote to becomes a member: its identity means nothing.
        _ if options.member && !case.is_damage() && !facts.history && known.accepted_epoch == 0 => {
            Some(first_start(&found, options, fresh))
        }
        _ if case.is_damage() => None,
        _ => Some(next_start(&found, options, known, mark, chain.stands, &live_ends(&found, &chain))),
    };
    let damages = if case.is_damage() { damages(case, &copies, &sectors, &found, &chain, &evidence, strange) } else { Vec::new() };
    let mut recovery = Recovery {
        case,
        damages,
        findings,
        batches: Vec::new(),
        tail: chain.stands.tail,
        committed: Zxid::ZERO,
        evidence: evidence.zxid,
        start,
    };
    // Nothing of it is ours to show while nobody knows whose it is.
    if case != Case::Foreign {
        recovery.take_chain(&chain, after, options);
    }
    recovery
}

impl<'a> Recovery<'a> {
    /// What of the chain is applied, what is kept for later, and which identities it has.
    pub(super) fn take_chain(&mut self, chain: &Chain<'_, 'a>, after: Identity, options: &LogOptions) {
        self.committed = chain.live.iter().map(|b| b.header.replicated.committed).max().unwrap_or(Zxid::ZERO);
        self.batches = chain.replayed.iter().filter_map(|b| b.view()).collect();
        let mut unapplied = Vec::new();
        if options.member && !mutant!("member-applies-uncommitted") {
            let applied = self.batches.partition_point(|b| b.header.replicated.last <= self.committed);
            unapplied = self.batches.split_off(applied);
        }
        let Some(start) = &mut self.start else { return };
        let log = &mut start.log;
        log.known = chain.identities();
        let snapshot = log.known.iter().find(|i| i.zxid == after.zxid).copied().unwrap_or(after);
        log.applied = match (self.batches.last(), unapplied.is_empty()) {
            (_, true) => self.tail,
            (Some(last), false) => last.header.identity,
            (None, false) => snapshot,
        };
        log.unapplied = unapplied.iter().map(BatchView::keep).collect();
        log.committed = self.committed;
    }
}

impl Chain<'_, '_> {
    /// Identities from the oldest batch that is connected with the end, and of what that one follows, through the end.
    fn identities(&self) -> Vec<Identity> {
        let mut expected = self.stands.tail;
        let mut known = Vec::new();
        for batch in self.live.iter().rev().filter(|b| b.header.identity.zxid <= self.stands.tail.zxid) {
            if batch.header.identity != expected {
                break;
            }
            known.push(expected);
            expected = batch.header.replicated.previous;
        }
        // What only a snapshot names has no checksum and proves nothing, unless it is all there is.
        if expected.checksum != 0 || expected.zxid == Zxid::ZERO || known.is_empty() {
            known.push(expected);
        }
        known.reverse();
        known
    }
}

pub(super) fn present<T>(stored: &Stored<T>) -> Option<&T> {
    match stored {
        Stored::Present(value) => Some(value),
        Stored::Empty | Stored::Unreadable(_) => None,
    }
}

fn unreadable<T>(stored: &Stored<T>) -> Option<&Damage> {
    match stored {
        Stored::Unreadable(damage) => Some(damage),
        Stored::Empty | Stored::Present(_) => None,
    }
}

/// Whether the metadata lets a batch count: its generation is the one in use, or it lies within an ended one.
pub(super) fn is_live(meta: &Meta, header: &Header) -> bool {
    let (first, last) = (header.replicated.first, header.replicated.last);
    let generation = header.local.generation;
    if mutant!("log_revives_dead_generation") {
        return true;
    }
    if generation == meta.generation {
        return first > meta.start.zxid;
    }
    meta.span(generation).is_some_and(|span| span.start.zxid < first && last <= span.end.zxid)
}

/// Sorts out the live batches and follows the chain from the snapshot on.
pub(super) fn follow<'s, 'a>(scan: &'s Scan<'a>, meta: &Meta, after: Identity, findings: &mut Vec<Finding>) -> Chain<'s, 'a> {
    let (mut live, dead): (Vec<_>, Vec<_>) = scan.batches.iter().partition(|b| is_live(meta, &b.header));
    findings.extend(dead.iter().map(|b| Finding {
        kind: FindingKind::Dead,
        place: scan.damage(b, format!("a batch of generation {} through {}", b.header.local.generation, b.header.replicated.last)),
    }));
    live.sort_by_key(|b| (b.header.replicated.first, b.body.is_none()));
    live.dedup_by_key(|b| b.header.identity);
    let split = live.partition_point(|b| b.header.replicated.last <= after.zxid);
    // A snapshot that names its batch is what the chain goes on from, whatever lies before it in the log.
    let before = split.checked_sub(1).map(|idx| live[idx].header).filter(|h| after.checksum == 0 || h.identity == after);
    let mut replayed: Vec<&Found<'a>> = Vec::new();
    let from = if after.checksum == 0 { before.map(|h| h.identity) } else { Some(after) };
    let (mut at, mut place) = (from, before.map_or(Place::NONE, |h| h.place()));
    let (mut end, mut broken, mut next) = (ChainEnd::End, None, split);
    while let Some(batch) = live.get(next) {
        let previous = batch.header.replicated.previous;
        end = link(at, previous, after, replayed.is_empty());
        if end == ChainEnd::End && batch.body.is_none() {
            end = ChainEnd::Bad;
        }
        if end != ChainEnd::End {
            broken = Some(*batch);
            break;
        }
        (at, place) = (Some(batch.header.identity), batch.header.place());
        replayed.push(batch);
        next += 1;
    }
    if let (ChainEnd::Fork, Some(other)) = (end, broken) {
        // Two whole batches claim the same zxids: neither is known to be the right one.
        let undisputed = replayed.partition_point(|b| b.header.identity.zxid <= other.header.replicated.previous.zxid);
        if undisputed < replayed.len() {
            replayed.truncate(undisputed);
            at = replayed.last().map_or(from, |b| Some(b.header.identity));
            place = replayed.last().map(|b| b.header).or(before).map_or(Place::NONE, |h| h.place());
        }
    }
    let beyond = live.iter().skip(next).any(|b| b.body.is_some());
    let stands = stands(at, place, meta, after);
    Chain { live, replayed, end, broken, stands, beyond }
}

/// Whether a batch that names `previous` continues at `at`. The first one beyond a snapshot that names no batch may begin before it.
fn link(at: Option<Identity>, previous: Identity, after: Identity, is_first: bool) -> ChainEnd {
    match at {
        Some(at) if at == previous => ChainEnd::End,
        Some(_) if mutant!("log_skips_chain_check") => ChainEnd::End,
        Some(at) if previous.zxid == at.zxid && at.checksum != 0 && previous.checksum != 0 => ChainEnd::Fork,
        // The batch before the snapshot's end is gone, or the history went on from the snapshot itself.
        _ if is_first && after.checksum == 0 && previous.zxid <= after.zxid => ChainEnd::End,
        Some(at) if previous.zxid < at.zxid => ChainEnd::Fork,
        _ if mutant!("log_ignores_hole") => ChainEnd::End,
        _ => ChainEnd::Missing,
    }
}

/// The end of the log and what the next batch follows.
fn stands(at: Option<Identity>, place: Place, meta: &Meta, after: Identity) -> End {
    let after = after.zxid;
    let named = std::iter::once(meta.start).chain(meta.ended.iter().map(|s| s.end));
    let log = at.unwrap_or_default();
    let tail = if log.zxid >= after {
        log
    } else {
        named.filter(|i| i.zxid == after).max_by_key(|i| i.checksum != 0).unwrap_or(Identity { zxid: after, checksum: 0 })
    };
    End { log: if log.zxid < after { tail } else { log }, tail, place }
}

/// The furthest position that anything says was durable here.
pub(super) fn evidence(live: &[&Found<'_>], meta: &Meta, mark: Option<Mark>) -> Evidence {
    let mut best = Evidence { zxid: meta.start.zxid, source: format!("the start of generation {}", meta.generation) };
    let mut offer = |zxid: Zxid, source: &dyn Fn() -> String| {
        if zxid > best.zxid {
            best = Evidence { zxid, source: source() };
        }
    };
    for batch in live {
        let source = || format!("the header of the batch {} to {}", batch.header.replicated.first, batch.header.replicated.last);
        offer(batch.header.local.durable_cut, &source);
    }
    if let Some(mark) = mark {
        // A mark of an ended generation counts as far as that generation does.
        let limit = match meta.span(mark.generation) {
            _ if mark.generation == meta.generation => Zxid(u64::MAX),
            Some(span) => span.end.zxid,
            None => meta.start.zxid,
        };
        offer(mark.durable.zxid.min(limit), &|| "the durable mark".to_owned());
    }
    best
}

fn facts(
    copies: &MetaCopies,
    sectors: &MarkSectors,
    scan: &Scan<'_>,
    chain: &Chain<'_, '_>,
    evidence: &Evidence,
    base: &Base,
    cluster: Option<ClusterId>,
) -> Facts {
    let after = base.at.zxid;
    let fact = |is_empty: bool, is_present: bool| match (is_empty, is_present) {
        (true, _) => Fact::Absent,
        (_, true) => Fact::Good,
        _ => Fact::Lost,
    };
    let mark = present(&sectors.mark);
    let mut facts = Facts {
        meta: fact(copies.meta == Stored::Empty, present(&copies.meta).is_some()),
        mark: fact(sectors.mark == Stored::Empty, mark.is_some()),
        foreign: scan.findings.iter().any(|f| f.kind == FindingKind::Foreign),
        segments: !scan.segments.is_empty(),
        // What lies in a directory that can't be listed may be all there is.
        history: scan.unlisted || !scan.batches.is_empty() || after > Zxid::ZERO || mark.is_some_and(|m| m.durable.zxid > Zxid::ZERO),
        end: chain.end,
        chain: !chain.replayed.is_empty() || after == Zxid::ZERO && chain.broken.is_none(),
        behind_snapshot: chain.live.last().is_none_or(|b| b.header.replicated.last < after) && after > Zxid::ZERO,
        beyond: chain.beyond,
        lost: scan.unlisted || evidence.zxid > chain.stands.tail.zxid && !mutant!("log_cuts_at_corruption"),
    };
    if let Some(meta) = present(&copies.meta) {
        let newest = scan.batches.iter().map(|b| b.header.local.generation).chain(mark.map(|m| m.generation)).max();
        if newest.is_some_and(|g| g > meta.generation) {
            facts.meta = Fact::Lost;
        }
    }
    // Before the identity was known nothing could be durable, but what a snapshot holds.
    let unnamed = |m: &Mark| m.cluster == NO_CLUSTER && m.durable.zxid <= after && scan.batches.is_empty();
    let former = |m: &Mark| m.durable == Identity::default() && is_nothing(scan, present(&copies.meta), base);
    facts.foreign |= mark.is_some_and(|m| cluster.is_some_and(|c| c != m.cluster) && !unnamed(m) && !former(m));
    let newer = |damage: Option<&Damage>| damage.is_some_and(|d| is_newer_format(&d.what));
    facts.foreign |= newer(unreadable(&copies.meta)) || newer(unreadable(&sectors.mark)) || newer(copies.worn.as_ref());
    facts
}

fn note_copies(copies: &MetaCopies, sectors: &MarkSectors, findings: &mut Vec<Finding>) {
    let worn = copies.worn.iter().chain(&sectors.torn);
    findings.extend(worn.map(|place| Finding { kind: FindingKind::WornCopy, place: place.clone() }));
}

/// For each segment, the first and the last zxid in it that count.
pub(super) fn live_ends(scan: &Scan<'_>, chain: &Chain<'_, '_>) -> Vec<(Zxid, Zxid)> {
    let mut ends = vec![(Zxid::ZERO, Zxid::ZERO); scan.segments.len()];
    for batch in chain.live.iter().filter(|b| b.header.replicated.last <= chain.stands.tail.zxid) {
        let (first, last) = &mut ends[batch.segment];
        if *last == Zxid::ZERO {
            *first = batch.header.replicated.first;
        }
        *last = batch.header.replicated.last;
    }
    ends
}

fn damages(
    case: Case,
    copies: &MetaCopies,
    sectors: &MarkSectors,
    scan: &Scan<'_>,
    chain: &Chain<'_, '_>,
    evidence: &Evidence,
    strange: Option<Damage>,
) -> Vec<Damage> {
    let at = |path: String, what: String| Damage { path, offset: 0, what };
    let stands = chain.stands.tail.zxid;
    let proof = format!("{} shows that this server was durable through {}", evidence.source, evidence.zxid);
    let mut all = Vec::new();
    match case {
        Case::MetadataLost => {
            all.push(match &copies.meta {
                Stored::Unreadable(damage) => damage.clone(),
                Stored::Empty if scan.batches.is_empty() && scan.unlisted => {
                    at(meta_path(0).name, "the epoch metadata is missing, and not every directory of the log can be listed".to_owned())
                }
                Stored::Empty => at(meta_path(0).name, "the epoch metadata is missing, but there is a history".to_owned()),
                Stored::Present(_) => at(meta_path(0).name, "the epoch metadata is older than the log".to_owned()),
            });
            let unreadable = scan.findings.iter().filter(|f| f.kind == FindingKind::Unreadable);
            all.extend(unreadable.map(|f| f.place.clone()));
        }
        Case::MarkLost => all.push(match &sectors.mark {
            Stored::Unreadable(damage) => damage.clone(),
            _ => at(mark_path().name, "the durable mark is missing".to_owned()),
        }),
        Case::Foreign => {
            all.extend(strange);
            all.extend(scan.findings.iter().filter(|f| f.kind == FindingKind::Foreign).map(|f| f.place.clone()));
            all.extend([unreadable(&copies.meta), unreadable(&sectors.mark), copies.worn.as_ref()].into_iter().flatten().cloned());
            if all.is_empty() {
                all.push(at(mark_path().name, "it belongs to another cluster than the rest of the log".to_owned()));
            }
        }
        Case::Corrupt => all.extend(chain.broken.map(|b| scan.damage(b, format!("the batch after {stands} isn't whole; {proof}")))),
        Case::Fork => {
            all.extend(chain.broken.map(|b| scan.damage(b, format!("this batch doesn't follow the one through {stands}; {proof}"))))
        }
        Case::Missing | Case::Gap => {
            let suspects = scan.findings.iter().filter(|f| is_suspect(f.kind));
            all.extend(suspects.map(|f| f.place.clone()));
            if evidence.zxid <= stands {
                return all;
            }
            let near = chain.broken.map_or_else(|| at(mark_path().name, String::new()), |b| scan.damage(b, ""));
            all.push(Damage { what: format!("the batch after {stands} isn't in the log; {proof}"), ..near });
        }
        _ => {}
    }
    all
}

/// Whether a finding may be what is left of a missing batch.
pub(super) fn is_suspect(kind: FindingKind) -> bool {
    match kind {
        FindingKind::Unreadable
        | FindingKind::WornSegmentHeader
        | FindingKind::ShortSegment
        | FindingKind::WornHeader
        | FindingKind::WornBody => true,
        FindingKind::Foreign | FindingKind::Stale | FindingKind::Dead | FindingKind::UnknownName | FindingKind::WornCopy => false,
    }
}
