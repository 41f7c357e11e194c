//! Reads every segment of every shard and lists what is in it, block by block, judging nothing but the bytes themselves.
//!
//! Guarantees: no bytes panic; a batch is listed as whole only with header, body and every record checked, and only at the place that
//! its own header names. Leaves to others: generations, the chain, what is missing (`recover`).

use crate::base::ids::{ClusterId, ShardId};
use crate::base::limits::{BLOCK_BYTES, SHARDS_MAX};
use crate::log::batch::{BadHeader, BatchView, HEADER_BYTES, Header};
use crate::log::fields::is_newer_format;
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHead, is_leftover, segment_number, segment_path, shard_dir};
use crate::model::file::{Damage, FilePath, Files, Stored};
use std::collections::BTreeMap;

/// What a member of an ensemble writes as long as it doesn't know whose history it will hold.
pub(super) const NO_CLUSTER: ClusterId = ClusterId(0);

/// Something worth saying about a file that decides nothing by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// Where, and in which words.
    pub place: Damage,
}

/// Kinds of findings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FindingKind {
    /// A file that can't be read.
    Unreadable,
    /// A segment whose header block isn't good; its batches name themselves.
    WornSegmentHeader,
    /// A segment that is shorter than its header says.
    ShortSegment,
    /// A segment of another cluster, or of a newer format.
    Foreign,
    /// The beginning of a batch header that isn't whole.
    WornHeader,
    /// A batch with a good header whose body isn't.
    WornBody,
    /// A whole batch of another place: recycled content or a misdirected write.
    Stale,
    /// A whole batch beyond the end of its generation.
    Dead,
    /// A name that isn't ours.
    UnknownName,
    /// One copy of the metadata or one sector of the mark isn't good; the other is.
    WornCopy,
}

/// Findings of one kind that are listed for one file at most: recycled content alone gives one for each block.
const FINDINGS_MAX: usize = 100;

/// A batch with a good header.
#[derive(Clone, Debug)]
pub(super) struct Found<'a> {
    pub(super) header: Header,
    pub(super) head: &'a [u8],
    /// The body if it is whole.
    pub(super) body: Option<&'a [u8]>,
    /// Index into [`Scan::segments`].
    pub(super) segment: usize,
    /// Byte in the file.
    pub(super) at: u64,
}

impl<'a> Found<'a> {
    pub(super) fn view(&self) -> Option<BatchView<'a>> {
        self.body.map(|body| BatchView { header: self.header, head: self.head, body })
    }
}

/// One segment file.
#[derive(Clone, Debug)]
pub(super) struct SegmentFile {
    pub(super) shard: ShardId,
    pub(super) number: u64,
    pub(super) len: u64,
    /// Its header, if it is good.
    pub(super) head: Option<SegmentHead>,
}

impl SegmentFile {
    pub(super) fn path(&self) -> FilePath {
        segment_path(self.shard, self.number)
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan<'a> {
    pub(super) segments: Vec<SegmentFile>,
    pub(super) batches: Vec<Found<'a>>,
    pub(super) findings: Vec<Finding>,
    /// Segments from before this server's history got its identity: never used, to be removed.
    pub(super) leftovers: Vec<(ShardId, FilePath)>,
    /// Segments of another cluster in which nothing was ever written.
    strangers: Vec<(ShardId, FilePath, ClusterId)>,
    /// How many of each kind are listed for the file at hand.
    noted: BTreeMap<FindingKind, usize>,
    /// A shard's directory can't be listed: what lies in it is unknown, and a new segment could replace one of it.
    pub(super) unlisted: bool,
}

impl Scan<'_> {
    fn note(&mut self, kind: FindingKind, path: &FilePath, offset: u64, what: impl Into<String>) {
        let noted = self.noted.entry(kind).or_default();
        if *noted < FINDINGS_MAX {
            *noted += 1;
            self.findings.push(Finding { kind, place: Damage { path: path.name.clone(), offset, what: what.into() } });
        }
    }

    /// What the strangers are: `leftovers` of an earlier identity of this server, or another cluster's.
    pub(super) fn settle_strangers(&mut self, leftovers: bool) {
        for (shard, path, cluster) in std::mem::take(&mut self.strangers) {
            if leftovers {
                self.leftovers.push((shard, path));
            } else {
                self.noted.clear();
                self.note(FindingKind::Foreign, &path, 0, belongs_to(cluster));
            }
        }
    }

    pub(super) fn damage(&self, found: &Found<'_>, what: impl Into<String>) -> Damage {
        Damage { path: self.segments[found.segment].path().name, offset: found.at, what: what.into() }
    }
}

/// Tells the host which files a scan will ask for, in its order. What can't be listed is told by the scan.
pub fn expect_segments(files: &dyn Files) {
    let shards = (0..SHARDS_MAX as u8).map(ShardId);
    let segments = shards.flat_map(|shard| {
        let entries = files.list(&shard_dir(shard)).unwrap_or_default();
        entries.into_iter().filter_map(move |entry| segment_number(&entry.name)).map(move |number| segment_path(shard, number))
    });
    files.expect(segments.collect());
}

