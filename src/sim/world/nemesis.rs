//! What is done to an ensemble: ends, pauses, partitions, broken connections, slow and wiped disks, one after the other. What disks lose
//! stands in `losses`.

use super::{Event, Stage, World};
use crate::sim::checker::{Checker, NoticedBy};
use crate::sim::node::Server;
use crate::sim::options::Ending;
use crate::sim::role::Role;

/// Kinds of fault, in the order of their weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Crash,
    MidTurn,
    Pause,
    Partition,
    Break,
    Slow,
    Wipe,
    Weaken,
    Full,
}

/// After the last fault, however few requests got through.
const PATIENCE_US: u64 = 15_000_000;

/// Pieces of the network that can't reach each other, as pairs from, to.
type Blocked = Vec<(usize, usize)>;

impl World {
    /// The server that says it leads the highest epoch.
    pub(super) fn leader(&self) -> Option<usize> {
        let leads = |role: Role| if let Role::Leading { epoch, .. } = role { Some(epoch) } else { None };
        self.nodes.iter().filter_map(|n| Some((leads(n.role)?, n.idx))).max().map(|(_, idx)| idx)
    }

    pub(super) fn next_fault(&mut self) {
        if self.faults_left > 0 {
            let gap = self.prng.between(1, 2 * u64::from(self.options.fault_gap_ms)) * 1000;
            self.agenda.after(gap, Event::Fault);
        } else {
            self.agenda.after(PATIENCE_US, Event::Calm);
        }
    }

    /// How long this one lasts.
    pub(super) fn fault_us(&mut self) -> u64 {
        self.prng.between(10, u64::from(self.options.fault_ms).max(11)) * 1000
    }

    /// A leader half of the time, if there is one, else anybody.
    pub(super) fn victim(&mut self) -> usize {
        let leader = self.leader().filter(|_| self.prng.chance(1, 2));
        leader.unwrap_or_else(|| self.prng.index(self.nodes.len()))
    }

    pub(super) fn fault(&mut self) -> Result<(), String> {
        if self.stage != Stage::Work {
            return Ok(());
        }
        self.faults_left -= 1;
        self.nothing_durable_would_be_lost().by(Checker::Durability)?;
        let o = &self.options;
        let weights = [
            (Kind::Crash, o.crashes),
            (Kind::MidTurn, o.mid_turns),
            (Kind::Pause, o.pauses),
            (Kind::Partition, o.partitions),
            (Kind::Break, o.breaks),
            (Kind::Slow, o.slows),
            (Kind::Wipe, o.wipes),
            (Kind::Weaken, o.weakens),
            (Kind::Full, if o.full_ms > 0 { 3 } else { 0 }),
        ];
        let total = weights.iter().map(|(_, w)| u64::from(*w)).sum::<u64>().max(1);
        let mut at = self.prng.below(total);
        let mut kind = Kind::Crash;
        for (candidate, weight) in weights {
            kind = candidate;
            if at < u64::from(weight) {
                break;
            }
            at -= u64::from(weight);
        }
        if self.history.protocol.established() == 0 {
            self.coverage.hit("founding-interrupted");
        }
        match kind {
            Kind::Crash => self.crash()?,
            Kind::MidTurn => {
                let node = self.victim();
                let mail_first = self.prng.chance(1, 2);
                self.nodes[node].down_us = self.fault_us();
                if let Some(life) = self.nodes[node].up_mut() {
                    life.cut_turn = Some(mail_first);
                }
            }
            Kind::Pause => self.pause(),
            Kind::Partition => self.partition(),
            Kind::Break => self.break_links(),
            Kind::Slow => self.slow_down(),
            Kind::Wipe => self.wipe()?,
            Kind::Weaken => self.weaken()?,
            Kind::Full => self.fill_up(),
        }
        self.next_fault();
        Ok(())
    }

