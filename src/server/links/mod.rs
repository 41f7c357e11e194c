//! The connections to the other servers: who is at the other end of each, and what it sent, as [`super::front`] does for clients.
//!
//! Guarantees: nothing of a connection reaches the keeper before its handshake fits; at most one link of a peer and lane is up, the
//! newest, and `Down` of the one before stands before its `Up`; a frame is handed on only with a good checksum, from the server that
//! greeted, on the lane it belongs to; who doesn't greet in time, or what doesn't fit, is closed with a line on both sides. Leaves to
//! others: sockets, connecting and reconnecting (the host), what messages mean (the keeper).

mod greeting;
mod words;

pub use words::GREETINGS_MAX;

use crate::base::ids::{ClusterId, ServerId};
use crate::base::time::MonoMs;
use crate::model::membership::Membership;
use crate::model::peer::Lane;
use crate::mutant;
use crate::server::note::{Level, Note};
use crate::server::peer_mail::{LinkId, PeerBurst, PeerItem};
use crate::wire::peer::{BadFrame, GREETING_BODY_BYTES_MAX, PeerFrames, kind, put_goodbye};
use std::collections::BTreeMap;
use words::{Said, lane_name};

/// A server that can't be reached for so long isn't just being started.
const UNREACHED_LONG_MS: u64 = 5000;

/// What the links are told at their start.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// This server.
    pub me: ServerId,
    /// Everybody.
    pub membership: Membership,
    /// The ensemble's identity; 0 while there is none.
    pub cluster: ClusterId,
    /// Drawn at the start of the process.
    pub incarnation: u64,
    /// How long a connection may take to greet.
    pub handshake_timeout_ms: u64,
    /// After so long without a heartbeat on its pulse lane all connections of a server are ended: after a network that was cut is
    /// whole again, new ones work at once, while the old ones wait for the kernel to try again.
    pub quiet_timeout_ms: u64,
}

/// Where a connection came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// For heartbeats.
    Election,
    /// For the main and the bulk lane.
    Quorum,
}

/// What the host does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkEffect {
    /// Send these bytes.
    Send {
        /// On which link.
        link: LinkId,
        /// A whole frame.
        bytes: Vec<u8>,
    },
    /// It is up: for the host's bookkeeping, the keeper has its own [`PeerItem::Up`].
    Up {
        /// Which link.
        link: LinkId,
        /// Its lane.
        lane: Lane,
    },
    /// Close it once everything before is sent. Nothing that still comes from it is looked at.
    Close {
        /// Which link.
        link: LinkId,
    },
    /// A line for the log.
    Note(Note),
}

/// How a connection came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    /// We connected.
    Dialed { peer: ServerId, lane: Lane },
    /// It came in.
    Accepted { port: Port },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Established {
    peer: ServerId,
    lane: Lane,
    incarnation: u64,
    cluster: ClusterId,
}

#[derive(Debug)]
struct Link {
    origin: Origin,
    address: String,
    since: MonoMs,
    /// When something came last.
    heard: MonoMs,
    frames: PeerFrames,
    up: Option<Established>,
}

/// See the module's description.
#[derive(Debug)]
pub struct Links {
    options: LinkOptions,
    next_link: u64,
    now: MonoMs,
    ticked: MonoMs,
    links: BTreeMap<LinkId, Link>,
    /// The link of each peer and lane that is up.
    up: BTreeMap<(ServerId, Lane), LinkId>,
    /// Lives of a peer that ended for all that is known.
    earlier: BTreeMap<ServerId, Vec<u64>>,
    /// Since when no connection to a server comes about.
    unreached: BTreeMap<ServerId, MonoMs>,
    effects: Vec<LinkEffect>,
    said: Said,
}

impl Links {
    /// No connection yet.
    #[must_use]
    pub fn new(options: LinkOptions) -> Links {
        Links {
            options,
            next_link: 1,
            now: MonoMs::default(),
            ticked: MonoMs::default(),
            links: BTreeMap::new(),
            up: BTreeMap::new(),
            earlier: BTreeMap::new(),
            unreached: BTreeMap::new(),
            effects: Vec::new(),
            said: Said::default(),
        }
    }

    /// This server.
    #[must_use]
    pub fn me(&self) -> ServerId {
        self.options.me
    }

    /// The peers and lanes that this server connects to: it has the higher id.
    pub fn to_dial(&self) -> impl Iterator<Item = (ServerId, Lane)> {
        let me = self.options.me;
        let lower = self.options.membership.members().map(|m| m.id).filter(move |id| *id < me);
        lower.flat_map(|id| crate::model::peer::LANES.map(|lane| (id, lane)))
    }

