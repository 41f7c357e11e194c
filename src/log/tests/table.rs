//! The decision table: every case is reachable, and the page that explains it names every case.

use crate::log::case::{CASES, ChainEnd, Fact, Facts, decide};
use std::collections::BTreeSet;

/// Every combination of facts.
fn all_facts() -> Vec<Facts> {
    let facts = [Fact::Absent, Fact::Good, Fact::Lost];
    let ends = [ChainEnd::End, ChainEnd::Bad, ChainEnd::Missing, ChainEnd::Fork];
    let mut all = Vec::new();
    for bits in 0..128u32 {
        let bit = |n: u32| bits & (1 << n) != 0;
        for meta in facts {
            for mark in facts {
                for end in ends {
                    let (foreign, segments, history, chain) = (bit(0), bit(1), bit(2), bit(3));
                    let (behind_snapshot, beyond, lost) = (bit(4), bit(5), bit(6));
                    all.push(Facts { meta, mark, foreign, segments, history, end, chain, behind_snapshot, beyond, lost });
                }
            }
        }
    }
    all
}

#[test]
fn every_case_is_reachable_and_nothing_below_the_evidence_is_cut() {
    let reached: BTreeSet<_> = all_facts().iter().map(decide).collect();
    assert!(reached.iter().eq(CASES.iter()));
    let known = |f: &&Facts| f.meta == Fact::Good && f.mark == Fact::Good && !f.foreign;
    assert!(all_facts().iter().filter(known).all(|f| decide(f).is_damage() == f.lost));
    assert!(all_facts().iter().filter(|f| f.meta == Fact::Lost).all(|f| decide(f).is_damage()));
}

#[test]
fn the_page_lists_every_case_by_letter_and_name() {
    let page = include_str!("../../../docs/recovery.md");
    for case in CASES {
        let row = format!("| {} | {} |", case.letter(), case.name());
        assert_eq!(page.matches(&row).count(), 1, "{row}");
    }
}
