//! The promise of the overlay: judging while transactions are outstanding gives what judging one by one on an applied tree
//! would give, and what is refused or rolled back leaves no trace.

use super::test_bench::*;
use super::test_requests::{Ask, CONNECTIONS, Step, ask, identities, session, steps};
use super::{PrepOptions, Refusal};
use crate::model::acl::OPEN_UNSAFE;
use crate::model::error_code::ErrorCode;
use crate::model::image::{ImageSink, NodeImage};
use crate::model::ops::OpBuf;
use crate::model::request::CreateOp;
use crate::model::stat::PersistedStat;
use crate::model::txn::OpRef;
use crate::tree::{TreeLoader, TreeOptions};
use proptest::prelude::*;

const OPTIONS: PrepOptions = PrepOptions { skip_acl: false, extended_types: true, enforce_quota: false, reconfig_enabled: false };

/// Plays one story to a leader that applies when told to and to one that applies at once.
fn play(story: &[Step]) {
    let (mut late, mut prompt) = (World::new(OPTIONS), World::new(OPTIONS));
    let mut closed = [0; CONNECTIONS];
    for step in story {
        match step {
            Step::Ask(connection, ask) => {
                let who = session(*connection, closed[*connection]);
                for world in [&mut late, &mut prompt] {
                    world.identities = identities(*connection);
                }
                let got = late.judge_as(who, &ask.request());
                let expected = prompt.judge_as(who, &ask.request());
                match (&got, &expected) {
                    (Ok(got), Ok(expected)) => assert!(got.iter().eq(expected.iter()), "{ask:?}: {got:?} for {expected:?}"),
                    _ => assert_eq!(got.as_ref().err(), expected.as_ref().err(), "{ask:?}"),
                }
            }
            Step::Close(connection) => {
                let who = session(*connection, closed[*connection]);
                assert!(late.close(who) && prompt.close(who));
                closed[*connection] += 1;
            }
            // What may be reaped depends on what is applied, by design: the ages are the tree's.
            Step::Reap(_) => {}
            Step::Apply(count) => late.apply(*count),
        }
        prompt.apply_all();
        assert_eq!(prompt.prep.outstanding(), 0);
    }
    late.apply_all();
    assert_eq!(late.prep.outstanding(), 0, "applied changes stay in the overlay");
    assert_eq!(late.tree.digest(), prompt.tree.digest());
    assert_eq!(late.tree.ephemerals_count(), prompt.tree.ephemerals_count());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn outstanding_changes_count_as_applied(story in steps(120)) {
        play(&story);
    }

    #[test]
    fn what_is_refused_leaves_no_trace(before in steps(40), asked in prop::collection::vec(ask(), 1..20)) {
        let mut world = World::new(PrepOptions { enforce_quota: true, ..OPTIONS });
        for step in &before {
            if let Step::Ask(connection, ask) = step {
                let _ = world.judge_as(session(*connection, 0), &ask.request());
            }
        }
        world.apply(world.under_way() / 2);
        for ask in asked {
            let poisoned = match ask {
                Ask::Multi(mut list) => { list.push(Ask::Check { path: "/never", version: 0 }); Ask::Multi(list) }
                single => Ask::Multi(vec![single, Ask::Check { path: "/never", version: 0 }]),
            };
            let (picture, quota) = (world.prep.pending.picture(&world.tree), format!("{:?}", world.prep.quota.picture()));
            let judged = world.judge(&poisoned.request());
            prop_assert!(judged.is_err());
            prop_assert_eq!(picture, world.prep.pending.picture(&world.tree));
            prop_assert_eq!(quota, format!("{:?}", world.prep.quota.picture()));
        }
        world.apply_all();
        prop_assert_eq!(world.prep.outstanding(), 0);
    }
}

#[test]
fn a_failed_multi_says_where_and_why() {
    use crate::model::request::Request::Multi;
    let mut world = World::new(OPTIONS).with(&["/a"]);
    let failing = Multi(vec![create("/a/x"), set("/a/x", 0), delete("/a/x", 0), create("/b")]);
    let refused = Refusal::Multi { failed_idx: 2, code: ErrorCode::BadVersion, count: 4 };
    assert_eq!(world.judge(&failing).unwrap_err(), refused);
    assert_eq!(world.code(ME, &set("/a/x", -1)), ErrorCode::NoNode);
    let passing = world.must(&Multi(vec![
        create("/a/x"),
        set("/a/x", 0),
        delete("/a/x", 1),
        create_of("/a/s", CreateOp::Create, 2, Some(OPEN_UNSAFE)),
    ]));
    assert_eq!(passing.len(), 4);
    assert!(matches!(passing.get(3), Some(OpRef::Create { path: b"/a/s0000000001", parent_cversion: 2, .. })));
    assert!(world.must(&Multi(Vec::new())).is_empty());
    assert!(world.must(&Multi(vec![check("/a", 0)])).is_empty());
    world.apply_all();
    assert_eq!(world.tree.num_children(world.tree.find(b"/a").unwrap()), 1);
}

