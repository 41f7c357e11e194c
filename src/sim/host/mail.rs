//! A process and the other servers: its mail is judged as it leaves, what arrives reaches its keeper.

use super::{Agenda, Coverage, Event, History, Life};
use crate::server::peer_mail::PeerOutbox;
use crate::sim::net::Arrival;
use crate::sim::peers::Want;

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
        let mut wants = Vec::new();
        self.peers.on_outbox(mail, agenda.now_us, &mut wants);
        self.carry_out(agenda, &[], wants);
        self.peer_flush_soon(agenda);
    }

    /// Something arrives from another server. `peer` sits at the other end.
    pub fn arrival(&mut self, agenda: &mut Agenda, wire: u64, end: usize, peer: usize, arrival: Arrival) {
        let mut wants = Vec::new();
        if end == 1 && arrival == Arrival::Open {
            if let Some(lane) = agenda.net.lane(wire) {
                self.peers.accepted(wire, peer, lane);
                agenda.accepted(wire);
            }
        } else {
            self.peers.on_arrival(wire, arrival, agenda.now_us, &mut wants);
        }
        self.carry_out(agenda, &[], wants);
        self.peer_flush_soon(agenda);
    }

    pub(super) fn carry_out(&mut self, agenda: &mut Agenda, lives: &[Option<u64>], wants: Vec<Want>) {
        for want in wants {
            match want {
                Want::Dial { peer, lane } => {
                    let wire = agenda.dial(self.who, peer, lives.get(peer).copied().flatten(), lane);
                    self.peers.dialled(wire, peer, lane);
                }
                Want::Send { wire, end, bytes } => agenda.wire_send(wire, end, bytes),
                Want::Close { wire, end } => agenda.wire_close(wire, end),
            }
        }
    }

    fn peer_flush_soon(&mut self, agenda: &mut Agenda) {
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
