//! What a learner forwards of its clients ([`crate::model::peer::Message::Forward`]'s bytes) and what the leader answers
//! ([`crate::model::peer::Message::Verdicts`]' bytes).
//!
//! Items stand one behind the other. For each, but [`ForwardItem::Gone`], there is one verdict, in their order; the learner finds out
//! by that order which request a verdict is for. Iterators check everything and end with the first item that isn't one.

use super::fields::{BadMessage, Fields, put_counted, put_i32, put_session, put_u32, put_u64, put_zxid};
use crate::base::ids::{SessionId, Zxid};
use crate::base::limits::FRAME_BYTES_MAX;
use crate::invariant;
use crate::model::acl::Identity;
use crate::model::error_code::ErrorCode;
use crate::model::txn::PASSWORD_BYTES;

/// Identities of one connection, at most.
pub const IDENTITIES_MAX: usize = 255;
/// Bytes of a password that are forwarded; a longer one is wrong anyway.
pub const PASSWORD_BYTES_MAX: usize = 64;
/// Operations of a multi: each takes 9 bytes of the client's frame at least. Who answers writes something for each.
pub const MULTI_OPS_MAX: usize = FRAME_BYTES_MAX / 9;

/// Who a connection is known as; every length in it is true.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identities<'a> {
    count: u8,
    bytes: &'a [u8],
}

impl<'a> Identities<'a> {
    /// How many.
    #[must_use]
    pub fn count(self) -> usize {
        usize::from(self.count)
    }

    /// Scheme and id of each.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut fields = Fields::new(self.bytes);
        std::iter::from_fn(move || {
            let scheme = fields.counted("the length of a scheme", usize::MAX).ok()?;
            Some((scheme, fields.counted("the length of an id", usize::MAX).ok()?))
        })
    }

    /// As the keeper holds them.
    #[must_use]
    pub fn to_vec(self) -> Vec<Identity> {
        self.iter().map(|(scheme, id)| Identity { scheme: scheme.to_vec(), id: id.to_vec() }).collect()
    }

    fn decode(fields: &mut Fields<'a>) -> Result<Identities<'a>, BadMessage> {
        let count = fields.u8()?;
        let before = *fields;
        for _ in 0..count {
            fields.counted("the length of a scheme", usize::MAX)?;
            fields.counted("the length of an id", usize::MAX)?;
        }
        let mut whole = before;
        let bytes = whole.bytes(before.len() - fields.len())?;
        Ok(Identities { count, bytes })
    }
}

/// One thing that a learner forwards. `conn` is the learner's own name of the client's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForwardItem<'a> {
    /// A write, or the closing of a session.
    Request {
        /// From which connection.
        conn: u64,
        /// Its session.
        session: SessionId,
        /// The client's number.
        xid: i32,
        /// The operation, as sent.
        op: i32,
        /// Who asks.
        identities: Identities<'a>,
        /// The request's body, as sent.
        body: &'a [u8],
    },
    /// A new session; its id is drawn by the learner.
    Create {
        /// On which connection.
        conn: u64,
        /// The session.
        session: SessionId,
        /// Negotiated.
        timeout_ms: u32,
        /// Derived by the learner.
        password: [u8; PASSWORD_BYTES],
    },
    /// A session is to be resumed.
    Attach {
        /// On which connection.
        conn: u64,
        /// The session.
        session: SessionId,
        /// Negotiated.
        timeout_ms: u32,
        /// As sent, [`PASSWORD_BYTES_MAX`] bytes of it at most.
        password: &'a [u8],
    },
    /// A sync.
    Sync {
        /// From which connection.
        conn: u64,
        /// Its session.
        session: SessionId,
        /// The client's number.
        xid: i32,
    },
    /// The connection is closed. There is no verdict.
    Gone {
        /// Which connection.
        conn: u64,
        /// Its session.
        session: SessionId,
    },
}

mod tag {
    pub(super) const REQUEST: u8 = 1;
    pub(super) const CREATE: u8 = 2;
    pub(super) const ATTACH: u8 = 3;
    pub(super) const SYNC: u8 = 4;
    pub(super) const GONE: u8 = 5;

    pub(super) const PROPOSED: u8 = 1;
    pub(super) const ANSWER: u8 = 2;

    pub(super) const REFUSED: u8 = 1;
    pub(super) const REFUSED_MULTI: u8 = 2;
    pub(super) const LAST: u8 = 3;
    pub(super) const SYNCED: u8 = 4;
    pub(super) const ATTACHED: u8 = 5;
    pub(super) const UNKNOWN: u8 = 6;
    pub(super) const MOVED: u8 = 7;
}

