//! Taking snapshots while serving: a scan in small steps between turns, exact at the zxid at which it began, because a change of
//! a node that the scan hasn't reached hands over its old image first.
//! Leaves to others: which of them stay (`retention`).

use super::retention::Holds;
use super::{Cx, Keeper};
use crate::base::ids::{ClusterId, ServerId, Zxid};
use crate::base::memory::BatchMemory;
use crate::base::prng::Prng;
use crate::base::time::MonoMs;
use crate::log::{DiskDone, DiskEffect};
use crate::model::file::{Damage, Script, Ticket};
use crate::model::image::{ImageSink, NodeImage};
use crate::model::position::Identity;
use crate::mutant;
use crate::server::note::Level;
use crate::snapshot::{Head, PieceCheck, Policy, SnapshotWriter, Trigger, file_of};
use std::collections::BTreeMap;

/// Nodes that the scan passes in one turn; a turn is to stay well below a millisecond.
const SCAN_NODES_PER_TURN: usize = 256;
/// Tickets of snapshots have this bit, those of the log don't.
const TICKET_BIT: u64 = 1 << 63;
/// After a failed snapshot the next try waits this long.
const RETRY_MS: u64 = 30_000;
/// Between two snapshots lies at least this much time, however fast transactions come.
const PAUSE_MS: u64 = 1000;

/// However long a disk stood still, a snapshot goes on after this.
const PIECE_PAUSE_MS_MAX: u64 = 1000;
/// A smaller snapshot costs too little to wait for.
const LARGE_BYTES: u64 = 16 << 20;

/// When snapshots are taken and how many stay.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOptions {
    /// By transactions and bytes of log.
    pub policy: Policy,
    /// Snapshots that stay; at least two verified ones always do.
    pub retain: usize,
}

/// One snapshot under way.
struct Running {
    writer: SnapshotWriter,
    at: Identity,
    digest: u64,
    scanned: bool,
    began: MonoMs,
}

/// See the module's description.
pub(super) struct Snapshots {
    options: SnapshotOptions,
    trigger: Trigger,
    due: bool,
    /// Log since the last snapshot was begun, and how much of it there must be before the next: half the size of a large one, so that a
    /// tree that grows fast isn't written over and over.
    logged_bytes: u64,
    logged_bytes_min: u64,
    not_before: MonoMs,
    running: Option<Running>,
    next_ticket: u64,
    /// What is in flight: a piece of the running snapshot, and since when; or a removal of old ones.
    piece: Option<(Ticket, MonoMs)>,
    /// The next piece waits until then: as long as the one before took, a second at most, so that half of the disk's time is others'.
    next_piece_at: MonoMs,
    removals: Vec<Ticket>,
    /// Snapshots on disk, oldest first, and whether each was seen whole.
    pub(super) kept: Vec<(Zxid, bool)>,
    /// What of them, and of the log, is kept for others.
    pub(super) holds: Holds,
    /// The newest of them that was seen whole.
    newest: Option<Identity>,
    /// What is on its way to others, as far as it was checked.
    sending: BTreeMap<ServerId, PieceCheck>,
    figures: SnapshotFigures,
}

/// For `mntr`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotFigures {
    /// Snapshots taken since the start.
    pub taken: u64,
    /// How long the last one took.
    pub last_ms: u64,
    /// How long all of them took.
    pub sum_ms: u64,
}

impl Snapshots {
    pub(super) fn new(options: SnapshotOptions, kept: Vec<(Zxid, bool)>, newest: Option<Identity>, behind: u64, prng: Prng) -> Snapshots {
        let mut trigger = Trigger::new(options.policy, prng);
        // What the log already holds beyond the newest snapshot counts; a long log makes one due at once.
        let due = (0..behind.min(options.policy.snap_count.saturating_mul(2))).fold(false, |due, _| trigger.logged(0) || due);
        Snapshots {
            options,
            trigger,
            due,
            logged_bytes: 0,
            logged_bytes_min: 0,
            not_before: MonoMs::default(),
            running: None,
            next_ticket: TICKET_BIT,
            piece: None,
            next_piece_at: MonoMs::default(),
            removals: Vec::new(),
            kept,
            holds: Holds::default(),
            newest,
            sending: BTreeMap::new(),
            figures: SnapshotFigures::default(),
        }
    }

