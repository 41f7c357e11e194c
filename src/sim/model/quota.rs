//! The quotas of the reference model (T48): recomputed from the limits nodes at every change.

use super::Model;
use crate::model::error_code::ErrorCode;
use crate::model::path as paths;

const QUOTA: &str = "/zookeeper/quota";

/// The value of `key` in a limits or stats text; -1 when it is unset.
fn number(text: &str, key: &str) -> i64 {
    let mut pairs = text.split([',', ';']).filter_map(|pair| pair.split_once('='));
    let found = pairs.rfind(|(k, _)| *k == key);
    found.and_then(|(_, value)| value.trim_end_matches('=').parse().ok()).unwrap_or(-1)
}

impl Model {
    fn quota_text(&self, root: &str, name: &str) -> Option<String> {
        let node = self.nodes.get(format!("{QUOTA}{root}/{name}").as_bytes())?;
        Some(String::from_utf8_lossy(node.data.as_deref().unwrap_or_default()).into_owned())
    }

    /// The deepest path at or above `path`, except the root, that has limits.
    fn quota_root(&self, path: &[u8]) -> Option<String> {
        let mut at = path;
        while at != b"/" {
            let text = String::from_utf8_lossy(at).into_owned();
            if self.quota_text(&text, "zookeeper_limits").is_some() {
                return Some(text);
            }
            at = paths::parent(at)?;
        }
        None
    }

    pub(super) fn within_quota(&self, path: &[u8], count: i64, bytes: i64) -> Result<(), ErrorCode> {
        if !self.options.enforce_quota {
            return Ok(());
        }
        let Some(root) = self.quota_root(path) else { return Ok(()) };
        let limits = self.quota_text(&root, "zookeeper_limits").unwrap_or_default();
        let Some(used) = self.quota_text(&root, "zookeeper_stats") else { return Ok(()) };
        for (more, used, limit) in [
            (count, number(&used, "count"), number(&limits, "countHardLimit")),
            (bytes, number(&used, "bytes"), number(&limits, "byteHardLimit")),
        ] {
            if more != 0 && limit >= 0 && used + more > limit {
                return Err(ErrorCode::QuotaExceeded);
            }
        }
        Ok(())
    }

    /// Rewrites the use of the quota over `path`.
    pub(super) fn charge(&mut self, path: &[u8], count: i64, bytes: i64) {
        let Some(root) = self.quota_root(path) else { return };
        let Some(used) = self.quota_text(&root, "zookeeper_stats") else { return };
        self.write_use(&root, number(&used, "count") + count, number(&used, "bytes") + bytes);
    }

    /// A new stats node starts with what is there.
    pub(super) fn count_new_quota(&mut self, path: &[u8]) {
        let text = String::from_utf8_lossy(path).into_owned();
        let Some(root) = text.strip_prefix(QUOTA).and_then(|rest| rest.strip_suffix("/zookeeper_stats")) else { return };
        let below = self.nodes.iter().filter(|(other, _)| paths::is_at_or_below(other, root.as_bytes()));
        let used = below.fold((0, 0), |(count, bytes), (_, node)| (count + 1, bytes + node.data.as_ref().map_or(0, Vec::len) as i64));
        // Whatever text the client gave it is gone, hard limits included.
        if let Some(node) = self.nodes.get_mut(path) {
            node.data = None;
        }
        self.write_use(root, used.0, used.1);
    }

    /// Hard limits that somebody wrote into the stats text stay there.
    fn write_use(&mut self, root: &str, count: i64, bytes: i64) {
        let old = self.quota_text(root, "zookeeper_stats").unwrap_or_default();
        let kept: String = ["byteHardLimit", "countHardLimit"]
            .iter()
            .filter(|key| old.contains(&format!("{key}=")))
            .map(|key| format!(";{key}={}", number(&old, key)))
            .collect();
        let mark = if kept.is_empty() { "" } else { "=" };
        if let Some(node) = self.nodes.get_mut(format!("{QUOTA}{root}/zookeeper_stats").as_bytes()) {
            node.data = Some(format!("count={count},bytes={bytes}{mark}{kept}").into_bytes());
        }
    }
}
