//! The network between servers: connections as two ordered streams of bytes, which break at any byte, stall, or are learnt of late.
//!
//! A blocked direction delays what is under way, it loses nothing: bytes (and the news that the other end is gone) wait until
//! the direction is open again or the connection breaks. So half-open connections come by themselves. Leaves to others: what the bytes
//! mean (`peers`), which directions are blocked when (`world::nemesis`).

use super::agenda::{Agenda, Event, Who};
use crate::model::peer::Lane;
use std::collections::{BTreeMap, VecDeque};

/// What arrives at one end of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// It is open.
    Open,
    /// Bytes.
    Bytes(Vec<u8>),
    /// It is gone, or couldn't be opened.
    Gone,
}

#[derive(Debug)]
struct End {
    who: Who,
    /// The process at this end still uses it.
    open: bool,
    /// What is under way to this end.
    coming: VecDeque<Arrival>,
    /// When the last of it arrives.
    last_us: u64,
    /// Arrivals that came to a blocked direction.
    held: usize,
    /// Its own kernel gave it up: nothing is waited for any more.
    broken: bool,
    /// Its host went down: nobody there answers.
    dead: bool,
}

/// One connection. End 0 dialled, end 1 accepted.
#[derive(Debug)]
struct Wire {
    lane: Lane,
    ends: [End; 2],
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Net {
    next: u64,
    wires: BTreeMap<u64, Wire>,
    /// From, to.
    blocked: Vec<Vec<bool>>,
    /// What each server's messages take longer, in microseconds.
    pub slow_us: Vec<u64>,
    /// Longest delay of a message in microseconds.
    delay_us: u64,
}

/// Time after which a connection that nobody answers is given up.
const DIAL_US_MAX: u64 = 1_000_000;
/// Time in which the end of a process is learnt of at last, without its kernel's help.
const LATE_US_MAX: u64 = 4_000_000;

impl Net {
    /// Between so many servers; a message takes `delay_us` at most.
    #[must_use]
    pub fn new(servers: usize, delay_us: u64) -> Net {
        let blocked = vec![vec![false; servers]; servers];
        Net { next: 1, wires: BTreeMap::new(), blocked, slow_us: vec![0; servers], delay_us }
    }

    /// Whether nothing gets from one to the other.
    #[must_use]
    pub fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked[from][to]
    }

    /// Whether some direction is blocked, or somebody uses a connection that the other end has given up.
    #[must_use]
    pub fn is_troubled(&self) -> bool {
        self.is_blocked_anywhere() || self.wires.values().any(|w| w.ends[0].open != w.ends[1].open)
    }

    /// Whether some direction is blocked.
    #[must_use]
    pub fn is_blocked_anywhere(&self) -> bool {
        self.blocked.iter().flatten().any(|b| *b)
    }

    /// Connections that both ends still use.
    #[must_use]
    pub fn live(&self) -> Vec<u64> {
        self.wires.iter().filter(|(_, w)| w.ends.iter().all(|e| e.open)).map(|(id, _)| *id).collect()
    }

    /// Who sits at an end.
    #[must_use]
    pub fn who(&self, wire: u64, end: usize) -> Option<Who> {
        self.wires.get(&wire).map(|w| w.ends[end].who)
    }

    /// Bytes on their way to an end, or waiting for their direction to open.
    #[must_use]
    pub fn waiting_bytes(&self, wire: u64, end: usize) -> usize {
        let len = |arrival: &Arrival| if let Arrival::Bytes(bytes) = arrival { bytes.len() } else { 0 };
        self.wires.get(&wire).map_or(0, |w| w.ends[end].coming.iter().map(len).sum())
    }

    /// What a connection is for.
    #[must_use]
    pub fn lane(&self, wire: u64) -> Option<Lane> {
        self.wires.get(&wire).map(|w| w.lane)
    }
}

impl Agenda {
    /// Sends something towards an end, in order.
    fn towards(&mut self, wire: u64, end: usize, arrival: Arrival, extra_us: u64) {
        let Some(known) = self.net.wires.get_mut(&wire) else { return };
        let (from, to) = (known.ends[1 - end].who.node, known.ends[end].who.node);
        let delay = self.net.delay_us + self.net.slow_us[from] + self.net.slow_us[to];
        let late = self.now_us + self.prng.between(1, delay) + extra_us;
        let target = &mut known.ends[end];
        target.last_us = late.max(target.last_us);
        target.coming.push_back(arrival);
        let time = target.last_us;
        self.at(time, Event::Wire { wire, end });
    }

