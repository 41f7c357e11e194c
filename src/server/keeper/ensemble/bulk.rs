//! The bulk lane: ranges of the log and pieces of snapshots, asked for and answered. Any server answers; whoever asks knows from whom
//! it wants them.
//!
//! Guarantees: one answer to a peer is read at a time and its size is bounded, so nobody's catching up takes memory or starves the
//! log. Leaves to others: what an answer is good for (`learning`, `receiving`).

use super::Keeper;
use super::leading::Asked;
use crate::base::ids::{ServerId, Zxid};
use crate::base::memory::BatchMemory;
use crate::log::ReadOutcome;
use crate::model::file::Ticket;
use crate::model::peer::{Lane, Message};
use crate::model::position::Identity;
use crate::server::keeper::Cx;
use crate::server::note::Level;
use crate::server::peer_mail::LinkId;
use crate::snapshot;
use crate::zab::Input;

/// Bytes of a range that is asked for.
pub(super) const RANGE_BYTES_MAX: u32 = 4 << 20;

/// What a read of this server's files is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    /// Where a learner's history joins ours.
    Locate { peer: ServerId, asked: Asked },
    /// A range for a learner.
    Range { peer: ServerId, link: LinkId, after: Identity, bytes_max: usize },
    /// A piece of a snapshot for a learner.
    Piece { peer: ServerId, link: LinkId, at: Zxid, offset: u64, len: usize },
}

impl Reading {
    /// On which connection it was asked for.
    fn link(&self) -> LinkId {
        match self {
            Reading::Locate { asked, .. } => asked.link,
            Reading::Range { link, .. } | Reading::Piece { link, .. } => *link,
        }
    }
}

impl<M: BatchMemory> Keeper<M> {
    pub(super) fn on_bulk(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, link: LinkId, message: &Message<'_>) {
        // A synchronisation that goes on isn't given up, however long it takes.
        let progress = match message {
            Message::Fetched { bytes, .. } | Message::Piece { bytes, .. } => !bytes.is_empty(),
            _ => true,
        };
        if progress {
            self.zab_step(cx, Input::Message { peer, message: *message });
        }
        match *message {
            Message::FetchAsk { after, bytes_max } => {
                self.snapshots.holds.hold(peer, after.zxid, cx.now.mono);
                let bytes_max = bytes_max.min(RANGE_BYTES_MAX) as usize;
                self.begin_read(cx, Reading::Range { peer, link, after, bytes_max });
            }
            Message::PieceAsk { at, offset, len } => {
                self.snapshots.holds.hold(peer, at, cx.now.mono);
                let len = len.min(super::receiving::PIECE_BYTES) as usize;
                self.begin_read(cx, Reading::Piece { peer, link, at, offset, len });
            }
            Message::Fetched { after, more, bytes } => self.on_fetched(cx, peer, after, more, bytes),
            Message::Piece { at, offset, bytes } => self.on_piece(cx, peer, at, offset, bytes),
            _ => {}
        }
    }

    /// One read for each connection at a time. Of what is asked meanwhile the newest counts: who asks anew has given up what it asked before.
    pub(super) fn begin_read(&mut self, cx: &mut Cx<'_, M>, what: Reading) {
        let Some(e) = &mut self.ensemble else { return };
        let link = what.link();
        if let Some(running) = e.reading.values().find(|r| r.link() == link) {
            if *running == what {
                e.asked_meanwhile.remove(&link);
            } else {
                e.asked_meanwhile.insert(link, what);
            }
            return;
        }
        let disk = &mut cx.fx.disk;
        let ticket = match what {
            Reading::Locate { asked, .. } => self.log.locate(asked.last, disk),
            Reading::Range { after, bytes_max, .. } => self.log.read_batches(after, bytes_max, disk),
            Reading::Piece { at, offset, len, .. } => self.log.read_file(snapshot::file_of(at), offset, len, disk),
        };
        e.reading.insert(ticket, what);
    }

    /// What is closed so that `peer` begins anew: with a leader the relation itself, else where it asked.
    fn link_to_end(&self, peer: ServerId, asked_on: LinkId) -> LinkId {
        let main = self.ensemble.as_ref().and_then(|e| e.link(peer, Lane::Main));
        main.filter(|_| self.leads().is_some()).unwrap_or(asked_on)
    }

