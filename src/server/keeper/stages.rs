//! Where a write spends its time: a histogram for each stage on its way, always on.
//!
//! Guarantees: no allocation for a request or a batch; a handful of additions for everything that one turn took in. What is shown is of the last
//! half minute to minute, so that it says how things are and not how they were at noon. Times are those of turns: what begins and ends
//! within one turn takes 0 there and counts in the stage `reply`, which the host measures around the whole turn.
//! Leaves to others: rendering (`server::words::latency`), when what is durable (the log, `zab`).

use super::Keeper;
use crate::base::ids::Zxid;
use crate::base::memory::BatchMemory;
use crate::base::time::{MonoMs, Now};
use crate::server::words::latency::{STAGES, Stage, StageFigures};
use crate::server::words::mntr::{Percentiles, Summary};
use hdrhistogram::Histogram;
use std::collections::VecDeque;

/// Each window is shown with the one before it.
const WINDOW_MS: u64 = 30_000;
/// Longest time that is told apart from longer ones.
const NS_MAX: u64 = 600_000_000_000;
/// Two digits: 1 % is nearer than any machine repeats itself.
const DIGITS: u8 = 2;
/// Groups on their way. Of more than that, the youngest are taken together.
const GROUPS_MAX: usize = 1024;

/// What one turn took in.
#[derive(Clone, Copy, Debug)]
struct Group {
    through: Zxid,
    prepared_ns: u64,
    submitted_ns: u64,
    durable_ns: u64,
}

/// Requests of the same age, not yet booked: a burst brings many.
#[derive(Clone, Copy, Debug, Default)]
struct Alike {
    ns: u64,
    count: u64,
}

/// One stage.
#[derive(Debug)]
struct Timings {
    current: Histogram<u64>,
    before: Histogram<u64>,
    /// Since the start, in µs.
    total: Summary,
    alike: Alike,
}

impl Timings {
    fn new() -> Timings {
        let empty = Histogram::new_with_bounds(1, NS_MAX, DIGITS).expect("constant bounds that fit each other");
        Timings { current: empty.clone(), before: empty, total: Summary::default(), alike: Alike::default() }
    }

    fn record(&mut self, ns: u64) {
        if self.alike.count > 0 && self.alike.ns != ns {
            self.book();
        }
        self.alike = Alike { ns, count: self.alike.count + 1 };
    }

    fn book(&mut self) {
        let Alike { ns, count } = std::mem::take(&mut self.alike);
        if count > 0 {
            self.current.saturating_record_n(ns, count);
            self.total.record_n(ns / 1000, count);
        }
    }

    fn rotate(&mut self) {
        self.book();
        std::mem::swap(&mut self.current, &mut self.before);
        self.current.reset();
    }

    fn recent(&self) -> Histogram<u64> {
        let mut all = self.before.clone();
        all.add(&self.current).expect("both have the same bounds");
        all.saturating_record_n(self.alike.ns, self.alike.count);
        all
    }
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Stages {
    timings: [Timings; STAGES],
    /// In the order of the history; of these the first so many are submitted, durable, committed.
    groups: VecDeque<Group>,
    submitted: usize,
    durable: usize,
    committed: usize,
    /// The last zxid that a group holds.
    through: Zxid,
    /// How long the writes that this turn commits waited: for the disk's turn, the disk, the quorum; the longest of each.
    waits_ns: [u64; 3],
    /// When the turn began that answered last, until the host says when it had sent.
    answering_since_ns: Option<u64>,
    window_began: MonoMs,
    before_began: MonoMs,
}

impl Stages {
    pub(super) fn new(at: Zxid, now: Now) -> Stages {
        Stages {
            timings: std::array::from_fn(|_| Timings::new()),
            groups: VecDeque::with_capacity(GROUPS_MAX),
            submitted: 0,
            durable: 0,
            committed: 0,
            through: at,
            waits_ns: [0; 3],
            answering_since_ns: None,
            window_began: now.mono,
            before_began: now.mono,
        }
    }

    /// A single time.
    pub(super) fn record(&mut self, stage: Stage, ns: u64) {
        self.timings[stage as usize].record(ns);
    }

    /// The role changed: what was on its way goes other ways.
    pub(super) fn begin_at(&mut self, at: Zxid) {
        self.groups.clear();
        (self.submitted, self.durable, self.committed) = (0, 0, 0);
        self.through = at;
    }

    /// Everything through `at` was taken in, some of it in this turn.
    fn taken_in(&mut self, at: Zxid, now_ns: u64) {
        if at <= self.through {
            return;
        }
        self.through = at;
        if self.groups.len() < GROUPS_MAX {
            self.groups.push_back(Group { through: at, prepared_ns: now_ns, submitted_ns: 0, durable_ns: 0 });
        } else if self.submitted < GROUPS_MAX
            && let Some(youngest) = self.groups.back_mut()
        {
            youngest.through = at;
        }
    }

