//! Judging the four creates, in the order of T13.

use super::pending::{Look, NodeState};
use super::{Asker, Bench, resolved};
use crate::base::ids::SessionId;
use crate::model::acl::perms;
use crate::model::create_mode::{CreateMode, NodeKind, TTL_MS_MAX};
use crate::model::error_code::ErrorCode;
use crate::model::path;
use crate::model::request::{Create, CreateOp};
use crate::model::txn::OpRef;
use crate::mutant;
use std::io::Write;

/// What kind of node a create makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    /// The parent's counter is appended to the name.
    is_sequential: bool,
    /// `Ephemeral(NONE)` stands for the asking session.
    kind: NodeKind,
}

impl Shape {
    /// Of a request outside a multi: the opcode decides the kind, the flags only whether it is sequential and ephemeral.
    pub(super) fn of_request(create: &Create<'_>, extended_types: bool) -> Result<Shape, ErrorCode> {
        let mode = CreateMode::from_flags(create.flags).ok_or(ErrorCode::BadArguments)?;
        if mode.is_ttl() && !extended_types {
            return Err(ErrorCode::Unimplemented);
        }
        // Only opcode 21 has a ttl, and it can't go with a mode that has none.
        if mode.is_ttl() != (create.op == CreateOp::Ttl) {
            return Err(ErrorCode::BadArguments);
        }
        let kind = match create.op {
            CreateOp::Container => NodeKind::Container,
            CreateOp::Ttl => ttl_kind(create.ttl_ms)?,
            CreateOp::Create | CreateOp::Create2 if mode.is_ephemeral() => NodeKind::Ephemeral(SessionId::NONE),
            CreateOp::Create | CreateOp::Create2 => NodeKind::Persistent,
        };
        Ok(Shape { is_sequential: mode.is_sequential(), kind })
    }

    /// Inside a multi, where the flags alone decide, and a ttl counts only with a flag that wants one.
    pub(super) fn of_multi_entry(create: &Create<'_>, extended_types: bool) -> Result<Shape, ErrorCode> {
        let mode = CreateMode::from_flags(create.flags).ok_or(ErrorCode::BadArguments)?;
        let op = match mode {
            CreateMode::Container => CreateOp::Container,
            mode if mode.is_ttl() => create.op,
            _ => CreateOp::Create,
        };
        Shape::of_request(&Create { op, ..*create }, extended_types)
    }
}

fn ttl_kind(ttl_ms: i64) -> Result<NodeKind, ErrorCode> {
    if (1..=TTL_MS_MAX).contains(&ttl_ms) { Ok(NodeKind::Ttl { ttl_ms }) } else { Err(ErrorCode::BadArguments) }
}

impl Bench<'_> {
    pub(super) fn create(&mut self, asker: &Asker<'_>, create: &Create<'_>, shape: Shape) -> Result<(), ErrorCode> {
        self.prep.check_session(asker)?;
        let parent_path = path::parent(create.path).filter(|_| !create.path.contains(&0)).ok_or(ErrorCode::BadArguments)?;
        let acl = resolved(self.prep, asker, create.acl)?;
        let mut full_path = std::mem::take(&mut self.prep.path);
        full_path.clear();
        full_path.extend_from_slice(create.path);
        let judged = self.create_below(asker, create, shape, parent_path, &mut full_path, &acl);
        self.prep.path = full_path;
        self.prep.acl = acl;
        judged
    }

    /// The checks that need the parent, and the change.
    fn create_below(
        &mut self,
        asker: &Asker<'_>,
        create: &Create<'_>,
        shape: Shape,
        parent_path: &[u8],
        full_path: &mut Vec<u8>,
        acl: &[u8],
    ) -> Result<(), ErrorCode> {
        let parent = self.look_existing(parent_path)?;
        self.check_acl(asker, &parent, perms::CREATE)?;
        if shape.is_sequential {
            append_sequence(full_path, self.sequence(parent_path, &parent));
        }
        path::validate(full_path).map_err(|_| ErrorCode::BadArguments)?;
        let node = self.look(full_path);
        if node.state.exists {
            return Err(ErrorCode::NodeExists);
        }
        if matches!(NodeKind::from_owner(parent.state.owner, self.prep.options.extended_types), NodeKind::Ephemeral(_)) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let data_len = create.data.map_or(0, <[u8]>::len);
        self.check_quota(full_path, 1, data_len as i64)?;

        let kind = match shape.kind {
            NodeKind::Ephemeral(_) => NodeKind::Ephemeral(asker.session),
            other => other,
        };
        let parent_cversion = parent.state.cversion.wrapping_add(1);
        self.check_room(full_path.len() + data_len + acl.len())?;
        self.ops.push(OpRef::Create { path: full_path, data: create.data, acl, owner: kind.owner(), parent_cversion });
        self.charge_quota(full_path, 1, data_len as i64);
        let parent_state = NodeState { cversion: parent_cversion, children: parent.state.children + 1, ..parent.state };
        self.put(parent_path, &parent, parent_state, None);
        let state = NodeState { exists: true, is_young: true, owner: kind.owner(), data_len, ..NodeState::default() };
        self.put(full_path, &node, state, Some(acl));
        Ok(())
    }

    /// The number that a sequential child of `parent` gets: its persisted counter, outstanding creations included.
    fn sequence(&self, parent_path: &[u8], parent: &Look) -> i32 {
        if mutant!("prep-sequence-ignores-outstanding") {
            return self.tree.find(parent_path).map_or(parent.state.cversion, |id| self.tree.persisted(id).cversion);
        }
        parent.state.cversion
    }
}

/// Appends the counter as ZooKeeper's `%010d` does: ten places, a sign counts as one.
fn append_sequence(path: &mut Vec<u8>, sequence: i32) {
    write!(path, "{sequence:010}").expect("writing into a vector can't fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_have_ten_places_and_may_be_negative() {
        let name = |n| {
            let mut out = b"/q-".to_vec();
            append_sequence(&mut out, n);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(name(0), "/q-0000000000");
        assert_eq!(name(i32::MAX), "/q-2147483647");
        assert_eq!(name(i32::MIN), "/q--2147483648");
        assert_eq!(name(-1), "/q--000000001");
    }
}
