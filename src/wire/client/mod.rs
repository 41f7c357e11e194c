//! The client protocol: frames, handshake, requests, replies, events; and the client's half of it for tools and tests.

pub mod client_side;
pub mod connect;
pub mod decode;
pub mod event;
pub mod frame;
pub mod multi;
pub mod reply;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod round_trip;

/// Xid of a notification.
pub const XID_EVENT: i32 = -1;
/// Xid of a ping and its reply.
pub const XID_PING: i32 = -2;
/// Xid of an auth packet and its reply.
pub const XID_AUTH: i32 = -4;
/// Xid of setWatches and setWatches2.
pub const XID_SET_WATCHES: i32 = -8;
