use super::*;
use crate::base::prng::Prng;
use crate::model::path::parent;
use EventType::*;
use std::collections::{BTreeMap, BTreeSet};

const MODES: [WatchMode; 4] = [WatchMode::Data, WatchMode::Children, WatchMode::Persistent, WatchMode::PersistentRecursive];
const EVENTS: [EventType; 4] = [NodeCreated, NodeDeleted, NodeDataChanged, NodeChildrenChanged];
const TYPES: [WatcherType; 5] =
    [WatcherType::Children, WatcherType::Data, WatcherType::Any, WatcherType::Persistent, WatcherType::PersistentRecursive];

fn fired(watches: &mut Watches, path: &str, event: EventType) -> Vec<u32> {
    let mut got = Vec::new();
    watches.fire(path.as_bytes(), event, &mut |conn| got.push(conn));
    got.sort_unstable();
    got
}

/// Which events each mode matches, on its path and below it.
#[test]
fn modes_match_their_events() {
    for (mode, own, below) in [
        (WatchMode::Data, vec![NodeCreated, NodeDeleted, NodeDataChanged], vec![]),
        (WatchMode::Children, vec![NodeDeleted, NodeChildrenChanged], vec![]),
        (WatchMode::Persistent, EVENTS.to_vec(), vec![]),
        (WatchMode::PersistentRecursive, vec![NodeCreated, NodeDeleted, NodeDataChanged], vec![NodeCreated, NodeDeleted, NodeDataChanged]),
    ] {
        for event in EVENTS {
            for (path, matching) in [("/a", &own), ("/a/b", &below), ("/a/b/c/d", &below), ("/ab", &vec![]), ("/", &vec![])] {
                let mut watches = Watches::new(1);
                watches.add(3, b"/a", mode);
                let hit = matching.contains(&event);
                assert_eq!(fired(&mut watches, path, event).len(), usize::from(hit), "{mode:?} {event:?} {path}");
                let one_shot = matches!(mode, WatchMode::Data | WatchMode::Children);
                assert_eq!(watches.is_empty(), hit && one_shot, "{mode:?} {event:?} {path}");
            }
        }
    }
}

#[test]
fn a_connection_hears_an_event_once() {
    let mut watches = Watches::new(1);
    MODES.iter().for_each(|mode| watches.add(1, b"/a/b", *mode));
    for ancestor in [&b"/a"[..], b"/"] {
        watches.add(1, ancestor, WatchMode::PersistentRecursive);
    }
    assert_eq!(fired(&mut watches, "/a/b", NodeDeleted), [1]);
    assert_eq!(fired(&mut watches, "/a/b", NodeCreated), [1]);
    assert!(!watches.contains(1, b"/a/b", WatcherType::Data), "the one-shot is spent");
    assert!(watches.contains(1, b"/a/b", WatcherType::Persistent), "the persistent one stays");
    assert_eq!(fired(&mut watches, "/x", NodeCreated), [1], "the root's recursive watch reaches everything");
}

#[test]
fn an_event_consumes_only_one_shots_of_its_table() {
    let mut watches = Watches::new(1);
    watches.add(1, b"/a", WatchMode::Data);
    watches.add(1, b"/a", WatchMode::Children);
    assert_eq!(fired(&mut watches, "/a", NodeChildrenChanged), [1]);
    assert!(watches.contains(1, b"/a", WatcherType::Data) && !watches.contains(1, b"/a", WatcherType::Children));
}

#[test]
fn counts_are_of_the_data_table() {
    let mut watches = Watches::new(1);
    watches.add(1, b"/a", WatchMode::Persistent);
    watches.add(2, b"/b", WatchMode::Children);
    watches.add(1, b"/c", WatchMode::Data);
    let counts = WatchCounts { connections: 1, paths: 2, watches: 2, watches_both_tables: 4 };
    assert_eq!(watches.counts(), counts);
    assert!(watches.by_path().all(|(path, _)| path != b"/b"));
    assert_eq!(watches.by_conn().map(|(conn, _)| conn).collect::<Vec<_>>(), [1]);
}

/// Modes by connection and path.
type Table = BTreeMap<(u32, Vec<u8>), BTreeSet<u8>>;

/// ZooKeeper's two tables, spelled out.
#[derive(Default)]
struct Naive {
    tables: [Table; 2],
}

impl Naive {
    fn add(&mut self, conn: u32, path: &[u8], mode: WatchMode) {
        let (tables, name): (&[usize], u8) = match mode {
            WatchMode::Data => (&[0], b's'),
            WatchMode::Children => (&[1], b's'),
            WatchMode::Persistent => (&[0, 1], b'p'),
            WatchMode::PersistentRecursive => (&[0], b'r'),
        };
        for t in tables {
            self.tables[*t].entry((conn, path.to_vec())).or_default().insert(name);
        }
    }

