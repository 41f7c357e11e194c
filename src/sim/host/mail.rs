//! A process and the other servers: its mail is judged as it leaves, what arrives reaches its keeper.

use super::{Agenda, Coverage, Event, History, Life};
use crate::server::peer_mail::PeerOutbox;
use crate::sim::net::Arrival;

impl Life {
    /// Everything is judged as it leaves; what tells of elections and synchronisation goes into the story.
    pub(super) fn judge_mail(
        &mut self,
        agenda: &mut Agenda,
        history: &mut History,
        coverage: &mut Coverage,
        mail: &PeerOutbox,
    ) -> Result<(), String> {
        for part in mail.parts.iter().filter(|part| !part.range.is_empty()) {
            let Some(to) = self.peers.peer_of(part.link) else { continue };
            let bytes = &mail.bytes[part.range.clone()];
            let lines = history.protocol.leaves(self.who.node, to, bytes, &mut history.ledger, coverage)?;
            for line in lines {
                agenda.say(|| line);
            }
        }
        Ok(())
    }

    /// The keeper's mail reaches the links and leaves.
    pub fn send_mail(&mut self, agenda: &mut Agenda, mail: &PeerOutbox) {
        self.peers.on_outbox(agenda, mail);
        self.after_links(agenda);
    }

    /// Something arrives from another server at one end of a connection. `peer` sits at the other end.
    pub fn arrival(&mut self, agenda: &mut Agenda, at: (u64, usize), peer: usize, arrival: Arrival) {
        self.peers.on_arrival(agenda, at, peer, arrival);
        self.after_links(agenda);
    }

    /// What the links say goes into the story, what they heard to the keeper.
    pub(super) fn after_links(&mut self, agenda: &mut Agenda) {
        for note in std::mem::take(&mut self.peers.notes) {
            agenda.say(|| format!("server {}: {}", self.who.node + 1, note.text));
        }
        if !self.peers.burst.is_empty() && !std::mem::replace(&mut self.peer_flush_due, true) {
            agenda.mail(self.who.node, 301, Event::PeerFlush { who: self.who });
        }
    }

    /// What the links heard reaches the keeper.
    pub fn peer_flush(&mut self, agenda: &mut Agenda) {
        self.peer_flush_due = false;
        self.peer_bursts.push_back(std::mem::take(&mut self.peers.burst));
        self.turn_soon(agenda);
    }
}
