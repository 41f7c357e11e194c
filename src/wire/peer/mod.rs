//! What servers of an ensemble say to each other, as bytes: frames, the handshake, messages, forwarded requests and their verdicts, and
//! of which clients something was heard.
//!
//! A frame is a header of [`frame::HEADER_BYTES`] bytes and a body; the body's first byte is the kind of message. All numbers are
//! little-endian, fields stand in the order of their declaration in [`crate::model::peer`], nothing is optional. What decodes,
//! encodes to the same bytes again, so two servers never read one message differently.
//!
//! Guarantees: no decoder panics on any bytes, allocates, or believes a length before it is known to be bounded. Leaves to others:
//! which message may come when (`server::links` knows the lane, the keeper the rest).

pub mod fields;
pub mod forward;
pub mod frame;
pub mod hello;
pub mod message;
pub mod touched;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod garbage;
#[cfg(test)]
mod round_trip;

pub use fields::BadMessage;
pub use frame::{BadFrame, PeerFrames, RawFrame};
pub use hello::{Goodbye, Hello, decode_goodbye, decode_hello, put_goodbye, put_hello};
pub use message::{decode, put, put_batch, put_filled};

use crate::base::limits::RECORD_BYTES_MAX;
use crate::model::peer::Lane;

/// Version of the messages. Servers of different versions refuse each other.
pub const FORMAT_VERSION: u16 = 2;
/// Longest body before the handshake: a greeting, or a farewell with its text.
pub const GREETING_BODY_BYTES_MAX: usize = 1024;
/// Longest body on the pulse lane.
pub const PULSE_BODY_BYTES_MAX: usize = 4096;
/// What a batch has beside its longest record, and a forwarded request beside its frame: far less than this.
const SLACK_BYTES: usize = 64 << 10;
/// Longest body on the main lane: a batch with one record of the greatest length.
pub const MAIN_BODY_BYTES_MAX: usize = RECORD_BYTES_MAX + SLACK_BYTES;
/// How much of a log or a snapshot is asked for at once, at most.
pub const FETCH_BYTES_MAX: usize = 8 << 20;
/// Longest body on the bulk lane: what was asked for, and the batch that exceeds it.
pub const BULK_BODY_BYTES_MAX: usize = FETCH_BYTES_MAX + MAIN_BODY_BYTES_MAX;
/// A farewell's text.
pub const GOODBYE_BYTES_MAX: usize = 512;

const _: () = assert!(GOODBYE_BYTES_MAX + 16 <= GREETING_BODY_BYTES_MAX);
const _: () = assert!(BULK_BODY_BYTES_MAX < u32::MAX as usize);

/// Longest body on `lane`.
#[must_use]
pub fn body_bytes_max(lane: Lane) -> usize {
    match lane {
        Lane::Pulse => PULSE_BODY_BYTES_MAX,
        Lane::Main => MAIN_BODY_BYTES_MAX,
        Lane::Bulk => BULK_BODY_BYTES_MAX,
    }
}

/// First byte of a body. Numbers are only added, never reused.
pub mod kind {
    use crate::model::peer::Lane;

    /// Greeting.
    pub const HELLO: u8 = 1;
    /// Farewell.
    pub const GOODBYE: u8 = 2;
    /// Heartbeat.
    pub const PULSE: u8 = 16;
    /// Asks for a promise.
    pub const NEW_EPOCH: u8 = 32;
    /// Promises.
    pub const PROMISE: u8 = 33;
    /// Doesn't.
    pub const REFUSE: u8 = 34;
    /// Leads.
    pub const LEAD: u8 = 35;
    /// Follows.
    pub const FOLLOW: u8 = 48;
    /// What follows continues there.
    pub const DIFF: u8 = 49;
    /// Cut or guess again.
    pub const BACK: u8 = 50;
    /// Fetch batches.
    pub const FETCH: u8 = 51;
    /// Fetch a snapshot.
    pub const SNAPSHOT: u8 = 52;
    /// NEWLEADER.
    pub const NEW_LEADER: u8 = 53;
    /// ACK of NEWLEADER.
    pub const ACK_LEADER: u8 = 54;
    /// UPTODATE.
    pub const UP_TO_DATE: u8 = 55;
    /// A proposal.
    pub const BATCH: u8 = 64;
    /// Commit and round without a proposal.
    pub const PROGRESS: u8 = 65;
    /// Cumulative acknowledgement.
    pub const ACK: u8 = 66;
    /// Requests of clients.
    pub const FORWARD: u8 = 80;
    /// What became of them.
    pub const VERDICTS: u8 = 81;
    /// Sessions heard of.
    pub const TOUCHED: u8 = 82;
    /// Asks for batches.
    pub const FETCH_ASK: u8 = 96;
    /// Batches.
    pub const FETCHED: u8 = 97;
    /// Asks for a piece of a snapshot.
    pub const PIECE_ASK: u8 = 98;
    /// A piece of a snapshot.
    pub const PIECE: u8 = 99;

    /// On which lane messages of this kind travel; `None`: it is no kind of message, or one that every lane has.
    #[must_use]
    pub fn lane(kind: u8) -> Option<Lane> {
        match kind {
            PULSE => Some(Lane::Pulse),
            NEW_EPOCH..=LEAD | FOLLOW..=UP_TO_DATE | BATCH..=ACK | FORWARD..=TOUCHED => Some(Lane::Main),
            FETCH_ASK..=PIECE => Some(Lane::Bulk),
            _ => None,
        }
    }
}
