//! What happens by the clock: sessions expire, containers and TTL nodes are reaped, the log writes its mark, faults show.

use super::ensemble::Duty;
use super::{Cx, Keeper};
use crate::base::fatal::{Fatal, FatalError};
use crate::base::ids::SessionId;
use crate::base::memory::BatchMemory;
use crate::base::time::MonoMs;
use crate::log::DiskDone;
use crate::mutant;
use crate::server::note::Level;
use crate::zab::Input;

impl<M: BatchMemory> Keeper<M> {
    /// Time passed. Called every few tens of milliseconds.
    pub fn on_tick(&mut self, cx: &mut Cx<'_, M>) {
        self.log.on_tick(cx.now.mono, &mut cx.fx.disk);
        self.note_fullness(cx);
        self.stages_tick(cx.now);
        self.end_holds(cx);
        self.zab_step(cx, Input::Tick);
        self.report_touched(cx);
        self.expire_local(cx);
        if mutant!("ensemble-follower-expires") && self.duty() == Duty::Forward {
            self.expire_sessions(cx);
        }
        if !self.stopping && self.duty() == Duty::Decide {
            self.expire_sessions(cx);
            if cx.now.mono >= self.next_reap {
                self.next_reap = cx.now.mono.plus(self.options.reap_interval_ms);
                self.reap(cx);
            }
        }
        self.look_for_fault(cx);
    }

    /// A write, a sync or a script of the disk ended.
    pub fn on_disk(&mut self, cx: &mut Cx<'_, M>, mut done: DiskDone) {
        let (ticket, failed) = (done.ticket, done.result.as_ref().err().map(ToString::to_string));
        if self.snapshots.owns(ticket) {
            if !self.on_receiving_disk(cx, ticket, failed.as_deref()) {
                self.on_snapshot_disk(cx, done);
            }
        } else {
            let read = done.read.take();
            let ours = self.log.on_disk(done, &mut cx.fx.disk);
            crate::invariant!(ours, "a disk completion that nobody waits for");
            if self.ensemble.is_some() {
                self.on_read_done(cx, ticket, read);
                self.on_ensemble_disk(cx, ticket, failed.as_deref());
            }
        }
        self.look_for_fault(cx);
    }

    /// Begins an orderly end: nothing more is taken in.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether everything taken in is durable, applied and answered, and the mark says so.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let marked = self.log.marked_zxid() >= self.applied;
        let answered = match self.ensemble {
            None => self.applied == self.proposed,
            Some(_) => self.duty() == Duty::Nothing || self.conns.iter().all(|(_, conn)| conn.queue.is_empty()),
        };
        answered && self.log.is_idle() && (marked || self.log.fault().is_some())
    }

    /// Says once when the disk has no room for the next segment, and once when it has again.
    fn note_fullness(&mut self, cx: &mut Cx<'_, M>) {
        let full = self.log.is_full();
        if full != self.was_full {
            self.was_full = full;
            if full {
                let text = self.full_disk();
                cx.fx.note(Level::Error, text);
            } else {
                cx.fx.note(Level::Info, "the disk has room again: writes are taken");
            }
        }
    }

    fn expire_sessions(&mut self, cx: &mut Cx<'_, M>) {
        let mut expired = Vec::new();
        // Learners report at each half tick whom they heard of: a session may have been heard in time although the word of it isn't here.
        let report_ms = if self.ensemble.is_some() { u64::from(self.options.words.tick_ms()) } else { 0 };
        self.sessions.expire(MonoMs(self.session_now(cx).0.saturating_sub(report_ms)), &mut expired);
        for session in expired {
            // Without a zxid its end is left to the next epoch's leader, which gives every session its whole timeout.
            if self.prep.is_closing(session) || self.log.fault().is_some() || self.has_no_zxid_left() {
                continue;
            }
            self.stats.sessions_expired += 1;
            cx.fx.note(Level::Info, format!("session {session} expired: nothing was heard from it within its timeout"));
            self.close_session(cx, session);
        }
    }

    /// Proposes the end of a session.
    fn close_session(&mut self, cx: &mut Cx<'_, M>, session: SessionId) {
        let next = self.next_zxid();
        self.ops.clear();
        self.prep.judge_close(&self.tree, session, next, &mut self.ops);
        self.propose(cx, session, 0);
    }

    /// Deletes containers that had children and have none, and TTL nodes whose time is over (T46).
    fn reap(&mut self, cx: &mut Cx<'_, M>) {
        let share = self.options.reap_per_minute_max as u64 * self.options.reap_interval_ms.min(60_000) / 60_000;
        let mut candidates = Vec::new();
        self.tree.reap_candidates(cx.now.mono, usize::try_from(share.max(1)).unwrap_or(usize::MAX), &mut candidates);
        for path in &candidates {
            if self.refuses_writes() || !self.takes_more() {
                return;
            }
            let next = self.next_zxid();
            self.ops.clear();
            if self.prep.judge_reap(&self.tree, path, cx.now.mono, next, &mut self.ops).is_ok() {
                self.propose(cx, SessionId::NONE, 0);
                cx.fx.note(Level::Debug, format!("reaping {}", String::from_utf8_lossy(path)));
            }
        }
    }

    /// The first failed write ends the process: nothing after it is acknowledged.
    pub(super) fn look_for_fault(&mut self, cx: &mut Cx<'_, M>) {
        if let Some(error) = self.log.fault()
            && cx.fx.stop.is_none()
        {
            let text = format!(
                "the log can't be written: {error}. Nothing after the last good write was acknowledged; the server stops. Look at the \
                 device and the filesystem (dmesg), then start again: recovery keeps everything that was acknowledged."
            );
            cx.fx.stop = Some(FatalError::new(Fatal::WriteFailed, text));
        }
    }
}
