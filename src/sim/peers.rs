//! The connections of one process to the other servers, as the real host keeps them: dials, hands bytes to [`Links`], does what it says.
//!
//! Guarantees: mail of a link stays in order; what waits for one link is bounded, beyond it is closed. Leaves to others: the
//! connections themselves (`net`), handshakes and frames (`Links`), what messages mean (the keeper).

use super::agenda::{Agenda, Who};
use super::ledger::server_id;
use super::net::Arrival;
use crate::base::prng::Prng;
use crate::base::time::MonoMs;
use crate::model::peer::Lane;
use crate::server::links::{LinkEffect, LinkOptions, Links, Port};
use crate::server::note::Note;
use crate::server::peer_mail::{LinkId, PeerBurst, PeerOutbox};
use std::collections::BTreeMap;

/// One connection of ours.
#[derive(Clone, Debug)]
struct Line {
    wire: u64,
    end: usize,
    peer: usize,
    /// The lane, at the end that dialled.
    dialled: Option<Lane>,
    /// Once its handshake is through.
    up: Option<Lane>,
    /// Read later: the keeper takes nothing of the main lane.
    unread: Vec<u8>,
}

/// See the module's description.
#[derive(Debug)]
pub struct Peers {
    who: Who,
    links: Links,
    lines: BTreeMap<LinkId, Line>,
    /// Dialled, not open yet: to whom and for what.
    dialling: BTreeMap<u64, (usize, Lane)>,
    /// When each lane may be dialled again, in microseconds.
    dial_at: BTreeMap<(usize, Lane), u64>,
    held: bool,
    backlog_bytes: usize,
    prng: Prng,
    /// What the keeper hears next.
    pub burst: PeerBurst,
    /// Lines for the story.
    pub notes: Vec<Note>,
}

/// Pause before a lane is dialled again.
const PAUSE_US_MAX: u64 = 100_000;

impl Peers {
    /// Of a process.
    #[must_use]
    pub fn new(who: Who, options: LinkOptions, backlog_bytes: usize, prng: Prng) -> Peers {
        Peers {
            who,
            links: Links::new(options),
            lines: BTreeMap::new(),
            dialling: BTreeMap::new(),
            dial_at: BTreeMap::new(),
            held: false,
            backlog_bytes,
            prng,
            burst: PeerBurst::default(),
            notes: Vec::new(),
        }
    }

    fn now(&self, agenda: &Agenda) -> MonoMs {
        agenda.now(self.who.node).mono
    }

    /// Time passed: lanes that are missing are dialled. `lives` are the lives of the servers that listen.
    pub fn on_tick(&mut self, agenda: &mut Agenda, lives: &[Option<u64>]) {
        let now = self.now(agenda);
        self.links.on_tick(now, &mut self.burst);
        self.carry_out(agenda);
        for (peer, lane) in self.links.to_dial().collect::<Vec<_>>() {
            let peer = usize::from(peer.0) - 1;
            let at = self.dial_at.get(&(peer, lane)).copied().unwrap_or(0);
            let dials = self.dialling.values().any(|dialled| *dialled == (peer, lane));
            if agenda.now_us >= at && !dials {
                let wire = agenda.dial(self.who, peer, lives.get(peer).copied().flatten(), lane);
                self.dialling.insert(wire, (peer, lane));
            }
        }
    }

    /// Something arrives on a connection, at that end of it; `peer` sits at the other one.
    pub fn on_arrival(&mut self, agenda: &mut Agenda, (wire, end): (u64, usize), peer: usize, arrival: Arrival) {
        let now = self.now(agenda);
        let known = self.lines.iter().find(|(_, line)| line.wire == wire).map(|(id, _)| *id);
        match (arrival, known) {
            (Arrival::Open, _) if end == 1 => {
                let lane = agenda.net.lane(wire);
                let port = if lane == Some(Lane::Pulse) { Port::Election } else { Port::Quorum };
                match self.links.on_accepted(now, port, &format!("s{}", peer + 1)) {
                    Some(link) => {
                        agenda.accepted(wire);
                        self.lines.insert(link, Line { wire, end, peer, dialled: None, up: None, unread: Vec::new() });
                    }
                    None => agenda.wire_close(wire, end),
                }
            }
            (Arrival::Open, _) => {
                if let Some((peer, lane)) = self.dialling.remove(&wire) {
                    // Not again while it lasts.
                    self.dial_at.insert((peer, lane), u64::MAX);
                    let link = self.links.on_dialed(now, server_id(peer), lane, &format!("s{}", peer + 1));
                    self.lines.insert(link, Line { wire, end, peer, dialled: Some(lane), up: None, unread: Vec::new() });
                }
            }
            (Arrival::Bytes(bytes), Some(link)) => self.read(now, link, &bytes),
            (Arrival::Gone, _) => {
                if let Some((peer, lane)) = self.dialling.remove(&wire) {
                    self.pause(agenda, peer, lane);
                }
                if let Some(link) = known {
                    self.forget(agenda, link);
                    self.links.on_closed(now, link, &mut self.burst);
                }
            }
            (Arrival::Bytes(_), None) => {}
        }
        self.carry_out(agenda);
    }

