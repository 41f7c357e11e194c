//! Properties of the peer codec: what is put is what is read, however the bytes arrive, and a changed byte never passes.

use super::frame::HEADER_BYTES;
use super::touched::TOUCHED_BYTES;
use super::*;
use crate::base::ids::{ClusterId, EPOCH_MAX, ServerId, Zxid};
use crate::model::peer::{Message, Pulse, Refusal, Stance, Standing};
use crate::model::position::{Identity, Position};
use proptest::collection::vec;
use proptest::prelude::*;

/// What messages are made of, drawn at random.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    epochs: [u32; 3],
    numbers: [u64; 6],
    small: u8,
    flags: [bool; 3],
    bytes: Vec<u8>,
}

pub(super) fn drawn() -> impl Strategy<Value = Drawn> {
    let epoch = prop_oneof![0..5u32, 0..=EPOCH_MAX, Just(EPOCH_MAX)];
    (
        proptest::array::uniform3(epoch),
        proptest::array::uniform6(any::<u64>()),
        any::<u8>(),
        proptest::array::uniform3(any::<bool>()),
        vec(any::<u8>(), 0..60),
    )
        .prop_map(|(epochs, numbers, small, flags, bytes)| Drawn { epochs, numbers, small, flags, bytes })
}

impl Drawn {
    fn identity(&self) -> Identity {
        Identity { zxid: Zxid(self.numbers[0]), checksum: self.numbers[1] }
    }

    fn position(&self) -> Position {
        Position { current_epoch: self.epochs[1], last: self.identity() }
    }

    fn pulse(&self, stance: Stance) -> Message<'_> {
        Message::Pulse(Pulse {
            cluster: ClusterId(u128::from(self.numbers[2]) << 64 | u128::from(self.numbers[3])),
            standing: [Standing::Empty, Standing::Repairing, Standing::Voter][usize::from(self.small) % 3],
            stance,
            accepted_epoch: self.epochs[2],
            position: self.position(),
            hears_quorum: self.flags[0],
            founder: self.flags[1],
            applied: Zxid(self.numbers[4]),
            digest: self.numbers[5],
        })
    }

    /// One message of each kind.
    pub(super) fn messages(&self) -> Vec<Message<'_>> {
        let epoch = self.epochs[0];
        let (last, position, bytes) = (self.identity(), self.position(), &self.bytes[..]);
        let [committed, at] = [Zxid(self.numbers[2]), Zxid(self.numbers[3])];
        let [beat, confirmed] = [self.numbers[4], self.numbers[5]];
        let refusals = [Refusal::Promised, Refusal::Newer, Refusal::Content, Refusal::NoVoice];
        vec![
            self.pulse(Stance::Looking),
            self.pulse(Stance::Candidate { epoch }),
            self.pulse(Stance::Leading { epoch, established: self.flags[2] }),
            self.pulse(Stance::Following { leader: ServerId(self.small), epoch, serving: self.flags[2] }),
            Message::NewEpoch { epoch, position, cluster: ClusterId(u128::from(beat)), founding: self.flags[0] },
            Message::Promise { epoch, position },
            Message::Refuse { epoch, accepted_epoch: self.epochs[2], position, why: refusals[usize::from(self.small) % 4] },
            Message::Lead { epoch },
            Message::Follow { epoch, last, probe: self.flags[0] },
            Message::Diff { epoch, after: last },
            Message::Back { epoch, to: last },
            Message::Fetch { epoch, after: last },
            Message::Snapshot { epoch, at: last, len: beat },
            Message::NewLeader { epoch, last },
            Message::AckLeader { epoch, last },
            Message::UpToDate { epoch, committed },
            Message::Batch { epoch, committed, beat, confirmed, bytes },
            Message::Progress { epoch, committed, beat, confirmed },
            Message::Ack { epoch, durable: committed, beat },
            Message::Forward { epoch, bytes },
            Message::Verdicts { epoch, bytes },
            Message::Touched { epoch, bytes: &bytes[..bytes.len() / TOUCHED_BYTES * TOUCHED_BYTES] },
            Message::FetchAsk { after: last, bytes_max: self.epochs[2] },
            Message::Fetched { after: last, more: self.flags[1], bytes },
            Message::PieceAsk { at, offset: beat, len: self.epochs[2] },
            Message::Piece { at, offset: beat, bytes },
        ]
    }
}

