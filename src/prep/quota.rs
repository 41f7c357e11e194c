//! Hard quotas (T48), only looked at when they are enforced: limits as applied, use as applied plus outstanding.
//!
//! The deepest ancestor with a quota is charged, as in the tree. ZooKeeper compares with the applied use alone and so lets
//! a burst of outstanding writes pass a limit; counting them is the stricter reading of a *hard* limit.

use super::Bench;
use crate::base::ids::Zxid;
use crate::model::error_code::ErrorCode;
use crate::model::path;
use std::collections::{BTreeMap, VecDeque};

/// What outstanding transactions add to one quota.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Use {
    count: i64,
    bytes: i64,
}

/// What outstanding transactions add to all quotas.
#[derive(Debug, Default)]
pub(super) struct PendingUse {
    sums: BTreeMap<Vec<u8>, Use>,
    /// The single additions in zxid order: transaction, path of the quota, use.
    order: VecDeque<(Zxid, Vec<u8>, Use)>,
    multi_from: usize,
}

impl PendingUse {
    fn add(&mut self, root: &[u8], added: Use) {
        let sum = self.sums.entry(root.to_vec()).or_default();
        sum.count += added.count;
        sum.bytes += added.bytes;
        if *sum == Use::default() {
            self.sums.remove(root);
        }
    }

    fn charge(&mut self, zxid: Zxid, root: Vec<u8>, added: Use) {
        self.add(&root, added);
        self.order.push_back((zxid, root, added));
    }

    fn take_back(&mut self, root: &[u8], added: Use) {
        self.add(root, Use { count: -added.count, bytes: -added.bytes });
    }

    /// All sums, to compare before and after.
    #[cfg(test)]
    pub(super) fn picture(&self) -> Vec<(Vec<u8>, i64, i64)> {
        self.sums.iter().map(|(root, sum)| (root.clone(), sum.count, sum.bytes)).collect()
    }

    pub(super) fn begin_multi(&mut self) {
        self.multi_from = self.order.len();
    }

    pub(super) fn roll_back_multi(&mut self) {
        while self.order.len() > self.multi_from {
            if let Some((_, root, added)) = self.order.pop_back() {
                self.take_back(&root, added);
            }
        }
    }

    pub(super) fn applied(&mut self, zxid: Zxid) {
        while self.order.front().is_some_and(|(charged, ..)| *charged <= zxid) {
            if let Some((_, root, added)) = self.order.pop_front() {
                self.take_back(&root, added);
            }
        }
    }
}

impl Bench<'_> {
    /// Whether `path` may bring this many nodes and bytes more.
    pub(super) fn check_quota(&self, node_path: &[u8], count: i64, bytes: i64) -> Result<(), ErrorCode> {
        if !self.prep.options.enforce_quota {
            return Ok(());
        }
        let Some(quota) = self.tree.quota_over(node_path) else { return Ok(()) };
        let pending = self.quota_root(node_path).and_then(|root| self.prep.quota.sums.get(root)).copied().unwrap_or_default();
        let is_over = |used: i64, pending: i64, more: i64, limit: i64| {
            more != 0 && limit > -1 && used.saturating_add(pending).saturating_add(more) > limit
        };
        if is_over(quota.used_count, pending.count, count, quota.count_hard)
            || is_over(quota.used_bytes, pending.bytes, bytes, quota.bytes_hard)
        {
            return Err(ErrorCode::QuotaExceeded);
        }
        Ok(())
    }

    /// Remembers what the transaction being judged adds to the quota over `path`.
    pub(super) fn charge_quota(&mut self, node_path: &[u8], count: i64, bytes: i64) {
        if !self.prep.options.enforce_quota || (count == 0 && bytes == 0) || self.tree.quota_over(node_path).is_none() {
            return;
        }
        if let Some(root) = self.quota_root(node_path).map(<[u8]>::to_vec) {
            self.prep.quota.charge(self.zxid, root, Use { count, bytes });
        }
    }

    /// The deepest ancestor (or the node itself) that has a quota in the tree.
    fn quota_root<'p>(&self, node_path: &'p [u8]) -> Option<&'p [u8]> {
        let mut limits = Vec::new();
        let mut root = node_path;
        while root.len() > 1 {
            limits.clear();
            limits.extend_from_slice(b"/zookeeper/quota");
            limits.extend_from_slice(root);
            limits.extend_from_slice(b"/zookeeper_limits");
            if self.tree.find(&limits).is_some() {
                return Some(root);
            }
            root = path::parent(root)?;
        }
        None
    }
}
