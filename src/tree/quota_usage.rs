//! Quotas: which paths have one, and the usage that is counted into their stats nodes (T48).
//!
//! A quota on `/a` is the node `/zookeeper/quota/a/zookeeper_limits`; what `/a` and all below it use stands in
//! `…/zookeeper_stats`, as text. Every change is charged to the deepest ancestor (or the node itself) that has a quota, by
//! rewriting the text while applying: no transaction, no change of version or zxid, no event. The text is state like any
//! other: it is in snapshots as it was at their zxid and isn't counted anew after loading. A quota on the root isn't kept,
//! as in ZooKeeper. Leaves to others: refusing what exceeds a limit (`prep`).

use super::{ApplySink, Tree};
use crate::model::path;
use crate::mutant;
use std::collections::BTreeSet;

/// Below it, the tree of quotas mirrors the tree itself.
pub(super) const QUOTA_ROOT: &[u8] = b"/zookeeper/quota";
const LIMITS: &[u8] = b"zookeeper_limits";
const STATS: &[u8] = b"zookeeper_stats";

/// A quota with what is used of it. Limits of -1 are unset; counts are nodes, bytes are data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// Soft limit of nodes.
    pub count: i64,
    /// Soft limit of bytes.
    pub bytes: i64,
    /// Hard limit of nodes.
    pub count_hard: i64,
    /// Hard limit of bytes.
    pub bytes_hard: i64,
    /// Nodes, the one with the quota included.
    pub used_count: i64,
    /// Their bytes of data.
    pub used_bytes: i64,
}

/// The text of a limits or stats node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Track {
    count: i64,
    bytes: i64,
    count_hard: Option<i64>,
    bytes_hard: Option<i64>,
}

impl Track {
    /// Reads `count=N,bytes=M` with more pairs after `;`. What is missing or no number counts as -1, unset: the text is a
    /// client's, and applying must not fail on it.
    fn parse(text: &[u8]) -> Track {
        let mut track = Track { count: -1, bytes: -1, count_hard: None, bytes_hard: None };
        for pair in text.split(|b| matches!(b, b',' | b';')) {
            let mut parts = pair.split(|b| *b == b'=');
            let (key, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(-1);
            match key {
                b"count" => track.count = number,
                b"bytes" => track.bytes = number,
                b"countHardLimit" => track.count_hard = Some(number),
                b"byteHardLimit" => track.bytes_hard = Some(number),
                _ => {}
            }
        }
        track
    }

    /// As old parsers can read it too: they stop at the extra `=`.
    fn render(&self) -> String {
        let mut text = format!("count={},bytes={}", self.count, self.bytes);
        if self.count_hard.is_some() || self.bytes_hard.is_some() {
            text.push('=');
        }
        for (key, value) in [("byteHardLimit", self.bytes_hard), ("countHardLimit", self.count_hard)] {
            if let Some(value) = value {
                text.push_str(&format!(";{key}={value}"));
            }
        }
        text
    }
}

/// The paths that have a quota.
pub(super) struct QuotaPaths {
    paths: BTreeSet<Box<[u8]>>,
}

impl QuotaPaths {
    pub(super) fn new() -> QuotaPaths {
        QuotaPaths { paths: BTreeSet::new() }
    }

    /// The deepest of `path` and its ancestors that has a quota. Costs nothing while there is no quota at all.
    fn deepest<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        if self.paths.is_empty() {
            return None;
        }
        let mut at = path;
        while at.len() > 1 {
            if self.paths.contains(at) {
                return Some(at);
            }
            at = path::parent(at)?;
        }
        None
    }
}

/// The path that a limits or stats node of this path is for: `None` if it is neither, empty for the root.
fn limited_path<'a>(node: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let below = node.strip_prefix(QUOTA_ROOT)?;
    let slash = below.len().checked_sub(wanted.len() + 1)?;
    (below[0] == b'/' && below[slash] == b'/' && below[slash + 1..] == *wanted).then_some(&below[..slash])
}

fn quota_node(path: &[u8], name: &[u8]) -> Vec<u8> {
    [QUOTA_ROOT, path, b"/", name].concat()
}

impl Tree {
    /// The quota that a change at `path` is charged to, with its usage. `None` also when its limits or stats node is missing:
    /// then nothing is checked.
    #[must_use]
    pub fn quota_over(&self, path: &[u8]) -> Option<Quota> {
        let at = self.quotas.deepest(path)?;
        let limits = Track::parse(self.data(self.find(&quota_node(at, LIMITS))?).unwrap_or_default());
        let stats = Track::parse(self.data(self.find(&quota_node(at, STATS))?).unwrap_or_default());
        Some(Quota {
            count: limits.count,
            bytes: limits.bytes,
            count_hard: limits.count_hard.unwrap_or(-1),
            bytes_hard: limits.bytes_hard.unwrap_or(-1),
            used_count: stats.count,
            used_bytes: stats.bytes,
        })
    }

