//! A random network, disks that answer late, crashes, pauses and losses of disks, in virtual time, from one seed.

use super::keeper::{Disk, Keeper};
use super::oracle::{Oracle, count_through};
use super::{membership, options};
use crate::base::ids::ServerId;
use crate::base::prng::Prng;
use crate::base::time::MonoMs;
use crate::model::membership::Membership;
use crate::model::peer::Message;
use crate::model::position::Identity;
use crate::zab::{Input, Persisted, Zab};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Time between two ticks of a server, ms.
const TICK_MS: u64 = 50;

#[derive(Clone, Debug)]
pub(super) enum Wire {
    Plain(Message<'static>),
    Batch { epoch: u32, before: Identity, last: Identity, committed: crate::base::ids::Zxid, beat: u64, confirmed: u64 },
    Snapshot { epoch: u32, history: Vec<Identity> },
}

pub(super) enum Event {
    Tick {
        id: ServerId,
        life: u32,
    },
    /// Something is due on the main lane.
    Pump {
        from: ServerId,
        to: ServerId,
    },
    Pulse {
        from: ServerId,
        to: ServerId,
        message: Message<'static>,
    },
    LinkDown {
        at: ServerId,
        peer: ServerId,
        link: u64,
    },
    Reconnect,
    StoreDone {
        id: ServerId,
        life: u32,
        persisted: Persisted,
    },
    LogDone {
        id: ServerId,
        life: u32,
        len: usize,
    },
    CutDone {
        id: ServerId,
        life: u32,
        history: Vec<Identity>,
    },
    CatchUp {
        id: ServerId,
        life: u32,
        peer: ServerId,
        last: Identity,
    },
    Resume {
        id: ServerId,
    },
    Restart {
        id: ServerId,
    },
    Client,
    Fault,
}

/// What waits for a server that is paused, or is handed to it at once.
pub(super) enum Mail {
    Input(Input<'static>),
    Up { peer: ServerId, link: u64 },
    Down { peer: ServerId, link: u64 },
    Main { peer: ServerId, link: u64, wire: Wire },
    LogDone,
    CutDone,
    CatchUp { peer: ServerId, last: Identity },
}

pub(super) struct Server {
    pub(super) id: ServerId,
    /// Grows at each start.
    pub(super) life: u32,
    pub(super) keeper: Option<Keeper>,
    pub(super) disk: Disk,
    paused: bool,
    mail: VecDeque<Mail>,
    /// The connection to each peer as this server sees it.
    links: BTreeMap<ServerId, u64>,
    /// Its disk was lost or lost something then.
    pub(super) hurt_at: Option<u64>,
    pub(super) founder: bool,
}

/// The main lane in one direction: when each message is due, on which connection it was sent.
type MainLane = VecDeque<(u64, u64, Wire)>;

pub(super) struct World {
    pub(super) prng: Prng,
    pub(super) time: u64,
    serial: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub(super) servers: Vec<Server>,
    pub(super) membership: Membership,
    bootstrap_quorum: bool,
    /// Directions in which nothing passes.
    pub(super) cut: BTreeSet<(ServerId, ServerId)>,
    /// Open connections, by pair (lower id first).
    open: BTreeMap<(ServerId, ServerId), u64>,
    lanes: BTreeMap<(ServerId, ServerId), MainLane>,
    pulse_due: BTreeMap<(ServerId, ServerId), u64>,
    pub(super) delay_ms: u64,
    pub(super) disk_ms: u64,
    pub(super) pulses_lost_percent: u64,
    pub(super) faults: bool,
    pub(super) oracle: Oracle,
    pub(super) catch_ups: u32,
    traced: bool,
}

fn pair(a: ServerId, b: ServerId) -> (ServerId, ServerId) {
    (a.min(b), a.max(b))
}

impl World {
    pub(super) fn new(seed: u64, voters: u8, observers: u8) -> World {
        let membership = membership(voters, observers);
        let servers = membership.members().map(|m| Server {
            id: m.id,
            life: 0,
            keeper: None,
            disk: Disk::default(),
            paused: false,
            mail: VecDeque::new(),
            links: BTreeMap::new(),
            hurt_at: None,
            founder: false,
        });
        let servers: Vec<Server> = servers.collect();
        let mut world = World {
            prng: Prng::from_seed(seed),
            time: 1,
            serial: 0,
            queue: BTreeMap::new(),
            servers,
            membership,
            bootstrap_quorum: false,
            cut: BTreeSet::new(),
            open: BTreeMap::new(),
            lanes: BTreeMap::new(),
            pulse_due: BTreeMap::new(),
            delay_ms: 5,
            disk_ms: 10,
            pulses_lost_percent: 0,
            faults: false,
            oracle: Oracle::default(),
            catch_ups: 0,
            traced: std::env::var("ZAB_TRACE").is_ok(),
        };
        world.at(2, Event::Reconnect);
        world
    }