    pub(super) fn old_image(&mut self, image: NodeImage<'_>) {
        if let Some(running) = &mut self.running
            && !mutant!("snapshot-old-image-dropped")
        {
            running.writer.node(image);
        }
    }

    pub(super) fn on_applied(&mut self, record_bytes: usize) {
        self.logged_bytes += record_bytes as u64;
        self.due |= self.options.policy.snap_count > 0 && self.trigger.logged(record_bytes as u64);
    }

    /// A snapshot of so many bytes was taken.
    fn pace(&mut self, taken_bytes: u64) {
        let limit = match self.options.policy.snap_bytes {
            0 => u64::MAX,
            limit => limit / 2,
        };
        self.logged_bytes_min = if taken_bytes < LARGE_BYTES { 0 } else { (taken_bytes / 2).min(limit) };
    }

    fn is_due(&self) -> bool {
        self.due && self.logged_bytes >= self.logged_bytes_min
    }

    pub(super) fn owns(&self, ticket: Ticket) -> bool {
        ticket.0 & TICKET_BIT != 0
    }

    pub(super) fn wants_turn(&self) -> bool {
        self.running.as_ref().is_some_and(|r| !r.scanned && r.writer.wants_more())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none() && self.removals.is_empty()
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The newest snapshot on disk that was seen whole.
    pub(super) fn newest_verified(&self) -> Option<Identity> {
        self.newest
    }

    /// Checks a piece of the newest one before it leaves for `peer`. Those that don't follow the one before from the beginning on pass unchecked;
    /// the receiver checks them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check_piece(&mut self, peer: ServerId, at: Zxid, offset: u64, bytes: &[u8], cluster: ClusterId) -> Result<(), Damage> {
        let Some(newest) = self.newest.filter(|newest| newest.zxid == at) else { return Ok(()) };
        if offset == 0 {
            self.sending.insert(peer, PieceCheck::new(newest, cluster));
        }
        let follows = |check: &&mut PieceCheck| check.at() == newest && check.offset() == offset && !check.is_whole();
        let Some(check) = self.sending.get_mut(&peer).filter(follows) else { return Ok(()) };
        let path = file_of(at).name;
        let checked = if bytes.is_empty() {
            Err(Damage { path, offset, what: "it ends here, without its trailer".to_owned() })
        } else {
            check.take(bytes)
        };
        if checked.is_err() || check.is_whole() {
            self.sending.remove(&peer);
        }
        checked
    }

    /// The snapshot of `at` is damaged: it counts for nothing any more, and a new one is due. False if that was known.
    pub(super) fn condemn(&mut self, at: Zxid) -> bool {
        let Some((_, verified)) = self.kept.iter_mut().find(|(zxid, verified)| *zxid == at && *verified) else { return false };
        *verified = false;
        self.newest = self.newest.filter(|newest| newest.zxid != at);
        self.want();
        true
    }

    /// How many verified ones stay.
    pub(super) fn retained(&self) -> usize {
        self.options.retain
    }

    /// Makes a snapshot due now.
    pub(super) fn want(&mut self) {
        self.due = true;
        self.logged_bytes_min = 0;
    }

    pub(super) fn figures(&self) -> SnapshotFigures {
        self.figures
    }

    /// Nothing follows from that step when it ends.
    pub(super) fn expect(&mut self, ticket: Ticket) {
        self.removals.push(ticket);
    }

    /// A ticket for a step that isn't the log's.
    pub(super) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }
}

impl<M: BatchMemory> Keeper<M> {
    /// Figures of the snapshots taken since the start.
    #[must_use]
    pub fn snapshot_figures(&self) -> SnapshotFigures {
        self.snapshots.figures()
    }

