//! The tree's behaviour in named cases: a fresh tree, events and their order, quotas, closing a session, the reaper, bad images.

use super::*;
use crate::base::ids::SessionId;
use crate::base::time::{MonoMs, Now};
use crate::model::create_mode::NodeKind;
use crate::model::image::{AclImage, ImageSink};
use crate::model::txn::{OpRef, TxnHead};

const OPTIONS: TreeOptions = TreeOptions { hash_seed: 3, extended_types: true, skip_digest: false };

/// Slot, parent's slot, name, data, ACL, stat.
type OwnedImage = (u32, u32, Vec<u8>, Option<Vec<u8>>, u32, PersistedStat);

/// What applying brought about, as texts.
#[derive(Default)]
struct Log {
    events: Vec<String>,
    images: Vec<OwnedImage>,
}

impl ApplySink for Log {
    fn changed(&mut self, change: Change<'_>) {
        let open = if change.acl.bytes() == READ_UNSAFE { " read" } else { "" };
        self.events.push(format!("{:?} {}{open}", change.event, String::from_utf8_lossy(change.path)));
    }
    fn old_image(&mut self, image: NodeImage<'_>) {
        self.node(image);
    }
}

impl ImageSink for Log {
    fn node(&mut self, i: NodeImage<'_>) {
        self.images.push((i.slot, i.parent_slot, i.name.to_vec(), i.data.map(<[u8]>::to_vec), i.acl, i.stat));
    }
}

fn head(tree: &Tree) -> TxnHead {
    TxnHead { zxid: Zxid(tree.last_zxid().0 + 1), session: SessionId(77), cxid: 0, time_ms: 5 }
}

/// One transaction of one change; the log of what it brought about.
fn apply(tree: &mut Tree, op: OpRef<'_>) -> Log {
    let (mut log, head) = (Log::default(), head(tree));
    tree.apply(&head, op, &mut log);
    tree.end_txn(head.zxid);
    log
}

fn create_with(tree: &mut Tree, path: &str, data: &[u8], acl: &[u8], owner: i64) -> Log {
    let parent = tree.find(crate::model::path::parent(path.as_bytes()).unwrap()).unwrap();
    let parent_cversion = tree.persisted(parent).cversion.wrapping_add(1);
    apply(tree, OpRef::Create { path: path.as_bytes(), data: Some(data), acl, owner, parent_cversion })
}

fn create(tree: &mut Tree, path: &str, data: &[u8]) {
    create_with(tree, path, data, OPEN_UNSAFE, 0);
}

fn text(tree: &Tree, path: &str) -> String {
    String::from_utf8(tree.data(tree.find(path.as_bytes()).unwrap()).unwrap().to_vec()).unwrap()
}

#[test]
fn a_fresh_tree_is_a_fresh_zookeepers() {
    let tree = Tree::new(OPTIONS);
    assert_eq!((tree.node_count(), tree.approximate_data_bytes(), tree.ephemerals_count()), (5, 44, 0));
    assert_eq!(tree.digest(), 1_371_985_504, "the digest that a real server reports for its empty tree");
    let stat = |path: &[u8]| tree.stat(tree.find(path).unwrap());
    assert_eq!((stat(b"/").cversion, stat(b"/zookeeper").cversion), (-1, -2), "built-in nodes were never created");
    assert_eq!((stat(b"/zookeeper/config").aversion, stat(b"/zookeeper/config").version), (-1, 0));
    assert_eq!(tree.acl(tree.find(b"/zookeeper/config").unwrap()).bytes(), READ_UNSAFE);
    let (mut member, digest, bytes) = (Tree::new(TreeOptions::default()), tree.digest(), tree.data_bytes);
    member.set_config(b"server.1=a:1:2:participant\nversion=0", 0, 7);
    let node = member.find(b"/zookeeper/config").unwrap();
    assert_eq!(member.data(node), Some(&b"server.1=a:1:2:participant\nversion=0"[..]));
    let now = member.stat(node);
    assert_eq!((now.version, now.mzxid, now.mtime_ms, now.aversion), (-1, Zxid::ZERO, 7, -1));
    assert_eq!((member.digest(), member.data_bytes), (digest, bytes + 36), "each server's own words are no part of what all agree on");
    assert_eq!(tree.descendants_count(NodeId::ROOT), 3);
    assert_eq!(tree.find(b""), Some(NodeId::ROOT), "the root's alias");
    for nothing in [&b"zookeeper"[..], b"/zookeeper/", b"//", b"/zookeeperx", b"/x"] {
        assert_eq!(tree.find(nothing), None);
    }
}

