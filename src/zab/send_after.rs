//! The only way out. What needs nothing to be durable leaves at once ([`Sink::send`] takes a [`PlainMessage`]); promises and
//! acknowledgements ([`Vow`]) leave only through [`SendAfter`], which names what must be durable first.
//!
//! Guarantees: the machines of this module never hold the list of outputs itself, and a [`PlainMessage`] can't carry a vow, so a vow that
//! forgets its condition doesn't compile. One [`Output::Store`] is outstanding at a time. Leaves to others: which condition is the
//! right one (`discovery`, `sync`, `broadcast`), making it durable (the keeper).

use crate::base::ids::{ClusterId, ServerId, Zxid};
use crate::model::peer::{Message, Pulse, Refusal};
use crate::model::position::{Identity, Position};
use crate::mutant;
use crate::zab::{Output, Persisted, Role};

/// A message that states nothing about this server's disk but what was durable long before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PlainMessage {
    Pulse(Pulse),
    NewEpoch { epoch: u32, position: Position, cluster: ClusterId, founding: bool },
    Refuse { epoch: u32, accepted_epoch: u32, position: Position, why: Refusal },
    Lead { epoch: u32 },
    NewLeader { epoch: u32, last: Identity },
    UpToDate { epoch: u32, committed: Zxid },
}

/// A message that others count on after every crash of this server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Vow {
    Promise { epoch: u32, position: Position },
    AckLeader { epoch: u32, last: Identity },
    Ack { epoch: u32, durable: Zxid, beat: u64 },
}

/// What must be durable before a vow leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Durable {
    /// The epoch metadata of this [`Vault`] serial, or of a later one.
    Stored(u64),
    /// This server's history through here.
    History(Zxid),
}

/// A vow with its condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SendAfter {
    pub(super) durable: Durable,
    pub(super) to: ServerId,
    pub(super) message: Vow,
}

/// Where outputs go.
pub(super) struct Sink<'a> {
    out: &'a mut Vec<Output>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(out: &'a mut Vec<Output>) -> Sink<'a> {
        Sink { out }
    }

    pub(super) fn send(&mut self, peer: ServerId, message: PlainMessage) {
        let message = match message {
            PlainMessage::Pulse(pulse) => Message::Pulse(pulse),
            PlainMessage::NewEpoch { epoch, position, cluster, founding } => Message::NewEpoch { epoch, position, cluster, founding },
            PlainMessage::Refuse { epoch, accepted_epoch, position, why } => Message::Refuse { epoch, accepted_epoch, position, why },
            PlainMessage::Lead { epoch } => Message::Lead { epoch },
            PlainMessage::NewLeader { epoch, last } => Message::NewLeader { epoch, last },
            PlainMessage::UpToDate { epoch, committed } => Message::UpToDate { epoch, committed },
        };
        self.out.push(Output::Send { peer, message });
    }

    pub(super) fn role(&mut self, role: Role, why: String) {
        self.out.push(Output::Role { role, why });
    }

    pub(super) fn committed(&mut self, zxid: Zxid) {
        self.out.push(Output::Committed(zxid));
    }

    pub(super) fn confirmed(&mut self, beat: u64) {
        self.out.push(Output::Confirmed(beat));
    }

    pub(super) fn drop_links(&mut self, peer: ServerId) {
        self.out.push(Output::Drop { peer });
    }

    pub(super) fn catch_up(&mut self, peer: ServerId, last: Identity) {
        self.out.push(Output::CatchUp { peer, last });
    }

    pub(super) fn say(&mut self, important: bool, text: String) {
        self.out.push(Output::Say { important, text });
    }

    fn vow(&mut self, peer: ServerId, vow: Vow) {
        let message = match vow {
            Vow::Promise { epoch, position } => Message::Promise { epoch, position },
            Vow::AckLeader { epoch, last } => Message::AckLeader { epoch, last },
            Vow::Ack { epoch, durable, beat } => Message::Ack { epoch, durable, beat },
        };
        self.out.push(Output::Send { peer, message });
    }
}

/// The epoch metadata: what is durable, what is wanted, and the vows that wait.
#[derive(Clone, Debug)]
pub(super) struct Vault {
    stored: Persisted,
    wanted: Persisted,
    /// Of `wanted`; grows with each change.
    serial: u64,
    stored_serial: u64,
    /// What the keeper was asked to store and hasn't answered yet.
    asked: Option<(u64, Persisted)>,
    waiting: Vec<SendAfter>,
}

impl Vault {
    pub(super) fn new(persisted: Persisted) -> Vault {
        Vault { stored: persisted, wanted: persisted, serial: 0, stored_serial: 0, asked: None, waiting: Vec::new() }
    }

    /// Durable.
    pub(super) fn stored(&self) -> &Persisted {
        &self.stored
    }

    /// With the changes that are on their way to the disk.
    pub(super) fn wanted(&self) -> &Persisted {
        &self.wanted
    }

    /// Nothing is on its way to the disk.
    pub(super) fn at_rest(&self) -> bool {
        self.serial == self.stored_serial
    }

    /// Whether the change with this serial is durable.
    pub(super) fn is_stored(&self, serial: u64) -> bool {
        self.stored_serial >= serial
    }

    /// Asks for a change; its serial.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Persisted)) -> u64 {
        change(&mut self.wanted);
        self.serial += 1;
        self.serial
    }

    /// The keeper stored what it was asked for last.
    pub(super) fn on_stored(&mut self) {
        if let Some((serial, persisted)) = self.asked.take() {
            self.stored_serial = serial;
            self.stored = persisted;
        }
    }

    /// The message leaves when its condition holds; at once if it holds already.
    pub(super) fn send_after(&mut self, send: SendAfter) {
        self.waiting.push(send);
    }

    /// The relation that the waiting vows belonged to is over.
    pub(super) fn forget_vows(&mut self) {
        self.waiting.clear();
    }

    /// No promise waits for `to` any more: its connection is gone.
    pub(super) fn forget_vows_to(&mut self, to: ServerId) {
        self.waiting.retain(|w| w.to != to);
    }

    /// Asks the keeper to store what is wanted, and lets go what has become durable. `history` is durable here.
    pub(super) fn flush(&mut self, history: Zxid, sink: &mut Sink<'_>) {
        if self.asked.is_none() && self.serial > self.stored_serial {
            self.asked = Some((self.serial, self.wanted));
            sink.out.push(Output::Store(self.wanted));
        }
        let stored_serial = self.stored_serial;
        let accepted = self.wanted.accepted_epoch;
        self.waiting.retain(|waiting| {
            let due = match (waiting.durable, waiting.message) {
                (Durable::Stored(_), Vow::Promise { .. }) if mutant!("zab-promise-before-durable") => true,
                (Durable::Stored(_), Vow::AckLeader { .. }) if mutant!("zab-ack-leader-before-epoch") => true,
                (Durable::Stored(serial), _) => stored_serial >= serial,
                (Durable::History(zxid), _) => history >= zxid,
            };
            // A promise that was overtaken by one for a later epoch would only mislead its candidate.
            let moot = matches!(waiting.message, Vow::Promise { epoch, .. } if epoch < accepted);
            if due && !moot {
                sink.vow(waiting.to, waiting.message);
            }
            !due && !moot
        });
    }
}
