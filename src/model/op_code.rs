//! Operation codes of the client protocol (`ZooDefs.OpCode`) and what kind each is.

/// An operation that a client may send.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum OpCode {
    /// Create a node; the reply is its path.
    Create = 1,
    /// Delete a node.
    Delete = 2,
    /// Stat of a node, or that it is missing.
    Exists = 3,
    /// Data and stat.
    GetData = 4,
    /// Replace the data.
    SetData = 5,
    /// ACL and stat.
    GetAcl = 6,
    /// Replace the ACL.
    SetAcl = 7,
    /// Names of the children.
    GetChildren = 8,
    /// Answered once the server has caught up with the leader.
    Sync = 9,
    /// Keeps the session alive.
    Ping = 11,
    /// Names of the children, and the stat.
    GetChildren2 = 12,
    /// A version check; inside a multi only.
    Check = 13,
    /// Several writes, all or none.
    Multi = 14,
    /// Create a node; the reply is its path and stat.
    Create2 = 15,
    /// Change the ensemble.
    Reconfig = 16,
    /// Ask whether a watch is registered.
    CheckWatches = 17,
    /// Remove a watch.
    RemoveWatches = 18,
    /// Create a container.
    CreateContainer = 19,
    /// Create a node with a time to live.
    CreateTtl = 21,
    /// Several reads.
    MultiRead = 22,
    /// Add an identity to the connection.
    Auth = 100,
    /// Register watches again after a reconnect.
    SetWatches = 101,
    /// One step of a SASL exchange.
    Sasl = 102,
    /// The session's ephemeral nodes.
    GetEphemerals = 103,
    /// Number of all descendants.
    GetAllChildrenNumber = 104,
    /// As `SetWatches`, with persistent ones.
    SetWatches2 = 105,
    /// Add a persistent watch.
    AddWatch = 106,
    /// The connection's identities.
    WhoAmI = 107,
    /// End the session.
    CloseSession = -11,
}

impl OpCode {
    /// The operation of a number on the wire; `None` for unknown ones and for those that only servers use among themselves
    /// (error -1, createSession -10, deleteContainer 20, notification 0).
    #[must_use]
    pub fn from_wire(raw: i32) -> Option<OpCode> {
        use OpCode::*;
        const ALL: [OpCode; 29] = [
            Create,
            Delete,
            Exists,
            GetData,
            SetData,
            GetAcl,
            SetAcl,
            GetChildren,
            Sync,
            Ping,
            GetChildren2,
            Check,
            Multi,
            Create2,
            Reconfig,
            CheckWatches,
            RemoveWatches,
            CreateContainer,
            CreateTtl,
            MultiRead,
            Auth,
            SetWatches,
            Sasl,
            GetEphemerals,
            GetAllChildrenNumber,
            SetWatches2,
            AddWatch,
            WhoAmI,
            CloseSession,
        ];
        ALL.into_iter().find(|op| *op as i32 == raw)
    }

    /// The number on the wire.
    #[must_use]
    pub fn wire(self) -> i32 {
        self as i32
    }

    /// Whether it changes replicated state and therefore goes through the log.
    #[must_use]
    pub fn is_write(self) -> bool {
        use OpCode::*;
        matches!(self, Create | Create2 | CreateContainer | CreateTtl | Delete | SetData | SetAcl | Multi | Reconfig | CloseSession)
    }

    /// Short name as ZooKeeper shows it in `cons` (`lop=`).
    #[must_use]
    pub fn short_name(self) -> &'static str {
        use OpCode::*;
        match self {
            Create | Create2 | CreateContainer | CreateTtl => "CREA",
            Delete => "DELE",
            Exists => "EXIS",
            GetData => "GETD",
            SetData => "SETD",
            GetAcl => "GETA",
            SetAcl => "SETA",
            GetChildren | GetChildren2 => "GETC",
            Sync => "SYNC",
            Ping => "PING",
            Check => "CHEC",
            Multi => "MULT",
            Reconfig => "RECO",
            CheckWatches => "CHKW",
            RemoveWatches => "REMW",
            MultiRead => "MLTR",
            Auth => "AUTH",
            SetWatches => "SETW",
            Sasl => "SASL",
            GetEphemerals => "GETE",
            GetAllChildrenNumber => "GETACN",
            SetWatches2 => "STW2",
            AddWatch => "ADDW",
            WhoAmI => "HOMI",
            CloseSession => "CLOS",
        }
    }
}