    /// What the host is to do since the last call, in order.
    pub fn take_effects(&mut self, into: &mut Vec<LinkEffect>) {
        into.append(&mut self.effects);
    }

    /// Whether there is something to do.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// The ensemble has an identity now. Links to servers of another one are closed.
    pub fn set_cluster(&mut self, cluster: ClusterId, burst: &mut PeerBurst) {
        if self.options.cluster == cluster {
            return;
        }
        self.options.cluster = cluster;
        let wrong: Vec<LinkId> = self
            .up
            .values()
            .copied()
            .filter(|id| self.links.get(id).and_then(|l| l.up).is_some_and(|up| words::clusters_differ(up.cluster, cluster)))
            .collect();
        for link in wrong {
            if let Some(Established { peer, cluster: theirs, .. }) = self.links.get(&link).and_then(|l| l.up) {
                self.refuse(link, &words::other_cluster(peer, theirs, self.options.me, cluster), burst);
            }
        }
    }

    /// The host connected to `peer` for `lane`.
    pub fn on_dialed(&mut self, now: MonoMs, peer: ServerId, lane: Lane, address: &str) -> LinkId {
        self.unreached.remove(&peer);
        let link = self.add(now, Origin::Dialed { peer, lane }, address);
        self.greet(link, peer, lane);
        link
    }

    /// Somebody connected. `None`: there are too many that don't say who they are; close it.
    pub fn on_accepted(&mut self, now: MonoMs, port: Port, address: &str) -> Option<LinkId> {
        let greeting = self.links.values().filter(|l| l.up.is_none() && matches!(l.origin, Origin::Accepted { .. })).count();
        if greeting >= GREETINGS_MAX {
            self.now = now;
            self.note(Level::Warn, "a crowd", || words::crowd(address));
            return None;
        }
        Some(self.add(now, Origin::Accepted { port }, address))
    }

    /// The host couldn't connect to `peer` at `address` (host and port as configured), and will try again.
    pub fn on_dial_failed(&mut self, now: MonoMs, peer: ServerId, address: &str, error: &str) {
        self.now = now;
        let since = *self.unreached.entry(peer).or_insert(now);
        // Servers of an ensemble are started one after the other; who stays away is told a second time, as a warning.
        let (level, key) = if now.since(since) < UNREACHED_LONG_MS { (Level::Info, "dial") } else { (Level::Warn, "dial in vain") };
        self.note(level, &format!("{key} {}", peer.0), || {
            format!("server {} at {address} can't be reached: {error}. Connecting is tried again each second", peer.0)
        });
    }

    fn add(&mut self, now: MonoMs, origin: Origin, address: &str) -> LinkId {
        self.now = now;
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let frames = PeerFrames::new(GREETING_BODY_BYTES_MAX);
        self.links.insert(link, Link { origin, address: address.to_owned(), since: now, heard: now, frames, up: None });
        link
    }

    /// Bytes came in. Every whole message goes into `burst`.
    pub fn on_bytes(&mut self, now: MonoMs, id: LinkId, mut bytes: &[u8], burst: &mut PeerBurst) {
        self.now = now;
        // Each step may end the link; what follows then isn't looked at.
        while let Some(link) = self.links.get_mut(&id) {
            let (used, frame) = match link.frames.next(bytes) {
                Ok(next) => next,
                Err(bad) => return self.on_bad_frame(id, bad, burst),
            };
            let Some(frame) = frame else { return };
            bytes = &bytes[used..];
            link.heard = now;
            let (sender, kind) = (frame.sender, frame.body[0]);
            match link.up {
                Some(Established { peer, lane, .. })
                    if (sender == peer || mutant!("link-frames-of-anyone")) && kind::lane(kind) == Some(lane) =>
                {
                    let from = burst.bytes.len();
                    burst.bytes.extend_from_slice(frame.body);
                    burst.items.push(PeerItem::Message { peer, lane, link: id, body: from..burst.bytes.len() });
                }
                _ if kind == kind::GOODBYE => {
                    let reason = words::farewell(frame.body);
                    return self.on_goodbye(id, &reason, burst);
                }
                Some(Established { peer, lane, .. }) => {
                    return self.refuse(id, &words::misplaced(peer, lane, sender, kind), burst);
                }
                None => {
                    let greeting = greeting::read(frame.body, sender);
                    self.on_greeting(id, greeting, burst);
                }
            }
        }
    }