    pub(super) fn has_bootstrap_quorum(&self) -> bool {
        self.bootstrap_quorum
    }

    pub(super) fn is_awake(&mut self, id: ServerId) -> bool {
        !self.server(id).paused
    }

    pub(super) fn set_bootstrap_quorum(&mut self) {
        self.bootstrap_quorum = true;
    }

    /// The server begins with the history of a standalone one.
    pub(super) fn make_founder(&mut self, id: ServerId) {
        let log: Vec<Identity> = (1..=3).map(|n| super::at(1, n, n)).collect();
        let server = self.server(id);
        server.founder = true;
        server.disk.durable = log.len();
        server.disk.committed = log[2].zxid;
        server.disk.log = log.clone();
        server.disk.persisted.cluster = super::CLUSTER;
        self.oracle.begins_with(log);
    }

    pub(super) fn trace(&self, line: impl FnOnce() -> String) {
        if self.traced {
            eprintln!("{:6} {}", self.time, line());
        }
    }

    pub(super) fn now(&self) -> MonoMs {
        MonoMs(self.time)
    }

    pub(super) fn server(&mut self, id: ServerId) -> &mut Server {
        &mut self.servers[usize::from(id.0) - 1]
    }

    pub(super) fn ids(&self) -> Vec<ServerId> {
        self.servers.iter().map(|s| s.id).collect()
    }

    pub(super) fn at(&mut self, time: u64, event: Event) {
        self.serial += 1;
        self.queue.insert((time.max(self.time), self.serial), event);
    }

    pub(super) fn disk_delay(&mut self) -> u64 {
        if self.prng.chance(1, 20) { self.prng.between(0, self.disk_ms * 10) } else { self.prng.between(0, self.disk_ms) }
    }

    pub(super) fn blocked(&self, from: ServerId, to: ServerId) -> bool {
        self.cut.contains(&(from, to))
    }

    /// Runs until `done` or `until`; whether it is done.
    pub(super) fn run(&mut self, until: u64, mut done: impl FnMut(&mut World) -> bool) -> bool {
        while let Some(((time, _), event)) = self.queue.pop_first() {
            if time > until {
                self.at(time, event);
                self.time = until;
                return false;
            }
            self.time = time;
            let is_check = matches!(event, Event::Reconnect);
            self.happen(event);
            if is_check && done(self) {
                return true;
            }
        }
        unreachable!("something is always due")
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick { id, life } => {
                if self.is_life(id, life) {
                    self.at(self.time + TICK_MS, Event::Tick { id, life });
                    if !self.server(id).paused {
                        self.arrive(id, Mail::Input(Input::Tick));
                    }
                }
            }
            Event::Pump { from, to } => self.pump(from, to),
            Event::Pulse { from, to, message } => {
                if !self.blocked(from, to) {
                    self.arrive(to, Mail::Input(Input::Message { peer: from, message }));
                }
            }
            Event::LinkDown { at, peer, link } => self.arrive(at, Mail::Down { peer, link }),
            Event::Reconnect => self.reconnect(),
            Event::StoreDone { id, life, persisted } => {
                if self.is_life(id, life) {
                    self.server(id).disk.persisted = persisted;
                    self.arrive(id, Mail::Input(Input::Stored));
                }
            }
            Event::LogDone { id, life, len } => {
                if self.is_life(id, life) {
                    let disk = &mut self.server(id).disk;
                    disk.durable = disk.durable.max(len);
                    self.arrive(id, Mail::LogDone);
                }
            }
            Event::CutDone { id, life, history } => {
                if self.is_life(id, life) {
                    let disk = &mut self.server(id).disk;
                    (disk.durable, disk.log) = (history.len(), history);
                    self.arrive(id, Mail::CutDone);
                }
            }
            Event::CatchUp { id, life, peer, last } => {
                if self.is_life(id, life) {
                    self.arrive(id, Mail::CatchUp { peer, last });
                }
            }
            Event::Resume { id } => self.resume(id),
            Event::Restart { id } => self.start(id),
            Event::Client => self.client(),
            Event::Fault => self.fault(),
        }
    }

