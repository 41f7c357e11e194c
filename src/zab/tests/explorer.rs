//! Random faults on whole ensembles: safety while they last, liveness after they end.

use super::world::{Event, World};
use crate::base::ids::ServerId;
use crate::zab::{Input, Persisted, Role};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How long faults last, ms.
const FAULTS_MS: u64 = 6000;
/// After that a leader is established and has committed a write within this, ms.
const LEADER_WITHIN_MS: u64 = 8000;
/// And everybody has applied it within this, ms: a leader makes way for a voter with a later promise at most once in 10 s.
const ALL_WITHIN_MS: u64 = 30_000;

/// What a seed has shown.
#[derive(Default, Debug)]
struct Shown {
    elections: u64,
    committed: u64,
    epochs: u64,
    catch_ups: u64,
    worst_ms: u64,
    worst_all_ms: u64,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn whatever_happens_nothing_committed_is_lost_and_a_healed_ensemble_elects() {
    let (first, seeds) = (number("ZAB_FIRST", 1), number("ZAB_SEEDS", 1000));
    let mut all = Shown::default();
    for seed in first..first + seeds {
        match catch_unwind(AssertUnwindSafe(|| explore(seed))) {
            Ok(shown) => {
                all.elections += shown.elections;
                all.committed += shown.committed;
                all.epochs += shown.epochs;
                all.catch_ups += shown.catch_ups;
                all.worst_ms = all.worst_ms.max(shown.worst_ms);
                all.worst_all_ms = all.worst_all_ms.max(shown.worst_all_ms);
            }
            Err(panic) => {
                eprintln!("failed at seed {seed}, number {} (ZAB_FIRST={seed} ZAB_SEEDS=1 ZAB_TRACE=1)", seed - first + 1);
                std::panic::resume_unwind(panic);
            }
        }
    }
    eprintln!("{seeds} seeds: {all:?}");
    assert!(all.elections > seeds * 2 && all.committed > seeds * 5, "the faults leave nothing to see: {all:?}");
    assert!(all.epochs < all.elections * 3, "failed rounds burn epochs: {all:?}");
}

fn explore(seed: u64) -> Shown {
    let mut world = World::new(seed, 3, 0);
    let shape = world.prng.below(100);
    let (voters, observers) = if shape < 55 {
        (3, 0)
    } else if shape < 70 {
        (3, 1)
    } else {
        (5, 0)
    };
    world = World::new(seed, voters, observers);
    world.prng = crate::base::prng::Prng::from_seed(seed).stream("world");
    match world.prng.below(6) {
        0 => world.set_bootstrap_quorum(),
        1 => world.make_founder(ServerId(1)),
        _ => {}
    }
    world.delay_ms = [2, 10, 40][world.prng.index(3)];
    world.disk_ms = [2, 10, 60][world.prng.index(3)];
    world.pulses_lost_percent = [0, 0, 5, 30][world.prng.index(4)];
    for id in world.ids() {
        let at = world.prng.below(400);
        world.at(at, Event::Restart { id });
    }
    world.faults = true;
    world.at(300, Event::Fault);
    world.at(100, Event::Client);
    world.run(FAULTS_MS, |_| false);
    world.heal();
    liveness(&mut world)
}

fn liveness(world: &mut World) -> Shown {
    let healed = world.time;
    let before = world.oracle.committed.len();
    let led = world.run(healed + LEADER_WITHIN_MS, |w| w.oracle.committed.len() > before && w.established_leader().is_some());
    assert!(led, "no leader committed a write within {LEADER_WITHIN_MS} ms: {}", words(world));
    let worst_ms = world.time - healed;
    let all = world.run(healed + ALL_WITHIN_MS, |w| {
        let least = before + 1;
        w.servers.iter().all(|s| s.keeper.as_ref().is_some_and(|k| k.applied >= least && !matches!(k.zab.role(), Role::Looking)))
    });
    assert!(all, "not everybody follows within {ALL_WITHIN_MS} ms: {}", words(world));
    let epochs = world.servers.iter().map(|s| u64::from(s.disk.persisted.accepted_epoch)).max().unwrap_or(0);
    Shown {
        elections: u64::from(world.oracle.elections),
        committed: world.oracle.committed.len() as u64,
        epochs,
        catch_ups: u64::from(world.catch_ups),
        worst_ms,
        worst_all_ms: world.time - healed,
    }
}

pub(super) fn words(world: &World) -> String {
    let each = world.servers.iter().map(|s| match &s.keeper {
        Some(k) => format!("{:?}: {:?} {:?} at {:?} {:?}", s.id, k.zab.role(), k.zab.standing(), s.disk.end(), s.disk.persisted),
        None => format!("{:?}: down", s.id),
    });
    each.collect::<Vec<_>>().join("\n")
}

impl World {
    pub(super) fn client(&mut self) {
        let pause = self.prng.between(10, 120);
        self.at(self.time + pause, Event::Client);
        // Whoever believes to lead is asked, a deposed one too.
        for id in self.ids() {
            let asks = self.server(id).keeper.as_ref().is_some_and(|k| k.is_established());
            if asks && self.is_awake(id) {
                if self.prng.chance(1, 2) {
                    self.open_round(id);
                }
                for _ in 0..self.prng.below(3) {
                    self.propose(id);
                }
            }
        }
    }

