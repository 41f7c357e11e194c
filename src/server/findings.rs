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
    kinds.into_iter().map(|(kind, all)| Note { level: Level::Info, text: line(kind, &all) }).collect()
}

fn line(kind: FindingKind, all: &[&Finding]) -> String {
    let first = &all[0].place;
    if all.len() == 1 {
        return format!("recovery: {kind:?}: {first}");
    }
    let files: BTreeSet<&str> = all.iter().map(|f| f.place.path.as_str()).collect();
    format!("recovery: {kind:?}, {} in {} files, the first: {first}", all.len(), files.len())
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
        let lines: Vec<String> = summarise(&all).into_iter().map(|note| note.text).collect();
        assert_eq!(
            lines,
            ["recovery: WornBody: log/b at byte 7: thing 7", "recovery: Stale, 301 in 2 files, the first: log/a at byte 4096: thing 4096"]
        );
        assert!(summarise(&[]).is_empty());
    }
}
