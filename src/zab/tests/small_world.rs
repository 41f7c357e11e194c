//! Three servers whose every move is chosen from outside, as one value that can be copied: what the exhaustive search walks over.
//!
//! The machines are the real ones; the rest (logs, links, disks) is as small as it can be. A move is one of [`Move`]. What follows from it
//! without a choice happens within it: pulses reach every linked server at once, a log without writes is at rest at once, both ends
//! of a link see at once that it is up or gone. A clock stands still but in [`Move::Wait`].
//! Guarantees: the same moves lead to the same state; states with equal fingerprints go on alike, except for when timers fire.

use super::keeper::Disk;
use super::oracle::Oracle;
use super::small_keeper::Life;
use super::{CLUSTER, at, membership, options};
use crate::base::ids::ServerId;
use crate::base::prng::Prng;
use crate::base::time::MonoMs;
use crate::model::peer::Message;
use crate::model::position::Identity;
use crate::zab::{Input, Role, State, Zab};
use std::collections::VecDeque;
use std::rc::Rc;

pub(super) const SERVERS: usize = 3;
pub(super) const PAIRS: [(usize, usize); 3] = [(0, 1), (0, 2), (1, 2)];
const QUORUM: usize = 2;
/// More turns than this within one move don't end.
const TURNS_MAX: usize = 1000;

/// What can happen next. Servers by index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Move {
    /// The oldest message of a link arrives.
    Deliver { from: usize, to: usize },
    /// The oldest write to the log is done.
    Write(usize),
    /// The epoch metadata is stored.
    Store(usize),
    /// What isn't durable is lost, and the links break.
    Crash(usize),
    /// It starts again, and is linked with all from which it isn't cut off.
    Restart(usize),
    /// The link of a pair breaks and what is on it is lost.
    Cut(usize, usize),
    /// A pair is linked again.
    Connect(usize, usize),
    /// A client writes at the established leader.
    Propose(usize),
    /// The clock of one server goes on until a timer makes it do something.
    Wait(usize),
}

/// How much may still happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Left {
    pub(super) crashes: u8,
    pub(super) cuts: u8,
    pub(super) proposals: u8,
    pub(super) waits: u8,
}

/// A connection of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Link {
    Up,
    /// It broke with a server, or one end closed it.
    Broken,
    Cut,
}

/// A message with what the machines don't see of a batch: what it follows, and its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) message: Message<'static>,
    pub(super) batch: Option<(Identity, Identity)>,
    /// It was sent with the one before, and arrives with it.
    pub(super) joins: bool,
}

/// The main lane in one direction.
#[derive(Clone, Default)]
pub(super) struct Lane {
    pub(super) hash: u64,
    pub(super) packets: VecDeque<Packet>,
}

#[derive(Clone)]
pub(super) struct Server {
    pub(super) hash: u64,
    pub(super) id: ServerId,
    pub(super) clock: u64,
    pub(super) disk: Disk,
    pub(super) life: Option<Life>,
}

/// A state. Parts are shared with the states that it came from.
#[derive(Clone)]
pub(super) struct SmallWorld {
    pub(super) servers: [Rc<Server>; SERVERS],
    /// By `from * SERVERS + to`.
    pub(super) lanes: [Rc<Lane>; SERVERS * SERVERS],
    pub(super) links: [Link; PAIRS.len()],
    pub(super) oracle: Rc<(u64, Oracle)>,
    pub(super) left: Left,
    /// What follows without a choice; empty between moves.
    pub(super) due: VecDeque<(usize, Input<'static>)>,
    /// Lanes on which this move sent already, by bit.
    pub(super) fresh: u16,
}

pub(super) fn pair(a: usize, b: usize) -> usize {
    a + b - 1
}

pub(super) fn index(id: ServerId) -> usize {
    usize::from(id.0) - 1
}

impl SmallWorld {
    /// Three servers of epoch 1 that look for a leader, all linked, with these logs. `committed` is how much of the longest was ever committed.
    pub(super) fn new(logs: [&[Identity]; SERVERS], committed: usize, left: Left) -> SmallWorld {
        let empty = Rc::new(Lane::default());
        let servers = std::array::from_fn(|n| {
            let mut disk = Disk { log: logs[n].to_vec(), durable: logs[n].len(), ..Disk::default() };
            (disk.persisted.cluster, disk.persisted.accepted_epoch, disk.persisted.current_epoch) = (CLUSTER, 1, 1);
            Rc::new(Server { hash: 0, id: ServerId(n as u8 + 1), clock: 1, disk, life: None })
        });
        let mut oracle = Oracle::default();
        let longest = logs.iter().max_by_key(|log| log.len()).expect("three of them");
        oracle.begins_with(longest[..committed].to_vec());
        let mut world = SmallWorld {
            servers,
            lanes: std::array::from_fn(|_| empty.clone()),
            links: [Link::Broken; PAIRS.len()],
            oracle: Rc::new((0, oracle)),
            left,
            due: VecDeque::new(),
            fresh: 0,
        };
        (0..SERVERS).for_each(|n| world.restart(n));
        world.settle();
        world.fresh = 0;
        world
    }

