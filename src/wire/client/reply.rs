//! Replies: written straight into the connection's outgoing bytes, the length filled in at the end.
//!
//! Guarantees: what stands before is untouched; a [`Reply`] that is dropped instead of finished leaves nothing behind; a reply
//! with an error has no body (the one exception, a failed SASL step, has a function of its own).

use crate::base::ids::Zxid;
use crate::invariant;
use crate::model::acl::{AclList, Identity};
use crate::model::error_code::ErrorCode;
use crate::model::stat::Stat;
use crate::wire::client::frame::LENGTH_BYTES;
use crate::wire::jute::writer::{len_on_wire, put_acl, put_buffer, put_int, put_long, put_stat, put_text, put_texts, put_vector};

/// Bytes of a reply's header, without the frame's length.
pub const REPLY_HEADER_BYTES: usize = 16;

/// A reply being written.
#[derive(Debug)]
#[must_use = "a reply that isn't finished is taken back"]
pub struct Reply<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    is_error: bool,
}

impl<'o> Reply<'o> {
    /// Starts a reply to request `xid`. `zxid` is what this server has applied at this moment (T2), zero for auth and SASL.
    /// With an error, [`Reply::finish`] is all that may follow.
    #[inline]
    pub fn begin(out: &'o mut Vec<u8>, xid: i32, zxid: Zxid, error: Option<ErrorCode>) -> Reply<'o> {
        let start = out.len();
        let mut head = [0; LENGTH_BYTES + REPLY_HEADER_BYTES];
        head[4..8].copy_from_slice(&xid.to_be_bytes());
        head[8..16].copy_from_slice(&zxid.0.to_be_bytes());
        head[16..20].copy_from_slice(&error.map_or(0, ErrorCode::code).to_be_bytes());
        out.extend_from_slice(&head);
        Reply { out, start, is_error: error.is_some() }
    }

    /// Fills in the length. Only now the reply stands.
    #[inline]
    pub fn finish(self) {
        let len = self.out.len() - self.start - LENGTH_BYTES;
        invariant!(!self.is_error || len == REPLY_HEADER_BYTES, "an error reply with a body of {} bytes", len - REPLY_HEADER_BYTES);
        self.out[self.start..self.start + LENGTH_BYTES].copy_from_slice(&len_on_wire(len).to_be_bytes());
        std::mem::forget(self);
    }

    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// A number (getAllChildrenNumber).
    pub fn put_int(&mut self, value: i32) -> &mut Self {
        put_int(self.out, value);
        self
    }

    /// A string (a path).
    pub fn put_text(&mut self, text: &[u8]) -> &mut Self {
        put_text(self.out, text);
        self
    }

    /// Data or a token; null and empty differ.
    pub fn put_buffer(&mut self, buffer: Option<&[u8]>) -> &mut Self {
        put_buffer(self.out, buffer);
        self
    }

    /// A stat.
    pub fn put_stat(&mut self, stat: &Stat) -> &mut Self {
        put_stat(self.out, stat);
        self
    }

    /// An ACL list.
    pub fn put_acl(&mut self, list: AclList<'_>) -> &mut Self {
        put_acl(self.out, list);
        self
    }

    /// Strings (names of children, paths of ephemerals).
    pub fn put_texts<'t>(&mut self, texts: impl IntoIterator<Item = &'t [u8]>) -> &mut Self {
        put_texts(self.out, texts);
        self
    }

    /// The identities that whoAmI lists.
    pub fn put_identities<'t>(&mut self, identities: impl IntoIterator<Item = &'t Identity>) -> &mut Self {
        put_vector(self.out, identities, |out, identity| {
            put_text(out, &identity.scheme);
            put_text(out, &identity.id);
        });
        self
    }

    /// The record ErrorResponse with code 0, which is addWatch's body.
    pub fn put_ok_record(&mut self) -> &mut Self {
        self.put_int(0)
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        self.out.truncate(self.start);
    }
}

/// A reply that is a header only: success without a body, or an error.
#[inline]
pub fn write_header_only(out: &mut Vec<u8>, xid: i32, zxid: Zxid, error: Option<ErrorCode>) {
    Reply::begin(out, xid, zxid, error).finish();
}

/// The reply to a SASL step that failed: the one error reply with a body, a null token (T68).
pub fn write_sasl_failed(out: &mut Vec<u8>, xid: i32, error: ErrorCode) {
    frame_into(out, |out| {
        put_int(out, xid);
        put_long(out, 0);
        put_int(out, error.code());
        put_buffer(out, None);
    });
}

/// Appends one frame whose content `put` appends.
pub(super) fn frame_into(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put_int(out, 0);
    put(out);
    let len = len_on_wire(out.len() - start - LENGTH_BYTES);
    out[start..start + LENGTH_BYTES].copy_from_slice(&len.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_is_dropped_leaves_nothing() {
        let mut out = b"before".to_vec();
        let mut reply = Reply::begin(&mut out, 1, Zxid(2), None);
        reply.put_text(b"/a");
        drop(reply);
        assert_eq!(out, b"before");
    }

    #[test]
    #[should_panic(expected = "an error reply with a body of 4 bytes")]
    fn an_error_has_no_body() {
        let mut out = Vec::new();
        let mut reply = Reply::begin(&mut out, 1, Zxid(2), Some(ErrorCode::NoNode));
        reply.put_int(3);
        reply.finish();
    }
}
