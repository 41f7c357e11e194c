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

/// Reaping goes on in steps of so long: no turn is long because of it, and nothing waits for more than a few deletions.
const REAP_STEP_MS: u64 = 100;
/// Nodes that are reaped in one step where any number may be reaped in a minute.
const REAPED_AT_ONCE_MAX: u64 = 1000;

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
            // What found the disk full is asked for again under the same ticket.
            if self.ensemble.is_some() && !self.log.is_under_way(ticket) {
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

    /// Deletes containers that had children and have none, and TTL nodes whose time is over (T46): a step of it. The interval begins
    /// once all that are due are deleted; until then only the number that may go in a minute sets the pace.
    fn reap(&mut self, cx: &mut Cx<'_, M>) {
        let (at_once, apart_ms) = reap_pace(self.options.reap_per_minute_max);
        let mut candidates = Vec::new();
        self.tree.reap_candidates(cx.now.mono, at_once, &mut candidates);
        let (mut is_last, mut reaped) = (candidates.len() < at_once, 0);
        for path in &candidates {
            if self.refuses_writes() || !self.takes_more() {
                is_last = false;
                break;
            }
            let next = self.next_zxid();
            self.ops.clear();
            if self.prep.judge_reap(&self.tree, path, cx.now.mono, next, &mut self.ops).is_ok() {
                self.propose(cx, SessionId::NONE, 0);
                cx.fx.note(Level::Debug, format!("reaping {}", String::from_utf8_lossy(path)));
                reaped += 1;
            }
        }
        let pause_ms = if is_last { self.options.reap_interval_ms.max(reaped * apart_ms) } else { reaped * apart_ms };
        self.next_reap = cx.now.mono.plus(pause_ms);
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

/// How many nodes are reaped in one step, and how many milliseconds each of them puts the next step off.
fn reap_pace(per_minute_max: usize) -> (usize, u64) {
    // ZooKeeper rounds down as well: beyond 60,000 in a minute there is no pause.
    let apart_ms = 60_000 / (per_minute_max as u64).max(1);
    let at_once = REAP_STEP_MS.checked_div(apart_ms).unwrap_or(REAPED_AT_ONCE_MAX).clamp(1, REAPED_AT_ONCE_MAX);
    (at_once as usize, apart_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_of_the_reaper_is_what_may_go_in_a_minute() {
        assert_eq!(reap_pace(10_000), (16, 6));
        assert_eq!(reap_pace(600), (1, 100));
        assert_eq!(reap_pace(1), (1, 60_000), "one, and then a minute of nothing");
        assert_eq!(reap_pace(60_001), (1000, 0));
        assert_eq!(reap_pace(usize::MAX), (1000, 0));
    }
}
