//! What one run is made of: every choice that isn't made event by event, drawn from the seed, printed in full, overridable.
//!
//! Swarm testing: each run leaves out some kinds of operation and of fault, so that the others get room. Leaves to others: the
//! choices made along the way (they come from the streams of the same seed).

use crate::base::prng::Prng;
use std::fmt;

/// How a run ends a server's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The power fails: any subset of unsynced sectors and names is kept.
    Power,
    /// The process is killed: what was written stays, what was in flight may be there or not.
    Kill,
    /// An orderly stop.
    Stop,
}

macro_rules! options {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:ty,)*) => {
        /// See the module's description. Times are virtual milliseconds unless the name says otherwise.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Options { $($(#[doc = $doc])* pub $name: $kind,)* }

        impl Options {
            /// Sets one field from text.
            ///
            /// # Errors
            /// What is wrong with the name or the value.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
                match name {
                    $(stringify!($name) => {
                        self.$name = value.parse().map_err(|_| format!("{name}: {value:?} is no {}", stringify!($kind)))?;
                    })*
                    _ => return Err(format!("no option is named {name:?}; there are: {}", [$(stringify!($name)),*].join(", "))),
                }
                Ok(())
            }
        }

        impl fmt::Display for Options {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let fields = [$(format!(concat!(stringify!($name), "={}"), self.$name)),*];
                f.write_str(&fields.join(" "))
            }
        }
    };
}

options! {
    /// Where every draw comes from.
    seed: u64,
    /// Servers; 1: a lone one.
    servers: u8,
    /// How many of them observe.
    observers: u8,
    /// Longest delay of a message between servers in microseconds.
    peer_us: u32,
    /// Faults of servers and network before all is healed.
    faults: u8,
    /// Pause between them, on average.
    fault_gap_ms: u32,
    /// Longest time that a fault lasts.
    fault_ms: u32,
    /// Weight of ends of servers.
    crashes: u8,
    /// Weight of ends between the effects of one turn.
    mid_turns: u8,
    /// Weight of processes that stand still.
    pauses: u8,
    /// Weight of directions that are blocked.
    partitions: u8,
    /// Weight of connections that break.
    breaks: u8,
    /// Weight of servers whose messages or disk are slow.
    slows: u8,
    /// Weight of disks that are wiped.
    wipes: u8,
    /// Weight of the case that those who lack something come back first.
    weakens: u8,
    /// Weight of clients that lose their connection without a word.
    losses: u8,
    /// How far clocks run fast or slow, in thousandths.
    drift_permille: u32,
    /// KiB of batches that a server keeps in memory for others.
    cache_kb: u32,
    /// Time in which the servers are started first.
    start_ms: u32,
    /// Stripes of the log.
    shards: u8,
    /// Executors with connections.
    fronts: u8,
    /// Clients.
    clients: u8,
    /// Requests that clients send in all before the quiet phase.
    requests: u32,
    /// Requests that a client leaves unanswered at most.
    pipeline: u8,
    /// Pause between a client's bursts, on average.
    think_ms: u32,
    /// KiB of a log segment.
    segment_kb: u32,
    /// KiB of the first one, if that is less.
    first_segment_kb: u32,
    /// Transactions between snapshots.
    snap_count: u32,
    /// Session timeouts that clients ask for.
    session_timeout_ms: u32,
    /// Unit of session expiry.
    tick_ms: u32,
    /// Ends of the server's life before the last one.
    endings: u8,
    /// Of 100 endings, how many are power failures.
    power_percent: u8,
    /// Of 100 endings, how many are orderly; the rest are kills.
    stop_percent: u8,
    /// Of 100 power failures and kills, how many come while the server starts again.
    boot_crash_percent: u8,
    /// Longest delay of a message in microseconds.
    net_us: u32,
    /// Longest delay of mail between roles in microseconds.
    mail_us: u32,
    /// Longest time of a disk operation in microseconds.
    disk_us: u32,
    /// One of so many disk operations is a hundred times as slow; 0: none.
    slow_disk_one_in: u32,
    /// This write or sync fails; 0: none.
    fail_op: u64,
    /// The device is full for a time; 0: never, else the length.
    full_ms: u32,
    /// Flipped bits or stale sectors at rest; the server may refuse to start then.
    rot: u8,
    /// Steps of the wall clock.
    wall_jumps: u8,
    /// Messages arrive in pieces.
    cuts: bool,
    /// Weight of creates.
    creates: u8,
    /// Weight of sets.
    sets: u8,
    /// Weight of deletes.
    deletes: u8,
    /// Weight of multis.
    multis: u8,
    /// Weight of reads.
    reads: u8,
    /// Weight of watches.
    watches: u8,
    /// Weight of sync.
    syncs: u8,
    /// Weight of ACL changes and authentication.
    acls: u8,
    /// Weight of requests that are refused.
    bad: u8,
    /// Weight of quotas. They aren't enforced: limits count once they are applied, which no client can tell from outside.
    quotas: u8,
    /// Nodes that one client makes first, so that a snapshot takes many turns.
    bulk: u16,
    /// Weight of disconnects, moves, closes and silence.
    sessions: u8,
    /// Whether TTL nodes are enabled.
    extended_types: bool,
    /// Whether permissions count.
    skip_acl: bool,
    /// The power fails at this disk step; 0: it doesn't. For the crash sweep.
    crash_at_step: u64,
}

