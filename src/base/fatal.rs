//! Why the process ends, as a type whose number is the exit status. Statuses are only added, never renumbered.

/// A reason to end the process with a status of its own; the text beside it is for the operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Fatal {
    /// Arguments that make no sense.
    Usage = 2,
    /// A bad value in the configuration.
    Configuration = 10,
    /// A listening address is taken.
    AddressInUse = 11,
    /// A data directory is missing, unwritable or not usable.
    Directory = 12,
    /// Another server holds the data directory.
    Locked = 13,
    /// The directory holds another program's or a newer version's data.
    ForeignFormat = 14,
    /// io_uring is missing, disabled or blocked.
    IoUring = 15,
    /// Too little locked memory.
    LockedMemory = 16,
    /// Damage at or below the durable position.
    Damage = 20,
    /// A write or a sync failed; nothing after it was acknowledged.
    WriteFailed = 21,
    /// The tree's digest differs from the recorded one.
    Digest = 22,
    /// A statement about our own state was false: a defect of Ringkeeper.
    Invariant = 30,
}

impl Fatal {
    /// The exit status.
    #[must_use]
    pub fn status(self) -> i32 {
        i32::from(self as u8)
    }

    /// The name under which `docs/operations.md` lists the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fatal::Usage => "usage",
            Fatal::Configuration => "configuration",
            Fatal::AddressInUse => "address in use",
            Fatal::Directory => "directory",
            Fatal::Locked => "locked",
            Fatal::ForeignFormat => "foreign format",
            Fatal::IoUring => "io_uring",
            Fatal::LockedMemory => "locked memory",
            Fatal::Damage => "damage",
            Fatal::WriteFailed => "write failed",
            Fatal::Digest => "digest",
            Fatal::Invariant => "invariant",
        }
    }
}

/// A reason to stop with the sentence that says what was found, where, what was expected and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct FatalError {
    /// The class, and so the exit status.
    pub kind: Fatal,
    /// For the operator.
    pub message: String,
}

impl FatalError {
    /// A reason of class `kind`.
    pub fn new(kind: Fatal, message: impl Into<String>) -> FatalError {
        FatalError { kind, message: message.into() }
    }
}
