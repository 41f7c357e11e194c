//! Bytes on the wire: the encoding that ZooKeeper calls jute, the client protocol in both directions, and what servers say
//! to each other (`peer`).
//!
//! Guarantees: no decoder panics on any bytes, allocates by a count it hasn't checked against the bytes left, or looks at a
//! byte after the last field of a record. Leaves to others: what a request means (`prep`, `server`), when to reply, sockets.

pub mod client;
pub mod four_letter;
pub mod jute;
pub mod peer;

pub use client::client_side;
pub use client::connect::{decode_connect, write_connected};
pub use client::decode::{RequestHeader, decode_header, decode_request};
pub use client::event::write_event;
pub use client::frame::{FrameError, FrameSplitter};
pub use client::reply::Reply;
pub use jute::reader::DecodeError;