fn put_item_head(out: &mut Vec<u8>, tag: u8, conn: u64, session: SessionId) {
    out.push(tag);
    put_u64(out, conn);
    put_session(out, session);
}

/// Appends a write of a client.
///
/// # Panics
/// If there are more than [`IDENTITIES_MAX`] identities; `auth` has a lower bound.
pub fn put_request(out: &mut Vec<u8>, conn: u64, session: SessionId, xid: i32, op: i32, identities: &[Identity], body: &[u8]) {
    put_item_head(out, tag::REQUEST, conn, session);
    put_i32(out, xid);
    put_i32(out, op);
    invariant!(identities.len() <= IDENTITIES_MAX, "{} identities of one connection", identities.len());
    out.push(identities.len() as u8);
    for identity in identities {
        put_counted(out, &identity.scheme);
        put_counted(out, &identity.id);
    }
    put_counted(out, body);
}

/// Appends a new session.
pub fn put_create(out: &mut Vec<u8>, conn: u64, session: SessionId, timeout_ms: u32, password: &[u8; PASSWORD_BYTES]) {
    put_item_head(out, tag::CREATE, conn, session);
    put_u32(out, timeout_ms);
    out.extend_from_slice(password);
}

/// Appends the wish to resume a session. Of a password only so much is sent that it stays wrong.
pub fn put_attach(out: &mut Vec<u8>, conn: u64, session: SessionId, timeout_ms: u32, password: &[u8]) {
    put_item_head(out, tag::ATTACH, conn, session);
    put_u32(out, timeout_ms);
    put_counted(out, &password[..password.len().min(PASSWORD_BYTES_MAX)]);
}

/// Appends a sync.
pub fn put_sync(out: &mut Vec<u8>, conn: u64, session: SessionId, xid: i32) {
    put_item_head(out, tag::SYNC, conn, session);
    put_i32(out, xid);
}

/// Appends the end of a connection.
pub fn put_gone(out: &mut Vec<u8>, conn: u64, session: SessionId) {
    put_item_head(out, tag::GONE, conn, session);
}

/// The items of a [`crate::model::peer::Message::Forward`]. After an error there is nothing more.
pub fn items(bytes: &[u8]) -> impl Iterator<Item = Result<ForwardItem<'_>, BadMessage>> {
    each(bytes, decode_item)
}

fn each<'a, T>(
    bytes: &'a [u8],
    decode: fn(&mut Fields<'a>) -> Result<T, BadMessage>,
) -> impl Iterator<Item = Result<T, BadMessage>> + use<'a, T> {
    let mut fields = Fields::new(bytes);
    std::iter::from_fn(move || {
        if fields.is_empty() {
            return None;
        }
        let item = decode(&mut fields);
        if item.is_err() {
            fields.take_rest();
        }
        Some(item)
    })
}

fn decode_item<'a>(fields: &mut Fields<'a>) -> Result<ForwardItem<'a>, BadMessage> {
    let tag = fields.u8()?;
    let (conn, session) = (fields.u64()?, fields.session()?);
    Ok(match tag {
        tag::REQUEST => ForwardItem::Request {
            conn,
            session,
            xid: fields.i32()?,
            op: fields.i32()?,
            identities: Identities::decode(fields)?,
            body: fields.counted("the length of a request", usize::MAX)?,
        },
        tag::CREATE => ForwardItem::Create { conn, session, timeout_ms: fields.u32()?, password: fields.chunk()? },
        tag::ATTACH => ForwardItem::Attach {
            conn,
            session,
            timeout_ms: fields.u32()?,
            password: fields.counted("the length of a password", PASSWORD_BYTES_MAX)?,
        },
        tag::SYNC => ForwardItem::Sync { conn, session, xid: fields.i32()? },
        tag::GONE => ForwardItem::Gone { conn, session },
        other => return Err(BadMessage::Field { what: "the kind of a forwarded item", value: u64::from(other) }),
    })
}

/// What becomes of a forwarded item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForwardVerdict {
    /// It is this transaction; the learner answers when it has applied it, and knows in which form.
    Proposed {
        /// Which.
        zxid: Zxid,
    },
    /// The learner answers once it has applied `at` and round `beat` is confirmed.
    Answer {
        /// What had been proposed when it was judged.
        at: Zxid,
        /// First round that was sent after the judgement.
        beat: u64,
        /// The answer.
        outcome: ForwardOutcome,
    },
}

