//! The agenda: what will happen when. Delays are drawn here; order is kept between one sender and one receiver.

use super::net::Net;
use super::options::{Ending, Options};
use super::trace::Trace;
use crate::base::ids::ConnId;
use crate::base::prng::Prng;
use crate::base::time::{MonoMs, Now};
use crate::log::{DiskDone, ReadRequest};
use crate::model::file::Ticket;
use crate::server::mail::Outbox;
use crate::server::peer_mail::PeerOutbox;
use std::collections::BTreeMap;

/// Longest time for one step of a disk: what is under way when everything is healed must end within what the judge waits.
const DISK_STEP_US_MAX: u64 = 3_000_000;

/// One life of one server. Lives are numbered from 1, for each server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Who {
    /// Index of the server.
    pub node: usize,
    /// Number of its life.
    pub life: u64,
}

/// Something that will happen.
#[derive(Debug)]
#[allow(missing_docs, reason = "named after what happens")]
pub enum Event {
    Act {
        client: usize,
        link: u64,
    },
    Connect {
        client: usize,
    },
    Arrive {
        link: u64,
    },
    ToServer {
        link: u64,
        bytes: Vec<u8>,
    },
    ClientLeft {
        link: u64,
    },
    ToClient {
        link: u64,
        bytes: Vec<u8>,
    },
    Flush {
        who: Who,
        front: usize,
    },
    Outbox {
        who: Who,
        front: usize,
        outbox: Box<Outbox>,
    },
    Turn {
        who: Who,
    },
    Wanted {
        who: Who,
    },
    Tick {
        who: Who,
    },
    ReadEnds {
        who: Who,
        ticket: Ticket,
        request: Box<ReadRequest>,
    },
    AppendEnds {
        who: Who,
        ticket: Ticket,
    },
    ScriptStep {
        who: Who,
        lane: usize,
    },
    DiskDone {
        who: Who,
        done: Box<DiskDone>,
    },
    Start {
        node: usize,
    },
    BootStep {
        who: Who,
    },
    /// `life`: only if it is still that one.
    End {
        node: usize,
        ending: Ending,
        life: Option<u64>,
    },
    /// Something arrives at one end of a connection between servers.
    Wire {
        wire: u64,
        end: usize,
    },
    PeerFlush {
        who: Who,
    },
    PeerOutbox {
        who: Who,
        outbox: Box<PeerOutbox>,
    },
    /// A client looks whether it was answered lately.
    Patience {
        client: usize,
        link: u64,
    },
    Fault,
    /// Faults end, however far clients got.
    Calm,
    /// Of the servers that were not `behind` all end, and `spoiled` loses something.
    Weaken {
        /// Who.
        spoiled: usize,
        /// Who was away meanwhile.
        behind: Vec<usize>,
    },
    /// The partition of that number ends.
    Heal {
        number: u64,
    },
    Resume {
        who: Who,
    },
    SlowEnds {
        node: usize,
    },
    WallJump {
        node: usize,
    },
    Full {
        node: usize,
        full: bool,
    },
    QuietBegins,
    QuietEnds,
    Finish,
}

/// One connection between a client and a front of a server.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub(super) client: usize,
    pub(super) node: usize,
    pub(super) front: usize,
    pub(super) life: u64,
    /// Its name at the front, once it is accepted.
    pub conn: Option<ConnId>,
    pub(super) up_us: u64,
    pub(super) down_us: u64,
}

/// The clocks of one server: how they differ from the world's time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Steps of the wall clock.
    pub wall_offset_ms: i64,
    /// Where its monotonic clock began.
    pub mono_offset_us: u64,
    /// How fast its clocks run: a thousand is right.
    pub rate_permille: u64,
    /// How many times as long its disk takes.
    pub disk_factor: u64,
}

impl Clock {
    /// Right in every way.
    pub const TRUE: Clock = Clock { wall_offset_ms: 0, mono_offset_us: 0, rate_permille: 1000, disk_factor: 1 };
}

