//! Judging setData, setACL and check (T15).

use super::pending::{Look, NodeState};
use super::{Asker, Bench, next_version, resolved};
use crate::model::acl::perms;
use crate::model::error_code::ErrorCode;
use crate::model::path;
use crate::model::txn::OpRef;
use crate::mutant;

impl Bench<'_> {
    pub(super) fn set_data(&mut self, asker: &Asker<'_>, node_path: &[u8], data: Option<&[u8]>, expected: i32) -> Result<(), ErrorCode> {
        self.prep.check_session(asker)?;
        let node = self.look_valid(node_path)?;
        self.check_acl(asker, &node, perms::WRITE)?;
        let data_len = data.map_or(0, <[u8]>::len);
        let more_bytes = data_len as i64 - node.state.data_len as i64;
        self.check_quota(node_path, 0, more_bytes)?;
        let version = next_version(self.current_version(node_path, &node), expected)?;
        self.check_room(node_path.len() + data_len)?;
        self.ops.push(OpRef::SetData { path: node_path, data, version });
        self.charge_quota(node_path, 0, more_bytes);
        self.put(node_path, &node, NodeState { version, data_len, is_young: true, ..node.state }, None);
        Ok(())
    }

    pub(super) fn set_acl(&mut self, asker: &Asker<'_>, node_path: &[u8], list: Option<&[u8]>, expected: i32) -> Result<(), ErrorCode> {
        self.prep.check_session(asker)?;
        path::validate(node_path).map_err(|_| ErrorCode::BadArguments)?;
        let acl = resolved(self.prep, asker, list)?;
        let judged = self.set_resolved_acl(asker, node_path, &acl, expected);
        self.prep.acl = acl;
        judged
    }

    fn set_resolved_acl(&mut self, asker: &Asker<'_>, node_path: &[u8], acl: &[u8], expected: i32) -> Result<(), ErrorCode> {
        let node = self.look_existing(node_path)?;
        self.check_acl(asker, &node, perms::ADMIN)?;
        let aversion = next_version(node.state.aversion, expected)?;
        self.check_room(node_path.len() + acl.len())?;
        self.ops.push(OpRef::SetAcl { path: node_path, acl, aversion });
        self.put(node_path, &node, NodeState { aversion, ..node.state }, Some(acl));
        Ok(())
    }

    pub(super) fn check(&mut self, asker: &Asker<'_>, node_path: &[u8], expected: i32) -> Result<(), ErrorCode> {
        self.prep.check_session(asker)?;
        let node = self.look_valid(node_path)?;
        if !mutant!("prep-check-skips-acl") {
            self.check_acl(asker, &node, perms::READ)?;
        }
        next_version(node.state.version, expected).map(drop)
    }

    fn look_valid(&self, node_path: &[u8]) -> Result<Look, ErrorCode> {
        path::validate(node_path).map_err(|_| ErrorCode::BadArguments)?;
        self.look_existing(node_path)
    }

    fn current_version(&self, node_path: &[u8], node: &Look) -> i32 {
        if mutant!("prep-version-ignores-outstanding") {
            return self.tree.find(node_path).map_or(node.state.version, |id| self.tree.persisted(id).version);
        }
        node.state.version
    }
}
