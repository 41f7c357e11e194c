//! Every schedule of three servers to a depth, with two transactions, up to two crashes and two cuts: what the random explorer only samples.
//!
//! A search walks over states of the small world (`small_world`), which holds the real machines, level by level, and never goes on from one twice
//! (`fingerprint`); so what it finds is a shortest schedule. A step is one of its moves: the oldest message of a link arrives (with those
//! that were sent in the same move), the oldest write or the epoch metadata is durable, a crash, a restart, a cut, a link that comes up, a client's write, a timer.
//!
//! After each step: no epoch has a second leader; a new leader has all that earlier epochs committed, and what a leader commits continues it; each server applies
//! a prefix of that; what was committed is durable on a quorum; a synchronised learner's log is a part of its leader's; no epoch goes back; with nothing on its way whoever follows a linked leader
//! serves, and what was proposed is committed. What the machines themselves call impossible is a finding too.
//!
//! Not walked over: pulses that are late, lost, or come one way only, and news of a link that reach one end earlier; a message between two of one
//! sender's turn; clocks but in a `Wait`, and how long a timer still runs; losing a disk; a fetch from a server that hears no quorum; snapshots, ranges from disk, rounds, observers;
//! what a dying server sent and wrote in its last moment (the same as a crash before or after). The explorer and the simulator have most of these.
//!
//! `EXHAUSTIVE_FULL=1` takes the full depths. `EXHAUSTIVE_{LANE, DEPTH, STATES, CRASHES, CUTS, PROPOSALS, WAITS}` change one thing, for all lanes or that one.

use super::fingerprint::Parts;
use super::small_world::{Left, Move, SERVERS, SmallWorld};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Beyond this a search stops: a state takes about 500 bytes, so this is below 4 GiB.
const STATES_MAX: usize = 7_000_000;

/// A search: where it begins, what may happen, how far it goes.
struct Lane {
    name: &'static str,
    start: fn(Left) -> SmallWorld,
    left: Left,
    /// In the short form, and in the full one.
    depths: (usize, usize),
}

const ALL: Left = Left { crashes: 2, cuts: 2, proposals: 1, waits: 0 };
const CRASHES: Left = Left { cuts: 0, ..ALL };
const TIMERS: Left = Left { waits: 2, ..ALL };

const LANES: &[Lane] = &[
    Lane { name: "established", start: established, left: Left { proposals: 2, ..ALL }, depths: (6, 14) },
    Lane { name: "behind", start: behind, left: ALL, depths: (6, 14) },
    Lane { name: "tail", start: tail, left: ALL, depths: (6, 14) },
    Lane { name: "established-crashes", start: established, left: Left { proposals: 2, ..CRASHES }, depths: (8, 17) },
    Lane { name: "behind-crashes", start: behind, left: CRASHES, depths: (8, 18) },
    Lane { name: "tail-crashes", start: tail, left: CRASHES, depths: (8, 18) },
    Lane { name: "established-timers", start: established, left: Left { proposals: 2, ..TIMERS }, depths: (5, 10) },
    Lane { name: "behind-timers", start: behind, left: TIMERS, depths: (5, 10) },
    Lane { name: "tail-timers", start: tail, left: TIMERS, depths: (5, 10) },
];

/// Server 3 leads, without a history, and all follow it.
fn established(left: Left) -> SmallWorld {
    let mut world = SmallWorld::new([&[], &[], &[]], 0, left);
    let goes_on = |m: &Move| matches!(m, Move::Deliver { .. } | Move::Write(_) | Move::Store(_));
    while let Some(next) = world.moves().into_iter().find(goes_on) {
        world.make(next);
    }
    assert!((0..SERVERS).any(|n| world.life(n).is_some_and(|life| life.is_established())), "nobody leads");
    world
}

/// All look for a leader; server 1 lacks what the others hold and was committed.
fn behind(left: Left) -> SmallWorld {
    let history = SmallWorld::history(1);
    SmallWorld::new([&[], &history, &history], 1, left)
}

/// All look for a leader; server 1 alone holds something, which was never committed.
fn tail(left: Left) -> SmallWorld {
    SmallWorld::new([&SmallWorld::history(1), &[], &[]], 0, left)
}

/// A schedule, and what was wrong at its end.
struct Finding {
    moves: Vec<Move>,
    what: String,
}

/// What a search has shown.
struct Shown {
    depth: usize,
    states: usize,
    moves: usize,
    /// It ended before its depth, having met too many states.
    stopped: bool,
    finding: Option<Finding>,
}

struct Search {
    start: SmallWorld,
    parts: Parts,
    seen: HashSet<u64>,
    /// Whence each state came: the number of another one, and of one of its moves.
    came: Vec<(u32, u8)>,
    moves: usize,
}