    /// The first batches of epoch 1.
    pub(super) fn history(len: u64) -> Vec<Identity> {
        (1..=len).map(|n| at(1, n, n)).collect()
    }

    pub(super) fn life(&self, n: usize) -> Option<&Life> {
        self.servers[n].life.as_ref()
    }

    pub(super) fn lane(&self, from: usize, to: usize) -> &Lane {
        &self.lanes[from * SERVERS + to]
    }

    pub(super) fn server(&mut self, n: usize) -> &mut Server {
        Rc::make_mut(&mut self.servers[n])
    }

    pub(super) fn is_up(&self, a: usize, b: usize) -> bool {
        self.links[pair(a, b)] == Link::Up
    }

    /// Every move that is possible now; of a wait only trying shows whether it is.
    pub(super) fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::with_capacity(24);
        let others = |n: usize| (0..SERVERS).filter(move |m| *m != n);
        for n in 0..SERVERS {
            let Some(life) = self.life(n) else {
                moves.push(Move::Restart(n));
                continue;
            };
            moves.extend(others(n).filter(|m| !self.lane(*m, n).packets.is_empty()).map(|from| Move::Deliver { from, to: n }));
            let mut add = |possible: bool, what: Move| moves.extend(possible.then_some(what));
            add(!life.writes.is_empty(), Move::Write(n));
            add(life.store.is_some(), Move::Store(n));
            add(self.left.proposals > 0 && life.is_established(), Move::Propose(n));
            add(self.left.crashes > 0, Move::Crash(n));
            add(self.left.waits > 0, Move::Wait(n));
        }
        for (a, b) in PAIRS {
            match self.links[pair(a, b)] {
                Link::Up if self.left.cuts > 0 => moves.push(Move::Cut(a, b)),
                Link::Broken | Link::Cut if self.life(a).is_some() && self.life(b).is_some() => moves.push(Move::Connect(a, b)),
                _ => {}
            }
        }
        moves
    }

    /// Makes a move and all that follows from it; whether anything happened.
    pub(super) fn make(&mut self, what: Move) -> bool {
        match what {
            Move::Deliver { from, to } => self.deliver(from, to),
            Move::Write(n) => self.on_write_done(n),
            Move::Store(n) => self.on_store_done(n),
            Move::Crash(n) => self.crash(n),
            Move::Restart(n) => self.restart(n),
            Move::Cut(a, b) => {
                self.left.cuts -= 1;
                self.break_link(a, b, Link::Cut);
                self.due.extend([(a, Input::Down { peer: self.servers[b].id }), (b, Input::Down { peer: self.servers[a].id })]);
            }
            Move::Connect(a, b) => self.connect(a, b),
            Move::Propose(n) => self.propose(n),
            Move::Wait(n) => {
                self.left.waits -= 1;
                if !self.wait(n) {
                    return false;
                }
            }
        }
        self.settle();
        self.fresh = 0;
        true
    }

    /// Pulses and news of links, until nothing follows any more.
    fn settle(&mut self) {
        let mut turns = 0;
        while let Some((n, input)) = self.due.pop_front() {
            if self.life(n).is_some() && !self.is_known_pulse(n, &input) {
                self.turn(n, input);
                turns += 1;
                assert!(turns < TURNS_MAX, "pulses make pulses without an end");
            }
        }
    }

    /// A pulse that says what the server heard already, or that no link carries.
    fn is_known_pulse(&self, n: usize, input: &Input<'_>) -> bool {
        let Input::Message { peer, message: Message::Pulse(pulse) } = input else { return false };
        let heard = &self.servers[n].life.as_ref().expect("the caller looked").zab.peers[peer];
        !self.is_up(n, index(*peer)) || (heard.heard_at.is_some() && heard.pulse == Some(*pulse))
    }

    fn deliver(&mut self, from: usize, to: usize) {
        let is_next = |lane: &Lane, first: bool| lane.packets.front().is_some_and(|p| first || p.joins);
        let mut first = true;
        while is_next(self.lane(from, to), first) {
            let lane = Rc::make_mut(&mut self.lanes[from * SERVERS + to]);
            let packet = lane.packets.pop_front().expect("looked at above");
            self.on_main(to, self.servers[from].id, packet);
            first = false;
        }
    }

