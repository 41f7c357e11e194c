//! The segments of one shard: the one in use, the spare one ahead, the one being made.
//!
//! Guarantees: a batch never crosses a segment; a segment is used only after it was made durably; logical offsets only grow.
//! Leaves to others: what is written (`writer`), when old segments may go (`retain`).

use crate::base::ids::{ClusterId, ShardId, Zxid};
use crate::log::options::LogOptions;
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHead, create_script, recycle_script};
use crate::model::file::{FilePath, Script};

/// A segment in use.
#[derive(Clone, Debug)]
pub(super) struct Active {
    head: SegmentHead,
    used: u64,
    /// First and last zxid in it; zero when it is empty.
    first: Zxid,
    last: Zxid,
}

/// A segment that is no longer written to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClosedSegment {
    /// Stripe.
    pub shard: ShardId,
    /// File.
    pub path: FilePath,
    /// Bytes for batches.
    pub capacity: u64,
    /// First zxid in it, or one before.
    pub first: Zxid,
    /// Last zxid in it, or one behind; [`Zxid::ZERO`] when it holds nothing that counts.
    pub last: Zxid,
    /// Generation of what it holds; 0 when its header is worn.
    pub generation: u64,
}

/// A segment's file that holds nothing of use, to be made into another segment of the same size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FreeSegment {
    /// File.
    pub path: FilePath,
    /// Bytes for batches.
    pub capacity: u64,
}

/// Where an append goes.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) file: FilePath,
    /// Byte in the file.
    pub(super) at: u64,
    /// Logical offset.
    pub(super) offset: u64,
}

/// One shard's segments.
#[derive(Clone, Debug)]
pub(super) struct ShardSegments {
    pub(super) id: ShardId,
    active: Active,
    spare: Option<SegmentHead>,
    making: Option<SegmentHead>,
    /// The newest one that exists, whether it is still of use or was given up: the next one's number and offset follow it.
    newest: SegmentHead,
    /// The last reservation found the device full.
    pub(super) is_full: bool,
    /// It may be tried again.
    may_retry: bool,
    /// Files to be made into spares.
    free: Vec<FreeSegment>,
    /// Bytes that a batch which fits nowhere needs; 0: none.
    wanted: u64,
}

/// Retired files that a shard keeps for the next spares; more than that are removed at once.
pub(super) const FREE_MAX: usize = 8;
/// So many it keeps also when its log is shorter.
const FREE_MIN: usize = 2;

impl ShardSegments {
    /// With `first`, made before serving, as the segment in use, and files to be made into spares.
    pub(super) fn new(first: SegmentHead, free: Vec<FreeSegment>) -> ShardSegments {
        let active = Active { head: first, used: 0, first: Zxid::ZERO, last: Zxid::ZERO };
        ShardSegments {
            id: first.shard,
            active,
            spare: None,
            making: None,
            newest: first,
            is_full: false,
            may_retry: false,
            free,
            wanted: 0,
        }
    }

    /// Whether a batch of `len` bytes can be written now.
    pub(super) fn has_room(&self, len: u64) -> bool {
        self.active.used + len <= self.active.head.capacity || self.spare.is_some_and(|s| len <= s.capacity)
    }

    /// Takes room for a batch from `first` to `last`. Going on to the spare returns the segment that was left.
    ///
    /// # Panics
    /// Without room; see [`ShardSegments::has_room`].
    pub(super) fn take(&mut self, len: u64, first: Zxid, last: Zxid) -> (Spot, Option<ClosedSegment>) {
        let mut left = None;
        if self.active.used + len > self.active.head.capacity {
            let next = self.spare.take().expect("a spare for a batch that found room");
            left = Some(self.active.closed());
            self.active = Active { head: next, used: 0, first: Zxid::ZERO, last: Zxid::ZERO };
        }
        let active = &mut self.active;
        let spot = Spot { file: active.head.path(), at: SEGMENT_HEADER_BYTES + active.used, offset: active.head.base + active.used };
        active.used += len;
        if active.last == Zxid::ZERO {
            active.first = first;
        }
        active.last = last;
        (spot, left)
    }

    /// Notes that a batch of `len` bytes waits for a segment that can hold it.
    pub(super) fn want(&mut self, len: u64) {
        self.wanted = len;
    }

