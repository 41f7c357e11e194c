//! What changes the log as a whole: cuts, a new beginning at a snapshot, epochs, the identity of the history.
//!
//! Guarantees: each is one durable intent, written into the epoch metadata first; whatever comes after it (mark, segments) only carries
//! out what the metadata says already, and a start after a crash does the same. Nothing is appended before it is done. Leaves to others:
//! when to cut and where (`zab`, the keeper).

use crate::base::ids::{ClusterId, Zxid};
use crate::base::memory::BatchMemory;
use crate::base::progress::Progress;
use crate::log::batch::{Identity, Place};
use crate::log::effect::DiskEffect;
use crate::log::mark::Mark;
use crate::log::meta::Meta;
use crate::log::segment::{SegmentHead, shard_dir};
use crate::log::shard::ClosedSegment;
use crate::log::writer::{Log, Pending};
use crate::model::file::{FileOp, Script, Ticket};
use crate::{invariant, mutant};

/// Everything of the epoch metadata that is decided outside of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetaChange {
    /// The identity of the history; only while there is none. `None`: as it is.
    pub cluster: Option<ClusterId>,
    /// Highest epoch promised.
    pub accepted_epoch: u32,
    /// Epoch of the leader whose history this server holds.
    pub current_epoch: u32,
    /// It lacks something that it once made durable.
    pub repairing: bool,
}

/// A new generation that is being begun.
#[derive(Clone, Debug)]
pub(super) struct Intent {
    ticket: Ticket,
    /// The mark and the first segments, once the steps are under way.
    issued: Option<(Mark, Vec<SegmentHead>)>,
    /// The segments left behind never held anything and are of another cluster: they go.
    founding: bool,
}

impl<M: BatchMemory> Log<M> {
    /// Cuts the log at `to`. What lies beyond is dead, on all shards at once, when the returned ticket completes, or at the first step
    /// that survives a crash before that.
    ///
    /// # Panics
    /// Unless the log is at rest, `to` is in it, and nothing beyond was applied.
    pub fn cut(&mut self, to: Identity, out: &mut Vec<DiskEffect<M>>) -> Ticket {
        self.check_rest("cut");
        invariant!(self.knows(to), "a cut at {to:?}, which isn't in the log that ends at {:?}", self.tail);
        invariant!(to.zxid >= self.applied.zxid, "a cut at {to:?}, {:?} is applied", self.applied);
        self.recent.cut(to);
        self.raise(to, to, out)
    }

    /// The history goes on from a snapshot at `at`, installed durably, that lies beyond or beside this log: what isn't applied is dead.
    ///
    /// # Panics
    /// Unless the log is at rest and the snapshot holds everything that was applied.
    pub fn begin_at(&mut self, at: Identity, out: &mut Vec<DiskEffect<M>>) -> Ticket {
        self.check_rest("new beginning");
        let applied = self.applied;
        invariant!(at.zxid > applied.zxid || at == applied, "the log begins at {at:?}, {applied:?} is applied");
        self.recent.restart(at);
        self.applied = at;
        self.floor = at.zxid;
        self.raise(applied, at, out)
    }

    /// Whether a cut or a new beginning is under way.
    #[must_use]
    pub fn is_cutting(&self) -> bool {
        self.intent.is_some()
    }

    /// Replaces what the epoch metadata says; durable when the returned ticket completes. Another cluster begins a new generation too,
    /// in files that name it.
    ///
    /// # Panics
    /// If the accepted epoch falls, or the cluster changes beside a history.
    pub fn set_meta(&mut self, change: MetaChange, out: &mut Vec<DiskEffect<M>>) -> Ticket {
        let was = &self.meta;
        invariant!(change.accepted_epoch >= was.accepted_epoch, "the accepted epoch falls from {} to {change:?}", was.accepted_epoch);
        let cluster = change.cluster.unwrap_or(was.cluster);
        let founding = cluster != was.cluster;
        invariant!(!founding || self.tail == Identity::default(), "{change:?} beside a history of cluster {}", was.cluster);
        self.meta = Meta {
            cluster,
            accepted_epoch: change.accepted_epoch,
            current_epoch: change.current_epoch,
            repairing: change.repairing,
            sequence: was.sequence + 1,
            ..was.clone()
        };
        if founding {
            self.check_rest("new identity");
            self.meta.generation += 1;
            self.meta.ended.clear();
            return self.begin_intent(true, out);
        }
        let script = if mutant!("log_epochs_need_room") { self.meta.store_script() } else { self.meta.update_script() };
        let ticket = self.ticket(Pending::Meta);
        out.push(DiskEffect::Script { shard: None, script, ticket });
        ticket
    }

    fn check_rest(&self, what: &str) {
        invariant!(self.is_idle() && !self.is_cutting(), "a {what} of a log that isn't at rest");
    }