    fn crash(&mut self, n: usize) {
        self.left.crashes -= 1;
        let server = self.server(n);
        server.life = None;
        server.disk.log.truncate(server.disk.durable);
        for other in (0..SERVERS).filter(|o| *o != n && self.is_up(n, *o)).collect::<Vec<_>>() {
            self.break_link(n, other, Link::Broken);
            self.due.push_back((other, Input::Down { peer: self.servers[n].id }));
        }
    }

    fn restart(&mut self, n: usize) {
        let mut options = options(n as u8 + 1, &membership(SERVERS as u8, 0));
        // A pulse is made at every step; those that say nothing new end here.
        options.pulse_interval_ms = 0;
        let server = self.server(n);
        let disk = &server.disk;
        let now = MonoMs(server.clock);
        let zab = Zab::new(options, disk.persisted, disk.end(), disk.committed, Prng::from_seed(0), now);
        server.life = Some(Life::new(zab));
        self.apply(n);
        for other in (0..SERVERS).filter(|o| *o != n) {
            if self.life(other).is_some() && self.links[pair(n, other)] == Link::Broken {
                self.connect(n, other);
            }
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        self.links[pair(a, b)] = Link::Up;
        self.due.extend([(a, Input::Up { peer: self.servers[b].id }), (b, Input::Up { peer: self.servers[a].id })]);
    }

    pub(super) fn break_link(&mut self, a: usize, b: usize, how: Link) {
        self.links[pair(a, b)] = how;
        for (from, to) in [(a, b), (b, a)] {
            if !self.lane(from, to).packets.is_empty() {
                self.lanes[from * SERVERS + to] = Rc::default();
            }
            let id = self.servers[to].id;
            if self.life(from).is_some_and(|life| life.streams.contains(&id)) {
                self.server(from).life.as_mut().expect("looked at above").streams.remove(&id);
            }
        }
    }

    /// What must hold in every state, beside what the oracle says at each step.
    pub(super) fn check(&self) {
        let committed = &self.oracle.1.committed;
        let holds = |disk: &Disk| disk.durable >= committed.len() && disk.log[..committed.len()] == committed[..];
        let holders = self.servers.iter().filter(|s| holds(&s.disk)).count();
        assert!(holders >= QUORUM, "what was committed, {committed:?}, is durable on {holders} server only");
        (0..SERVERS).for_each(|n| self.check_learner(n));
        let at_work = |n: usize| self.life(n).is_some_and(|life| !life.writes.is_empty() || life.store.is_some());
        if self.lanes.iter().all(|l| l.packets.is_empty()) && !(0..SERVERS).any(at_work) {
            self.check_quiet();
        }
    }

    /// From the acknowledgement of NEWLEADER on a learner's history is a part of its leader's.
    fn check_learner(&self, n: usize) {
        let Some(State::Following(f)) = self.life(n).map(|life| &life.zab.state) else { return };
        let leader = index(f.leader);
        let leads = |life: &Life| matches!(life.zab.role(), Role::Leading { epoch, .. } if epoch == f.epoch);
        if f.synced && self.life(leader).is_some_and(leads) {
            let (own, its) = (&self.servers[n].disk.log, &self.servers[leader].disk.log);
            assert!(its.starts_with(own), "server {} follows {:?} with another history: {own:?}, not {its:?}", n + 1, f.leader);
        }
    }

    /// Nothing is on its way: whoever follows a linked leader serves, and what was proposed is committed.
    fn check_quiet(&self) {
        for leader in 0..SERVERS {
            let Some(life) = self.life(leader) else { continue };
            let Role::Leading { epoch, established } = life.zab.role() else { continue };
            let id = self.servers[leader].id;
            let follows = |n: &usize| match self.life(*n).map(|life| life.zab.role()) {
                Some(Role::Following { leader, epoch: e, serving }) => (leader == id && e == epoch).then_some(serving),
                _ => None,
            };
            let learners: Vec<bool> = (0..SERVERS).filter_map(|n| follows(&n)).collect();
            assert!(learners.iter().all(|serves| *serves), "nothing is on its way, and a server that follows {id:?} doesn't serve");
            if learners.len() + 1 >= QUORUM {
                let (end, committed) = (self.servers[leader].disk.end().zxid, life.zab.committed());
                assert!(established && committed >= end, "nothing is on its way, {end:?} is proposed and only {committed:?} committed");
            }
        }
    }
}