#[test]
fn events_come_in_order_with_the_list_that_filters_them() {
    let mut tree = Tree::new(OPTIONS);
    create_with(&mut tree, "/a", b"", READ_UNSAFE, 0);
    let created = create_with(&mut tree, "/a/b", b"", OPEN_UNSAFE, 0);
    assert_eq!(created.events, ["NodeCreated /a/b", "NodeChildrenChanged /a read"]);
    let set = apply(&mut tree, OpRef::SetData { path: b"/a", data: None, version: 1 });
    assert_eq!(set.events, ["NodeDataChanged /a read"]);
    assert!(apply(&mut tree, OpRef::SetAcl { path: b"/a/b", acl: READ_UNSAFE, aversion: 1 }).events.is_empty());
    let deleted = apply(&mut tree, OpRef::Delete { path: b"/a/b" });
    assert_eq!(deleted.events, ["NodeDeleted /a/b read", "NodeChildrenChanged /a read"]);
    let deleted = apply(&mut tree, OpRef::Delete { path: b"/a" });
    assert_eq!(deleted.events, ["NodeDeleted /a read", "NodeChildrenChanged /"]);
}

#[test]
fn closing_a_session_deletes_its_ephemerals_oldest_first() {
    let mut tree = Tree::new(OPTIONS);
    create(&mut tree, "/p", b"");
    for (name, owner) in [("/p/c", 77), ("/p/a", 77), ("/p/other", 78)] {
        create_with(&mut tree, name, b"", OPEN_UNSAFE, owner);
    }
    let closed = apply(&mut tree, OpRef::CloseSession);
    let expected = ["NodeDeleted /p/c", "NodeChildrenChanged /p", "NodeDeleted /p/a", "NodeChildrenChanged /p"];
    assert_eq!(closed.events, expected);
    let stat = tree.stat(tree.find(b"/p").unwrap());
    assert_eq!((stat.cversion, stat.num_children, stat.pzxid), (5, 1, tree.last_zxid()));
    assert!(apply(&mut tree, OpRef::CloseSession).events.is_empty());
}

#[test]
fn usage_is_counted_at_the_deepest_quota() {
    let mut tree = Tree::new(OPTIONS);
    create(&mut tree, "/a", b"123");
    create(&mut tree, "/a/b", b"45");
    create(&mut tree, "/zookeeper/quota/a", b"");
    assert_eq!(tree.quota_over(b"/a/b"), None);
    create(&mut tree, "/zookeeper/quota/a/zookeeper_limits", b"count=5,bytes=100=;byteHardLimit=200");
    assert_eq!(tree.quota_over(b"/a/b"), None, "without stats nothing is checked");
    create(&mut tree, "/zookeeper/quota/a/zookeeper_stats", b"count=0,bytes=0");
    assert_eq!(text(&tree, "/zookeeper/quota/a/zookeeper_stats"), "count=2,bytes=5", "counted when it is created");
    let before = tree.persisted(tree.find(b"/zookeeper/quota/a/zookeeper_stats").unwrap());
    create(&mut tree, "/a/b/c", b"6789");
    apply(&mut tree, OpRef::SetData { path: b"/a", data: Some(b"1"), version: 1 });
    create(&mut tree, "/ab", b"not below");
    assert_eq!(text(&tree, "/zookeeper/quota/a/zookeeper_stats"), "count=3,bytes=7");
    apply(&mut tree, OpRef::Delete { path: b"/a/b/c" });
    let after = tree.persisted(tree.find(b"/zookeeper/quota/a/zookeeper_stats").unwrap());
    assert_eq!(before, after, "no version and no zxid moves");
    let quota = Quota { count: 5, bytes: 100, count_hard: -1, bytes_hard: 200, used_count: 2, used_bytes: 3 };
    assert_eq!(tree.quota_over(b"/a/b/new"), Some(quota));
    assert_eq!(tree.quota_over(b"/ab"), None);
    apply(&mut tree, OpRef::Delete { path: b"/zookeeper/quota/a/zookeeper_limits" });
    assert_eq!((tree.quota_over(b"/a"), tree.quota_paths().count()), (None, 0));
}

