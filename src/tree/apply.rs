//! Applying transactions: the only way a tree changes.
//!
//! A transaction carries resulting values and was judged against this very state, so nothing here can fail; what doesn't fit
//! is a defect of ours and stops the process. Every change of a node does the same five things in the same order: the old
//! image for a running scan, the node's old part out of the digest, the change, its new part in, the events. Events of one
//! change come in ZooKeeper's order (T23). A deleted or replaced ACL keeps its number until the end of the transaction.

use super::arena::{NewNode, NodeId};
use super::{ApplySink, Change, Tree, digest};
use crate::base::check::broken;
use crate::base::ids::{SessionId, Zxid};
use crate::invariant;
use crate::model::create_mode::NodeKind;
use crate::model::path;
use crate::model::stat::PersistedStat;
use crate::model::txn::{OpRef, TxnHead};
use crate::model::watch_kind::EventType;
use crate::mutant;

/// The values of [`OpRef::Create`].
struct Created<'a> {
    path: &'a [u8],
    data: Option<&'a [u8]>,
    acl: &'a [u8],
    owner: i64,
    parent_cversion: i32,
}

/// Paths in messages about broken invariants.
fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

impl Tree {
    /// Applies one change of the transaction `head`. After the last one comes [`Tree::end_txn`]. Session creation changes
    /// nothing here.
    pub fn apply(&mut self, head: &TxnHead, op: OpRef<'_>, sink: &mut dyn ApplySink) {
        invariant!(head.zxid > self.last_zxid, "transaction {} is applied after {}", head.zxid, self.last_zxid);
        self.in_txn = true;
        match op {
            OpRef::Create { path, data, acl, owner, parent_cversion } => {
                self.create(head, &Created { path, data, acl, owner, parent_cversion }, sink);
            }
            OpRef::Delete { path } => {
                let node = self.must_find(path);
                self.delete(node.0, path, head.zxid, sink);
            }
            OpRef::SetData { path, data, version } => self.set_data(head, path, data, version, sink),
            OpRef::SetAcl { path, acl, aversion } => self.set_acl(path, acl, aversion, sink),
            OpRef::CloseSession => self.close_session(head.session, head.zxid, sink),
            OpRef::CreateSession { .. } => {}
        }
    }

    /// Ends the transaction `zxid` (also one without changes): it is the last one applied, and what it released is free.
    pub fn end_txn(&mut self, zxid: Zxid) {
        invariant!(zxid > self.last_zxid, "transaction {zxid} ends after {}", self.last_zxid);
        self.last_zxid = zxid;
        self.in_txn = false;
        for number in self.released_acls.drain(..) {
            self.acls.release(number);
        }
    }

    fn must_find(&self, path: &[u8]) -> NodeId {
        self.find(path).unwrap_or_else(|| broken(format_args!("a transaction names {}, which doesn't exist", show(path))))
    }

    fn create(&mut self, head: &TxnHead, new: &Created<'_>, sink: &mut dyn ApplySink) {
        let parent_path = path::parent(new.path).unwrap_or_else(|| broken(format_args!("{} is created", show(new.path))));
        let parent = self.must_find(parent_path).0;
        invariant!(self.find(new.path).is_none(), "{} is created and exists", show(new.path));
        invariant!(!self.arena.is_session_bound(parent), "the ephemeral {} gets a child", show(parent_path));
        self.update_stat(parent, sink, |stat| {
            let expected = stat.cversion.wrapping_add(1);
            invariant!(new.parent_cversion == expected, "cversion of {} becomes {}", show(parent_path), new.parent_cversion);
            if !mutant!("tree-parent-cversion-lost") {
                stat.cversion = new.parent_cversion;
            }
            stat.pzxid = head.zxid;
        });
        let slot = self.add_node(head, parent, new);
        self.follow_creation(slot, parent, new.owner);
        self.quota_node_created(new.path, sink);
        self.charge(new.path, 1, self.arena.node(slot).data_len() as i64, sink);
        self.announce(EventType::NodeCreated, new.path, self.arena.node(slot).acl, sink);
        self.announce(EventType::NodeChildrenChanged, parent_path, self.arena.node(parent).acl, sink);
    }

    fn add_node(&mut self, head: &TxnHead, parent: u32, new: &Created<'_>) -> u32 {
        let stat = PersistedStat {
            czxid: head.zxid,
            mzxid: head.zxid,
            pzxid: head.zxid,
            ctime_ms: head.time_ms,
            mtime_ms: head.time_ms,
            owner: new.owner,
            ..PersistedStat::default()
        };
        let acl = self.acls.intern(new.acl);
        let (name, digested) = (path::name(new.path), digest::counts(new.path));
        let slot = self.arena.add(&NewNode { parent, name, data: new.data, acl, stat, digested });
        if let Some(scan) = &mut self.scan {
            scan.pass_over(slot);
        }
        self.enter(slot, new.path);
        slot
    }

