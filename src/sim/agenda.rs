//! The agenda: what will happen when. Delays are drawn here; order is kept between one sender and one receiver.

use super::options::{Ending, Options};
use super::trace::Trace;
use crate::base::ids::ConnId;
use crate::base::prng::Prng;
use crate::base::time::{MonoMs, Now};
use crate::log::{DiskDone, ReadRequest};
use crate::model::file::Ticket;
use crate::server::mail::Outbox;
use std::collections::BTreeMap;

/// Something that will happen.
#[derive(Debug)]
#[allow(missing_docs, reason = "named after what happens")]
pub enum Event {
    Act { client: usize, link: u64 },
    Connect { client: usize },
    Arrive { link: u64 },
    ToServer { link: u64, bytes: Vec<u8> },
    ClientLeft { link: u64 },
    ToClient { link: u64, bytes: Vec<u8> },
    Flush { life: u64, front: usize },
    Outbox { life: u64, front: usize, outbox: Box<Outbox> },
    Turn { life: u64 },
    Wanted { life: u64 },
    Tick { life: u64 },
    ReadEnds { life: u64, ticket: Ticket, request: Box<ReadRequest> },
    AppendEnds { life: u64, ticket: Ticket },
    ScriptStep { life: u64, lane: usize },
    DiskDone { life: u64, done: Box<DiskDone> },
    Start,
    BootStep { life: u64 },
    End { ending: Ending, life: Option<u64> },
    WallJump,
    Full { full: bool },
    QuietBegins,
    QuietEnds,
    Finish,
}

/// One connection between a client and a front.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub(super) client: usize,
    pub(super) front: usize,
    pub(super) life: u64,
    /// Its name at the front, once it is accepted.
    pub conn: Option<ConnId>,
    pub(super) up_us: u64,
    pub(super) down_us: u64,
}

/// What will happen when, and what it takes to put something on it.
pub struct Agenda {
    pub(super) now_us: u64,
    pub(super) wall_offset_ms: i64,
    next: u64,
    pub(super) queue: BTreeMap<(u64, u64), Event>,
    prng: Prng,
    net_us: u64,
    mail_us: u64,
    disk_us: u64,
    slow_disk_one_in: u64,
    mail_last: BTreeMap<usize, u64>,
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
            wall_offset_ms: 0,
            next: 0,
            queue: BTreeMap::new(),
            prng,
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

    /// The clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let ms = self.now_us / 1000;
        Now { mono: MonoMs(ms), mono_ns: self.now_us * 1000, wall_ms: EPOCH_MS + ms as i64 + self.wall_offset_ms }
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

    /// Mail between roles: late by chance, in order on its `way`.
    pub fn mail(&mut self, way: usize, event: Event) {
        let late = self.now_us + self.prng.between(0, self.mail_us);
        let time = late.max(self.mail_last.get(&way).copied().unwrap_or(0));
        self.mail_last.insert(way, time);
        self.at(time, event);
    }

    /// Mail that has nothing before it on its way: a shard has one append at a time.
    pub(super) fn mail_alone(&mut self, event: Event) {
        let late = self.prng.between(0, self.mail_us);
        self.after(late, event);
    }

    pub(super) fn disk_delay(&mut self) -> u64 {
        let us = self.prng.between(1, self.disk_us);
        if self.slow_disk_one_in > 0 && self.prng.chance(1, self.slow_disk_one_in) { us * 100 } else { us }
    }

    /// The end of a disk operation.
    pub fn disk(&mut self, event: Event) {
        let delay = self.disk_delay();
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