    fn read(&mut self, now: MonoMs, link: LinkId, bytes: &[u8]) {
        let Some(line) = self.lines.get_mut(&link) else { return };
        if self.held && line.up == Some(Lane::Main) || !line.unread.is_empty() {
            line.unread.extend_from_slice(bytes);
            return;
        }
        self.links.on_bytes(now, link, bytes, &mut self.burst);
    }

    /// Stops or allows reading of the main lane.
    pub fn hold(&mut self, agenda: &mut Agenda, held: bool) {
        if std::mem::replace(&mut self.held, held) && !held {
            let now = self.now(agenda);
            for link in self.lines.keys().copied().collect::<Vec<_>>() {
                let unread = self.lines.get_mut(&link).map(|line| std::mem::take(&mut line.unread)).unwrap_or_default();
                if !unread.is_empty() {
                    self.links.on_bytes(now, link, &unread, &mut self.burst);
                }
            }
            self.carry_out(agenda);
        }
    }

    /// The ensemble has an identity now, or still.
    pub fn set_cluster(&mut self, agenda: &mut Agenda, cluster: crate::base::ids::ClusterId) {
        self.links.set_cluster(cluster, &mut self.burst);
        self.carry_out(agenda);
    }

    fn pause(&mut self, agenda: &Agenda, peer: usize, lane: Lane) {
        let at = agenda.now_us + self.prng.between(1000, PAUSE_US_MAX);
        self.dial_at.insert((peer, lane), at);
    }

    /// A connection is gone, or is left.
    fn forget(&mut self, agenda: &Agenda, link: LinkId) -> Option<Line> {
        let line = self.lines.remove(&link)?;
        if let Some(lane) = line.dialled {
            self.pause(agenda, line.peer, lane);
        }
        Some(line)
    }

    fn close(&mut self, agenda: &mut Agenda, link: LinkId) {
        if let Some(line) = self.forget(agenda, link) {
            agenda.wire_close(line.wire, line.end);
        }
    }

    /// The keeper's mail leaves.
    pub fn on_outbox(&mut self, agenda: &mut Agenda, outbox: &PeerOutbox) {
        let now = self.now(agenda);
        for part in &outbox.parts {
            let Some(Line { wire, end, .. }) = self.lines.get(&part.link).cloned() else { continue };
            agenda.wire_send(wire, end, outbox.bytes[part.range.clone()].to_vec());
            if part.close {
                self.close(agenda, part.link);
                self.links.on_closed(now, part.link, &mut self.burst);
            } else if agenda.net.waiting_bytes(wire, 1 - end) > self.backlog_bytes {
                self.links.end(now, part.link, "too many bytes wait for it", &mut self.burst);
            }
            self.carry_out(agenda);
        }
    }

    fn carry_out(&mut self, agenda: &mut Agenda) {
        let mut effects = Vec::new();
        self.links.take_effects(&mut effects);
        for effect in effects {
            match effect {
                LinkEffect::Send { link, bytes } => {
                    if let Some(line) = self.lines.get(&link) {
                        agenda.wire_send(line.wire, line.end, bytes);
                    }
                }
                LinkEffect::Up { link, lane } => {
                    if let Some(line) = self.lines.get_mut(&link) {
                        line.up = Some(lane);
                    }
                }
                LinkEffect::Close { link } => self.close(agenda, link),
                LinkEffect::Note(note) => self.notes.push(note),
            }
        }
    }

    /// To whom, and on which lane, a link goes.
    #[must_use]
    pub fn peer_of(&self, link: LinkId) -> Option<(usize, Lane)> {
        self.lines.get(&link).and_then(|line| Some((line.peer, line.up?)))
    }
}