#[test]
fn versions_of_outstanding_writes_count() {
    let mut world = World::new(OPTIONS).with(&["/a"]);
    world.must(&set("/a", 0));
    assert_eq!(world.code(ME, &set("/a", 0)), ErrorCode::BadVersion);
    world.must(&set("/a", 1));
    world.apply(1);
    world.must(&set("/a", 2));
    world.must(&set_acl("/a", OPEN_UNSAFE, 0));
    assert_eq!(world.code(ME, &set_acl("/a", OPEN_UNSAFE, 0)), ErrorCode::BadVersion);
}

#[test]
fn closing_takes_all_ephemerals_and_stops_the_session() {
    let mut world = World::new(OPTIONS).with(&["/a"]);
    let ephemeral = |path| create_of(path, CreateOp::Create, 1, Some(OPEN_UNSAFE));
    for path in ["/a/applied", "/a/taken", "/a/deleted"] {
        world.must(&ephemeral(path));
    }
    world.apply_all();
    world.must(&ephemeral("/a/outstanding"));
    world.must(&delete("/a/deleted", -1));
    world.must(&delete("/a/taken", -1));
    world.judge_as(OTHER, &ephemeral("/a/taken")).unwrap();
    assert!(world.close(ME));
    assert!(!world.close(ME), "a session closes once");
    assert!(world.prep.is_closing(ME) && !world.prep.is_closing(OTHER));
    assert_eq!(world.code(ME, &ephemeral("/a/late")), ErrorCode::SessionExpired);
    assert_eq!(world.code(ME, &set("/a", -1)), ErrorCode::SessionExpired);
    // Only the one that is somebody else's by now is left, so the parent isn't empty until that goes too.
    let not_empty = world.judge_as(OTHER, &delete("/a", -1)).unwrap_err();
    assert_eq!(not_empty, Refusal::Code(ErrorCode::NotEmpty));
    for gone in ["/a/applied", "/a/outstanding", "/a/deleted"] {
        assert_eq!(world.judge_as(OTHER, &set(gone, -1)).unwrap_err(), Refusal::Code(ErrorCode::NoNode));
    }
    world.judge_as(OTHER, &delete("/a/taken", -1)).unwrap();
    world.judge_as(OTHER, &delete("/a", -1)).unwrap();
    world.apply_all();
    assert!(world.tree.find(b"/a").is_none() && !world.prep.is_closing(ME));
    assert_eq!(world.prep.outstanding(), 0);
}

#[test]
fn a_new_term_starts_with_nothing_outstanding() {
    let mut world = World::new(OPTIONS);
    world.must(&create("/a"));
    world.close(OTHER);
    world.prep.clear();
    assert!(world.prep.outstanding() == 0 && !world.prep.is_closing(OTHER));
    assert_eq!(world.code(ME, &set("/a", -1)), ErrorCode::NoNode);
}

/// Loads a tree again with the counters of one node changed.
struct Reloader<'a> {
    loader: TreeLoader,
    name: &'a [u8],
}

impl ImageSink for Reloader<'_> {
    fn node(&mut self, image: NodeImage<'_>) {
        let mut image = image;
        if image.name == self.name {
            image.stat = PersistedStat { version: i32::MAX, cversion: i32::MAX, aversion: i32::MAX, ..image.stat };
        }
        self.loader.node(image).expect("an image of a good tree");
    }
}

#[test]
fn counters_wrap() {
    let mut world = World::new(OPTIONS).with(&["/a"]);
    // The digest is part of what changes, so it isn't kept here.
    let options = TreeOptions { hash_seed: 5, extended_types: true, skip_digest: true };
    let mut reloader = Reloader { loader: TreeLoader::new(options), name: b"a" };
    world.tree.acl_images().for_each(|image| reloader.loader.acl(image).unwrap());
    world.tree.begin_scan();
    while !world.tree.scan_step(16, &mut reloader) {}
    world.tree = reloader.loader.finish(world.tree.last_zxid(), 0).unwrap();

    let sequential = create_of("/a/s", CreateOp::Create, 2, Some(OPEN_UNSAFE));
    assert_eq!(created(&world.must(&sequential)), "/a/s2147483647");
    assert_eq!(created(&world.must(&sequential)), "/a/s-2147483648");
    assert_eq!(created(&world.must(&sequential)), "/a/s-2147483647");
    let version_after = |ops: OpBuf| match ops.get(0) {
        Some(OpRef::SetData { version, .. }) => version,
        Some(OpRef::SetAcl { aversion, .. }) => aversion,
        other => panic!("{other:?}"),
    };
    assert_eq!(version_after(world.must(&set("/a", i32::MAX))), i32::MIN);
    assert_eq!(version_after(world.must(&set_acl("/a", OPEN_UNSAFE, i32::MAX))), i32::MIN);
    world.must(&set("/a", i32::MIN));
    world.apply_all();
    assert_eq!(created(&world.must(&sequential)), "/a/s-2147483646");
}
