//! Segments that were made ahead and hold no batch: what the next start makes of them.
//!
//! Guarantees: only a file of the length that its own good header says, in which no batch and nothing that may be left of one was
//! found, counts as unused; so a server that is restarted over and over without writing needs no new room, and one that writes needs
//! only what it wrote in. Old batches of a recycled segment are no obstacle: they name another generation and another place.

use crate::base::ids::ShardId;
use crate::log::options::LogOptions;
use crate::log::recover::is_suspect;
use crate::log::scan::{Scan, SegmentFile};
use crate::log::segment::SEGMENT_HEADER_BYTES;
use crate::log::shard::{FREE_MAX, FreeSegment};
use crate::model::file::FilePath;
use crate::mutant;
use std::collections::BTreeSet;

/// What becomes of the unused segments.
#[derive(Debug, Default)]
pub(super) struct Unused {
    /// Indices of all of them into [`Scan::segments`], ascending.
    pub(super) all: Vec<usize>,
    /// For each shard, the file that becomes its first segment.
    pub(super) first: Vec<Option<FilePath>>,
    /// For each shard, files that become its next spares.
    pub(super) free: Vec<Vec<FreeSegment>>,
    /// The others.
    pub(super) superfluous: Vec<(ShardId, FilePath)>,
}

impl Unused {
    /// Sorts out what the scan found.
    pub(super) fn of(scan: &Scan<'_>, options: &LogOptions) -> Unused {
        let shards = usize::from(options.shards);
        let mut unused = Unused { first: vec![None; shards], free: vec![Vec::new(); shards], ..Unused::default() };
        let mut holds = vec![false; scan.segments.len()];
        scan.batches.iter().for_each(|batch| holds[batch.segment] = true);
        let suspects = scan.findings.iter().filter(|finding| is_suspect(finding.kind)).map(|finding| finding.place.path.as_str());
        let suspects: BTreeSet<&str> = suspects.collect();
        for (idx, segment) in scan.segments.iter().enumerate() {
            let holds = holds[idx] && !mutant!("log_recycles_what_it_keeps");
            let (shard, path) = (segment.shard, segment.path());
            if holds || !is_as_made(segment) || suspects.contains(path.name.as_str()) {
                continue;
            }
            unused.all.push(idx);
            let capacity = segment.len - SEGMENT_HEADER_BYTES;
            match (unused.first.get_mut(shard.idx()), unused.free.get_mut(shard.idx())) {
                (Some(first), _) if first.is_none() && capacity == options.first_segment_bytes => *first = Some(path),
                (_, Some(free)) if free.len() < FREE_MAX && options.is_usual(capacity) => free.push(FreeSegment { path, capacity }),
                _ => unused.superfluous.push((shard, path)),
            }
        }
        unused
    }
}

/// Whether the file has a good header and the length that it says.
fn is_as_made(segment: &SegmentFile) -> bool {
    segment.head.is_some_and(|head| segment.len == SEGMENT_HEADER_BYTES.saturating_add(head.capacity))
}