    /// The socket is closed, by whomever.
    pub fn on_closed(&mut self, now: MonoMs, id: LinkId, burst: &mut PeerBurst) {
        self.now = now;
        let Some(link) = self.forget(id, burst) else { return };
        match (link.up, link.origin) {
            (Some(up), _) => {
                let text = format!("the {} connection to server {} at {} is gone", lane_name(up.lane), up.peer.0, link.address);
                self.push_note(words::level(up.lane), text);
            }
            (None, Origin::Dialed { peer, lane }) => self.note(Level::Warn, &format!("hung up {} {lane:?}", peer.0), || {
                format!(
                    "server {} at {} closed a new {} connection without a word: if that lasts, see what its log says",
                    peer.0,
                    link.address,
                    lane_name(lane)
                )
            }),
            (None, Origin::Accepted { .. }) => {}
        }
    }

    /// Time passed: ends connections that didn't greet, and those of servers that fell silent.
    pub fn on_tick(&mut self, now: MonoMs, burst: &mut PeerBurst) {
        self.now = now;
        let timeout_ms = self.options.handshake_timeout_ms;
        let late = |link: &Link| link.up.is_none() && now.since(link.since) > timeout_ms;
        let over: Vec<LinkId> = self.links.iter().filter(|(_, link)| late(link)).map(|(id, _)| *id).collect();
        for link in over {
            self.refuse(link, &format!("no greeting came within {timeout_ms} ms"), burst);
        }
        self.end_quiet(now, burst);
    }

    fn end_quiet(&mut self, now: MonoMs, burst: &mut PeerBurst) {
        let quiet_ms = self.options.quiet_timeout_ms;
        // After a pause of this process itself, what came meanwhile isn't read yet.
        let paused = now.since(self.ticked) > quiet_ms / 4;
        self.ticked = now;
        if paused {
            self.links.values_mut().for_each(|link| link.heard = now);
        }
        let is_quiet = |id: &LinkId| self.links.get(id).is_some_and(|link| now.since(link.heard) > quiet_ms);
        let pulses = self.up.iter().filter(|((_, lane), id)| *lane == Lane::Pulse && is_quiet(id));
        for peer in pulses.map(|((peer, _), _)| *peer).collect::<Vec<_>>() {
            for link in self.of_peer(peer).collect::<Vec<_>>() {
                self.end(now, link, &format!("no heartbeat came for {quiet_ms} ms"), burst);
            }
        }
    }

    /// The host found that `id` has to end; `why` is for the log.
    pub fn end(&mut self, now: MonoMs, id: LinkId, why: &str, burst: &mut PeerBurst) {
        self.now = now;
        let Some(link) = self.forget(id, burst) else { return };
        let who = words::who(&link);
        self.note(Level::Warn, &format!("{who} {why}"), || format!("closing the connection to {who}: {why}"));
        self.effects.push(LinkEffect::Close { link: id });
    }

    fn on_bad_frame(&mut self, id: LinkId, bad: BadFrame, burst: &mut PeerBurst) {
        self.refuse(id, &bad.to_string(), burst);
    }

    fn on_goodbye(&mut self, id: LinkId, reason: &str, burst: &mut PeerBurst) {
        let Some(link) = self.forget(id, burst) else { return };
        let who = words::who(&link);
        self.note(Level::Warn, &format!("farewell {reason}"), || format!("{who} ends the connection: {reason}"));
        self.effects.push(LinkEffect::Close { link: id });
    }

    /// Ends a link with a line on both sides.
    fn refuse(&mut self, id: LinkId, reason: &str, burst: &mut PeerBurst) {
        let Some(link) = self.forget(id, burst) else { return };
        let who = words::who(&link);
        self.note(Level::Warn, &format!("refusal {reason}"), || format!("ending the connection of {who}: {reason}"));
        let mut bytes = Vec::new();
        put_goodbye(&mut bytes, self.options.me, reason);
        self.effects.push(LinkEffect::Send { link: id, bytes });
        self.effects.push(LinkEffect::Close { link: id });
    }

    /// Takes a link out; says `Down` if it was up.
    fn forget(&mut self, id: LinkId, burst: &mut PeerBurst) -> Option<Link> {
        let link = self.links.remove(&id)?;
        if let Some(Established { peer, lane, .. }) = link.up {
            if self.up.get(&(peer, lane)) == Some(&id) {
                self.up.remove(&(peer, lane));
            }
            burst.items.push(PeerItem::Down { peer, lane, link: id });
        }
        Some(link)
    }

    fn push_note(&mut self, level: Level, text: String) {
        self.effects.push(LinkEffect::Note(Note { level, text }));
    }

    /// A line that outsiders, or a wrong configuration, can cause again and again. `key` says which lines are alike.
    fn note(&mut self, level: Level, key: &str, text: impl FnOnce() -> String) {
        if let Some(suffix) = self.said.admit(self.now, key) {
            let text = text() + &suffix;
            self.push_note(level, text);
        }
    }
}

#[cfg(test)]
mod tests;