    /// Any subset ends, at once or between two steps of its disk, and comes back after different times.
    fn crash(&mut self) -> Result<(), String> {
        let count = self.nodes.len();
        let first = self.victim();
        if self.leader() == Some(first) {
            self.coverage.hit("leader-crash");
        }
        let of = match self.prng.below(8) {
            0 => count,
            1 => count / 2 + 1,
            2 => count / 2,
            _ => 1,
        };
        let mut chosen = vec![first];
        while chosen.len() < of.max(1) {
            let next = self.prng.index(count);
            if !chosen.contains(&next) {
                chosen.push(next);
            }
        }
        if chosen.len() == count {
            self.coverage.hit("all-crash");
        }
        // Staged: those that come back first decide alone.
        let staged = self.prng.chance(1, 2);
        let back_us = self.fault_us();
        let ending = self.draw_ending();
        for (nth, node) in chosen.into_iter().enumerate() {
            let late = staged && nth > count / 2;
            self.nodes[node].down_us = if late { back_us + 3_000_000 } else { back_us + self.prng.between(0, 20_000) };
            if ending != Ending::Stop && self.options.shards > 1 && self.prng.chance(1, 3) {
                // Once a shard is ahead of another.
                let patience_us = self.agenda.now_us + 500_000;
                self.nodes[node].end_when_torn = Some((patience_us, ending));
            } else if ending != Ending::Stop && self.prng.chance(1, 2) {
                let steps = self.nodes[node].disk_steps;
                self.nodes[node].end_at_step = Some((steps + self.prng.between(1, 12), ending));
            } else {
                let after = self.prng.between(0, 3000);
                self.agenda.after(after, Event::End { node, ending, life: None });
            }
        }
        Ok(())
    }

    /// A process stands still, for longer than the others wait for it or not; or all do at once, as on a host that is suspended.
    fn pause(&mut self) {
        let node = self.victim();
        let for_us = self.fault_us();
        let mut of_all = self.prng.stream("a pause of all");
        if !of_all.chance(1, 3) {
            return self.stand_still(node, for_us);
        }
        self.coverage.hit("all-paused");
        for node in 0..self.nodes.len() {
            self.stand_still(node, for_us + of_all.between(0, 3000));
        }
    }

    fn stand_still(&mut self, node: usize, for_us: u64) {
        if self.nodes[node].up().is_none() || self.nodes[node].paused.is_some() {
            return;
        }
        self.coverage.hit(if self.leader() == Some(node) { "leader-paused" } else { "paused" });
        self.agenda.say(|| format!("server {} stands still for {} ms", node + 1, for_us / 1000));
        self.nodes[node].paused = Some(Vec::new());
        let who = self.nodes[node].who();
        self.agenda.after(for_us, Event::Resume { who });
    }

    pub(super) fn resume(&mut self, node: usize) {
        if self.nodes[node].paused.is_some() {
            self.agenda.say(|| format!("server {} goes on", node + 1));
            self.nodes[node].resume(&mut self.agenda);
        }
    }

    fn partition(&mut self) {
        let (shape, blocked) = self.shape();
        self.coverage.hit(shape);
        self.agenda.say(|| {
            let pairs: Vec<String> = blocked.iter().map(|(from, to)| format!("{}>{}", from + 1, to + 1)).collect();
            format!("the network is cut ({shape}): {}", pairs.join(" "))
        });
        self.partitions += 1;
        self.agenda.block(&blocked);
        let number = self.partitions;
        // Flapping: it comes and goes a few times, each heal undone by the next cut.
        let for_us = if self.prng.chance(1, 5) { self.prng.between(10_000, 200_000) } else { self.fault_us() };
        self.agenda.after(for_us, Event::Heal { number });
        if self.options.breaks > 0 && self.prng.chance(1, 3) {
            // What is under way breaks too, and is learnt of at different times.
            for wire in self.agenda.net.live() {
                let ends = (self.agenda.net.who(wire, 0), self.agenda.net.who(wire, 1));
                if let (Some(a), Some(b)) = ends
                    && (self.agenda.net.is_blocked(a.node, b.node) || self.agenda.net.is_blocked(b.node, a.node))
                {
                    self.agenda.wire_break(wire, true);
                }
            }
        }
    }

    pub(super) fn heal(&mut self, number: u64) {
        if number == self.partitions && self.agenda.net.is_blocked_anywhere() {
            self.agenda.say(|| "the network is whole again".to_owned());
            self.agenda.block(&[]);
        }
    }