    /// Lists of sessions and of the reaper after a creation.
    fn follow_creation(&mut self, slot: u32, parent: u32, owner: i64) {
        if owner != 0 {
            if let NodeKind::Ephemeral(session) = self.kind(NodeId(slot)) {
                self.ephemerals.add(&mut self.arena, session, slot);
            }
            self.reaper.touch(slot, self.reap_facts(slot));
        }
        self.refresh_reaper(parent);
    }

    fn refresh_reaper(&mut self, slot: u32) {
        if self.arena.owner(slot) != 0 {
            self.reaper.refresh(slot, self.reap_facts(slot));
        }
    }

    fn delete(&mut self, slot: u32, path: &[u8], zxid: Zxid, sink: &mut dyn ApplySink) {
        let parent_path = path::parent(path).unwrap_or_else(|| broken(format_args!("{} is deleted", show(path))));
        let parent = self.arena.node(slot).parent();
        self.update_stat(parent, sink, |stat| {
            if !mutant!("tree-pzxid-not-moved") {
                stat.pzxid = stat.pzxid.max(zxid);
            }
        });
        self.keep_old_image(slot, sink);
        self.digest.take_out(&self.arena, slot);
        if let NodeKind::Ephemeral(session) = self.kind(NodeId(slot)) {
            self.ephemerals.remove(&mut self.arena, session, slot);
        }
        self.reaper.forget(slot);
        let (acl, data_len) = (self.arena.node(slot).acl, self.arena.node(slot).data_len());
        self.data_bytes -= Tree::counted_bytes(slot, path, data_len);
        let was_indexed = self.index.remove(self.hash(path), slot);
        invariant!(was_indexed, "{} isn't in the index", show(path));
        self.arena.remove(slot);
        self.released_acls.push(acl);
        self.refresh_reaper(parent);
        self.quota_node_deleted(path);
        self.charge(path, -1, -(data_len as i64), sink);
        self.announce(EventType::NodeDeleted, path, acl, sink);
        self.announce(EventType::NodeChildrenChanged, parent_path, self.arena.node(parent).acl, sink);
    }

    fn set_data(&mut self, head: &TxnHead, path: &[u8], data: Option<&[u8]>, version: i32, sink: &mut dyn ApplySink) {
        let slot = self.must_find(path).0;
        let old = self.arena.stat(slot);
        let old_len = self.arena.node(slot).data_len();
        self.keep_old_image(slot, sink);
        let stat = PersistedStat { mzxid: head.zxid, mtime_ms: head.time_ms, version, ..old };
        self.rewrite(slot, path, data, &stat);
        if old.owner != 0 {
            self.reaper.touch(slot, self.reap_facts(slot));
        }
        let new_len = self.arena.node(slot).data_len();
        self.charge(path, 0, new_len as i64 - old_len as i64, sink);
        self.announce(EventType::NodeDataChanged, path, self.arena.node(slot).acl, sink);
    }

    /// Replaces data and stat. The caller has kept the old image.
    pub(super) fn rewrite(&mut self, slot: u32, path: &[u8], data: Option<&[u8]>, stat: &PersistedStat) {
        self.digest.take_out(&self.arena, slot);
        self.data_bytes -= self.arena.node(slot).data_len() as u64;
        if *stat != self.arena.stat(slot) {
            self.arena.set_stat(slot, stat);
        }
        self.arena.set_data(slot, data);
        self.data_bytes += self.arena.node(slot).data_len() as u64;
        self.digest.add(&mut self.arena, slot, path);
    }

    fn set_acl(&mut self, path: &[u8], acl: &[u8], aversion: i32, sink: &mut dyn ApplySink) {
        let slot = self.must_find(path).0;
        self.update_stat(slot, sink, |stat| stat.aversion = aversion);
        let number = self.acls.intern(acl);
        let node = self.arena.node_mut(slot);
        self.released_acls.push(std::mem::replace(&mut node.acl, number));
    }

    fn close_session(&mut self, session: SessionId, zxid: Zxid, sink: &mut dyn ApplySink) {
        let mut path = std::mem::take(&mut self.scratch);
        while let Some(slot) = self.ephemerals.first(session) {
            if mutant!("tree-ephemeral-forgotten") && self.ephemerals_of(session).count() == 1 {
                break;
            }
            path.clear();
            self.path_of(NodeId(slot), &mut path);
            self.delete(slot, &path, zxid, sink);
        }
        self.scratch = path;
    }

    /// Changes only the stat of a node.
    fn update_stat(&mut self, slot: u32, sink: &mut dyn ApplySink, change: impl FnOnce(&mut PersistedStat)) {
        self.keep_old_image(slot, sink);
        self.digest.take_out(&self.arena, slot);
        let mut stat = self.arena.stat(slot);
        change(&mut stat);
        self.arena.set_stat(slot, &stat);
        self.digest.add_again(&mut self.arena, slot);
    }

    fn announce(&self, event: EventType, path: &[u8], acl: u32, sink: &mut dyn ApplySink) {
        sink.changed(Change { event, path, acl: self.acls.list(acl) });
    }
}