    /// Begins a snapshot when one is due, goes on with the one under way, and hands the disk its next piece.
    pub(super) fn step_snapshot(&mut self, cx: &mut Cx<'_, M>) {
        let may_begin = self.snapshots.is_due() && self.snapshots.is_idle() && cx.now.mono >= self.snapshots.not_before;
        if may_begin && !self.is_restarting() && !self.stopping && self.log.fault().is_none() && !self.log.is_full() {
            self.begin_snapshot(cx.now.mono);
        }
        let Some(running) = &mut self.snapshots.running else { return };
        if !running.scanned && running.writer.wants_more() {
            running.scanned = self.tree.scan_step(SCAN_NODES_PER_TURN, &mut running.writer);
            if running.scanned {
                running.writer.finish(running.digest);
            }
        }
        if self.snapshots.piece.is_none()
            && (cx.now.mono >= self.snapshots.next_piece_at || running.writer.is_behind())
            && let Some(script) = running.writer.next_script()
        {
            let ticket = self.snapshots.ticket();
            self.snapshots.piece = Some((ticket, cx.now.mono));
            cx.fx.disk.push(DiskEffect::Script { shard: None, script, ticket });
        }
    }

    fn begin_snapshot(&mut self, now: MonoMs) {
        let at = self.log.applied_identity();
        crate::invariant!(at.zxid == self.applied, "{} is applied, the log handed out {at:?}", self.applied);
        let head = Head { zxid: at.zxid, checksum: at.checksum, cluster: self.log.cluster(), generation: self.log.meta().generation };
        self.snapshots.trigger.restart();
        self.snapshots.due = false;
        self.snapshots.logged_bytes = 0;
        self.snapshots.not_before = now.plus(PAUSE_MS);
        if self.snapshots.kept.last().is_some_and(|(zxid, verified)| *zxid >= head.zxid && *verified) {
            return;
        }
        self.tree.begin_scan();
        let writer = SnapshotWriter::begin(head, self.sessions.images(), self.tree.acl_images());
        self.snapshots.running = Some(Running { writer, at, digest: self.tree.digest(), scanned: false, began: now });
    }

    /// A piece was written, or failed; or old snapshots were removed.
    pub(super) fn on_snapshot_disk(&mut self, cx: &mut Cx<'_, M>, done: DiskDone) {
        if let Some(at) = self.snapshots.removals.iter().position(|t| *t == done.ticket) {
            self.snapshots.removals.swap_remove(at);
            return;
        }
        let piece = self.snapshots.piece.take();
        crate::invariant!(piece.is_some_and(|(ticket, _)| ticket == done.ticket), "a snapshot's completion that nobody waits for");
        let took_ms = piece.map_or(0, |(_, began)| cx.now.mono.since(began));
        self.snapshots.next_piece_at = cx.now.mono.plus(took_ms.min(PIECE_PAUSE_MS_MAX));
        let Some(running) = &mut self.snapshots.running else { return };
        match done.result {
            Err(error) => self.give_up_snapshot(cx, &error.to_string()),
            Ok(()) if running.writer.on_done() => self.on_snapshot_taken(cx),
            Ok(()) => {}
        }
    }

    fn give_up_snapshot(&mut self, cx: &mut Cx<'_, M>, why: &str) {
        let Some(running) = self.snapshots.running.take() else { return };
        self.tree.abort_scan();
        self.snapshots.want();
        self.snapshots.not_before = cx.now.mono.plus(RETRY_MS);
        let retry_s = RETRY_MS / 1000;
        cx.fx.note(Level::Warn, format!("a snapshot failed and is tried again in {retry_s} s; the log goes on without it: {why}"));
        self.remove_files(cx, running.writer.abort());
    }

    fn on_snapshot_taken(&mut self, cx: &mut Cx<'_, M>) {
        let Some(running) = self.snapshots.running.take() else { return };
        let took_ms = cx.now.mono.since(running.began);
        let figures = &mut self.snapshots.figures;
        figures.taken += 1;
        figures.last_ms = took_ms;
        figures.sum_ms += took_ms;
        let zxid = running.writer.zxid();
        cx.fx.note(Level::Info, format!("snapshot {zxid} taken in {took_ms} ms"));
        // Its file takes the place of a damaged one of the same name.
        self.snapshots.kept.retain(|(kept, _)| *kept != zxid);
        self.snapshots.kept.push((zxid, true));
        self.snapshots.newest = Some(running.at);
        self.snapshots.pace(running.writer.written_bytes());
        self.prune(cx);
    }

