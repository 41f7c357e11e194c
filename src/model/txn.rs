//! What is replicated: a transaction as borrowed values, independent of the bytes it is stored in.
//!
//! A transaction carries resulting values, never requests, so that applying it can't fail and applying it twice can be
//! detected. `log::record` stores it and gives it back as these same views; `tree` and `session` apply it.

use crate::base::ids::{SessionId, Zxid};

/// Bytes of a session password.
pub const PASSWORD_BYTES: usize = 16;

/// Who and when of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxnHead {
    /// Its place in the one order.
    pub zxid: Zxid,
    /// The session that asked; [`SessionId::NONE`] for the server's own (reaper, expiry names the session it closes).
    pub session: SessionId,
    /// The client's number of the request; 0 for the server's own.
    pub cxid: i32,
    /// Leader's wall clock, milliseconds; becomes `ctime` and `mtime`.
    pub time_ms: i64,
}

/// One change. A transaction is a list of them: one for a simple write, any number for a multi (also none).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpRef<'a> {
    /// A node comes to be.
    Create {
        /// Full path, sequence number included.
        path: &'a [u8],
        /// Its data; null and empty differ.
        data: Option<&'a [u8]>,
        /// ACL list in wire form, resolved and without duplicates.
        acl: &'a [u8],
        /// Persisted owner (session, container or TTL mark), see [`crate::model::create_mode::NodeKind`].
        owner: i64,
        /// The parent's persisted cversion after this creation.
        parent_cversion: i32,
    },
    /// A node goes.
    Delete {
        /// Full path.
        path: &'a [u8],
    },
    /// New data.
    SetData {
        /// Full path.
        path: &'a [u8],
        /// The data; null and empty differ.
        data: Option<&'a [u8]>,
        /// Version after the change.
        version: i32,
    },
    /// New ACL.
    SetAcl {
        /// Full path.
        path: &'a [u8],
        /// ACL list in wire form.
        acl: &'a [u8],
        /// ACL version after the change.
        aversion: i32,
    },
    /// `head.session` begins.
    CreateSession {
        /// Negotiated timeout.
        timeout_ms: u32,
        /// What resuming it will need.
        password: &'a [u8; PASSWORD_BYTES],
    },
    /// `head.session` ends, and with it every ephemeral node that the tree then lists for it.
    CloseSession,
}