/// All frames in `stream`, cut in pieces of the sizes given in turn.
fn receive(stream: &[u8], sizes: &[usize]) -> Vec<(ServerId, Vec<u8>)> {
    let mut frames = PeerFrames::new(MAIN_BODY_BYTES_MAX);
    let (mut got, mut at, mut sizes) = (Vec::new(), 0, sizes.iter().cycle());
    while at < stream.len() {
        let len = sizes.next().map_or(1, |s| *s).clamp(1, stream.len() - at);
        let mut piece = &stream[at..at + len];
        at += len;
        loop {
            let (used, frame) = frames.next(piece).unwrap();
            let Some(frame) = frame else {
                assert_eq!(used, piece.len(), "without a frame everything is kept");
                break;
            };
            got.push((frame.sender, frame.body.to_vec()));
            piece = &piece[used..];
        }
    }
    assert_eq!(frames.pending(), 0);
    got
}

proptest! {
    #[test]
    fn what_is_put_is_what_is_read_however_it_arrives(drawn in drawn(), sizes in vec(1usize..200, 1..6), sender in any::<u8>()) {
        let messages = drawn.messages();
        let mut stream = Vec::new();
        for message in &messages {
            put(&mut stream, ServerId(sender), message);
        }
        for sizes in [&sizes[..], &[1], &[stream.len()]] {
            let got = receive(&stream, sizes);
            prop_assert_eq!(got.len(), messages.len());
            for ((from, body), message) in got.iter().zip(&messages) {
                prop_assert_eq!(*from, ServerId(sender));
                prop_assert_eq!(decode(body), Ok(*message));
            }
        }
    }

    /// Every message has a lane, and its longest form is refused on no lane but its own's bound.
    #[test]
    fn kinds_know_their_lane(drawn in drawn()) {
        for message in drawn.messages() {
            let mut out = Vec::new();
            put(&mut out, ServerId(1), &message);
            let lane = match message {
                Message::Pulse(_) => Lane::Pulse,
                Message::FetchAsk { .. } | Message::Fetched { .. } | Message::PieceAsk { .. } | Message::Piece { .. } => Lane::Bulk,
                _ => Lane::Main,
            };
            prop_assert_eq!(kind::lane(out[HEADER_BYTES]), Some(lane));
        }
    }

    #[test]
    fn no_truncation_of_a_message_passes(drawn in drawn()) {
        for message in drawn.messages() {
            let mut out = Vec::new();
            put(&mut out, ServerId(1), &message);
            for len in 0..out.len() {
                let mut frames = PeerFrames::new(1000);
                prop_assert_eq!(frames.next(&out[..len]), Ok((len, None)), "a frame that isn't whole");
            }
            let body = &out[HEADER_BYTES..];
            for len in 0..body.len() {
                // What ends with bytes of any number may be shorter, but is another message then.
                prop_assert_ne!(decode(&body[..len]).ok(), Some(message));
            }
        }
    }

    #[test]
    fn no_changed_bit_passes(drawn in drawn(), which in any::<prop::sample::Index>()) {
        let messages = drawn.messages();
        let message = &messages[which.index(messages.len())];
        let mut out = Vec::new();
        put(&mut out, ServerId(1), message);
        for bit in 0..out.len() * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            let mut frames = PeerFrames::new(1000);
            let frame = frames.next(&out);
            prop_assert!(!matches!(frame, Ok((_, Some(_)))), "bit {} of {:?} changed nothing", bit, message);
            out[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
