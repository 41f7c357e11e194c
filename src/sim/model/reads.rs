//! The reads of the reference model (T16, T17, T49, T50).

use super::{Answer, Model, Outcome, Turn};
use crate::model::acl::{self, AclEntry, AclList, perms};
use crate::model::error_code::ErrorCode;
use crate::model::path as paths;
use crate::model::request::Request;
use std::collections::BTreeSet;

impl Model {
    pub(super) fn multi_read(&mut self, turn: &Turn<'_>, list: &[Request<'_>]) -> Outcome {
        if !list.iter().all(|one| matches!(one, Request::GetData { .. } | Request::GetChildren { .. })) {
            return Err(ErrorCode::MarshallingError);
        }
        Ok(Answer::Each(list.iter().filter_map(|one| self.read(turn, one)).collect()))
    }

    pub(super) fn read(&self, turn: &Turn<'_>, request: &Request<'_>) -> Option<Outcome> {
        Some(match *request {
            Request::Exists { path, .. } if path.contains(&0) => Err(ErrorCode::BadArguments),
            Request::Exists { path, .. } => self.readable(turn, path, perms::READ).map(|()| Answer::Stat(self.stat(path))),
            Request::GetData { path, .. } => {
                self.readable(turn, path, perms::READ).map(|()| Answer::Data(self.nodes[path].data.clone(), self.stat(path)))
            }
            Request::GetChildren { path, .. } => self.readable(turn, path, perms::READ).map(|()| Answer::Children(self.children(path))),
            Request::GetChildren2 { path, .. } => {
                self.readable(turn, path, perms::READ).map(|()| Answer::ChildrenStat(self.children(path), self.stat(path)))
            }
            Request::GetAcl { path } => {
                self.readable(turn, path, perms::READ | perms::ADMIN).map(|()| Answer::Acl(self.shown_acl(turn, path), self.stat(path)))
            }
            Request::GetAllChildrenNumber { path } => self.readable(turn, path, perms::READ).map(|()| Answer::Count(self.below(path))),
            Request::GetEphemerals { prefix } => {
                let all: BTreeSet<Vec<u8>> = self.ephemerals(turn.session);
                let is_any = prefix == b"/" || prefix.iter().all(u8::is_ascii_whitespace);
                Ok(Answer::Paths(all.into_iter().filter(|path| is_any || path.starts_with(prefix)).collect()))
            }
            Request::Sync { path } => Ok(Answer::Path(path.unwrap_or_default().to_vec())),
            _ => return None,
        })
    }

    fn readable(&self, turn: &Turn<'_>, path: &[u8], wanted: i32) -> Result<(), ErrorCode> {
        self.allowed(turn, self.node(path)?, wanted)
    }

    /// All nodes below `path`.
    fn below(&self, path: &[u8]) -> usize {
        self.nodes.keys().filter(|other| *other != path && paths::is_at_or_below(other, path)).count()
    }

    /// Without ADMIN the hashes of `digest` ids are hidden.
    fn shown_acl(&self, turn: &Turn<'_>, path: &[u8]) -> Vec<u8> {
        let node = &self.nodes[path];
        if self.allowed(turn, node, perms::ADMIN).is_ok() {
            return node.acl.clone();
        }
        let list = AclList::parse(&node.acl).expect("the resolver makes whole lists");
        let masked: Vec<(AclEntry<'_>, Vec<u8>)> = list
            .entries()
            .map(|entry| match entry.id.iter().position(|b| *b == b':') {
                Some(colon) if entry.scheme == b"digest" => (entry, [&entry.id[..colon], b":x"].concat()),
                _ => (entry, entry.id.to_vec()),
            })
            .collect();
        acl::encode(masked.iter().map(|(entry, id)| AclEntry { id, ..*entry }))
    }
}
