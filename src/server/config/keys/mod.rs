//! The catalogue: every key of ZooKeeper 3.9's `zoo.cfg`, every system property it reads, and our own keys.
//!
//! Each has a kind (what values are accepted), a default and a fate: what happens here when it is set. No key is ever
//! ignored in silence. What the values are used for is left to [`super::zoo_cfg`] and the server.

mod base;
mod network;
mod own;
mod quorum;
mod security;
mod storage;

use super::kind::Kind;

/// What setting a key does here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It works as in ZooKeeper.
    Honoured,
    /// Honoured between the servers of an ensemble; of a standalone server it has no meaning.
    InEnsemble,
    /// Accepted with one line that says why nothing needs it here.
    NoMeaning(&'static str),
    /// Not built yet; ignoring it costs comfort only, so a warning. Holds the value that asks for nothing (empty: every
    /// value asks for something).
    Later(&'static str),
    /// Not built yet, and ignoring it would weaken security or safety: the start is refused unless the value is this one.
    Refused(&'static str),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Without the prefix `zookeeper.`. A name that ends in `*` stands for every name that begins so.
    pub name: &'static str,
    /// Which values are accepted.
    pub kind: Kind,
    /// What holds when it isn't set, as text for people; a plain value wherever it is one.
    pub default: &'static str,
    /// What setting it does.
    pub fate: Fate,
    /// One phrase, with the unit.
    pub meaning: &'static str,
}

impl Key {
    /// The fixed part of the name: all of it, or what stands before the `*`.
    #[must_use]
    pub fn stem(&self) -> &'static str {
        self.name.strip_suffix('*').unwrap_or(self.name)
    }

    fn matches(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(stem) => name.len() > stem.len() && name.starts_with(stem),
            None => name == self.name,
        }
    }
}

const fn honoured(name: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default, fate: Fate::Honoured, meaning }
}

const fn in_ensemble(name: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default, fate: Fate::InEnsemble, meaning }
}

const fn moot(name: &'static str, kind: Kind, default: &'static str, why: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default, fate: Fate::NoMeaning(why), meaning }
}

const fn later(name: &'static str, kind: Kind, default: &'static str, off: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default, fate: Fate::Later(off), meaning }
}

const fn refused(name: &'static str, kind: Kind, default: &'static str, off: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default, fate: Fate::Refused(off), meaning }
}

/// A titled part of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// For `docs/configuration.md`.
    pub title: &'static str,
    /// In the order of the documentation.
    pub keys: &'static [Key],
}

/// The whole catalogue.
pub const SECTIONS: &[Section] = &[
    Section { title: "Ringkeeper's own keys", keys: own::KEYS },
    Section { title: "Addresses, directories, sessions", keys: base::KEYS },
    Section { title: "Log, snapshots, tree", keys: storage::KEYS },
    Section { title: "Connections and limits", keys: network::KEYS },
    Section { title: "Access", keys: security::ACCESS },
    Section { title: "TLS and Kerberos", keys: security::TRANSPORT },
    Section { title: "Administration and metrics", keys: network::ADMIN },
    Section { title: "Ensemble", keys: quorum::KEYS },
    Section { title: "Read by ZooKeeper's clients and tests, not by its server", keys: quorum::OTHERS },
];

/// Every key in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// The name without the prefix `zookeeper.`, with which and without which every key counts.
#[must_use]
pub fn plain_name(name: &str) -> &str {
    name.strip_prefix("zookeeper.").unwrap_or(name)
}

/// The key that `name` (with or without the prefix) means. Exact names go before patterns, longer patterns before shorter ones.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    let plain = plain_name(name);
    let best = all().filter(|key| key.matches(plain)).max_by_key(|key| (!key.name.ends_with('*'), key.stem().len()))?;
    // Between servers the TLS keys are those of the client port under another prefix, and no others.
    match plain.strip_prefix("ssl.quorum.") {
        Some(suffix) if !all().any(|key| key.name.strip_prefix("ssl.") == Some(suffix)) => None,
        _ => Some(best),
    }
}

/// Longest unknown name for which a near one is looked for.
const NEAR_NAME_BYTES_MAX: usize = 80;

/// The known key that an unknown `name` was probably meant to be: the fewest edits, and few in relation to its length.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    let plain = plain_name(name);
    if plain.is_empty() || plain.len() > NEAR_NAME_BYTES_MAX {
        return None;
    }
    let folded = plain.to_ascii_lowercase();
    let edits_max = plain.len().div_ceil(3);
    // Names of very different length need more edits than that.
    let similar = all().filter(|key| key.stem().len().abs_diff(plain.len()) <= edits_max);
    let (edits, near) =
        similar.map(|key| (edit_distance(&folded, &key.stem().to_ascii_lowercase()), key.name)).min_by_key(|found| found.0)?;
    (edits <= edits_max).then_some(near)
}

/// Insertions, removals, replacements and swaps of neighbours that turn `a` into `b`, bytewise.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before_last: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_key_is_documented() {
        let mut names: Vec<&str> = all().map(|key| key.name).collect();
        assert!(names.len() > 240, "only {} keys", names.len());
        assert!(all().all(|key| !key.meaning.is_empty() && !key.default.is_empty()));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn both_forms_of_a_name_and_patterns_are_found() {
        assert_eq!(find("zookeeper.snapCount").map(|k| k.name), Some("snapCount"));
        assert_eq!(find("snapCount").map(|k| k.name), Some("snapCount"));
        assert_eq!(find("server.17").map(|k| k.name), Some("server.*"));
        assert_eq!(find("ssl.quorum.keyStore.location").map(|k| k.name), Some("ssl.quorum.*"));
        assert_eq!(find("authProvider.x509").map(|k| k.name), Some("authProvider.x509"));
        assert_eq!(find("authProvider.1").map(|k| k.name), Some("authProvider.*"));
        for unknown in ["server.", "server", "ssl.quorum.nonsense", "snapcount", "", "zookeeper."] {
            assert!(find(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_finds_the_key_that_was_meant() {
        assert_eq!(nearest("tickTmie"), Some("tickTime"));
        assert_eq!(nearest("maxClientConnections"), Some("maxClientCnxns"));
        assert_eq!(nearest("datadir"), Some("dataDir"));
        assert_eq!(nearest("zookeeper.autopurge.purgeIntervall"), Some("autopurge.purgeInterval"));
        assert_eq!(nearest("ringkeeper.log.shard"), Some("ringkeeper.log.shards"));
        assert_eq!(nearest("completely.else.q"), None);
        assert_eq!(nearest(&"x".repeat(1000)), None);
    }

    #[test]
    fn distances_count_a_swap_once() {
        assert_eq!(edit_distance("abcd", "abdc"), 1);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}