#[test]
fn the_reaper_is_told_of_containers_and_ttl_nodes() {
    let mut tree = Tree::new(OPTIONS);
    tree.set_now(MonoMs(1000));
    create_with(&mut tree, "/box", b"", OPEN_UNSAFE, NodeKind::Container.owner());
    create_with(&mut tree, "/ttl", b"", OPEN_UNSAFE, NodeKind::Ttl { ttl_ms: 10 }.owner());
    let due = |tree: &Tree, now: u64| {
        let mut out = Vec::new();
        tree.reap_candidates(MonoMs(now), 9, &mut out);
        out.into_iter().map(|path| String::from_utf8(path).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((due(&tree, 1010), due(&tree, 1011)), (vec![], vec!["/ttl".to_owned()]));
    create(&mut tree, "/box/child", b"");
    create(&mut tree, "/ttl/child", b"");
    assert!(due(&tree, 9999).is_empty());
    apply(&mut tree, OpRef::Delete { path: b"/box/child" });
    apply(&mut tree, OpRef::Delete { path: b"/ttl/child" });
    assert_eq!(due(&tree, 9999), ["/box", "/ttl"]);
    assert!(tree.is_reapable(tree.find(b"/box").unwrap(), MonoMs(0)));
    apply(&mut tree, OpRef::Delete { path: b"/box" });
    assert_eq!(due(&tree, 9999), ["/ttl"]);
    tree.restart_reap_clocks(Now { mono: MonoMs(3), mono_ns: 0, wall_ms: head(&tree).time_ms + 7 });
    assert_eq!((due(&tree, 6), due(&tree, 7)), (vec![], vec!["/ttl".to_owned()]), "7 of its 10 ms are over");
}

#[test]
fn the_counter_of_children_wraps() {
    let mut tree = Tree::new(OPTIONS);
    create(&mut tree, "/a", b"");
    let stat = PersistedStat { cversion: i32::MAX, ..tree.persisted(tree.find(b"/a").unwrap()) };
    tree.arena.set_stat(tree.find(b"/a").unwrap().0, &stat);
    create(&mut tree, "/a/b", b"");
    assert_eq!(tree.persisted(tree.find(b"/a").unwrap()).cversion, i32::MIN);
}

#[test]
fn an_aborted_scan_leaves_nothing_behind() {
    let mut tree = Tree::new(OPTIONS);
    (0..100).for_each(|n| create(&mut tree, &format!("/n{n}"), b"x"));
    tree.begin_scan();
    assert!(!tree.scan_step(10, &mut Log::default()));
    assert_eq!(apply(&mut tree, OpRef::SetData { path: b"/n50", data: None, version: 1 }).images.len(), 1);
    assert_eq!(apply(&mut tree, OpRef::SetData { path: b"/n50", data: None, version: 2 }).images.len(), 0, "only the first change");
    tree.abort_scan();
    assert_eq!(apply(&mut tree, OpRef::SetData { path: b"/n51", data: None, version: 1 }).images.len(), 0);
    let mut log = Log::default();
    tree.begin_scan();
    assert!(tree.scan_step(usize::MAX, &mut log));
    assert_eq!(log.images.len(), tree.node_count() - 1);
}

/// Loads images after `damage` had its way with them.
fn load(damage: impl FnOnce(&mut Log)) -> Result<Tree, LoadError> {
    let mut tree = Tree::new(OPTIONS);
    create(&mut tree, "/a", b"");
    create(&mut tree, "/a/b", b"");
    create_with(&mut tree, "/e", b"", OPEN_UNSAFE, 78);
    let mut log = Log::default();
    let mut loader = TreeLoader::new(OPTIONS);
    tree.acl_images().try_for_each(|image| loader.acl(image))?;
    tree.begin_scan();
    tree.scan_step(usize::MAX, &mut log);
    damage(&mut log);
    for (slot, parent_slot, name, data, acl, stat) in &log.images {
        let (slot, parent_slot, acl, stat) = (*slot, *parent_slot, *acl, *stat);
        loader.node(NodeImage { slot, parent_slot, name, data: data.as_deref(), acl, stat })?;
    }
    loader.finish(tree.last_zxid(), tree.digest())
}

#[test]
fn usage_is_snapshot_as_it_was_and_counted_on_after_loading() {
    let mut tree = Tree::new(OPTIONS);
    for (path, data) in [("/a", ""), ("/zookeeper/quota/a", ""), ("/zookeeper/quota/a/zookeeper_limits", "count=9,bytes=-1")] {
        create(&mut tree, path, data.as_bytes());
    }
    create(&mut tree, "/zookeeper/quota/a/zookeeper_stats", b"");
    let (zxid, digest) = (tree.last_zxid(), tree.digest());
    let mut loader = TreeLoader::new(OPTIONS);
    tree.acl_images().try_for_each(|image| loader.acl(image)).unwrap();
    tree.begin_scan();
    let mut log = Log::default();
    let head = head(&tree);
    tree.apply(&head, OpRef::Create { path: b"/a/b", data: Some(b"12"), acl: OPEN_UNSAFE, owner: 0, parent_cversion: 1 }, &mut log);
    tree.end_txn(head.zxid);
    tree.scan_step(usize::MAX, &mut log);
    for (slot, parent_slot, name, data, acl, stat) in &log.images {
        let (slot, parent_slot, acl, stat) = (*slot, *parent_slot, *acl, *stat);
        loader.node(NodeImage { slot, parent_slot, name, data: data.as_deref(), acl, stat }).unwrap();
    }
    let mut loaded = loader.finish(zxid, digest).unwrap();
    assert_eq!(text(&loaded, "/zookeeper/quota/a/zookeeper_stats"), "count=1,bytes=0", "as of the scan");
    create(&mut loaded, "/a/b", b"12");
    assert_eq!(text(&loaded, "/zookeeper/quota/a/zookeeper_stats"), "count=2,bytes=2", "replay counts on");
    assert_eq!(loaded.quota_over(b"/a/b"), tree.quota_over(b"/a/b"));
    assert_eq!(loaded.approximate_data_bytes(), tree.approximate_data_bytes());
}

#[test]
fn bad_images_are_errors() {
    // Places: 4 is /a, 5 is /a/b, 6 is /e.
    assert!(load(|_| {}).is_ok());
    let error = |damage: fn(&mut Log)| load(damage).err().unwrap();
    assert_eq!(error(|log| log.images[6].0 = 4), LoadError::Place(4));
    assert_eq!(error(|log| log.images[5].0 = u32::MAX), LoadError::Place(u32::MAX));
    assert_eq!(error(|log| log.images[5].1 = 900), LoadError::Parent { slot: 5, parent: 900 });
    assert_eq!(error(|log| log.images[5].1 = u32::MAX), LoadError::Parent { slot: 5, parent: u32::MAX });
    assert_eq!(error(|log| log.images[5].1 = 6), LoadError::Parent { slot: 5, parent: 6 });
    assert_eq!(error(|log| log.images[5].1 = 5), LoadError::Name(5));
    assert_eq!(error(|log| log.images[4].1 = 5), LoadError::Circle(5));
    assert_eq!(error(|log| (log.images[4].1, log.images[6].1) = (5, 4)), LoadError::Circle(6), "what hangs below a circle");
    assert_eq!(error(|log| log.images[5].2 = b"x/y".to_vec()), LoadError::Name(5));
    assert_eq!(error(|log| log.images[5].2.clear()), LoadError::Name(5));
    assert_eq!(error(|log| log.images[6].2 = b"a".to_vec()), LoadError::DuplicatePath("/a".to_owned()));
    assert_eq!(error(|log| log.images[5].4 = 9), LoadError::UnknownAcl { slot: 5, acl: 9 });
    assert_eq!(error(|log| drop(log.images.remove(0))), LoadError::BuiltInMissing("/".to_owned()));
    assert_eq!(error(|log| drop(log.images.remove(3))), LoadError::BuiltInMissing("/zookeeper/config".to_owned()));
    assert_eq!(error(|log| log.images[3].5.owner = 5), LoadError::BuiltInKind("/zookeeper/config".to_owned()));
    assert!(matches!(error(|log| log.images[5].5.version += 1), LoadError::Digest { .. }));
    let mut loader = TreeLoader::new(OPTIONS);
    assert_eq!(loader.acl(AclImage { acl: 1, list: b"\0\0" }), Err(LoadError::Acl(1)));
    assert_eq!(loader.acl(AclImage { acl: 1, list: OPEN_UNSAFE }), Ok(()));
    assert_eq!(loader.acl(AclImage { acl: 1, list: OPEN_UNSAFE }), Err(LoadError::Acl(1)));
}

#[test]
#[should_panic(expected = "is applied after")]
fn a_transaction_is_applied_once() {
    let mut tree = Tree::new(OPTIONS);
    create(&mut tree, "/a", b"");
    let head = TxnHead { zxid: tree.last_zxid(), ..head(&tree) };
    tree.apply(&head, OpRef::Delete { path: b"/a" }, &mut IgnoreChanges);
}

#[test]
#[should_panic(expected = "cversion of / becomes")]
fn a_counter_that_does_not_follow_is_a_defect() {
    let mut tree = Tree::new(OPTIONS);
    apply(&mut tree, OpRef::Create { path: b"/a", data: None, acl: OPEN_UNSAFE, owner: 0, parent_cversion: 5 });
}