    fn asked(kind: WatcherType) -> &'static [(usize, u8)] {
        match kind {
            WatcherType::Children => &[(1, b's')],
            WatcherType::Data => &[(0, b's')],
            WatcherType::Persistent => &[(0, b'p'), (1, b'p')],
            WatcherType::PersistentRecursive => &[(0, b'r')],
            WatcherType::Any => &[(0, b's'), (0, b'p'), (0, b'r'), (1, b's'), (1, b'p')],
        }
    }

    fn contains(&self, conn: u32, path: &[u8], kind: WatcherType) -> bool {
        let key = (conn, path.to_vec());
        Naive::asked(kind).iter().any(|(t, name)| self.tables[*t].get(&key).is_some_and(|names| names.contains(name)))
    }

    fn take(&mut self, table: usize, conn: u32, path: &[u8], name: u8) -> bool {
        let key = (conn, path.to_vec());
        let Some(names) = self.tables[table].get_mut(&key) else { return false };
        let had = names.remove(&name);
        if names.is_empty() {
            self.tables[table].remove(&key);
        }
        had
    }

    fn trigger(&mut self, table: usize, path: &[u8]) -> BTreeSet<u32> {
        let mut heard = BTreeSet::new();
        let on_path: Vec<u32> = self.tables[table].keys().filter(|(_, p)| p == path).map(|(c, _)| *c).collect();
        for conn in on_path {
            heard.insert(conn);
            self.take(table, conn, path, b's');
        }
        let mut below = path;
        while below.len() > 1 {
            below = parent(below).unwrap();
            heard.extend(self.tables[table].iter().filter(|((_, p), names)| p == below && names.contains(&b'r')).map(|((c, _), _)| *c));
        }
        heard
    }

    fn fire(&mut self, path: &[u8], event: EventType) -> Vec<u32> {
        let tables: &[usize] = match event {
            NodeChildrenChanged => &[1],
            NodeDeleted => &[0, 1],
            NodeCreated | NodeDataChanged => &[0],
        };
        let heard: BTreeSet<u32> = tables.iter().flat_map(|t| self.trigger(*t, path)).collect();
        heard.into_iter().collect()
    }

    fn counts(&self) -> WatchCounts {
        let conns: BTreeSet<u32> = self.tables[0].keys().map(|(c, _)| *c).collect();
        let paths: BTreeSet<&Vec<u8>> = self.tables[0].keys().map(|(_, p)| p).collect();
        WatchCounts {
            connections: conns.len(),
            paths: paths.len(),
            watches: self.tables[0].len(),
            watches_both_tables: self.tables[0].len() + self.tables[1].len(),
        }
    }
}

#[test]
fn random_calls_agree_with_two_plain_tables() {
    let paths = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/a/c", "/d"];
    for seed in 0..100 {
        let (mut prng, mut watches, mut naive) = (Prng::from_seed(seed), Watches::new(seed), Naive::default());
        for step in 0..400 {
            let (conn, path) = (prng.below(5) as u32, paths[prng.index(paths.len())]);
            let bytes = path.as_bytes();
            let kind = TYPES[prng.index(5)];
            match prng.below(8) {
                0..4 => {
                    let mode = MODES[prng.index(4)];
                    watches.add(conn, bytes, mode);
                    naive.add(conn, bytes, mode);
                }
                4 => {
                    let had = Naive::asked(kind).iter().fold(false, |had, (t, name)| naive.take(*t, conn, bytes, *name) | had);
                    assert_eq!(watches.remove(conn, bytes, kind), had, "seed {seed} step {step}");
                }
                5 if prng.chance(1, 4) => {
                    watches.drop_conn(conn);
                    naive.tables.iter_mut().for_each(|t| t.retain(|(c, _), _| *c != conn));
                }
                _ => {
                    let event = EVENTS[prng.index(4)];
                    assert_eq!(fired(&mut watches, path, event), naive.fire(bytes, event), "seed {seed} step {step}");
                }
            }
            assert_eq!(watches.contains(conn, bytes, kind), naive.contains(conn, bytes, kind), "seed {seed} step {step}");
            assert_eq!(watches.counts(), naive.counts(), "seed {seed} step {step}");
            let listed: BTreeSet<(u32, Vec<u8>)> = watches.by_path().flat_map(|(p, c)| c.map(move |c| (c, p.to_vec()))).collect();
            let by_conn: BTreeSet<(u32, Vec<u8>)> = watches.by_conn().flat_map(|(c, p)| p.map(move |p| (c, p.to_vec()))).collect();
            assert_eq!(listed, naive.tables[0].keys().cloned().collect(), "seed {seed} step {step}");
            assert_eq!(listed, by_conn, "seed {seed} step {step}");
        }
    }
}

/// 100 connections on each of 2,000 paths: tens of bytes for each of the 200,000 watches.
#[test]
fn a_watch_costs_tens_of_bytes() {
    let mut watches = Watches::new(1);
    for path in 0..2_000 {
        (0..100).for_each(|conn| watches.add(conn, format!("/parent/node-{path:010}").as_bytes(), WatchMode::Data));
    }
    let each = watches.allocated_bytes() / 200_000;
    println!("{each} bytes a watch");
    assert!(each <= 50, "{each} bytes a watch");
    (0..100).for_each(|conn| watches.drop_conn(conn));
    assert!(watches.is_empty() && watches.by_path.is_empty());
}