    /// Paths that have a quota, sorted.
    pub fn quota_paths(&self) -> impl Iterator<Item = &[u8]> {
        self.quotas.paths.iter().map(|path| &**path)
    }

    /// Notes a new node that is part of a quota itself.
    pub(super) fn quota_node_created(&mut self, path: &[u8], sink: &mut dyn ApplySink) {
        if !path.starts_with(QUOTA_ROOT) {
            return;
        }
        self.note_limits(path);
        if let Some(counted) = limited_path(path, STATS) {
            let (count, bytes) = self.usage(counted);
            let track = Track { count, bytes, count_hard: None, bytes_hard: None };
            self.rewrite_stats(path, |_| track, sink);
        }
    }

    /// Notes a limits node, new or loaded.
    pub(super) fn note_limits(&mut self, path: &[u8]) {
        if let Some(limited) = limited_path(path, LIMITS)
            && !limited.is_empty()
        {
            self.quotas.paths.insert(limited.into());
        }
    }

    /// Notes that a node is gone that was part of a quota itself.
    pub(super) fn quota_node_deleted(&mut self, path: &[u8]) {
        if let Some(limited) = limited_path(path, LIMITS) {
            self.quotas.paths.remove(limited);
        }
    }

    /// Charges a change at `path` to its quota, if it has one.
    pub(super) fn charge(&mut self, path: &[u8], count: i64, bytes: i64, sink: &mut dyn ApplySink) {
        let Some(at) = self.quotas.deepest(path) else { return };
        let charged = |track: Track| Track { count: track.count.wrapping_add(count), bytes: track.bytes.wrapping_add(bytes), ..track };
        self.rewrite_stats(&quota_node(at, STATS), charged, sink);
    }

    fn rewrite_stats(&mut self, stats_path: &[u8], change: impl FnOnce(Track) -> Track, sink: &mut dyn ApplySink) {
        let Some(node) = self.find(stats_path) else { return };
        let track = change(Track::parse(self.data(node).unwrap_or_default()));
        self.keep_old_image(node.0, sink);
        if !mutant!("tree-quota-not-charged") {
            let stat = self.arena.stat(node.0);
            self.rewrite(node.0, stats_path, Some(track.render().as_bytes()), &stat);
        }
    }

    /// Nodes and bytes at and below a path.
    fn usage(&self, path: &[u8]) -> (i64, i64) {
        let Some(top) = self.find(path) else { return (0, 0) };
        let add = |(count, bytes), slot| (count + 1, bytes + self.arena.node(slot).data_len() as i64);
        self.arena.walk(top.0).fold((0, 0), add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip_and_nonsense_is_unset() {
        for text in ["count=3,bytes=-1", "count=5,bytes=7=;byteHardLimit=9;countHardLimit=8", "count=1,bytes=2=;byteHardLimit=4"] {
            assert_eq!(Track::parse(text.as_bytes()).render(), text);
        }
        let track = Track::parse(b"count=1,bytes=2;countHardLimit=3");
        assert_eq!((track.count, track.bytes, track.count_hard, track.bytes_hard), (1, 2, Some(3), None));
        for text in [&b""[..], b"count", b"count=x,bytes=", b"\xff\xfe,;;=", b"count=99999999999999999999"] {
            assert_eq!(Track::parse(text).render(), "count=-1,bytes=-1");
        }
    }

    #[test]
    fn the_deepest_quota_is_charged() {
        let mut quotas = QuotaPaths::new();
        assert_eq!(quotas.deepest(b"/a/b/c"), None);
        quotas.paths.extend([Box::from(&b"/a"[..]), Box::from(&b"/a/b"[..])]);
        assert_eq!(quotas.deepest(b"/a/b/c"), Some(&b"/a/b"[..]));
        assert_eq!(quotas.deepest(b"/a/b"), Some(&b"/a/b"[..]));
        assert_eq!(quotas.deepest(b"/a/bc"), Some(&b"/a"[..]));
        assert_eq!((quotas.deepest(b"/ab"), quotas.deepest(b"/")), (None, None));
    }

    #[test]
    fn only_the_two_names_below_the_quota_tree_count() {
        assert_eq!(limited_path(b"/zookeeper/quota/a/b/zookeeper_limits", LIMITS), Some(&b"/a/b"[..]));
        assert_eq!(limited_path(b"/zookeeper/quota/zookeeper_limits", LIMITS), Some(&b""[..]));
        assert_eq!(limited_path(b"/zookeeper/quota/a/xzookeeper_limits", LIMITS), None);
        assert_eq!(limited_path(b"/zookeeper/quotas/zookeeper_limits", LIMITS), None);
        assert_eq!(limited_path(b"/a/zookeeper_limits", LIMITS), None);
    }
}