    /// A server connects to another. Both hear of it, or only the first that it failed.
    pub fn dial(&mut self, who: Who, peer: usize, peer_life: Option<u64>, lane: Lane) -> u64 {
        let id = self.net.next;
        self.net.next += 1;
        let end = |who: Who, open: bool| End { who, open, coming: VecDeque::new(), last_us: 0, held: 0, broken: false, dead: false };
        let far = Who { node: peer, life: peer_life.unwrap_or(0) };
        self.net.wires.insert(id, Wire { lane, ends: [end(who, true), end(far, false)] });
        let blocked = self.net.is_blocked(who.node, peer) || self.net.is_blocked(peer, who.node);
        if blocked || peer_life.is_none() {
            let late = if blocked { DIAL_US_MAX } else { 0 };
            if let Some(wire) = self.net.wires.get_mut(&id) {
                // The news comes from its own kernel, whatever is blocked.
                wire.ends[1].who = who;
            }
            self.towards(id, 0, Arrival::Gone, late);
            return id;
        }
        if let Some(wire) = self.net.wires.get_mut(&id) {
            wire.ends[1].open = true;
        }
        self.towards(id, 1, Arrival::Open, 0);
        id
    }

    /// The accepting end has taken the connection: the dialling one hears of it.
    pub fn accepted(&mut self, wire: u64) {
        self.towards(wire, 0, Arrival::Open, 0);
    }

    /// A server sends bytes on its end.
    pub fn wire_send(&mut self, wire: u64, end: usize, bytes: Vec<u8>) {
        let Some(known) = self.net.wires.get_mut(&wire).filter(|_| !bytes.is_empty()) else { return };
        if known.ends[1 - end].open {
            return self.towards(wire, 1 - end, Arrival::Bytes(bytes), 0);
        }
        if !known.ends[1 - end].dead && known.ends[end].open {
            // A living kernel says at once that the connection is no more.
            let own = &mut known.ends[end];
            own.coming.clear();
            own.last_us = self.now_us;
            self.towards(wire, end, Arrival::Gone, 0);
        }
    }

    /// A server closes its end; the other hears of it behind all bytes.
    pub fn wire_close(&mut self, wire: u64, end: usize) {
        let Some(known) = self.net.wires.get_mut(&wire) else { return };
        known.ends[end].open = false;
        known.ends[end].coming.clear();
        let other = known.ends[1 - end].open;
        if other {
            self.towards(wire, 1 - end, Arrival::Gone, 0);
        } else {
            self.net.wires.remove(&wire);
        }
    }

    /// What arrives at an end now. Nothing while its direction is blocked: it is asked for again later.
    pub fn wire_next(&mut self, wire: u64, end: usize) -> Option<Arrival> {
        let known = self.net.wires.get_mut(&wire)?;
        let (from, to) = (known.ends[1 - end].who.node, known.ends[end].who.node);
        if self.net.blocked[from][to] && !known.ends[end].broken {
            known.ends[end].held += 1;
            return None;
        }
        let arrival = known.ends[end].coming.pop_front()?;
        if arrival == Arrival::Gone {
            known.ends[end].open = false;
            if !known.ends[1 - end].open {
                self.net.wires.remove(&wire);
            }
        }
        Some(arrival)
    }

    /// A connection breaks somewhere in the bytes that are under way. Both ends learn of it, each in its own time; `late`: one of
    /// them much later.
    pub fn wire_break(&mut self, wire: u64, late: bool) {
        let late_end = self.prng.index(2);
        for end in 0..2 {
            let extra = if late && end == late_end { self.prng.between(1000, LATE_US_MAX) } else { self.prng.between(0, 20_000) };
            self.lose_tail(wire, end);
            let Some(known) = self.net.wires.get_mut(&wire) else { return };
            known.ends[end].broken = true;
            let held = std::mem::take(&mut known.ends[end].held);
            (0..held).for_each(|_| self.after(1, Event::Wire { wire, end }));
            self.towards(wire, end, Arrival::Gone, extra);
        }
    }

    /// Some of what is under way to an end never arrives: everything behind a byte.
    fn lose_tail(&mut self, wire: u64, end: usize) {
        let Some(known) = self.net.wires.get_mut(&wire) else { return };
        let coming = &mut known.ends[end].coming;
        let keep = self.prng.index(coming.len() + 1);
        let mut lost = coming.split_off(keep);
        // The news that it is open stays: a connection that breaks was there.
        if let Some(Arrival::Bytes(bytes)) = lost.pop_front() {
            let part = self.prng.index(bytes.len() + 1);
            coming.push_back(Arrival::Bytes(bytes[..part].to_vec()));
        }
    }