    /// A shape of partition and its name.
    fn shape(&mut self) -> (&'static str, Blocked) {
        let count = self.nodes.len();
        let all = |pick: &dyn Fn(usize, usize) -> bool| -> Blocked {
            (0..count).flat_map(|a| (0..count).map(move |b| (a, b))).filter(|(a, b)| a != b && pick(*a, *b)).collect()
        };
        let one = self.victim();
        let mut order: Vec<usize> = (0..count).collect();
        for idx in (1..count).rev() {
            order.swap(idx, self.prng.index(idx + 1));
        }
        let rank = |node: usize| order.iter().position(|n| *n == node).unwrap_or(0);
        let half = self.prng.between(1, count as u64 - 1) as usize;
        match self.prng.below(10) {
            0 | 1 => ("isolated", all(&|a, b| a == one || b == one)),
            2 => ("split", all(&|a, b| (rank(a) < half) != (rank(b) < half))),
            3 => ("one-way", all(&|a, _| a == one)),
            4 => ("one-way", all(&|_, b| b == one)),
            5 => {
                let other = (one + 1 + self.prng.index(count - 1)) % count;
                ("one-way", vec![(one, other)])
            }
            // One server sees both halves, which don't see each other.
            6 => ("bridge", all(&|a, b| a != one && b != one && (rank(a) < count / 2) != (rank(b) < count / 2))),
            7 => ("chain", all(&|a, b| rank(a).abs_diff(rank(b)) > 1)),
            // All see one server only, which sees all; the others have no quorum.
            8 => ("quorum-loss", all(&|a, b| a != one && b != one)),
            // The leader is out of reach for all but one.
            _ => {
                let other = (one + 1 + self.prng.index(count - 1)) % count;
                ("constrained-election", all(&|a, b| (a == one || b == one) && a != other && b != other))
            }
        }
    }

    /// Some connections break, at any byte; half-open for a time or not.
    fn break_links(&mut self) {
        let live = self.agenda.net.live();
        if live.is_empty() {
            return;
        }
        let count = if self.prng.chance(1, 4) { live.len() } else { self.prng.between(1, 3) as usize };
        for _ in 0..count {
            let wire = live[self.prng.index(live.len())];
            let late = self.prng.chance(1, 3);
            self.coverage.hit(if late { "half-open" } else { "link-broken" });
            self.agenda.say(|| format!("connection {wire} breaks"));
            self.agenda.wire_break(wire, late);
        }
    }

    fn slow_down(&mut self) {
        let node = self.victim();
        if self.prng.chance(1, 2) {
            self.coverage.hit("slow-peer");
            self.agenda.net.slow_us[node] = self.prng.between(1000, 300_000);
        } else {
            self.coverage.hit("slow-disk");
            self.agenda.clocks[node].disk_factor = self.prng.between(10, 100);
        }
        self.agenda.say(|| format!("server {} gets slow", node + 1));
        let for_us = self.fault_us();
        self.agenda.after(for_us, Event::SlowEnds { node });
    }

    /// A device has no room for a time.
    fn fill_up(&mut self) {
        let node = self.victim();
        self.coverage.hit(if self.leader() == Some(node) { "leader-disk-full" } else { "disk-full" });
        let for_us = u64::from(self.options.full_ms) * 1000;
        self.agenda.after(0, Event::Full { node, full: true });
        self.agenda.after(for_us, Event::Full { node, full: false });
    }

    /// No faults any more: what is blocked, stands still, is slow or down comes back.
    pub(super) fn heal_all(&mut self) {
        self.agenda.say(|| "everything is healed".to_owned());
        self.agenda.block(&[]);
        for node in 0..self.nodes.len() {
            self.resume(node);
            self.slow_ends(node);
            let known = &mut self.nodes[node];
            (known.full, known.end_at_step, known.end_when_torn, known.down_us) = (false, None, None, 50_000);
            if let Some(life) = known.up_mut() {
                life.cut_turn = None;
            }
            if matches!(known.server, Server::Down) {
                self.agenda.after(1000, Event::Start { node });
            }
        }
    }

    pub(super) fn slow_ends(&mut self, node: usize) {
        self.agenda.net.slow_us[node] = 0;
        self.agenda.clocks[node].disk_factor = 1;
    }

    /// Whether something is wrong with servers or the network now.
    pub(super) fn is_troubled(&self) -> bool {
        let slow = |n: usize| self.agenda.net.slow_us[n] > 0 || self.agenda.clocks[n].disk_factor > 1;
        self.agenda.net.is_troubled()
            || self.nodes.iter().any(|n| n.up().is_none() || n.paused.is_some() || n.full || slow(n.idx) || !n.role.serves())
    }
}
