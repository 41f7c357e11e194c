//! What the log says about links, in words that are right on both sides of a connection; and how often it says it.

use super::{Established, Link, Origin, Port};
use crate::base::ids::{ClusterId, ServerId};
use crate::base::time::MonoMs;
use crate::model::membership::Membership;
use crate::model::peer::Lane;
use crate::server::note::{Level, RateLimit};
use crate::wire::peer::decode_goodbye;
use std::collections::BTreeMap;
use std::fmt;

/// Connections that came in and didn't say yet who they are.
pub const GREETINGS_MAX: usize = 64;
/// A line like one that was said is said again after so long: servers that don't fit try again each second, for ever.
const AGAIN_MS: u64 = 60_000;
/// Kinds of lines that are remembered.
const KINDS_MAX: usize = 128;

/// Remembers which lines were said.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    kinds: BTreeMap<String, (MonoMs, u64)>,
    limit: RateLimit,
}

impl Said {
    /// Whether a line of this kind may be said; if so, what to say behind it about those that weren't.
    pub(super) fn admit(&mut self, now: MonoMs, key: &str) -> Option<String> {
        if let Some((said, left_out)) = self.kinds.get_mut(key)
            && now.since(*said) < AGAIN_MS
        {
            *left_out += 1;
            return None;
        }
        // Strangers can make up new kinds at will, so their number is limited too.
        let others = self.limit.admit(now)?;
        if self.kinds.len() >= KINDS_MAX {
            self.kinds.retain(|_, (said, _)| now.since(*said) < AGAIN_MS);
        }
        let alike = self.kinds.get(key).map_or(0, |(_, left_out)| *left_out);
        if self.kinds.len() < KINDS_MAX || self.kinds.contains_key(key) {
            self.kinds.insert(key.to_owned(), (now, 0));
        }
        Some(match alike + others {
            0 => String::new(),
            left_out => format!(" ({left_out} lines like it left out)"),
        })
    }
}

/// The lane's name in a line.
pub(super) fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Pulse => "pulse",
        Lane::Main => "main",
        Lane::Bulk => "bulk",
    }
}

/// The main lane stands for all: the others come and go with it.
pub(super) fn level(lane: Lane) -> Level {
    if lane == Lane::Main { Level::Info } else { Level::Debug }
}

/// Who is at the other end, as far as it is known.
pub(super) fn who(link: &Link) -> String {
    match (link.up, link.origin) {
        (Some(Established { peer, lane, .. }), _) | (None, Origin::Dialed { peer, lane }) => {
            format!("server {} at {} ({} lane)", peer.0, link.address, lane_name(lane))
        }
        (None, Origin::Accepted { port }) => format!("{} on the {} port", link.address, port_name(port)),
    }
}

fn port_name(port: Port) -> &'static str {
    match port {
        Port::Election => "election",
        Port::Quorum => "quorum",
    }
}

/// The members' ids in a line.
pub(super) struct Names<'a>(pub(super) &'a Membership);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, member) in self.0.members().enumerate() {
            write!(f, "{}{}", if n == 0 { "" } else { ", " }, member.id.0)?;
        }
        Ok(())
    }
}

/// A farewell's text, safe for a log.
pub(super) fn farewell(body: &[u8]) -> String {
    match decode_goodbye(body) {
        Ok(goodbye) => String::from_utf8_lossy(goodbye.reason).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        Err(bad) => bad.to_string(),
    }
}

/// 0 is no identity yet, which fits every other.
pub(super) fn clusters_differ(a: ClusterId, b: ClusterId) -> bool {
    a != b && a != ClusterId::default() && b != ClusterId::default()
}

pub(super) fn other_cluster(them: ServerId, theirs: ClusterId, me: ServerId, mine: ClusterId) -> String {
    format!(
        "server {} holds data of the ensemble {theirs}, server {} of the ensemble {mine}; these never mix. Correct the server lines, or, if \
         the data of one of the two isn't needed, stop that server, empty its directories except for myid and start it again",
        them.0, me.0
    )
}

pub(super) fn same_id(me: ServerId) -> String {
    format!(
        "both ends say that they are server {}: two servers have that number in their file myid, or a server line leads a server to itself",
        me.0
    )
}

pub(super) fn misrouted(from: ServerId, to: ServerId, found: ServerId) -> String {
    format!(
        "server {} wants to reach server {} but found server {} at that address: compare the line server.{} of server {} with the file myid \
         on that host",
        from.0, to.0, found.0, to.0, from.0
    )
}

pub(super) fn unknown(them: ServerId, me: ServerId, names: &Names<'_>) -> String {
    format!(
        "server {} isn't among the members that server {} knows ({names}): add a line server.{} there, or correct the file myid",
        them.0, me.0, them.0
    )
}

pub(super) fn wrong_port(me: ServerId, lane: Lane, port: Port) -> String {
    format!(
        "a {} connection came to the {} port of server {}: the two ports of server.{} differ between the configurations",
        lane_name(lane),
        port_name(port),
        me.0,
        me.0
    )
}

pub(super) fn twins(peer: ServerId, other: &str) -> String {
    format!(
        "a server {} that started later is connected, from {other}: two servers run with that number in their file myid. Stop one of them",
        peer.0
    )
}

pub(super) fn other_members(peer: ServerId, me: ServerId) -> String {
    format!(
        "the configurations of server {} and server {} differ in who votes (server, group and weight lines): make them equal, then restart \
         one server after the other",
        peer.0, me.0
    )
}

pub(super) fn crowd(address: &str) -> String {
    format!(
        "turning away {address}: {GREETINGS_MAX} connections to the ports for servers don't say who they are. See that only servers can reach these ports"
    )
}

pub(super) fn misplaced(peer: ServerId, lane: Lane, sender: ServerId, kind: u8) -> String {
    if sender == peer {
        format!("server {} sent a message of kind {kind} on the {} lane, where it doesn't belong", peer.0, lane_name(lane))
    } else {
        format!("a frame of server {} on the {} connection of server {}", sender.0, lane_name(lane), peer.0)
    }
}