    fn submitted(&mut self, at: Zxid, now_ns: u64) {
        while let Some(group) = self.groups.get_mut(self.submitted).filter(|g| g.through <= at) {
            group.submitted_ns = now_ns;
            self.submitted += 1;
            self.timings[Stage::Submit as usize].record(now_ns.saturating_sub(group.prepared_ns));
        }
    }

    /// What is on the disk here, and what on the disks of a quorum. A group leaves when it is both.
    fn progressed(&mut self, durable: Zxid, committed: Zxid, now_ns: u64) {
        while let Some(group) = self.groups.get_mut(self.durable).filter(|g| g.through <= durable && self.durable < self.submitted) {
            group.durable_ns = now_ns;
            self.durable += 1;
            self.timings[Stage::Sync as usize].record(now_ns.saturating_sub(group.submitted_ns));
        }
        while let Some(group) = self.groups.get(self.committed).filter(|g| g.through <= committed && self.committed < self.submitted) {
            // Committed by the others before it is durable here, it waited for nobody.
            let waited = if self.committed < self.durable { now_ns.saturating_sub(group.durable_ns) } else { 0 };
            self.committed += 1;
            self.timings[Stage::Quorum as usize].record(waited);
        }
        let done = self.durable.min(self.committed);
        if done > 0 {
            self.answering_since_ns = Some(now_ns);
            self.waits_ns = [0; 3];
            for group in self.groups.drain(..done) {
                let ends_ns = [group.submitted_ns, group.durable_ns, now_ns];
                let begins_ns = [group.prepared_ns, group.submitted_ns, group.durable_ns];
                for (wait, (begin, end)) in self.waits_ns.iter_mut().zip(begins_ns.into_iter().zip(ends_ns)) {
                    *wait = (*wait).max(end.saturating_sub(begin));
                }
            }
            self.submitted -= done;
            self.durable -= done;
            self.committed -= done;
        }
    }

    /// Where a write spent its time that is applied in this turn and took `took_ms`, for people.
    pub(super) fn waits(&self, took_ms: u64) -> String {
        let [submit, sync, quorum] = self.waits_ns.map(|ns| ns / 1_000_000);
        let before = took_ms.saturating_sub(submit + sync + quorum);
        format!(
            "{before} ms until it was in a batch here, {submit} until that went to the disk, {sync} until it was durable, {quorum} until a quorum had it"
        )
    }

    fn on_tick(&mut self, now: MonoMs) {
        if now.since(self.window_began) >= WINDOW_MS {
            self.timings.iter_mut().for_each(Timings::rotate);
            self.before_began = self.window_began;
            self.window_began = now;
        }
    }

    /// What is shown of each stage, and for how many ms up to now it counts.
    pub(super) fn figures(&self, now: MonoMs) -> (u64, Vec<StageFigures>) {
        let us = |ns: u64| ns / 1000;
        let of = |(stage, timings): (Stage, &Timings)| {
            let recent = timings.recent();
            StageFigures {
                stage,
                count: recent.len(),
                p50_us: us(recent.value_at_quantile(0.5)),
                p99_us: us(recent.value_at_quantile(0.99)),
                p999_us: us(recent.value_at_quantile(0.999)),
                max_us: if recent.is_empty() { 0 } else { us(recent.max()) },
            }
        };
        (now.since(self.before_began), Stage::ALL.into_iter().zip(&self.timings).map(of).collect())
    }

    /// A stage as ZooKeeper counts: a summary since the start, ranks of what was lately, in ms. `None` before the first.
    pub(super) fn percentiles(&self, stage: Stage) -> Option<Percentiles> {
        let timings = &self.timings[stage as usize];
        let recent = timings.recent();
        let rank = |q| recent.value_at_quantile(q) / 1_000_000;
        let total = timings.total.with(&Summary::of_n(timings.alike.ns / 1000, timings.alike.count));
        let summary = Summary::of(total.min() / 1000, total.max() / 1000, total.count(), total.sum() / 1000)?;
        Some(Percentiles { summary, p50: rank(0.5), p95: rank(0.95), p99: rank(0.99), p999: rank(0.999) })
    }
}

impl<M: BatchMemory> Keeper<M> {
    /// What became durable or committed since the last turn.
    pub(super) fn stages_progress(&mut self, committed: Zxid, now: Now) {
        self.stages.progressed(self.log.durable_zxid(), committed, now.mono_ns);
    }

    /// What this turn took in and handed to the disk.
    pub(super) fn stages_take_in(&mut self, now: Now) {
        let progress = self.log.progress();
        self.stages.taken_in(Zxid(progress.accepted()), now.mono_ns);
        self.stages.submitted(Zxid(progress.submitted()), now.mono_ns);
    }

    pub(super) fn stages_tick(&mut self, now: Now) {
        self.stages.on_tick(now.mono);
    }

    /// Whether the host is to say when the answers of this turn were handed to the sockets.
    #[must_use]
    pub fn wants_to_know_when_sent(&self) -> bool {
        self.stages.answering_since_ns.is_some()
    }

