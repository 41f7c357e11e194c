//! What the log does beside appending: the durable mark, and letting old segments go.
//!
//! Guarantees: the mark on disk is never ahead of the durable position; a segment goes only when a verified snapshot and the mark on
//! disk cover it; files of such kept for reuse are bounded, and thinned out. Leaves to others: when a snapshot counts as verified (the keeper).

use crate::base::ids::{ShardId, Zxid};
use crate::base::memory::BatchMemory;
use crate::base::time::MonoMs;
use crate::log::effect::DiskEffect;
use crate::log::segment::shard_dir;
use crate::log::shard::ShardSegments;
use crate::log::writer::{Log, Pending};
use crate::model::file::{FileOp, FilePath, Script};
use crate::mutant;

/// How often a full device is tried again: each try may fill what is left of it, and takes its time from everything else on it.
const RETRY_MS: u64 = 1000;

impl<M: BatchMemory> Log<M> {
    /// Time passes: the durable mark is written when it is due, full devices are tried again, old segments go.
    pub fn on_tick(&mut self, now: MonoMs, out: &mut Vec<DiskEffect<M>>) {
        let rests = self.durable.zxid == self.durable_at_tick;
        self.durable_at_tick = self.durable.zxid;
        if rests || now.since(self.mark_at) >= self.options.mark_interval_ms {
            self.mark_at = now;
            self.write_mark(out);
        }
        if now.since(self.retried_at) >= RETRY_MS {
            self.retried_at = now;
            self.shards.iter_mut().for_each(ShardSegments::retry);
            self.ask_again(out);
            self.thin_out(out);
        }
        self.drop_old(out);
        self.pump(false, out);
    }

    /// Writes the durable mark if it is behind and none is under way; also for a clean stop, once everything is durable.
    pub fn write_mark(&mut self, out: &mut Vec<DiskEffect<M>>) {
        let durable = if mutant!("log_mark_ahead") { self.tail } else { self.durable };
        let under_way = self.pending.iter().any(|(_, what)| matches!(what, Pending::Mark { .. }));
        if self.has_fault() || self.is_cutting() || under_way || self.mark.durable == durable {
            return;
        }
        let mark = self.mark.next(self.meta.generation, durable);
        self.stats.marks += 1;
        let ticket = self.ticket(Pending::Mark { mark });
        out.push(DiskEffect::Script { shard: None, script: mark.update_script(), ticket });
    }

    /// How far the durable mark on disk says this server is durable.
    #[must_use]
    pub fn marked_zxid(&self) -> Zxid {
        self.mark.durable.zxid
    }

    /// Everything through `zxid` is in a snapshot that was read back and verified, and in every newer one: segments that hold nothing
    /// else are made into spares or removed.
    pub fn retain_from(&mut self, zxid: Zxid, out: &mut Vec<DiskEffect<M>>) {
        self.retain = self.retain.max(zxid);
        self.drop_old(out);
    }

    /// Zxid below which segments may be gone.
    #[must_use]
    pub fn retained_from(&self) -> Zxid {
        self.retain
    }

    /// A segment goes only below the mark on disk too, so that the evidence of how far this server was durable outlives it.
    pub(super) fn drop_old(&mut self, out: &mut Vec<DiskEffect<M>>) {
        let upto = self.retain.min(self.marked_zxid());
        if upto == Zxid::ZERO || self.has_fault() || self.is_cutting() || self.is_read() {
            return;
        }
        // One that is being read is kept until a later tick.
        let (gone, kept) = std::mem::take(&mut self.old).into_iter().partition(|s| s.last <= upto);
        self.old = kept;
        let gone: Vec<_> = gone;
        let capacity = self.options.segment_bytes;
        for segment in gone {
            self.floor = self.floor.max(segment.last);
            let shard = segment.shard;
            if self.shards.get_mut(shard.idx()).is_some_and(|s| s.keep_free(&segment, capacity)) {
                continue;
            }
            self.remove(shard, segment.path, out);
        }
    }

    /// Lets go of files that no shard will soon need, one of each shard at a time: what the log was long for may come again.
    fn thin_out(&mut self, out: &mut Vec<DiskEffect<M>>) {
        if self.has_fault() || self.is_cutting() {
            return;
        }
        let surplus = |shard: &mut ShardSegments| {
            let in_log = self.old.iter().filter(|segment| segment.shard == shard.id).count();
            Some((shard.id, shard.thin_out(in_log)?))
        };
        let surplus: Vec<_> = self.shards.iter_mut().filter_map(surplus).collect();
        surplus.into_iter().for_each(|(shard, path)| self.remove(shard, path, out));
    }

    fn remove(&mut self, shard: ShardId, path: FilePath, out: &mut Vec<DiskEffect<M>>) {
        let ops = vec![FileOp::Remove(path), FileOp::SyncDir(shard_dir(shard))];
        let ticket = self.ticket(Pending::Remove { count: 1 });
        out.push(DiskEffect::Script { shard: Some(shard), script: Script { ops }, ticket });
    }
}
