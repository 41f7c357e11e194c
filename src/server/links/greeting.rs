//! The handshake: who greets, and whether it fits.

use super::words::{self, Names, lane_name};
use super::{Established, LinkEffect, Links, Origin, Port};
use crate::base::ids::ServerId;
use crate::model::peer::Lane;
use crate::mutant;
use crate::server::note::Level;
use crate::server::peer_mail::{LinkId, PeerBurst, PeerItem};
use crate::wire::peer::hello::hello_version;
use crate::wire::peer::{FORMAT_VERSION, Hello, body_bytes_max, decode_hello, put_hello};

/// Lives of one peer that are remembered.
const EARLIER_MAX: usize = 8;

/// A greeting, or why it is none.
pub(super) type Greeting = Result<Hello, String>;

/// Reads the first frame of a connection.
pub(super) fn read(body: &[u8], sender: ServerId) -> Greeting {
    if let Some(version) = hello_version(body).filter(|v| *v != FORMAT_VERSION) {
        return Err(format!(
            "server {} speaks version {version} of the servers' protocol, the other end version {FORMAT_VERSION}: run the same version of \
             Ringkeeper on all servers",
            sender.0
        ));
    }
    let hello = decode_hello(body).map_err(|bad| format!("the first message is no greeting: {bad}"))?;
    if hello.sender != sender {
        return Err(format!("a greeting of server {} in a frame of server {}", hello.sender.0, sender.0));
    }
    Ok(hello)
}

impl Links {
    /// Sends our greeting.
    pub(super) fn greet(&mut self, link: LinkId, addressee: ServerId, lane: Lane) {
        let hello = Hello {
            format_version: FORMAT_VERSION,
            cluster: self.options.cluster,
            sender: self.options.me,
            addressee,
            lane,
            membership_digest: self.options.membership.digest(),
            incarnation: self.options.incarnation,
        };
        let mut bytes = Vec::new();
        put_hello(&mut bytes, &hello);
        self.effects.push(LinkEffect::Send { link, bytes });
    }

    /// The first message of a connection.
    pub(super) fn on_greeting(&mut self, id: LinkId, greeting: Greeting, burst: &mut PeerBurst) {
        let Some(origin) = self.links.get(&id).map(|l| l.origin) else { return };
        let fits = greeting.and_then(|hello| self.judge(origin, &hello).map(|()| hello));
        match fits {
            Err(reason) => self.refuse(id, &reason, burst),
            Ok(hello) => self.establish(id, origin, &hello, burst),
        }
    }

    /// Whether a greeting fits this server and the way in which the connection came to be. The order matters: what is wrong with the
    /// whole configuration comes before what only follows from it.
    fn judge(&self, origin: Origin, hello: &Hello) -> Result<(), String> {
        let (me, them) = (self.options.me, hello.sender);
        if them == me {
            return Err(words::same_id(me));
        }
        if hello.addressee != me {
            return Err(words::misrouted(them, hello.addressee, me));
        }
        if self.options.membership.get(them).is_none() {
            return Err(words::unknown(them, me, &Names(&self.options.membership)));
        }
        if words::clusters_differ(hello.cluster, self.options.cluster) && !mutant!("link-other-ensemble-fits") {
            return Err(words::other_cluster(them, hello.cluster, me, self.options.cluster));
        }
        match origin {
            Origin::Dialed { peer, .. } if peer != them => return Err(words::misrouted(me, peer, them)),
            Origin::Dialed { lane, .. } if lane != hello.lane => {
                return Err(format!("a greeting for the {} lane on a {} connection", lane_name(hello.lane), lane_name(lane)));
            }
            Origin::Accepted { .. } if them < me => {
                return Err(format!("server {} connects to server {}, but the one with the higher id connects", them.0, me.0));
            }
            Origin::Accepted { port } if (port == Port::Election) != (hello.lane == Lane::Pulse) => {
                return Err(words::wrong_port(me, hello.lane, port));
            }
            _ => {}
        }
        self.judge_incarnation(hello)
    }

    /// A life of a server that was followed by another one, which is still connected, isn't over after all: there are two.
    fn judge_incarnation(&self, hello: &Hello) -> Result<(), String> {
        let was_earlier = self.earlier.get(&hello.sender).is_some_and(|e| e.contains(&hello.incarnation));
        let other = self.of_peer(hello.sender).find(|id| self.incarnation(*id) != Some(hello.incarnation));
        match other.and_then(|id| self.links.get(&id)) {
            Some(other) if was_earlier => Err(words::twins(hello.sender, &other.address)),
            _ => Ok(()),
        }
    }

    pub(super) fn of_peer(&self, peer: ServerId) -> impl Iterator<Item = LinkId> {
        self.up.range((peer, Lane::Pulse)..=(peer, Lane::Bulk)).map(|(_, id)| *id)
    }

    fn incarnation(&self, id: LinkId) -> Option<u64> {
        self.links.get(&id)?.up.map(|up| up.incarnation)
    }

    /// The handshake fits: whatever this link replaces goes down, then it is up.
    fn establish(&mut self, id: LinkId, origin: Origin, hello: &Hello, burst: &mut PeerBurst) {
        let (peer, lane, incarnation) = (hello.sender, hello.lane, hello.incarnation);
        let replaced: Vec<LinkId> = self
            .of_peer(peer)
            .filter(|old| self.incarnation(*old) != Some(incarnation) || self.up.get(&(peer, lane)) == Some(old))
            .filter(|_| !mutant!("link-keeps-the-older"))
            .collect();
        for old in replaced {
            if let Some(ended) = self.incarnation(old).filter(|i| *i != incarnation) {
                let earlier = self.earlier.entry(peer).or_default();
                if !earlier.contains(&ended) {
                    earlier.truncate(EARLIER_MAX - 1);
                    earlier.insert(0, ended);
                }
            }
            self.forget(old, burst);
            self.effects.push(LinkEffect::Close { link: old });
        }
        if matches!(origin, Origin::Accepted { .. }) {
            self.greet(id, peer, lane);
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        link.frames.set_body_bytes_max(body_bytes_max(lane));
        link.up = Some(Established { peer, lane, incarnation, cluster: hello.cluster });
        let text = format!("the {} connection to server {} at {} is up", lane_name(lane), peer.0, link.address);
        self.up.insert((peer, lane), id);
        burst.items.push(PeerItem::Up { peer, lane, link: id });
        self.effects.push(LinkEffect::Up { link: id, lane });
        self.push_note(words::level(lane), text);
        let mine = self.options.membership.digest();
        if hello.membership_digest != mine {
            let me = self.options.me;
            let key = format!("digest {} {}", peer.0, hello.membership_digest);
            self.note(Level::Warn, &key, || words::other_members(peer, me));
        }
    }
}