    /// The answers of the last turn have been handed to the sockets (or to the fronts on other cores).
    pub fn on_sent(&mut self, now: Now) {
        if let Some(since_ns) = self.stages.answering_since_ns.take() {
            self.stages.record(Stage::Reply, now.mono_ns.saturating_sub(since_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(us: u64) -> Now {
        Now { mono: MonoMs(us / 1000), mono_ns: us * 1000, wall_ms: 0 }
    }

    fn shown(stages: &Stages, at_us: u64) -> Vec<(u64, u64)> {
        stages.figures(now(at_us).mono).1.iter().map(|f| (f.count, f.max_us)).collect()
    }

    fn near(found: u64, expected: u64) -> bool {
        found.abs_diff(expected) * 100 <= expected
    }

    #[test]
    fn a_group_is_followed_through_every_stage() {
        let mut s = Stages::new(Zxid(10), now(0));
        s.taken_in(Zxid(12), 100_000);
        s.taken_in(Zxid(12), 150_000);
        s.submitted(Zxid(11), 200_000);
        assert_eq!(shown(&s, 200)[Stage::Submit as usize].0, 0, "half of it is not it");
        s.submitted(Zxid(12), 300_000);
        s.progressed(Zxid(12), Zxid(10), 700_000);
        assert_eq!(s.answering_since_ns, None);
        s.progressed(Zxid(12), Zxid(12), 1_000_000);
        assert_eq!((s.answering_since_ns, s.groups.len()), (Some(1_000_000), 0));
        assert_eq!(s.waits_ns, [200_000, 400_000, 300_000]);
        let figures = shown(&s, 1000);
        for (stage, us) in [(Stage::Submit, 200), (Stage::Sync, 400), (Stage::Quorum, 300)] {
            let (count, max_us) = figures[stage as usize];
            assert!(count == 1 && near(max_us, us), "{stage:?}: {count} of {max_us}");
        }
    }

    #[test]
    fn what_the_others_commit_first_waits_for_nobody() {
        let mut s = Stages::new(Zxid(0), now(0));
        s.taken_in(Zxid(1), 100_000);
        s.progressed(Zxid(0), Zxid(1), 150_000);
        assert_eq!(s.committed, 0, "nothing counts before it is handed to the disk");
        s.submitted(Zxid(1), 200_000);
        s.progressed(Zxid(0), Zxid(1), 300_000);
        assert_eq!((shown(&s, 300)[Stage::Quorum as usize], s.groups.len()), ((1, 0), 1));
        s.progressed(Zxid(1), Zxid(1), 900_000);
        assert!(near(shown(&s, 900)[Stage::Sync as usize].1, 700) && s.groups.is_empty());
    }

    #[test]
    fn groups_are_bounded_while_the_disk_stands_still_and_forgotten_with_the_role() {
        let mut s = Stages::new(Zxid(0), now(0));
        (1..=5000).for_each(|n| s.taken_in(Zxid(n), n * 1000));
        assert_eq!((s.groups.len(), s.groups.back().unwrap().through), (GROUPS_MAX, Zxid(5000)));
        s.submitted(Zxid(5000), 6_000_000);
        s.taken_in(Zxid(5001), 6_000_000);
        assert_eq!(s.groups.len(), GROUPS_MAX);
        s.progressed(Zxid(5000), Zxid(5000), 9_000_000);
        assert!(s.groups.is_empty() && s.submitted == 0);
        s.taken_in(Zxid(6000), 9_000_000);
        s.begin_at(Zxid(20));
        s.taken_in(Zxid(21), 9_500_000);
        assert_eq!(s.groups.len(), 1);
    }

    #[test]
    fn only_the_last_two_windows_are_shown_and_the_sum_goes_on() {
        let mut s = Stages::new(Zxid(0), now(0));
        (0..1000).for_each(|_| s.record(Stage::Write, 2_000_000));
        s.record(Stage::Write, 70_000_000);
        assert_eq!(shown(&s, 0)[Stage::Write as usize].0, 1001, "the last one isn't booked yet and is shown");
        s.on_tick(MonoMs(WINDOW_MS - 1));
        s.on_tick(MonoMs(WINDOW_MS));
        s.record(Stage::Write, 1_000_000);
        let (ms, figures) = s.figures(MonoMs(WINDOW_MS + 5000));
        let write = figures[Stage::Write as usize];
        assert_eq!((ms, write.count), (WINDOW_MS + 5000, 1002));
        assert!(near(write.p50_us, 2000) && near(write.max_us, 70_000), "{write:?}");
        s.on_tick(MonoMs(2 * WINDOW_MS));
        s.on_tick(MonoMs(3 * WINDOW_MS));
        assert_eq!(s.figures(MonoMs(3 * WINDOW_MS)).1[Stage::Write as usize].count, 0);
        let all = s.percentiles(Stage::Write).unwrap();
        assert_eq!((all.summary.count(), all.summary.max(), all.p50), (1002, 70, 0));
        assert_eq!(s.percentiles(Stage::Read), None);
    }
}
