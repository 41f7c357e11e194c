//! The client's half of the protocol, for the simulator, the load generator and tests. No server code uses it.

mod encode;
mod replies;

pub use crate::wire::client::multi::MultiResult;
pub use encode::{put_connect, put_request, request_op};
pub use replies::{
    ConnectedReply, Event, IdentityRef, ReplyBody, ReplyHeader, decode_body, decode_connected, decode_event, decode_reply_header,
};