/// What a client is told of something that became no transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForwardOutcome {
    /// One error.
    Refused(ErrorCode),
    /// A multi: errors in the places of its operations.
    RefusedMulti {
        /// Which one failed; less than `count`.
        failed_idx: u32,
        /// How.
        code: ErrorCode,
        /// How many there are.
        count: u32,
    },
    /// One error, after which the connection is closed.
    Last(ErrorCode),
    /// The sync is done.
    Synced,
    /// The session goes on on this connection.
    Attached {
        /// Negotiated.
        timeout_ms: u32,
        /// The session's.
        password: [u8; PASSWORD_BYTES],
    },
    /// There is no such session, or the password is wrong.
    Gone,
    /// The session is another server's now: the connection is closed.
    Moved,
}

/// Appends a verdict.
pub fn put_verdict(out: &mut Vec<u8>, verdict: &ForwardVerdict) {
    match *verdict {
        ForwardVerdict::Proposed { zxid } => {
            out.push(tag::PROPOSED);
            put_zxid(out, zxid);
        }
        ForwardVerdict::Answer { at, beat, ref outcome } => {
            out.push(tag::ANSWER);
            put_zxid(out, at);
            put_u64(out, beat);
            put_outcome(out, outcome);
        }
    }
}

fn put_outcome(out: &mut Vec<u8>, outcome: &ForwardOutcome) {
    match *outcome {
        ForwardOutcome::Refused(code) => {
            out.push(tag::REFUSED);
            put_i32(out, code.code());
        }
        ForwardOutcome::RefusedMulti { failed_idx, code, count } => {
            out.push(tag::REFUSED_MULTI);
            put_u32(out, failed_idx);
            put_i32(out, code.code());
            put_u32(out, count);
        }
        ForwardOutcome::Last(code) => {
            out.push(tag::LAST);
            put_i32(out, code.code());
        }
        ForwardOutcome::Synced => out.push(tag::SYNCED),
        ForwardOutcome::Attached { timeout_ms, password } => {
            out.push(tag::ATTACHED);
            put_u32(out, timeout_ms);
            out.extend_from_slice(&password);
        }
        ForwardOutcome::Gone => out.push(tag::UNKNOWN),
        ForwardOutcome::Moved => out.push(tag::MOVED),
    }
}

/// The verdicts of a [`crate::model::peer::Message::Verdicts`]. After an error there is nothing more.
pub fn verdicts(bytes: &[u8]) -> impl Iterator<Item = Result<ForwardVerdict, BadMessage>> {
    each(bytes, decode_verdict)
}

fn decode_verdict(fields: &mut Fields<'_>) -> Result<ForwardVerdict, BadMessage> {
    match fields.u8()? {
        tag::PROPOSED => Ok(ForwardVerdict::Proposed { zxid: fields.zxid()? }),
        tag::ANSWER => Ok(ForwardVerdict::Answer { at: fields.zxid()?, beat: fields.u64()?, outcome: decode_outcome(fields)? }),
        other => Err(BadMessage::Field { what: "the kind of a verdict", value: u64::from(other) }),
    }
}

fn decode_outcome(fields: &mut Fields<'_>) -> Result<ForwardOutcome, BadMessage> {
    Ok(match fields.u8()? {
        tag::REFUSED => ForwardOutcome::Refused(code(fields)?),
        tag::REFUSED_MULTI => {
            let (failed_idx, code, count) = (fields.u32()?, code(fields)?, fields.u32()?);
            if count as usize > MULTI_OPS_MAX {
                return Err(BadMessage::Field { what: "a number of operations", value: u64::from(count) });
            }
            if failed_idx >= count {
                return Err(BadMessage::Field { what: "the failed operation's number", value: u64::from(failed_idx) });
            }
            ForwardOutcome::RefusedMulti { failed_idx, code, count }
        }
        tag::LAST => ForwardOutcome::Last(code(fields)?),
        tag::SYNCED => ForwardOutcome::Synced,
        tag::ATTACHED => ForwardOutcome::Attached { timeout_ms: fields.u32()?, password: fields.chunk()? },
        tag::UNKNOWN => ForwardOutcome::Gone,
        tag::MOVED => ForwardOutcome::Moved,
        other => return Err(BadMessage::Field { what: "the kind of an outcome", value: u64::from(other) }),
    })
}

fn code(fields: &mut Fields<'_>) -> Result<ErrorCode, BadMessage> {
    let code = fields.i32()?;
    ErrorCode::from_code(code).ok_or(BadMessage::Field { what: "an error code", value: u64::from(code.cast_unsigned()) })
}