    /// A process ended. With `abruptly`, its host with it: what it sent last may be lost, and the others learn of its end late.
    pub fn process_ended(&mut self, who: Who, abruptly: bool) {
        let of_it: Vec<(u64, usize)> = self
            .net
            .wires
            .iter()
            .flat_map(|(id, w)| (0..2).filter(|end| w.ends[*end].who == who && w.ends[*end].open).map(|end| (*id, end)))
            .collect();
        for (wire, end) in of_it {
            let other = 1 - end;
            if let Some(known) = self.net.wires.get_mut(&wire) {
                known.ends[end].open = false;
                known.ends[end].dead = abruptly;
                known.ends[end].coming.clear();
                if !known.ends[other].open {
                    self.net.wires.remove(&wire);
                    continue;
                }
            }
            let mut extra = 0;
            if abruptly {
                self.lose_tail(wire, other);
                extra = self.prng.between(0, LATE_US_MAX);
            }
            self.towards(wire, other, Arrival::Gone, extra);
        }
    }

    /// Blocks exactly these directions; what waited where it is open again goes on.
    pub fn block(&mut self, blocked: &[(usize, usize)]) {
        for row in &mut self.net.blocked {
            row.fill(false);
        }
        for (from, to) in blocked {
            self.net.blocked[*from][*to] = from != to;
        }
        let mut due = Vec::new();
        for (id, wire) in &mut self.net.wires {
            for end in 0..2 {
                let (from, to) = (wire.ends[1 - end].who.node, wire.ends[end].who.node);
                if !self.net.blocked[from][to] {
                    due.extend(std::iter::repeat_n((*id, end), std::mem::take(&mut wire.ends[end].held)));
                }
            }
        }
        for (wire, end) in due {
            // In order: they arrive at one moment, or with what is sent from now on behind them.
            self.after(1, Event::Wire { wire, end });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use crate::sim::options::Options;

    fn agenda() -> Agenda {
        let options = Options { servers: 2, ..Options::draw(1) };
        Agenda::new(&options, Prng::from_seed(1), false)
    }

    /// Lets everything happen and returns what arrived at each end.
    fn drain(agenda: &mut Agenda) -> [Vec<Arrival>; 2] {
        let mut got = [Vec::new(), Vec::new()];
        while let Some(((time, _), event)) = agenda.queue.pop_first() {
            agenda.now_us = time;
            if let Event::Wire { wire, end } = event
                && let Some(arrival) = agenda.wire_next(wire, end)
            {
                got[end].push(arrival);
            }
        }
        got
    }

    fn open(agenda: &mut Agenda) -> u64 {
        let wire = agenda.dial(Who { node: 1, life: 1 }, 0, Some(1), Lane::Main);
        agenda.accepted(wire);
        assert_eq!(drain(agenda), [vec![Arrival::Open], vec![Arrival::Open]]);
        wire
    }

    #[test]
    fn bytes_arrive_in_order_and_wait_behind_a_blocked_direction() {
        let mut agenda = agenda();
        let wire = open(&mut agenda);
        agenda.block(&[(1, 0)]);
        for byte in 0..20 {
            agenda.wire_send(wire, 0, vec![byte]);
        }
        agenda.wire_close(wire, 0);
        assert_eq!(drain(&mut agenda), [vec![], vec![]], "the other end doesn't even learn that it is gone");
        agenda.block(&[]);
        let [_, got] = drain(&mut agenda);
        let mut want: Vec<Arrival> = (0..20).map(|byte| Arrival::Bytes(vec![byte])).collect();
        want.push(Arrival::Gone);
        assert_eq!(got, want);
        assert!(agenda.net.live().is_empty());
    }

    #[test]
    fn a_break_delivers_a_beginning_of_the_bytes_and_then_the_end() {
        for seed in 0..50 {
            let mut agenda = agenda();
            agenda.prng = Prng::from_seed(seed);
            let wire = open(&mut agenda);
            agenda.wire_send(wire, 0, vec![1, 2, 3]);
            agenda.wire_send(wire, 0, vec![4, 5, 6]);
            agenda.wire_break(wire, seed % 2 == 0);
            let [near, mut far] = drain(&mut agenda);
            assert_eq!((near, far.pop()), (vec![Arrival::Gone], Some(Arrival::Gone)));
            let got: Vec<u8> = far.into_iter().flat_map(|a| if let Arrival::Bytes(b) = a { b } else { vec![99] }).collect();
            assert!([1, 2, 3, 4, 5, 6].starts_with(&got), "{got:?}");
        }
    }

    #[test]
    fn nobody_answers_where_nobody_listens_or_nothing_gets_through() {
        let mut agenda = agenda();
        agenda.dial(Who { node: 1, life: 1 }, 0, None, Lane::Pulse);
        assert_eq!(drain(&mut agenda), [vec![Arrival::Gone], vec![]]);
        agenda.block(&[(0, 1)]);
        agenda.dial(Who { node: 1, life: 1 }, 0, Some(1), Lane::Pulse);
        assert_eq!(drain(&mut agenda), [vec![Arrival::Gone], vec![]]);
        assert!(agenda.now_us >= DIAL_US_MAX);
    }
}
