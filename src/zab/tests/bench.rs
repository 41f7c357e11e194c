//! One machine on the bench: what goes in by hand, what comes out compared exactly.

use super::{CLUSTER, PULSE_MS, at, membership, options};
use crate::base::ids::{ClusterId, ServerId, Zxid};
use crate::base::prng::Prng;
use crate::base::time::MonoMs;
use crate::model::peer::{Message, Pulse, Stance, Standing};
use crate::model::position::{Identity, Position};
use crate::zab::{Input, Output, Persisted, Role, Zab};

pub(super) struct Bench {
    pub(super) zab: Zab,
    pub(super) now: u64,
}

/// Epoch 3 was accepted and acknowledged.
pub(super) fn persisted() -> Persisted {
    Persisted { cluster: CLUSTER, accepted_epoch: 3, current_epoch: 3, repairing: false }
}

/// A looking voter that hears a quorum, with the same history as the bench's server.
pub(super) fn looking() -> Pulse {
    Pulse {
        cluster: CLUSTER,
        standing: Standing::Voter,
        stance: Stance::Looking,
        accepted_epoch: 3,
        position: Position { current_epoch: 3, last: at(3, 5, 1) },
        hears_quorum: true,
        founder: false,
        applied: Zxid::ZERO,
        digest: 0,
    }
}

/// One with a shorter history.
pub(super) fn behind() -> Pulse {
    Pulse { position: Position { current_epoch: 3, last: at(3, 4, 1) }, ..looking() }
}

pub(super) fn empty() -> Pulse {
    Pulse { cluster: ClusterId(0), standing: Standing::Empty, accepted_epoch: 0, position: Position::default(), ..looking() }
}

pub(super) fn leading(epoch: u32) -> Pulse {
    Pulse { stance: Stance::Leading { epoch, established: true }, accepted_epoch: epoch, ..looking() }
}

pub(super) fn following(leader: u8, epoch: u32) -> Pulse {
    Pulse { stance: Stance::Following { leader: ServerId(leader), epoch, serving: true }, accepted_epoch: epoch, ..looking() }
}

/// An output other than a pulse or a line.
pub(super) fn matters(output: &Output) -> bool {
    !matches!(output, Output::Say { .. } | Output::Send { message: Message::Pulse(_), .. })
}

pub(super) fn send(peer: u8, message: Message<'static>) -> Output {
    Output::Send { peer: ServerId(peer), message }
}

impl Bench {
    /// Server `me` of three voters and one observer (4), its history ending at 3:5.
    pub(super) fn new(me: u8) -> Bench {
        Bench::with(me, persisted(), at(3, 5, 1))
    }

    pub(super) fn with(me: u8, persisted: Persisted, last: Identity) -> Bench {
        let zab = Zab::new(options(me, &membership(3, 1)), persisted, last, Zxid::ZERO, Prng::from_seed(1), MonoMs(1000));
        Bench { zab, now: 1000 }
    }

    /// One input; what comes out, without pulses, lines and the words of roles.
    pub(super) fn step(&mut self, input: Input<'_>) -> Vec<Output> {
        self.all(input).into_iter().filter(matters).map(plain).collect()
    }

    /// Everything.
    pub(super) fn all(&mut self, input: Input<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        self.zab.step(MonoMs(self.now), input, &mut out);
        out
    }

    pub(super) fn up(&mut self, peers: &[u8]) {
        for peer in peers {
            self.step(Input::Up { peer: ServerId(*peer) });
        }
    }

    pub(super) fn hear(&mut self, peer: u8, message: Message<'_>) -> Vec<Output> {
        self.step(Input::Message { peer: ServerId(peer), message })
    }

    pub(super) fn pulse(&mut self, peer: u8, pulse: Pulse) -> Vec<Output> {
        self.hear(peer, Message::Pulse(pulse))
    }

    /// Time passes in ticks of half a pulse interval; `pulses` are heard at each.
    pub(super) fn pass(&mut self, ms: u64, pulses: &[(u8, Pulse)]) -> Vec<Output> {
        let mut out = Vec::new();
        let end = self.now + ms;
        while self.now < end {
            self.now = end.min(self.now + PULSE_MS / 2);
            for (peer, pulse) in pulses {
                out.extend(self.pulse(*peer, *pulse));
            }
            out.extend(self.step(Input::Tick));
        }
        out
    }

    /// The server leads epoch 4, not established; its own epoch isn't stored yet. 2 and 3 are linked (1 is the bench).
    pub(super) fn lead(&mut self) {
        self.up(&[2, 3]);
        self.pass(200, &[(2, behind())]);
        let stands = self.step(Input::Stored);
        assert!(stands.iter().any(|o| matches!(o, Output::Send { message: Message::NewEpoch { epoch: 4, .. }, .. })), "{stands:?}");
        self.hear(2, Message::Promise { epoch: 4, position: behind().position });
        assert_eq!(self.zab.role(), Role::Leading { epoch: 4, established: false });
    }

    /// And is established by server 2.
    pub(super) fn establish(&mut self) {
        self.lead();
        self.pulse(2, following(1, 4));
        self.step(Input::Stored);
        self.step(Input::Streamed { peer: ServerId(2), last: at(3, 5, 1) });
        self.hear(2, Message::AckLeader { epoch: 4, last: at(3, 5, 1) });
        assert_eq!(self.zab.role(), Role::Leading { epoch: 4, established: true });
    }

    /// The server follows server 3 in epoch 4.
    pub(super) fn follow(&mut self) {
        self.up(&[2, 3]);
        self.pulse(3, leading(4));
        assert_eq!(self.zab.role(), Role::Following { leader: ServerId(3), epoch: 4, serving: false });
    }
}

fn plain(output: Output) -> Output {
    match output {
        Output::Role { role, .. } => Output::Role { role, why: String::new() },
        other => other,
    }
}

pub(super) fn role(role: Role) -> Output {
    Output::Role { role, why: String::new() }
}
