//! Watches that clients ask for by themselves: persistent ones, checks, removals, and all of them again after a reconnect.

use super::{Cx, Keeper, replies};
use crate::base::ids::Zxid;
use crate::base::memory::BatchMemory;
use crate::model::error_code::ErrorCode;
use crate::model::request::SetWatches;
use crate::model::watch_kind::{EventType, WatchMode, WatcherType};
use crate::mutant;

/// Header of the events of a reconnect: they belong to no transaction (T3).
const CATCH_UP_ZXID: Option<Zxid> = None;

impl<M: BatchMemory> Keeper<M> {
    /// Mode 0 is persistent, 1 recursive too; the node need not exist and no permission is needed (T29).
    pub(super) fn add_watch(&mut self, idx: u32, path: &[u8], mode: i32) -> Result<(), ErrorCode> {
        let mode = match mode {
            0 => WatchMode::Persistent,
            1 => WatchMode::PersistentRecursive,
            _ => return Err(ErrorCode::MarshallingError),
        };
        self.watches.add(idx, path, mode);
        Ok(())
    }

    pub(super) fn check_watches(&mut self, idx: u32, path: &[u8], kind: i32) -> Result<(), ErrorCode> {
        let kind = WatcherType::from_wire(kind).ok_or(ErrorCode::MarshallingError)?;
        if self.watches.contains(idx, path, kind) { Ok(()) } else { Err(ErrorCode::NoWatcher) }
    }

    pub(super) fn remove_watches(&mut self, idx: u32, path: &[u8], kind: i32) -> Result<(), ErrorCode> {
        let kind = WatcherType::from_wire(kind).ok_or(ErrorCode::MarshallingError)?;
        if self.watches.remove(idx, path, kind) { Ok(()) } else { Err(ErrorCode::NoWatcher) }
    }

    /// Registers watches again; what changed since the client last saw is told at once instead (T30). These events aren't
    /// filtered by permission, and they all precede the reply.
    pub(super) fn set_watches(&mut self, cx: &mut Cx<'_, M>, idx: u32, lists: &SetWatches<'_>) -> Result<(), ErrorCode> {
        // As signed numbers: a client that has seen nothing may say -1.
        let since = lists.relative_zxid.as_i64();
        for path in &lists.data {
            let missed = match self.tree.find(path).map(|node| self.tree.persisted(node).mzxid) {
                None => Some(EventType::NodeDeleted),
                Some(mzxid) => (mzxid.as_i64() > since).then_some(EventType::NodeDataChanged),
            };
            self.tell_or_watch(cx, idx, path, missed, WatchMode::Data);
        }
        for path in &lists.exist {
            let missed = self.tree.find(path).map(|_| EventType::NodeCreated);
            self.tell_or_watch(cx, idx, path, missed, WatchMode::Data);
        }
        for path in &lists.child {
            let missed = match self.tree.find(path).map(|node| self.tree.persisted(node).pzxid) {
                None => Some(EventType::NodeDeleted),
                Some(pzxid) => (pzxid.as_i64() > since).then_some(EventType::NodeChildrenChanged),
            };
            self.tell_or_watch(cx, idx, path, missed, WatchMode::Children);
        }
        for path in &lists.persistent {
            self.watches.add(idx, path, WatchMode::Persistent);
        }
        for path in &lists.persistent_recursive {
            self.watches.add(idx, path, WatchMode::PersistentRecursive);
        }
        Ok(())
    }

    fn tell_or_watch(&mut self, cx: &mut Cx<'_, M>, idx: u32, path: &[u8], missed: Option<EventType>, mode: WatchMode) {
        match missed {
            Some(_) if mutant!("watch-catch-up-skipped") => self.watches.add(idx, path, mode),
            Some(event) => replies::event(&mut self.conns, &mut self.stats, cx.fx, idx, CATCH_UP_ZXID, event, path),
            None => self.watches.add(idx, path, mode),
        }
    }
}