/// What will happen when, and what it takes to put something on it.
pub struct Agenda {
    pub(super) now_us: u64,
    /// By server.
    pub(super) clocks: Vec<Clock>,
    next: u64,
    pub(super) queue: BTreeMap<(u64, u64), Event>,
    pub(super) prng: Prng,
    /// Between servers.
    pub net: Net,
    net_us: u64,
    mail_us: u64,
    disk_us: u64,
    slow_disk_one_in: u64,
    mail_last: BTreeMap<(usize, usize), u64>,
    /// Open and closed links.
    pub links: BTreeMap<u64, Link>,
    /// Steps of the disk so far: appends begun and ended, steps of scripts.
    pub disk_steps: u64,
    pub(super) trace: Trace,
}

/// Wall clock at the beginning.
const EPOCH_MS: i64 = 1_700_000_000_000;

impl Agenda {
    /// Nothing is planned yet.
    #[must_use]
    pub(super) fn new(options: &Options, prng: Prng, aloud: bool) -> Agenda {
        Agenda {
            now_us: 0,
            clocks: vec![Clock::TRUE; usize::from(options.servers)],
            next: 0,
            queue: BTreeMap::new(),
            prng,
            net: Net::new(usize::from(options.servers), u64::from(options.peer_us)),
            net_us: u64::from(options.net_us),
            mail_us: u64::from(options.mail_us),
            disk_us: u64::from(options.disk_us),
            slow_disk_one_in: u64::from(options.slow_disk_one_in),
            mail_last: BTreeMap::new(),
            links: BTreeMap::new(),
            disk_steps: 0,
            trace: Trace::new(options.seed, aloud),
        }
    }

    /// What the clocks of a server show.
    #[must_use]
    pub fn now(&self, node: usize) -> Now {
        let clock = self.clocks[node];
        let us = self.now_us * clock.rate_permille / 1000;
        let (mono_us, ms) = (us + clock.mono_offset_us, us / 1000);
        Now { mono: MonoMs(mono_us / 1000), mono_ns: mono_us * 1000, wall_ms: EPOCH_MS + ms as i64 + clock.wall_offset_ms }
    }

    /// The world's own time in milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_us / 1000
    }

    /// A line of the story.
    pub fn say(&mut self, text: impl FnOnce() -> String) {
        self.trace.say(self.now_us, text);
    }

    pub(super) fn at(&mut self, time_us: u64, event: Event) {
        self.next += 1;
        self.queue.insert((time_us.max(self.now_us), self.next), event);
    }

    /// Puts an event some time ahead.
    pub fn after(&mut self, us: u64, event: Event) {
        self.at(self.now_us + us, event);
    }

    /// Mail between roles of a server: late by chance, in order on its `way`.
    pub fn mail(&mut self, node: usize, way: usize, event: Event) {
        let late = self.now_us + self.prng.between(0, self.mail_us);
        let time = late.max(self.mail_last.get(&(node, way)).copied().unwrap_or(0));
        self.mail_last.insert((node, way), time);
        self.at(time, event);
    }

    /// Mail that has nothing before it on its way: a shard has one append at a time.
    pub(super) fn mail_alone(&mut self, event: Event) {
        let late = self.prng.between(0, self.mail_us);
        self.after(late, event);
    }

    pub(super) fn disk_delay(&mut self, node: usize) -> u64 {
        let us = self.prng.between(1, self.disk_us) * self.clocks[node].disk_factor;
        let us = if self.slow_disk_one_in > 0 && self.prng.chance(1, self.slow_disk_one_in) { us * 100 } else { us };
        us.min(DISK_STEP_US_MAX)
    }

    /// The end of a disk operation of a server.
    pub fn disk(&mut self, node: usize, event: Event) {
        let delay = self.disk_delay(node);
        self.after(delay, event);
    }

    /// Bytes to a client; none: the server closes.
    pub fn send_down(&mut self, link: u64, bytes: Vec<u8>) {
        let late = self.now_us + self.prng.between(1, self.net_us);
        if let Some(known) = self.links.get_mut(&link) {
            known.down_us = late.max(known.down_us);
            let time = known.down_us;
            self.at(time, Event::ToClient { link, bytes });
        }
    }

    pub(super) fn send_up(&mut self, link: u64, event: Event) {
        let late = self.now_us + self.prng.between(1, self.net_us);
        if let Some(known) = self.links.get_mut(&link) {
            known.up_us = late.max(known.up_us);
            let time = known.up_us;
            self.at(time, event);
        }
    }
}
