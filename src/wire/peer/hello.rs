//! The handshake: the first frame in each direction of a link, and the frame that ends one with a reason.

use super::fields::{BadMessage, Fields, put_u16, put_u64, put_u128};
use super::frame::{begin, end};
use super::{GOODBYE_BYTES_MAX, GREETING_BODY_BYTES_MAX, kind};
use crate::base::ids::{ClusterId, ServerId};
use crate::model::peer::Lane;

/// Who speaks to whom on which lane, and by which rules. The server that connected says it first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// [`super::FORMAT_VERSION`] of the sender's program. It comes first and stays first.
    pub format_version: u16,
    /// The ensemble's identity; 0 while the sender has none.
    pub cluster: ClusterId,
    /// Who speaks.
    pub sender: ServerId,
    /// To whom, as far as the sender knows.
    pub addressee: ServerId,
    /// What the connection is for.
    pub lane: Lane,
    /// [`crate::model::membership::Membership::digest`].
    pub membership_digest: u64,
    /// Drawn by the sender's process at its start: tells one life of a server from the next, and two servers with one id apart.
    pub incarnation: u64,
}

/// Why a link ends, in words for the other side's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Goodbye<'a> {
    /// What differs and what to do; UTF-8 isn't guaranteed.
    pub reason: &'a [u8],
}

/// Appends a greeting.
pub fn put_hello(out: &mut Vec<u8>, hello: &Hello) {
    let start = begin(out, hello.sender);
    out.push(kind::HELLO);
    put_u16(out, hello.format_version);
    put_u128(out, hello.cluster.0);
    out.extend_from_slice(&[hello.sender.0, hello.addressee.0, hello.lane as u8]);
    put_u64(out, hello.membership_digest);
    put_u64(out, hello.incarnation);
    end(out, start, GREETING_BODY_BYTES_MAX);
}

/// Appends a farewell; a reason that is too long is cut.
pub fn put_goodbye(out: &mut Vec<u8>, sender: ServerId, reason: &str) {
    let start = begin(out, sender);
    out.push(kind::GOODBYE);
    let mut len = reason.len().min(GOODBYE_BYTES_MAX);
    while !reason.is_char_boundary(len) {
        len -= 1;
    }
    out.extend_from_slice(&reason.as_bytes()[..len]);
    end(out, start, GREETING_BODY_BYTES_MAX);
}

/// The version in a body that claims to be a greeting, whatever follows it.
#[must_use]
pub fn hello_version(body: &[u8]) -> Option<u16> {
    match body {
        [kind::HELLO, low, high, ..] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    }
}

/// Reads a greeting of this version.
///
/// # Errors
/// [`BadMessage`] when it isn't one.
pub fn decode_hello(body: &[u8]) -> Result<Hello, BadMessage> {
    let mut fields = Fields::new(body);
    expect_kind(&mut fields, kind::HELLO)?;
    let hello = Hello {
        format_version: fields.u16()?,
        cluster: fields.cluster()?,
        sender: fields.server()?,
        addressee: fields.server()?,
        lane: lane(&mut fields)?,
        membership_digest: fields.u64()?,
        incarnation: fields.u64()?,
    };
    fields.end()?;
    Ok(hello)
}

/// Reads a farewell.
///
/// # Errors
/// [`BadMessage`] when it isn't one.
pub fn decode_goodbye(body: &[u8]) -> Result<Goodbye<'_>, BadMessage> {
    let mut fields = Fields::new(body);
    expect_kind(&mut fields, kind::GOODBYE)?;
    let reason = fields.take_rest();
    if reason.len() > GOODBYE_BYTES_MAX {
        return Err(BadMessage::Field { what: "the length of a farewell", value: reason.len() as u64 });
    }
    Ok(Goodbye { reason })
}

fn expect_kind(fields: &mut Fields<'_>, wanted: u8) -> Result<(), BadMessage> {
    let found = fields.u8()?;
    if found == wanted { Ok(()) } else { Err(BadMessage::Kind(found)) }
}

fn lane(fields: &mut Fields<'_>) -> Result<Lane, BadMessage> {
    match fields.u8()? {
        0 => Ok(Lane::Pulse),
        1 => Ok(Lane::Main),
        2 => Ok(Lane::Bulk),
        other => Err(BadMessage::Field { what: "a lane", value: u64::from(other) }),
    }
}
