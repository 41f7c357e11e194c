//! Which old segments may go: those that a verified snapshot covers and the durable mark has passed.

use crate::base::ids::Zxid;
use crate::base::memory::BatchMemory;
use crate::log::effect::DiskEffect;
use crate::log::segment::shard_dir;
use crate::log::writer::Log;
use crate::model::file::{FileOp, Script};

impl<M: BatchMemory> Log<M> {
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
        if upto == Zxid::ZERO || self.has_fault() {
            return;
        }
        let (gone, kept) = std::mem::take(&mut self.old).into_iter().partition(|s| s.last <= upto);
        self.old = kept;
        let gone: Vec<_> = gone;
        let capacity = self.options.segment_bytes;
        for segment in gone {
            let shard = segment.shard;
            if self.shards.get_mut(shard.idx()).is_some_and(|s| s.keep_free(&segment, capacity)) {
                continue;
            }
            let ops = vec![FileOp::Remove(segment.path), FileOp::SyncDir(shard_dir(shard))];
            self.remove(Script { ops }, 1, shard, out);
        }
    }
}