    /// Steps for the next spare, if there is none, or none that is large enough for what waits. A spare that is too small is given up
    /// unused and returned.
    pub(super) fn prepare(&mut self, cluster: ClusterId, generation: u64, options: &LogOptions) -> Option<(Script, Option<ClosedSegment>)> {
        let wanted = std::mem::take(&mut self.wanted);
        if self.making.is_some() || (self.is_full && !self.may_retry) || self.spare.is_some_and(|s| wanted <= s.capacity) {
            return None;
        }
        let given_up = self.spare.take();
        let before = self.newest;
        // One that is there already saves the filling, also if it is larger than what is due.
        let due = options.segment_bytes_after(before.capacity).max(wanted);
        let old = self.free.iter().rposition(|free| free.capacity >= due).map(|at| self.free.remove(at));
        let head = SegmentHead {
            cluster,
            shard: self.id,
            number: before.number + 1,
            generation,
            base: before.end(),
            capacity: old.as_ref().map_or(due, |free| free.capacity),
        };
        self.making = Some(head);
        let script = old.map_or_else(|| create_script(&head), |old| recycle_script(old.path, &head));
        Some((script, given_up.map(|s| unused(&s))))
    }

    /// The segment being made is there.
    pub(super) fn made(&mut self) {
        self.spare = self.making.take();
        self.newest = self.spare.unwrap_or(self.newest);
        self.is_full = false;
    }

    /// The device is full: nothing was made.
    pub(super) fn not_made(&mut self) {
        self.making = None;
        self.is_full = true;
        self.may_retry = false;
    }

    /// A tick passed: a reservation that found the device full may be tried again.
    pub(super) fn retry(&mut self) {
        self.may_retry = true;
    }

    /// The segment in use, as far as it is filled.
    pub(super) fn in_use(&self) -> ClosedSegment {
        self.active.closed()
    }

    /// The first segment of the next generation, and the steps that make it: of the spare, where there is one, so that no room is
    /// needed.
    pub(super) fn successor(&self, cluster: ClusterId, generation: u64, capacity: u64) -> (SegmentHead, Script) {
        let capacity = self.spare.map_or(capacity, |s| s.capacity);
        let head = SegmentHead { cluster, shard: self.id, number: self.newest.number + 1, generation, base: self.newest.end(), capacity };
        let script = self.spare.map_or_else(|| create_script(&head), |spare| recycle_script(spare.path(), &head));
        (head, script)
    }

    /// Goes on with `head`, made by the steps of [`ShardSegments::successor`]. Returns the segment that was in use.
    pub(super) fn renew(&mut self, head: SegmentHead) -> ClosedSegment {
        let left = self.active.closed();
        self.active = Active { head, used: 0, first: Zxid::ZERO, last: Zxid::ZERO };
        (self.spare, self.newest) = (None, head);
        left
    }

    /// Takes a retired file for a later spare, if it has the size that all get in the end; false when there are enough, and the file can
    /// be removed.
    pub(super) fn keep_free(&mut self, segment: &ClosedSegment, usual: u64) -> bool {
        let keeps = segment.capacity == usual && self.free.len() < FREE_MAX;
        if keeps {
            self.free.push(FreeSegment { path: segment.path.clone(), capacity: segment.capacity });
        }
        keeps
    }

    /// One of the files kept for later spares, where there are more than segments in the log, `in_log`. About as many as these are
    /// retired and needed again with each snapshot under load; more only take room, and time at the next start, which reads them.
    pub(super) fn thin_out(&mut self, in_log: usize) -> Option<FilePath> {
        let is_surplus = self.free.len() > in_log.max(FREE_MIN);
        if is_surplus { self.free.pop().map(|free| free.path) } else { None }
    }

    /// Files that were to become spares, which are given up: they name an identity that this server has no more.
    pub(super) fn give_up_free(&mut self) -> impl Iterator<Item = (ShardId, FilePath)> {
        let shard = self.id;
        std::mem::take(&mut self.free).into_iter().map(move |free| (shard, free.path))
    }
}

impl Active {
    fn closed(&self) -> ClosedSegment {
        ClosedSegment { first: self.first, last: self.last, ..unused(&self.head) }
    }
}

fn unused(head: &SegmentHead) -> ClosedSegment {
    let (first, last) = (Zxid::ZERO, Zxid::ZERO);
    ClosedSegment { shard: head.shard, path: head.path(), capacity: head.capacity, first, last, generation: head.generation }
}
