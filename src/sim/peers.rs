//! The links of one process to the other servers: from connections and bytes to what the keeper hears, and back.
//!
//! The only place that knows how links are made of connections. Guarantees: a link number is used once; mail of a link stays in
//! order. Leaves to others: the connections themselves (`net`), what messages mean (the keeper).

use super::ledger::server_id;
use super::net::Arrival;
use crate::base::prng::Prng;
use crate::model::peer::{LANES, Lane};
use crate::server::peer_mail::{LinkId, PeerBurst, PeerItem, PeerOutbox};
use crate::wire::peer::{PeerFrames, body_bytes_max};
use std::collections::BTreeMap;

/// What the process wants of the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Want {
    /// Connect to a server.
    Dial {
        /// Which.
        peer: usize,
        /// For what.
        lane: Lane,
    },
    /// Send bytes.
    Send {
        /// On which connection.
        wire: u64,
        /// At which end of it.
        end: usize,
        /// What.
        bytes: Vec<u8>,
    },
    /// Close a connection.
    Close {
        /// Which.
        wire: u64,
        /// At which end of it.
        end: usize,
    },
}

#[derive(Debug)]
struct Line {
    peer: usize,
    lane: Lane,
    end: usize,
    /// Once it is open.
    link: Option<LinkId>,
    frames: PeerFrames,
}

/// See the module's description.
#[derive(Debug)]
pub struct Peers {
    me: usize,
    servers: usize,
    lines: BTreeMap<u64, Line>,
    next_link: u64,
    /// When each lane may be dialled again, in microseconds.
    dial_at: BTreeMap<(usize, Lane), u64>,
    /// What the keeper hears next.
    pub burst: PeerBurst,
    prng: Prng,
}

/// Pause before a lane is dialled again.
const PAUSE_US_MAX: u64 = 100_000;

impl Peers {
    /// Of server `me` among so many.
    #[must_use]
    pub fn new(me: usize, servers: usize, prng: Prng) -> Peers {
        Peers { me, servers, lines: BTreeMap::new(), next_link: 1, dial_at: BTreeMap::new(), burst: PeerBurst::default(), prng }
    }

    /// Time passed: missing lanes to servers with a lower id are dialled.
    pub fn on_tick(&mut self, now_us: u64, wants: &mut Vec<Want>) {
        for peer in 0..self.me.min(self.servers) {
            for lane in LANES {
                let there = self.lines.values().any(|line| line.peer == peer && line.lane == lane);
                let at = self.dial_at.get(&(peer, lane)).copied().unwrap_or(0);
                if !there && now_us >= at {
                    self.dial_at.insert((peer, lane), now_us + self.prng.between(1000, PAUSE_US_MAX));
                    wants.push(Want::Dial { peer, lane });
                }
            }
        }
    }

    /// The dialled connection has a number.
    pub fn dialled(&mut self, wire: u64, peer: usize, lane: Lane) {
        self.lines.insert(wire, Line { peer, lane, end: 0, link: None, frames: PeerFrames::new(body_bytes_max(lane)) });
    }

    /// Another server connected.
    pub fn accepted(&mut self, wire: u64, peer: usize, lane: Lane) {
        self.lines.insert(wire, Line { peer, lane, end: 1, link: None, frames: PeerFrames::new(body_bytes_max(lane)) });
        self.open(wire);
    }

    fn open(&mut self, wire: u64) {
        let link = LinkId(self.next_link);
        let Some(line) = self.lines.get_mut(&wire) else { return };
        self.next_link += 1;
        line.link = Some(link);
        self.burst.items.push(PeerItem::Up { peer: server_id(line.peer), lane: line.lane, link });
    }

    /// Something arrived.
    pub fn on_arrival(&mut self, wire: u64, arrival: Arrival, now_us: u64, wants: &mut Vec<Want>) {
        match arrival {
            Arrival::Open => self.open(wire),
            Arrival::Bytes(bytes) => self.on_bytes(wire, &bytes, wants),
            Arrival::Gone => self.down(wire, now_us),
        }
    }

    fn on_bytes(&mut self, wire: u64, bytes: &[u8], wants: &mut Vec<Want>) {
        let Some(line) = self.lines.get_mut(&wire) else { return };
        let Some(link) = line.link else { return };
        let mut rest = bytes;
        loop {
            match line.frames.next(rest) {
                Ok((used, frame)) => {
                    rest = &rest[used..];
                    let Some(frame) = frame else { return };
                    let from = self.burst.bytes.len();
                    self.burst.bytes.extend_from_slice(frame.body);
                    let body = from..self.burst.bytes.len();
                    self.burst.items.push(PeerItem::Message { peer: server_id(line.peer), lane: line.lane, link, body });
                }
                Err(_) => {
                    wants.push(Want::Close { wire, end: line.end });
                    return self.down(wire, 0);
                }
            }
        }
    }

    fn down(&mut self, wire: u64, now_us: u64) {
        let Some(line) = self.lines.remove(&wire) else { return };
        let pause = now_us + self.prng.between(1000, PAUSE_US_MAX);
        self.dial_at.insert((line.peer, line.lane), pause);
        if let Some(link) = line.link {
            self.burst.items.push(PeerItem::Down { peer: server_id(line.peer), lane: line.lane, link });
        }
    }

    /// The keeper's mail leaves.
    pub fn on_outbox(&mut self, outbox: &PeerOutbox, now_us: u64, wants: &mut Vec<Want>) {
        for part in &outbox.parts {
            let Some((&wire, line)) = self.lines.iter().find(|(_, line)| line.link == Some(part.link)) else { continue };
            let end = line.end;
            if !part.range.is_empty() {
                wants.push(Want::Send { wire, end, bytes: outbox.bytes[part.range.clone()].to_vec() });
            }
            if part.close {
                wants.push(Want::Close { wire, end });
                self.down(wire, now_us);
            }
        }
    }

    /// To whom, and on which lane, a link goes.
    #[must_use]
    pub fn peer_of(&self, link: LinkId) -> Option<(usize, Lane)> {
        self.lines.values().find(|line| line.link == Some(link)).map(|line| (line.peer, line.lane))
    }
}