impl Options {
    /// The options of `seed`.
    #[must_use]
    pub fn draw(seed: u64) -> Options {
        let mut p = Prng::from_seed(seed).stream("options");
        let p = &mut p;
        let pick = |p: &mut Prng, of: &[u64]| of[p.index(of.len())];
        // A quarter of the kinds is left out of each run; those that most others need stay.
        let weight = |p: &mut Prng, most: u64| if p.chance(1, 4) { 0 } else { p.between(1, most) as u8 };
        let mut options = Options {
            seed,
            servers: 1,
            observers: 0,
            peer_us: 1,
            faults: 0,
            fault_gap_ms: 1,
            fault_ms: 1,
            crashes: 0,
            mid_turns: 0,
            pauses: 0,
            partitions: 0,
            breaks: 0,
            slows: 0,
            wipes: 0,
            weakens: 0,
            losses: 0,
            drift_permille: 0,
            cache_kb: 0,
            start_ms: 0,
            shards: pick(p, &[1, 2, 4]) as u8,
            fronts: pick(p, &[1, 1, 2]) as u8,
            clients: p.between(1, 6) as u8,
            requests: p.between(40, 500) as u32,
            pipeline: pick(p, &[1, 3, 16, 40]) as u8,
            think_ms: pick(p, &[1, 5, 40, 200]) as u32,
            segment_kb: pick(p, &[16, 32, 64, 256]) as u32,
            first_segment_kb: pick(&mut Prng::from_seed(seed).stream("first segment"), &[16, 256]) as u32,
            snap_count: pick(p, &[8, 20, 60, 100_000]) as u32,
            session_timeout_ms: pick(p, &[800, 2000, 6000]) as u32,
            tick_ms: pick(p, &[100, 200, 400]) as u32,
            endings: p.below(5) as u8,
            power_percent: pick(p, &[100, 60, 0]) as u8,
            stop_percent: pick(p, &[0, 20, 60]) as u8,
            boot_crash_percent: pick(p, &[0, 30]) as u8,
            net_us: pick(p, &[50, 500, 20_000]) as u32,
            mail_us: pick(p, &[0, 20, 500, 5000]) as u32,
            disk_us: pick(p, &[20, 300, 5000]) as u32,
            slow_disk_one_in: pick(p, &[0, 0, 30]) as u32,
            fail_op: 0,
            full_ms: 0,
            rot: 0,
            wall_jumps: pick(p, &[0, 0, 3]) as u8,
            cuts: p.chance(1, 3),
            creates: p.between(2, 9) as u8,
            sets: weight(p, 8),
            deletes: weight(p, 6),
            multis: weight(p, 4),
            reads: weight(p, 8),
            watches: weight(p, 6),
            syncs: weight(p, 2),
            acls: weight(p, 2),
            bad: weight(p, 2),
            sessions: weight(p, 2),
            quotas: pick(p, &[0, 0, 0, 2]) as u8,
            bulk: pick(p, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 300]) as u16,
            extended_types: p.chance(1, 2),
            skip_acl: p.chance(1, 8),
            crash_at_step: 0,
        };
        // Faults of the disk are rare guests, so that most runs judge the rest.
        match p.below(8) {
            0 => options.fail_op = p.between(1, 400),
            1 => options.full_ms = p.between(50, 2000) as u32,
            2 => options.rot = p.between(1, 3) as u8,
            _ => {}
        }
        options
    }

    /// The options of `seed` for an ensemble; `servers` 0: of 3, 5 or 7, and perhaps an observer.
    #[must_use]
    pub fn draw_ensemble(seed: u64, servers: u8) -> Options {
        let mut p = Prng::from_seed(seed).stream("ensemble");
        let p = &mut p;
        let pick = |p: &mut Prng, of: &[u64]| of[p.index(of.len())];
        let weight = |p: &mut Prng, most: u64| if p.chance(1, 3) { 0 } else { p.between(1, most) as u8 };
        let mut options = Options::draw(seed);
        let voters = if servers == 0 { pick(p, &[3, 3, 3, 5, 5, 7]) as u8 } else { servers };
        let observers = u8::from(p.chance(1, 6));
        options.servers = voters + observers;
        options.observers = observers;
        options.peer_us = pick(p, &[30, 300, 3000, 40_000]) as u32;
        options.faults = if p.chance(1, 10) { 0 } else { p.between(1, 12) as u8 };
        options.fault_gap_ms = pick(p, &[20, 200, 1000]) as u32;
        options.fault_ms = pick(p, &[100, 1000, 4000]) as u32;
        options.crashes = p.between(1, 6) as u8;
        options.mid_turns = weight(p, 3);
        options.pauses = weight(p, 3);
        options.partitions = weight(p, 5);
        options.breaks = weight(p, 3);
        options.slows = weight(p, 2);
        options.wipes = weight(p, 2);
        options.losses = weight(p, 2);
        options.drift_permille = pick(p, &[0, 0, 10, 100]) as u32;
        options.cache_kb = pick(p, &[0, 1, 16, 1024]) as u32;
        options.start_ms = pick(p, &[0, 100, 2000]) as u32;
        options.requests = p.between(30, 250) as u32;
        options.think_ms = pick(p, &[1, 5, 40, 200]) as u32;
        options.full_ms = if p.chance(1, 8) { p.between(200, 4000) as u32 } else { 0 };
        options.session_timeout_ms = pick(p, &[2000, 4000, 8000]) as u32;
        options.endings = 0;
        options.mail_us = pick(p, &[0, 20, 500]) as u32;
        options.net_us = pick(p, &[50, 500, 5000]) as u32;
        options.lean(Prng::from_seed(seed).stream("lean").below(32));
        options
    }

    /// One run in five leans towards a kind of trouble that several things must coincide for.
    fn lean(&mut self, towards: u64) {
        let lively = |o: &mut Options| (o.faults, o.fault_gap_ms) = (o.faults.max(8), o.fault_gap_ms.min(200));
        match towards {
            // Leaders that stand still for longer than the others wait, while clients ask them what a quorum must confirm.
            0 => {
                (self.pauses, self.crashes, self.mid_turns, self.fault_ms) = (6, 1, 0, 4000);
                (self.syncs, self.bad, self.think_ms, self.session_timeout_ms) = (9, 6, 40, 8000);
                self.clients = self.clients.max(4);
                lively(self);
            }
            // Candidates that see different things over a slow network.
            1 => {
                (self.partitions, self.crashes, self.breaks, self.peer_us) = (5, 4, 3, 40_000);
                (self.faults, self.fault_gap_ms) = (12, 20);
            }
            // A shard of the disk that is far behind the others.
            2 => {
                (self.shards, self.disk_us, self.slow_disk_one_in) = (4, 5000, 8);
                (self.partitions, self.pauses, self.think_ms) = (5, 3, 5);
                lively(self);
            }
            // Servers that lack something come back first; nothing else gets in the way.
            3 => {
                (self.rot, self.weakens, self.faults, self.fault_gap_ms) = (3, 6, 5, 3000);
                (self.crashes, self.mid_turns, self.pauses, self.partitions) = (1, 0, 0, 0);
                (self.breaks, self.slows, self.wipes, self.think_ms) = (0, 0, 0, 200);
            }
            // Servers that need a snapshot, and end while they take it or found an ensemble.
            4 => {
                (self.wipes, self.snap_count, self.segment_kb, self.cache_kb) = (4, 8, 16, 0);
                (self.crashes, self.power_percent) = (8, 50);
                lively(self);
            }
            // Servers that end while one shard is ahead of another.
            6 => {
                (self.shards, self.disk_us, self.think_ms) = (4, 3000, 1);
                (self.crashes, self.mid_turns, self.pauses, self.partitions) = (6, 0, 0, 0);
                (self.clients, self.pipeline) = (self.clients.max(6), self.pipeline.max(4));
                lively(self);
            }
            // Leaders without room.
            5 => {
                self.full_ms = 2000;
                lively(self);
            }
            _ => {}
        }
    }

    /// Servers that vote.
    #[must_use]
    pub fn voters(&self) -> usize {
        usize::from(self.servers.saturating_sub(self.observers))
    }
}
