//! The server's state against the reference model, node by node and session by session.

use super::model::Answer;
use super::replay::{Member, Replay};
use crate::base::ids::{SessionId, Zxid};
use crate::model::request::Request;
use crate::session::Sessions;
use crate::tree::Tree;
use std::collections::BTreeMap;

/// Whether the tree is the model's: same nodes, data, lists, stats.
///
/// # Errors
/// The first difference, in words.
pub fn same_tree(replay: &mut Replay, tree: &Tree) -> Result<(), String> {
    let mut paths = vec![b"/".to_vec()];
    let mut seen = 0;
    while let Some(path) = paths.pop() {
        let shown = String::from_utf8_lossy(&path).into_owned();
        let node = tree.find(&path).ok_or_else(|| format!("the tree lacks {shown}"))?;
        if replay.kind_of(&path) != Some(tree.kind(node)) {
            return Err(format!("{shown}: the tree has {:?}, the model {:?}", tree.kind(node), replay.kind_of(&path)));
        }
        let own_words = replay.config.clone().filter(|_| path == b"/zookeeper/config");
        if let Some((text, version)) = &own_words {
            // Each member writes it for itself; only when isn't the same everywhere.
            let stat = tree.stat(node);
            if tree.data(node) != Some(&text[..]) || (stat.version, stat.mzxid, stat.data_len) != (-1, Zxid(*version), text.len() as i32) {
                return Err(format!("{shown}: the tree has {:?}, {stat:?}", tree.data(node).map(String::from_utf8_lossy)));
            }
        }
        let mut ask = |request: &Request<'_>| replay.ask_as_super(request).and_then(Result::ok);
        match ask(&Request::GetData { path: &path, watch: false }) {
            Some(Answer::Data(..)) if own_words.is_some() => {}
            Some(Answer::Data(data, stat)) if data.as_deref() == tree.data(node) && stat == tree.stat(node) => {}
            other => {
                return Err(format!(
                    "{shown}: the tree has {:?}, {:?}, the model {other:?}",
                    tree.data(node).map(<[u8]>::len),
                    tree.stat(node)
                ));
            }
        }
        match ask(&Request::GetAcl { path: &path }) {
            Some(Answer::Acl(list, _)) if list == tree.acl(node).bytes() => {}
            other => return Err(format!("{shown}: the tree has the list {:?}, the model {other:?}", tree.acl(node))),
        }
        let Some(Answer::Children(names)) = ask(&Request::GetChildren { path: &path, watch: false }) else {
            return Err(format!("the model has no children of {shown}"));
        };
        for name in names {
            let mut child = if path == b"/" { Vec::new() } else { path.clone() };
            child.push(b'/');
            child.extend(name);
            paths.push(child);
        }
        seen += 1;
    }
    let root = tree.find(b"/").ok_or("the tree has no root")?;
    let all = tree.descendants_count(root) + 1;
    if all == seen { Ok(()) } else { Err(format!("the tree has {all} nodes, the model {seen}")) }
}

/// Whether the live sessions are those of the log.
///
/// # Errors
/// The first difference, in words.
pub fn same_sessions(wanted: &BTreeMap<SessionId, Member>, sessions: &Sessions) -> Result<(), String> {
    let mut count = 0;
    for image in sessions.images() {
        count += 1;
        match wanted.get(&image.session) {
            None => return Err(format!("{} lives although the log closed it", image.session)),
            Some(member) if member.password != image.password => return Err(format!("{} has another password", image.session)),
            Some(_) => {}
        }
    }
    if count == wanted.len() { Ok(()) } else { Err(format!("{count} sessions live, the log has {}", wanted.len())) }
}