    pub(super) fn fault(&mut self) {
        if !self.faults {
            return;
        }
        let pause = self.prng.between(10, 250);
        self.at(self.time + pause, Event::Fault);
        let ids = self.ids();
        let id = match self.established_leader() {
            Some(leader) if self.prng.chance(1, 3) => leader,
            _ => ids[self.prng.index(ids.len())],
        };
        let other = ids[self.prng.index(ids.len())];
        match self.prng.below(20) {
            0..=3 => self.crash_for_a_while(id),
            4 => {
                for id in ids {
                    self.crash_for_a_while(id);
                }
            }
            5..=6 => self.hurt(id),
            7 => {
                let ms = if self.prng.chance(1, 2) { self.prng.between(20, 300) } else { self.prng.between(300, 2000) };
                self.pause(id, ms);
            }
            8..=9 if id != other => self.block(id, other),
            10 => self.isolate(id),
            11 => self.split(),
            12..=14 => self.cut.clear(),
            15..=17 if id != other => self.break_link(id, other),
            18 if self.is_awake(id) && self.server(id).keeper.is_some() => self.turn(id, Input::Abdicate),
            _ => {}
        }
    }

    fn crash_for_a_while(&mut self, id: ServerId) {
        self.crash(id);
        let ms = if self.prng.chance(2, 3) { self.prng.between(1, 200) } else { self.prng.between(200, 2500) };
        self.at(self.time + ms, Event::Restart { id });
    }

    /// The disk is lost, or the end of the log, or the epoch metadata; never of two servers at once, and not before all hold something.
    fn hurt(&mut self, id: ServerId) {
        let sound = |s: &super::world::Server| s.disk.persisted.current_epoch > 0 && !s.disk.persisted.repairing;
        if self.has_bootstrap_quorum() || !self.servers.iter().all(sound) {
            return;
        }
        self.crash(id);
        let time = self.time;
        let harm = self.prng.index(3);
        let lost = self.prng.below(8) as usize;
        self.trace(|| format!("{id:?} loses {}", ["its disk", "its tail", "its metadata"][harm]));
        let server = self.server(id);
        server.hurt_at = Some(time);
        let disk = &mut server.disk;
        match harm {
            0 => *disk = Default::default(),
            1 => {
                disk.log.truncate(disk.log.len().saturating_sub(lost));
                disk.durable = disk.log.len();
                disk.committed = disk.committed.min(disk.end().zxid);
                disk.persisted.repairing = true;
            }
            // As recovery leaves it: a promise beyond what batches carry is forgotten.
            _ => {
                let accepted_epoch = disk.end().zxid.epoch();
                disk.persisted = Persisted { accepted_epoch, current_epoch: 0, repairing: true, ..disk.persisted };
            }
        }
        let ms = self.prng.between(1, 1500);
        self.at(self.time + ms, Event::Restart { id });
    }

    fn isolate(&mut self, id: ServerId) {
        let (hears, is_heard) = (self.prng.chance(1, 3), self.prng.chance(1, 3));
        for other in self.ids().into_iter().filter(|o| *o != id) {
            if !hears {
                self.block(other, id);
            }
            if !is_heard {
                self.block(id, other);
            }
        }
    }

    fn split(&mut self) {
        let ids = self.ids();
        let sides: Vec<bool> = ids.iter().map(|_| self.prng.chance(1, 2)).collect();
        for (a, side_a) in ids.iter().zip(&sides) {
            for (b, side_b) in ids.iter().zip(&sides) {
                if side_a != side_b {
                    self.block(*a, *b);
                }
            }
        }
    }
}
