//! Kinds of watches and of the events they deliver (`Watcher.Event.EventType`, `Watcher.WatcherType`, `AddWatchMode`).

/// What happened, as a notification says it. A server sends only these four.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum EventType {
    /// The node came to be.
    NodeCreated = 1,
    /// The node is gone.
    NodeDeleted = 2,
    /// Its data were set.
    NodeDataChanged = 3,
    /// A child was created or deleted.
    NodeChildrenChanged = 4,
}

/// Which watches checkWatches and removeWatches mean.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum WatcherType {
    /// Child watches.
    Children = 1,
    /// Data and exists watches.
    Data = 2,
    /// All of them.
    Any = 3,
    /// Persistent ones.
    Persistent = 4,
    /// Persistent recursive ones.
    PersistentRecursive = 5,
}

impl WatcherType {
    /// The type of a number on the wire.
    #[must_use]
    pub fn from_wire(raw: i32) -> Option<WatcherType> {
        use WatcherType::*;
        [Children, Data, Any, Persistent, PersistentRecursive].into_iter().find(|t| *t as i32 == raw)
    }
}

/// What a watch is registered as.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WatchMode {
    /// One-shot in the data table (by exists and getData).
    Data,
    /// One-shot in the child table (by getChildren).
    Children,
    /// Persistent, in both tables.
    Persistent,
    /// Persistent on the node and everything below it, in the data table.
    PersistentRecursive,
}