    fn is_life(&mut self, id: ServerId, life: u32) -> bool {
        let server = self.server(id);
        server.life == life && server.keeper.is_some()
    }

    fn arrive(&mut self, id: ServerId, mail: Mail) {
        let server = self.server(id);
        if server.keeper.is_none() {
            return;
        }
        if server.paused {
            return server.mail.push_back(mail);
        }
        self.take(id, mail);
    }

    fn take(&mut self, id: ServerId, mail: Mail) {
        match mail {
            Mail::Input(input) => self.turn(id, input),
            Mail::Up { peer, link } => {
                self.server(id).links.insert(peer, link);
                self.forget_stream(id, peer);
                self.turn(id, Input::Up { peer });
            }
            Mail::Down { peer, link } => {
                if self.server(id).links.get(&peer) == Some(&link) {
                    self.server(id).links.remove(&peer);
                    self.forget_stream(id, peer);
                    self.turn(id, Input::Down { peer });
                }
            }
            Mail::Main { peer, link, wire } => {
                if self.server(id).links.get(&peer) == Some(&link) {
                    self.on_main(id, peer, wire);
                }
            }
            Mail::LogDone => self.on_log_done(id),
            Mail::CutDone => self.on_cut_done(id),
            Mail::CatchUp { peer, last } => self.on_catch_up(id, peer, last),
        }
    }

    pub(super) fn send(&mut self, from: ServerId, to: ServerId, wire: Wire) {
        let due = self.time
            + if self.prng.chance(1, 30) { self.prng.between(0, self.delay_ms * 20) } else { self.prng.between(0, self.delay_ms) };
        if let Wire::Plain(message @ Message::Pulse(_)) = wire {
            if !self.prng.chance(self.pulses_lost_percent, 100) {
                let due = *self.pulse_due.entry((from, to)).and_modify(|d| *d = (*d).max(due)).or_insert(due);
                self.at(due, Event::Pulse { from, to, message });
            }
            return;
        }
        let Some(link) = self.server(from).links.get(&to).copied() else { return };
        self.trace(|| format!("{from:?} to {to:?}: {wire:?}"));
        let lane = self.lanes.entry((from, to)).or_default();
        let due = lane.back().map_or(due, |(last, ..)| due.max(*last));
        lane.push_back((due, link, wire));
        self.at(due, Event::Pump { from, to });
    }

    fn pump(&mut self, from: ServerId, to: ServerId) {
        if self.blocked(from, to) {
            // Held back, in order: the sender's kernel tries again.
            return self.at(self.time + 40, Event::Pump { from, to });
        }
        while let Some((due, ..)) = self.lanes.get(&(from, to)).and_then(|lane| lane.front()) {
            if *due > self.time {
                return;
            }
            let (_, link, wire) = self.lanes.get_mut(&(from, to)).and_then(|lane| lane.pop_front()).expect("looked at above");
            if self.open.get(&pair(from, to)) == Some(&link) {
                self.arrive(to, Mail::Main { peer: from, link, wire });
            }
        }
    }

    /// The connection breaks; each end notices, an end that the other can't reach later.
    pub(super) fn break_link(&mut self, a: ServerId, b: ServerId) {
        let Some(link) = self.open.remove(&pair(a, b)) else { return };
        for (at, peer) in [(a, b), (b, a)] {
            let late = if self.blocked(peer, at) { self.prng.between(300, 3000) } else { self.prng.between(0, self.delay_ms) };
            self.at(self.time + late, Event::LinkDown { at, peer, link });
        }
    }

    /// One end closes.
    pub(super) fn drop_links(&mut self, id: ServerId, peer: ServerId) {
        self.trace(|| format!("{id:?} drops {peer:?}"));
        if let Some(link) = self.server(id).links.remove(&peer) {
            self.forget_stream(id, peer);
            if self.open.get(&pair(id, peer)) == Some(&link) {
                self.break_link(id, peer);
            }
        }
    }