    /// Removes files that nobody needs any more.
    pub(super) fn remove_files(&mut self, cx: &mut Cx<'_, M>, script: Script) {
        let ticket = self.snapshots.ticket();
        self.snapshots.removals.push(ticket);
        cx.fx.disk.push(DiskEffect::Script { shard: None, script, ticket });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::file::FileOp;

    const HEAD: Head = Head { zxid: Zxid(0x1_0000_0007), cluster: ClusterId(9), generation: 3, checksum: 0x0102_0304 };

    fn file() -> Vec<u8> {
        let mut writer = SnapshotWriter::begin(HEAD, std::iter::empty(), std::iter::empty());
        writer.finish(0xabcd);
        let ops = writer.next_script().expect("the whole file").ops;
        ops.into_iter().find_map(|op| if let FileOp::Write { bytes, .. } = op { Some(bytes) } else { None }).expect("a write")
    }

    fn with_two() -> Snapshots {
        let policy = Policy { snap_count: 10, snap_bytes: 0 };
        let kept = vec![(Zxid(5), true), (HEAD.zxid, true)];
        let newest = Some(Identity { zxid: HEAD.zxid, checksum: HEAD.checksum });
        Snapshots::new(SnapshotOptions { policy, retain: 3 }, kept, newest, 0, Prng::from_seed(1))
    }

    #[test]
    fn a_snapshot_that_rotted_is_noticed_before_it_leaves() {
        let (mut snapshots, good) = (with_two(), file());
        let (a, b) = (ServerId(1), ServerId(2));
        let mut send = |peer, bytes: &[u8]| -> Result<(), Damage> {
            let pieces = bytes.chunks(20).enumerate();
            pieces.into_iter().try_for_each(|(n, piece)| snapshots.check_piece(peer, HEAD.zxid, n as u64 * 20, piece, HEAD.cluster))?;
            // Whoever has it whole asks no more.
            snapshots.check_piece(peer, HEAD.zxid, bytes.len() as u64, b"", HEAD.cluster)
        };
        assert_eq!(send(a, &good), Ok(()));
        for at in 0..good.len() {
            let mut rotten = good.clone();
            rotten[at] ^= 4;
            assert!(send(a, &rotten).is_err(), "byte {at}");
            assert_eq!(send(b, &good), Ok(()), "nobody else suffers");
        }
        assert!(send(a, &good[..good.len() - 1]).is_err() && send(a, b"").is_err(), "cut short");
    }

    #[test]
    fn what_does_not_follow_from_the_beginning_passes_unchecked() {
        let mut snapshots = with_two();
        assert_eq!(snapshots.check_piece(ServerId(1), HEAD.zxid, 40, b"from the middle", HEAD.cluster), Ok(()));
        assert_eq!(snapshots.check_piece(ServerId(1), Zxid(5), 0, b"of an older one", HEAD.cluster), Ok(()));
    }

    #[test]
    fn a_condemned_one_is_offered_to_nobody_and_a_new_one_is_due() {
        let mut snapshots = with_two();
        assert!(!snapshots.due && snapshots.newest_verified().is_some());
        assert!(snapshots.condemn(HEAD.zxid));
        assert_eq!((snapshots.due, snapshots.newest_verified(), snapshots.kept[1]), (true, None, (HEAD.zxid, false)));
        assert!(!snapshots.condemn(HEAD.zxid) && !snapshots.condemn(Zxid(99)), "said once");
    }

    #[test]
    fn a_large_snapshot_waits_for_half_as_much_log() {
        let (mut snapshots, record) = (with_two(), 1 << 20);
        let logged = |snapshots: &mut Snapshots, records: u64| (0..records).for_each(|_| snapshots.on_applied(record));
        logged(&mut snapshots, 11);
        assert!(snapshots.is_due());
        snapshots.pace(40 << 20);
        assert!(!snapshots.is_due(), "11 MiB of 20");
        logged(&mut snapshots, 9);
        assert!(snapshots.is_due());
        snapshots.pace(1 << 30);
        assert!(!snapshots.is_due());
        snapshots.want();
        assert!(snapshots.is_due(), "somebody needs one");
        snapshots.pace(LARGE_BYTES - 1);
        assert!(snapshots.is_due(), "a small one waits for nothing");
    }
}
