//! A snapshot on its way from the leader: pieces are asked for one after the other, checked and written, and become a snapshot once
//! the whole of it is durable. Then the log begins anew behind it, and the server starts anew from its files.
//!
//! Guarantees: a snapshot that isn't whole never gets its name; a lost connection costs one piece. Leaves to others: what the pieces hold
//! (`snapshot::Installer`), the digest of the tree (recovery compares it).

use super::Keeper;
use super::learning::Step;
use crate::base::ids::{ServerId, Zxid};
use crate::base::memory::BatchMemory;
use crate::model::file::Ticket;
use crate::model::peer::{Lane, Message};
use crate::model::position::Identity;
use crate::server::keeper::Cx;
use crate::server::note::Level;
use crate::snapshot::Installer;
use std::fmt;

/// Bytes of a piece.
pub(super) const PIECE_BYTES: u32 = 1 << 20;

/// What the one outstanding step is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// The next piece is to be asked for.
    Nothing,
    /// A piece was asked for.
    Piece,
    /// A piece is being written.
    Write(Ticket),
    /// The log is being begun anew behind it.
    Log,
}

/// See the module's description.
pub(super) struct Receiving {
    installer: Installer,
    wait: Wait,
}

impl fmt::Debug for Receiving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiving({:?}, {} bytes, {:?})", self.installer.at(), self.installer.offset(), self.wait)
    }
}

impl Receiving {
    pub(super) fn ask_again(&mut self) {
        if self.wait == Wait::Piece {
            self.wait = Wait::Nothing;
        }
    }
}

impl<M: BatchMemory> Keeper<M> {
    pub(super) fn on_snapshot_offer(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, at: Identity) {
        let (applied, cluster) = (self.applied, self.log.cluster());
        let Some(e) = &mut self.ensemble else { return };
        if !matches!(e.learning.step, Step::Asked) {
            return;
        }
        if at.zxid <= applied {
            return self.diverged(cx, at);
        }
        cx.fx.note(Level::Info, format!("fetching snapshot {} of server {}", at.zxid, peer.0));
        e.learning.step = Step::Receiving(Box::new(Receiving { installer: Installer::new(at, cluster), wait: Wait::Nothing }));
        self.go_on_receiving(cx);
    }

    /// Does whatever is next and waits for nothing.
    pub(super) fn go_on_receiving(&mut self, cx: &mut Cx<'_, M>) {
        let is_at_rest = self.log.is_idle() && !self.snapshots.is_running();
        let Some(e) = &mut self.ensemble else { return };
        let Some((leader, _)) = e.learning.leader else { return };
        let bulk = e.link(leader, Lane::Bulk);
        let Step::Receiving(receiving) = &mut e.learning.step else { return };
        if receiving.wait != Wait::Nothing {
            return;
        }
        let at = receiving.installer.at();
        if !receiving.installer.is_whole() {
            let message = Message::PieceAsk { at: at.zxid, offset: receiving.installer.offset(), len: PIECE_BYTES };
            if let Some(link) = bulk {
                receiving.wait = Wait::Piece;
                e.send_on(&mut cx.fx.peers, link, &message);
            }
        } else if is_at_rest {
            cx.fx.note(Level::Info, format!("snapshot {} is here; starting from it", at.zxid));
            receiving.wait = Wait::Log;
            e.restarting = Some(self.log.begin_at(at, &mut cx.fx.disk));
        }
    }

    pub(super) fn on_piece(&mut self, cx: &mut Cx<'_, M>, peer: ServerId, at: Zxid, offset: u64, bytes: &[u8]) {
        let Some(e) = &mut self.ensemble else { return };
        let from_leader = e.learning.leader.is_some_and(|(leader, _)| leader == peer);
        let Step::Receiving(receiving) = &mut e.learning.step else { return };
        let installer = &mut receiving.installer;
        let expected = from_leader && receiving.wait == Wait::Piece && installer.at().zxid == at && installer.offset() == offset;
        if !expected {
            return;
        }
        if bytes.is_empty() {
            return self.give_up_receiving(cx, &format!("snapshot {at} is gone from server {}", peer.0));
        }
        match installer.piece(bytes) {
            Ok(script) => {
                let ticket = self.snapshots.ticket();
                receiving.wait = Wait::Write(ticket);
                cx.fx.disk.push(super::script(script, ticket));
            }
            Err(damage) => self.give_up_receiving(cx, &format!("what server {} sends as snapshot {at} is damaged: {damage}", peer.0)),
        }
    }

    /// Asks the leader anew what it has.
    fn give_up_receiving(&mut self, cx: &mut Cx<'_, M>, why: &str) {
        self.complain(cx, &format!("{why}; asking anew"));
        // On a new connection, which comes after a pause: a full disk isn't asked in a loop.
        let main = self.ensemble.as_ref().and_then(|e| e.learning.leader.and_then(|(leader, _)| e.link(leader, Lane::Main)));
        if let Some(link) = main {
            cx.fx.peers.close(link);
        }
        let Some(e) = &mut self.ensemble else { return };
        let Step::Receiving(receiving) = std::mem::replace(&mut e.learning.step, Step::Ask) else { return };
        let removal = receiving.installer.abort();
        self.remove_files(cx, removal);
    }

    /// The role ends while a snapshot comes. What of it is on its way to the disk is nobody's any more, and goes. Once the log begins behind it
    /// there is no way back.
    pub(super) fn abandon_receiving(&mut self, cx: &mut Cx<'_, M>) {
        let Some(e) = &mut self.ensemble else { return };
        if !matches!(e.learning.step, Step::Receiving(_)) {
            return;
        }
        let Step::Receiving(receiving) = std::mem::take(&mut e.learning.step) else { return };
        if receiving.wait == Wait::Log {
            return;
        }
        if let Wait::Write(ticket) = receiving.wait {
            self.snapshots.expect(ticket);
        }
        let removal = receiving.installer.abort();
        self.remove_files(cx, removal);
    }

    /// A step of the disk ended. True when it was one of a snapshot that is being received.
    pub(in crate::server::keeper) fn on_receiving_disk(&mut self, cx: &mut Cx<'_, M>, ticket: Ticket, failed: Option<&str>) -> bool {
        let Some(e) = &mut self.ensemble else { return false };
        if e.restarting == Some(ticket) {
            cx.fx.reboot |= failed.is_none();
            return true;
        }
        let Step::Receiving(receiving) = &mut e.learning.step else { return false };
        match receiving.wait {
            Wait::Write(waited) if waited == ticket => {
                receiving.wait = Wait::Nothing;
                match failed {
                    Some(error) => self.give_up_receiving(cx, &format!("the received snapshot can't be written: {error}")),
                    None => self.go_on_receiving(cx),
                }
                true
            }
            Wait::Nothing | Wait::Piece | Wait::Write(_) | Wait::Log => false,
        }
    }
}