    fn reconnect(&mut self) {
        self.at(self.time + 50, Event::Reconnect);
        let ids = self.ids();
        for (n, a) in ids.iter().enumerate() {
            for b in &ids[n + 1..] {
                let passes = !self.blocked(*a, *b) && !self.blocked(*b, *a);
                let both_live = [*a, *b].iter().all(|id| self.server(*id).keeper.is_some() && !self.server(*id).paused);
                if passes && both_live && !self.open.contains_key(&(*a, *b)) && self.prng.chance(1, 2) {
                    self.serial += 1;
                    let link = self.serial;
                    self.open.insert((*a, *b), link);
                    self.arrive(*a, Mail::Up { peer: *b, link });
                    self.arrive(*b, Mail::Up { peer: *a, link });
                }
            }
        }
    }

    pub(super) fn start(&mut self, id: ServerId) {
        if self.server(id).keeper.is_some() {
            return;
        }
        let mut options = options(id.0, &self.membership);
        options.bootstrap_quorum = self.bootstrap_quorum;
        options.founder = self.server(id).founder;
        let prng = Prng::from_seed(self.prng.next_u64());
        let now = self.now();
        let server = self.server(id);
        server.life += 1;
        let life = server.life;
        let last = server.disk.end();
        let zab = Zab::new(options, server.disk.persisted, last, server.disk.committed, prng, now);
        let mut keeper = Keeper::new(zab);
        keeper.applied = count_through(&server.disk.log, server.disk.committed);
        server.keeper = Some(keeper);
        self.trace(|| format!("{id:?} starts"));
        let first = self.time + self.prng.below(TICK_MS);
        self.at(first, Event::Tick { id, life });
    }

    /// Volatile state is lost; of what was in flight any prefix may have reached the disk.
    pub(super) fn crash(&mut self, id: ServerId) {
        if self.server(id).keeper.take().is_none() {
            return;
        }
        self.trace(|| format!("{id:?} crashes"));
        let disk = &self.server(id).disk;
        let (durable, len) = (disk.durable, disk.log.len());
        let kept = durable + self.prng.below((len - durable) as u64 + 1) as usize;
        let last_store = self.queue.values().find_map(|e| match e {
            Event::StoreDone { id: of, persisted, .. } if *of == id => Some(*persisted),
            _ => None,
        });
        let stored = last_store.filter(|_| self.prng.chance(1, 2));
        self.queue.retain(|_, e| !matches!(e, Event::StoreDone { id: of, .. } if *of == id));
        let server = self.server(id);
        server.disk.log.truncate(kept);
        server.disk.durable = kept;
        server.disk.persisted = stored.unwrap_or(server.disk.persisted);
        server.mail.clear();
        server.links.clear();
        server.paused = false;
        for peer in self.ids() {
            self.break_link(id, peer);
        }
    }

    pub(super) fn pause(&mut self, id: ServerId, ms: u64) {
        if self.server(id).keeper.is_some() && !self.server(id).paused {
            self.trace(|| format!("{id:?} pauses for {ms} ms"));
            self.server(id).paused = true;
            self.at(self.time + ms, Event::Resume { id });
        }
    }

    fn resume(&mut self, id: ServerId) {
        self.server(id).paused = false;
        while let Some(mail) = self.server(id).mail.pop_front() {
            if self.server(id).keeper.is_some() {
                self.take(id, mail);
            }
        }
    }

    /// Everything works again.
    pub(super) fn heal(&mut self) {
        self.trace(|| "heals".to_owned());
        self.faults = false;
        (self.delay_ms, self.disk_ms, self.pulses_lost_percent) = (5, 10, 0);
        self.cut.clear();
        for id in self.ids() {
            if self.server(id).paused {
                self.resume(id);
            }
            self.start(id);
        }
    }

    /// Nothing passes from `a` to `b`. The connection breaks, or hangs.
    pub(super) fn block(&mut self, a: ServerId, b: ServerId) {
        self.cut.insert((a, b));
        if self.prng.chance(1, 2) {
            self.break_link(a, b);
        }
    }

    pub(super) fn established_leader(&mut self) -> Option<ServerId> {
        self.servers.iter().filter(|s| !s.paused && s.keeper.as_ref().is_some_and(Keeper::is_established)).map(|s| s.id).next_back()
    }
}