    /// Ends the generation at `end` and begins the next one after `tail`.
    fn raise(&mut self, end: Identity, tail: Identity, out: &mut Vec<DiskEffect<M>>) -> Ticket {
        let known = self.old.iter().map(|s| s.generation).min().unwrap_or(self.meta.generation);
        self.meta = self.meta.raised(end, tail, known.min(self.meta.generation));
        self.closed.retain(|c| c.batch.last() <= end.zxid);
        self.recovered = self.recovered.min(self.closed.len());
        self.to_send.retain(|b| b.last() <= end.zxid);
        (self.tail, self.submitted, self.durable, self.place) = (tail, tail, tail, Place::NONE);
        self.durable_at_tick = tail.zxid;
        self.progress = Progress::starting_at(tail.zxid.0);
        for segment in &mut self.old {
            end_at(segment, end.zxid);
        }
        self.begin_intent(false, out)
    }

    fn begin_intent(&mut self, founding: bool, out: &mut Vec<DiskEffect<M>>) -> Ticket {
        let ticket = self.ticket(Pending::Intent);
        self.intent = Some(Intent { ticket, issued: None, founding });
        self.go_on_with_intent(out);
        ticket
    }

    /// Hands out the steps, once no other script of the log is under way: a spare that is being made has the name that the first segments
    /// need.
    pub(super) fn go_on_with_intent(&mut self, out: &mut Vec<DiskEffect<M>>) {
        let others = self.pending.iter().any(|(_, what)| !matches!(what, Pending::Intent | Pending::Read));
        let Some(Intent { ticket, issued: None, founding }) = self.intent.clone() else { return };
        if others || self.has_fault() || self.refused.contains(&ticket) {
            return;
        }
        let mark = Mark { cluster: self.meta.cluster, ..self.mark.next(self.meta.generation, self.tail) };
        let mut ops = self.meta.update_script().ops;
        ops.extend(mark.overwrite_script().ops);
        let (cluster, generation, capacity) = (self.meta.cluster, self.meta.generation, self.options.first_segment_bytes);
        let count = if mutant!("cut-forgets-a-shard") { 1 } else { self.shards.len() };
        let firsts: Vec<_> = self.shards.iter().take(count).map(|s| s.successor(cluster, generation, capacity)).collect();
        let heads = firsts.iter().map(|(head, _)| *head).collect();
        // What may find no room comes first, and what can't be done twice after it: all of it is tried again then.
        let (made, recycled): (Vec<_>, Vec<_>) =
            firsts.into_iter().partition(|(_, script)| matches!(script.ops[..], [FileOp::Create(_), ..]));
        ops.extend(made.into_iter().chain(recycled).flat_map(|(_, script)| script.ops));
        if founding {
            let left = self.old.iter().cloned().chain(self.shards.iter().map(|s| s.in_use())).map(|s| (s.shard, s.path));
            let mut left: Vec<_> = left.collect();
            left.extend(self.shards.iter_mut().flat_map(|s| s.give_up_free()));
            ops.extend(left.into_iter().flat_map(|(shard, path)| [FileOp::Remove(path), FileOp::SyncDir(shard_dir(shard))]));
        }
        self.intent = Some(Intent { ticket, issued: Some((mark, heads)), founding });
        out.push(DiskEffect::Script { shard: None, script: Script { ops }, ticket });
    }

    /// The disk is full: whatever was asked for by `ticket` is asked for again at a later tick.
    pub(super) fn refuse(&mut self, ticket: Ticket, what: Pending) {
        if let (Some(intent), Pending::Intent) = (&mut self.intent, &what) {
            intent.issued = None;
        }
        self.pending.push((ticket, what));
        self.refused.push(ticket);
    }

    /// Whether what was asked for by `ticket` hasn't ended, or was refused for want of room and is asked for again.
    #[must_use]
    pub fn is_under_way(&self, ticket: Ticket) -> bool {
        self.pending.iter().any(|(pending, _)| *pending == ticket)
    }

    /// Asks again for what found the disk full.
    pub(super) fn ask_again(&mut self, out: &mut Vec<DiskEffect<M>>) {
        if self.has_fault() {
            return;
        }
        for ticket in std::mem::take(&mut self.refused) {
            if self.pending.iter().any(|(pending, what)| *pending == ticket && matches!(what, Pending::Meta)) {
                // It says what was wanted meanwhile too, and nothing is wanted before it may be durable.
                out.push(DiskEffect::Script { shard: None, script: self.meta.update_script(), ticket });
            }
        }
        self.go_on_with_intent(out);
    }

    pub(super) fn intent_done(&mut self) {
        let Some(Intent { issued: Some((mark, heads)), founding, .. }) = self.intent.take() else { return };
        // The steps wrote this mark and its twin.
        self.mark = mark.next(mark.generation, mark.durable);
        let end = self.meta.ended.last().map_or(Zxid::ZERO, |s| s.end.zxid);
        for head in heads {
            let mut left = self.shards[head.shard.idx()].renew(head);
            end_at(&mut left, end);
            self.old.push(left);
        }
        if founding {
            self.old.clear();
        }
    }
}

/// Nothing beyond `end` counts any more.
fn end_at(segment: &mut ClosedSegment, end: Zxid) {
    if segment.first > end {
        (segment.first, segment.last) = (Zxid::ZERO, Zxid::ZERO);
    }
    segment.last = segment.last.min(end);
}