/// Reads all shards. `cluster` is the identity in the metadata, if that is good.
pub(super) fn scan(files: &dyn Files, cluster: Option<ClusterId>) -> Scan<'_> {
    let mut scan = Scan::default();
    for shard in 0..SHARDS_MAX as u8 {
        let shard = ShardId(shard);
        let entries = match files.list(&shard_dir(shard)) {
            Ok(entries) => entries,
            Err(place) => {
                scan.findings.push(Finding { kind: FindingKind::Unreadable, place });
                scan.unlisted = true;
                continue;
            }
        };
        for entry in entries {
            match segment_number(&entry.name) {
                Some(number) => scan_segment(&mut scan, files, cluster, SegmentFile { shard, number, len: entry.len, head: None }),
                None if is_leftover(&entry.name) => {}
                None => {
                    let path = FilePath::new(shard_dir(shard).volume, format!("{}/{}", shard_dir(shard).name, entry.name));
                    scan.note(FindingKind::UnknownName, &path, 0, "not a segment's name");
                }
            }
        }
    }
    scan
}

fn scan_segment<'a>(scan: &mut Scan<'a>, files: &'a dyn Files, cluster: Option<ClusterId>, mut file: SegmentFile) {
    scan.noted.clear();
    let path = file.path();
    let bytes = match files.bytes(&path) {
        Stored::Present(bytes) => bytes,
        Stored::Empty => &[],
        Stored::Unreadable(place) => {
            scan.findings.push(Finding { kind: FindingKind::Unreadable, place });
            &[]
        }
    };
    match SegmentHead::decode(bytes) {
        Ok(head) if head.cluster == NO_CLUSTER && cluster.is_some_and(|c| c != NO_CLUSTER) => {
            scan.leftovers.push((file.shard, path));
            return;
        }
        Ok(head) if cluster.is_some_and(|c| c != head.cluster) => {
            if holds_nothing(bytes) {
                scan.strangers.push((file.shard, path, head.cluster));
            } else {
                scan.note(FindingKind::Foreign, &path, 0, belongs_to(head.cluster));
            }
            return;
        }
        Ok(head) if head.shard == file.shard && head.number == file.number => file.head = Some(head),
        Ok(head) => {
            let what = format!("the header is of segment {} of shard {}", head.number, head.shard.0);
            scan.note(FindingKind::WornSegmentHeader, &path, 0, what);
        }
        Err(what) if is_newer_format(&what) => {
            scan.note(FindingKind::Foreign, &path, 0, what);
            return;
        }
        Err(what) => scan.note(FindingKind::WornSegmentHeader, &path, 0, what),
    }
    if let Some(head) = file.head.filter(|h| (bytes.len() as u64) < SEGMENT_HEADER_BYTES.saturating_add(h.capacity)) {
        let what = format!("{} bytes, its header says {}", bytes.len(), SEGMENT_HEADER_BYTES.saturating_add(head.capacity));
        scan.note(FindingKind::ShortSegment, &path, bytes.len() as u64, what);
    }
    scan.segments.push(file);
    scan_batches(scan, bytes, cluster);
}

fn belongs_to(cluster: ClusterId) -> String {
    format!("it belongs to cluster {cluster}")
}

/// Whether no block of a segment looks like a batch or what is left of one.
fn holds_nothing(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK_BYTES).skip(SEGMENT_HEADER_BYTES as usize / BLOCK_BYTES).all(|block| Header::read(block) == Err(BadHeader::NoBatch))
}

/// Lists the batches of the segment that was pushed last.
fn scan_batches<'a>(scan: &mut Scan<'a>, bytes: &'a [u8], cluster: Option<ClusterId>) {
    let segment = scan.segments.len() - 1;
    let file = scan.segments[segment].clone();
    let mut at = SEGMENT_HEADER_BYTES as usize;
    while at < bytes.len() {
        let block = &bytes[at..];
        let mut step = BLOCK_BYTES;
        match Header::read(block) {
            Ok(header) if belongs(&file, &header, at as u64, cluster) => {
                let body_len = header.replicated.body_len as usize;
                let body = block.get(HEADER_BYTES..HEADER_BYTES + body_len).filter(|body| header.replicated.body_is_whole(body));
                if body.is_none() {
                    scan.note(FindingKind::WornBody, &file.path(), at as u64, "the body of this batch isn't whole");
                }
                scan.batches.push(Found { header, head: &block[..HEADER_BYTES], body, segment, at: at as u64 });
                step = header.replicated.batch_bytes();
            }
            Ok(header) => {
                let what = format!("a batch of generation {} at logical offset {}", header.local.generation, header.local.offset);
                scan.note(FindingKind::Stale, &file.path(), at as u64, what);
            }
            Err(BadHeader::NoBatch) => {}
            Err(bad) => scan.note(FindingKind::WornHeader, &file.path(), at as u64, bad.to_string()),
        }
        at += step;
    }
}

/// Whether a header stands where it says it stands. Without a good segment header only cluster and shard can be compared.
fn belongs(file: &SegmentFile, header: &Header, at: u64, cluster: Option<ClusterId>) -> bool {
    let here = cluster.is_none_or(|c| c == header.replicated.cluster) && header.local.shard == file.shard;
    here && file.head.is_none_or(|head| {
        header.replicated.cluster == head.cluster
            && header.local.generation == head.generation
            && head.base.checked_add(at - SEGMENT_HEADER_BYTES) == Some(header.local.offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_hides_no_other() {
        let (mut scan, path) = (Scan::default(), segment_path(ShardId(0), 1));
        (0..5000).for_each(|block| scan.note(FindingKind::Stale, &path, block, "stale"));
        scan.note(FindingKind::WornBody, &path, 7, "worn");
        assert_eq!((scan.findings.len(), scan.findings.last().map(|f| f.kind)), (FINDINGS_MAX + 1, Some(FindingKind::WornBody)));
    }
}
