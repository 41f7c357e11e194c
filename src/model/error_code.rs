//! ZooKeeper's error codes (`KeeperException.Code`), as far as a server sends them.

/// What a reply header carries when a request failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i32)]
pub enum ErrorCode {
    /// A failure of the server itself, for instance a full disk.
    SystemError = -1,
    /// In a failed multi: an operation after the one that failed.
    RuntimeInconsistency = -2,
    /// The request's body doesn't decode.
    MarshallingError = -5,
    /// The operation isn't known, or not offered by this server.
    Unimplemented = -6,
    /// A path, flag or value out of its range.
    BadArguments = -8,
    /// No node of that path.
    NoNode = -101,
    /// The connection's identities don't permit it.
    NoAuth = -102,
    /// The expected version isn't the node's.
    BadVersion = -103,
    /// An ephemeral node can't have children.
    NoChildrenForEphemerals = -108,
    /// The node exists.
    NodeExists = -110,
    /// The node has children.
    NotEmpty = -111,
    /// The session is closing or gone.
    SessionExpired = -112,
    /// An ACL that is empty, or names an unknown scheme or an invalid id.
    InvalidAcl = -114,
    /// Authentication failed; the connection is closed.
    AuthFailed = -115,
    /// The session is served by another connection now.
    SessionMoved = -118,
    /// A write on a server that only reads.
    NotReadOnly = -119,
    /// An ephemeral node on a session that isn't replicated.
    EphemeralOnLocalSession = -120,
    /// No such watch.
    NoWatcher = -121,
    /// Reconfiguration is switched off.
    ReconfigDisabled = -123,
    /// The server wants SASL first.
    SessionClosedRequireSaslAuth = -124,
    /// A hard quota would be exceeded.
    QuotaExceeded = -125,
    /// The request waited too long in the throttle.
    ThrottledOp = -127,
}

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The code with this number.
    #[must_use]
    pub fn from_code(code: i32) -> Option<ErrorCode> {
        ALL.iter().copied().find(|c| c.code() == code)
    }
}

/// Every code, by descending number.
const ALL: [ErrorCode; 22] = [
    ErrorCode::SystemError,
    ErrorCode::RuntimeInconsistency,
    ErrorCode::MarshallingError,
    ErrorCode::Unimplemented,
    ErrorCode::BadArguments,
    ErrorCode::NoNode,
    ErrorCode::NoAuth,
    ErrorCode::BadVersion,
    ErrorCode::NoChildrenForEphemerals,
    ErrorCode::NodeExists,
    ErrorCode::NotEmpty,
    ErrorCode::SessionExpired,
    ErrorCode::InvalidAcl,
    ErrorCode::AuthFailed,
    ErrorCode::SessionMoved,
    ErrorCode::NotReadOnly,
    ErrorCode::EphemeralOnLocalSession,
    ErrorCode::NoWatcher,
    ErrorCode::ReconfigDisabled,
    ErrorCode::SessionClosedRequireSaslAuth,
    ErrorCode::QuotaExceeded,
    ErrorCode::ThrottledOp,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_go_both_ways() {
        assert!(ALL.is_sorted_by(|a, b| a.code() > b.code()));
        assert!(ALL.iter().all(|c| ErrorCode::from_code(c.code()) == Some(*c)));
        assert_eq!(ErrorCode::from_code(0), None);
    }
}
