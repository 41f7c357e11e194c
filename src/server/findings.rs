//! What recovery found in the log beside the history, in few lines: one for each kind, however often it was met.
//!
//! A server that started often has thousands of stale batches in recycled segments; `ringkeeper inspect` shows each of them.

use crate::log::scan::{Finding, FindingKind};
use crate::server::note::{Level, Note};
use std::collections::{BTreeMap, BTreeSet};

/// One line for each kind of finding: how often, in how many files, and the first of them.
pub(super) fn summarise(findings: &[Finding]) -> Vec<Note> {
    let mut kinds: BTreeMap<FindingKind, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        kinds.entry(finding.kind).or_default().push(finding);
    }
    kinds.into_iter().map(|(kind, all)| Note { level: level(kind), text: line(kind, &all) }).collect()
}

/// What a disk did wrong, or a crash left half done, is worth a look; recycled content is not.
fn level(kind: FindingKind) -> Level {
    match kind {
        FindingKind::Unreadable
        | FindingKind::WornSegmentHeader
        | FindingKind::WornHeader
        | FindingKind::WornBody
        | FindingKind::WornCopy => Level::Warn,
        FindingKind::ShortSegment | FindingKind::Foreign | FindingKind::Stale | FindingKind::Dead | FindingKind::UnknownName => Level::Info,
    }
}

fn says(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Unreadable => "a file can't be read",
        FindingKind::WornSegmentHeader => "the header of a segment of the log is damaged; its batches name themselves",
        FindingKind::ShortSegment => "a segment of the log is shorter than its header says",
        FindingKind::Foreign => "a file of another ensemble or of a newer format",
        FindingKind::WornHeader => "the header of a batch isn't whole (a write that a crash cut short, or damage)",
        FindingKind::WornBody => "the body of a batch isn't whole (a write that a crash cut short, or damage)",
        FindingKind::Stale => "what a recycled segment held before",
        FindingKind::Dead => "a batch beyond the end of its generation, which was cut off",
        FindingKind::UnknownName => "a name that isn't ours",
        FindingKind::WornCopy => "one of two copies of the metadata or of the mark was damaged and is written anew",
    }
}

fn line(kind: FindingKind, all: &[&Finding]) -> String {
    let (first, says) = (&all[0].place, says(kind));
    if all.len() == 1 {
        return format!("recovery: {says}: {first}");
    }
    let files: BTreeSet<&str> = all.iter().map(|f| f.place.path.as_str()).collect();
    format!("recovery: {says}: {} in {} files, the first: {first}", all.len(), files.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::file::Damage;

    fn finding(kind: FindingKind, path: &str, offset: u64) -> Finding {
        Finding { kind, place: Damage { path: path.to_owned(), offset, what: format!("thing {offset}") } }
    }

    #[test]
    fn findings_become_one_line_for_each_kind() {
        let mut all: Vec<Finding> = (1..300).map(|n| finding(FindingKind::Stale, "log/a", n * 4096)).collect();
        all.extend((1..3).map(|n| finding(FindingKind::Stale, "log/b", n * 4096)));
        all.push(finding(FindingKind::WornBody, "log/b", 7));
        let lines: Vec<(Level, String)> = summarise(&all).into_iter().map(|note| (note.level, note.text)).collect();
        let worn = "recovery: the body of a batch isn't whole (a write that a crash cut short, or damage): log/b at byte 7: thing 7";
        let stale = "recovery: what a recycled segment held before: 301 in 2 files, the first: log/a at byte 4096: thing 4096";
        assert_eq!(lines, [(Level::Warn, worn.to_owned()), (Level::Info, stale.to_owned())]);
        assert!(summarise(&[]).is_empty());
    }
}
