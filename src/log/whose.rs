//! Whose history the files are of: what the metadata says, else the snapshot, the batches, the segments and the mark.
//!
//! Guarantees: a snapshot of one history and a log of another never make one server; a history never goes on without the identity that any
//! of its files names. Leaves to others: files of another cluster within the log (`scan`), the decision (`case`).

use crate::base::ids::{ClusterId, Zxid};
use crate::log::batch::Identity;
use crate::log::mark::Mark;
use crate::log::meta::{Meta, meta_path};
use crate::log::scan::{NO_CLUSTER, Scan, scan};
use crate::model::file::{Damage, FilePath, Files};
use crate::mutant;

/// The snapshot that was loaded: the log goes on from it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Base {
    /// Where it stands; the default: none was loaded. With checksum 0 it fits any history.
    pub at: Identity,
    /// Whose history it is of, and its file.
    pub of: Option<(ClusterId, FilePath)>,
}

impl From<Identity> for Base {
    fn from(at: Identity) -> Base {
        Base { at, of: None }
    }
}

impl Base {
    /// Whose history it holds. One of the very beginning holds none.
    fn named(&self) -> Option<(ClusterId, &FilePath)> {
        let (cluster, file) = self.of.as_ref()?;
        (self.at.zxid > Zxid::ZERO && *cluster != NO_CLUSTER && !mutant!("log-ignores-snapshots-cluster")).then_some((*cluster, file))
    }

    /// What is to be said when the snapshot isn't of `cluster`, whose metadata and log are there.
    pub(super) fn contradiction(&self, cluster: Option<ClusterId>) -> Option<Damage> {
        let (of, file) = self.named()?;
        let log = cluster.filter(|c| *c != of && *c != NO_CLUSTER)?;
        let what = format!("this snapshot is of cluster {of}, but {} and the log beside it are of cluster {log}", meta_path(0));
        Some(Damage { path: file.name.clone(), offset: 0, what })
    }
}

/// Whose files these are; the metadata's word counts before all others.
pub(super) fn cluster_of(files: &dyn Files, meta: Option<&Meta>, mark: Option<Mark>, base: &Base) -> Option<ClusterId> {
    match meta.map(|m| m.cluster) {
        // No server writes that beside a history; one that lost its metadata, and kept a snapshot, once did.
        Some(NO_CLUSTER) => Some(base.named().map_or(NO_CLUSTER, |(cluster, _)| cluster)),
        Some(cluster) => Some(cluster),
        None => guess_cluster(files, mark, base),
    }
}

/// Whose files these are, when the metadata doesn't tell.
fn guess_cluster(files: &dyn Files, mark: Option<Mark>, base: &Base) -> Option<ClusterId> {
    let found = scan(files, None);
    let by_batch = found.batches.last().map(|b| b.header.replicated.cluster);
    let by_segment = |named: bool| {
        let mut heads = found.segments.iter().filter_map(|s| s.head.map(|h| h.cluster));
        heads.rfind(|c| !named || *c != NO_CLUSTER)
    };
    let by_mark = mark.map(|m| m.cluster);
    // The history itself first: a mark that strayed here from another server would make every batch a stranger's.
    let named = by_batch.or_else(|| by_segment(true)).or(by_mark.filter(|c| *c != NO_CLUSTER));
    named.or(base.named().map(|(cluster, _)| cluster)).or_else(|| by_segment(false)).or(by_mark)
}

/// While this server's history is empty, files of another cluster that hold nothing are what is left of the identity that it had before: it
/// was ended while it replaced them.
pub(super) fn judge_strangers(found: &mut Scan<'_>, meta: Option<&Meta>, base: &Base) {
    let nothing = is_nothing(found, meta, base) && !mutant!("log-refuses-its-former-identity");
    found.settle_strangers(nothing);
}

/// Neither a batch nor a position that one had: what this server was before can't be contradicted.
pub(super) fn is_nothing(found: &Scan<'_>, meta: Option<&Meta>, base: &Base) -> bool {
    found.batches.is_empty() && !found.unlisted && base.at.zxid == Zxid::ZERO && meta.is_some_and(|m| m.start.zxid == Zxid::ZERO)
}