    /// A read ended.
    pub(in crate::server::keeper) fn on_read_done(&mut self, cx: &mut Cx<'_, M>, ticket: Ticket, outcome: Option<ReadOutcome>) {
        let Some(e) = &mut self.ensemble else { return };
        let Some(what) = e.reading.remove(&ticket) else { return };
        if let Some(ReadOutcome::Damaged(damage)) = &outcome {
            cx.fx.note(Level::Error, format!("reading for another server finds damage: {damage}"));
        }
        let newer = e.asked_meanwhile.remove(&what.link());
        if let Reading::Range { peer, link, after, .. } = what
            && is_damage(outcome.as_ref(), e.leading.is_sent_for_ranges(peer) && self.log.reaches_back_to(after))
        {
            if outcome == Some(ReadOutcome::Gone) {
                let text = format!("server {} was told that the log goes on here after {}, and nothing is found there", peer.0, after.zxid);
                cx.fx.note(Level::Error, text);
            }
            e.unreadable_after = e.unreadable_after.max(Some(after.zxid));
            // It asks again where its history joins, and is offered a snapshot. A server that doesn't lead only says that it can't.
            let link = self.link_to_end(peer, link);
            return self.distrust(cx, peer, link, &format!("what server {} asks for can't be read here", peer.0));
        }
        if let Some(newer) = newer {
            return self.begin_read(cx, newer);
        }
        if let Reading::Piece { peer, link, at, offset, .. } = what
            && !self.may_send_piece(cx, peer, at, offset, outcome.as_ref())
        {
            // It asks again where its history joins, and is offered the new one.
            let link = self.link_to_end(peer, link);
            return self.distrust(cx, peer, link, &format!("server {} can't be sent snapshot {at}", peer.0));
        }
        let Some(e) = &mut self.ensemble else { return };
        match what {
            Reading::Locate { peer, asked } => match outcome {
                Some(ReadOutcome::Located(found)) => self.on_located(cx, peer, asked, Some(found)),
                // The next look would find the same damage.
                Some(ReadOutcome::Damaged(_)) => self.on_located(cx, peer, asked, None),
                _ => self.distrust(cx, peer, asked.link, "where its history joins this server's can't be read"),
            },
            // Asking again at once would end the same way; on the next connection it is a while later, or another server leads.
            Reading::Range { peer, link, .. } | Reading::Piece { peer, link, .. }
                if matches!(outcome, None | Some(ReadOutcome::Damaged(_))) =>
            {
                self.distrust(cx, peer, link, &format!("what server {} asks for can't be read here", peer.0));
            }
            Reading::Range { link, after, .. } => {
                let (more, bytes) = match &outcome {
                    Some(ReadOutcome::Batches { bytes, more }) => (*more, bytes.as_slice()),
                    _ => (false, &[][..]),
                };
                e.answer_bulk(cx, link, &Message::Fetched { after, more, bytes });
            }
            Reading::Piece { link, at, offset, .. } => {
                let bytes = match &outcome {
                    Some(ReadOutcome::Bytes(bytes)) => bytes.as_slice(),
                    _ => &[],
                };
                e.answer_bulk(cx, link, &Message::Piece { at, offset, bytes });
            }
        }
    }
}

/// Whether a range can't be read, so that nobody who needs it can be synchronised from the log. That nothing is there is that too if the
/// learner was sent for it (`is_sent`): it would be found in the log again and sent for it again, for ever.
fn is_damage(outcome: Option<&ReadOutcome>, is_sent: bool) -> bool {
    match outcome {
        Some(ReadOutcome::Damaged(_)) => true,
        Some(ReadOutcome::Gone) => is_sent,
        _ => false,
    }
}

#[cfg(test)]
impl<M: BatchMemory> Keeper<M> {
    /// As if memory didn't reach back to `last`, where the history of `peer` ends, so that the files are asked for it.
    pub(in crate::server::keeper) fn ask_files_for(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, last: Identity) {
        let Some((epoch, link)) = self.leads().zip(self.ensemble.as_ref().and_then(|e| e.link(peer, Lane::Main))) else { return };
        self.begin_read(cx, Reading::Locate { peer, asked: Asked { link, epoch, last, probe: false } });
    }
}

impl super::Ensemble {
    fn answer_bulk<M: BatchMemory>(&self, cx: &mut Cx<'_, M>, link: LinkId, message: &Message<'_>) {
        let is_up = self.links.iter().any(|((_, lane), l)| *lane == Lane::Bulk && *l == link);
        if is_up {
            self.send_on(&mut cx.fx.peers, link, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::file::Damage;

    #[test]
    fn nothing_where_a_learner_was_sent_to_is_damage() {
        let damaged = ReadOutcome::Damaged(Damage { path: "l".into(), offset: 0, what: "worn".into() });
        assert!(is_damage(Some(&damaged), false) && is_damage(Some(&damaged), true));
        assert!(is_damage(Some(&ReadOutcome::Gone), true));
        assert!(!is_damage(Some(&ReadOutcome::Gone), false), "whoever looks for a better history may ask for what isn't here");
        let nothing_follows = ReadOutcome::Batches { bytes: Vec::new(), more: false };
        assert!(!is_damage(Some(&nothing_follows), true) && !is_damage(None, true));
    }
}