impl Search {
    fn new(mut start: SmallWorld) -> Search {
        let mut parts = Parts::default();
        let seen = HashSet::from([parts.seal(&mut start, None)]);
        Search { start, parts, seen, came: vec![(0, 0)], moves: 0 }
    }

    fn run(&mut self, depth_max: usize, states_max: usize) -> Shown {
        let mut level = vec![(self.start.clone(), 0)];
        for depth in 1..=depth_max {
            let mut next = Vec::new();
            for (world, number) in level {
                if let Err(finding) = self.go_on(&world, number, (depth < depth_max).then_some(&mut next)) {
                    return self.shown(depth, false, Some(finding));
                }
                if self.came.len() > states_max {
                    return self.shown(depth - 1, true, None);
                }
            }
            level = next;
        }
        self.shown(depth_max, false, None)
    }

    fn shown(&self, depth: usize, stopped: bool, finding: Option<Finding>) -> Shown {
        Shown { depth, states: self.came.len(), moves: self.moves, stopped, finding }
    }

    /// Every move from `world`. The states of the last level aren't kept.
    fn go_on(&mut self, world: &SmallWorld, number: u32, mut next: Option<&mut Vec<(SmallWorld, u32)>>) -> Result<(), Finding> {
        for (nth, what) in world.moves().into_iter().enumerate() {
            let mut after = world.clone();
            self.moves += 1;
            match try_move(&mut after, what) {
                Ok(false) => {}
                Ok(true) => {
                    let print = self.parts.seal(&mut after, Some(world));
                    if self.seen.insert(print) {
                        self.came.push((number, nth as u8));
                        if let Some(next) = &mut next {
                            next.push((after, self.came.len() as u32 - 1));
                        }
                    }
                }
                Err(wrong) => return Err(Finding { moves: self.path_to(number, what), what: wrong }),
            }
        }
        Ok(())
    }

    fn path_to(&self, mut number: u32, last: Move) -> Vec<Move> {
        let mut nths = Vec::new();
        while number != 0 {
            let (before, nth) = self.came[number as usize];
            nths.push(nth);
            number = before;
        }
        let mut world = self.start.clone();
        let mut path = Vec::new();
        for nth in nths.into_iter().rev() {
            let what = world.moves()[usize::from(nth)];
            world.make(what);
            path.push(what);
        }
        path.push(last);
        path
    }
}

/// Whether anything happened, or what was wrong then.
fn try_move(world: &mut SmallWorld, what: Move) -> Result<bool, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let happened = world.make(what);
        world.check();
        happened
    }));
    outcome.map_err(|panic| match panic.downcast::<String>() {
        Ok(words) => *words,
        Err(panic) => panic.downcast_ref::<&str>().map_or_else(|| "a panic".to_owned(), |words| (*words).to_owned()),
    })
}

fn number(name: &str) -> Option<usize> {
    std::env::var(format!("EXHAUSTIVE_{name}")).ok().and_then(|v| v.parse().ok())
}

fn left_of(lane: &Lane) -> Left {
    let or = |name: &str, usual: u8| number(name).map_or(usual, |n| n as u8);
    Left {
        crashes: or("CRASHES", lane.left.crashes),
        cuts: or("CUTS", lane.left.cuts),
        proposals: or("PROPOSALS", lane.left.proposals),
        waits: or("WAITS", lane.left.waits),
    }
}

/// One lane, printed as a line of the table.
fn search(lane: &Lane) -> Option<Finding> {
    let (short, full) = lane.depths;
    let depth = number("DEPTH").unwrap_or(if number("FULL") == Some(1) { full } else { short });
    let shown = Search::new((lane.start)(left_of(lane))).run(depth, number("STATES").unwrap_or(STATES_MAX));
    let end = match &shown.finding {
        Some(finding) => finding.what.as_str(),
        None if shown.stopped => "stopped",
        None => "nothing",
    };
    eprintln!("exhaustive\t{}\t{}\t{}\t{}\t{end}", lane.name, shown.depth, shown.states, shown.moves);
    for (n, what) in shown.finding.iter().flat_map(|finding| &finding.moves).enumerate() {
        eprintln!("{:4} {what:?}", n + 1);
    }
    shown.finding
}

#[test]
fn no_schedule_to_a_depth_loses_what_was_committed() {
    let only = std::env::var("EXHAUSTIVE_LANE").ok();
    let chosen = LANES.iter().filter(|lane| only.as_ref().is_none_or(|o| o == lane.name));
    let findings: Vec<String> = chosen.filter_map(|lane| search(lane).map(|finding| format!("{}: {}", lane.name, finding.what))).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}
