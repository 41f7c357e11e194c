//! The tree against a plain model: thousands of random transactions, every stat, list and digest compared.
//!
//! The model keeps whole paths in a `BTreeMap`, computes digests from scratch and has no scan, slots or shared ACLs, so it
//! shares none of the tree's shortcuts.

use super::crc32::Crc32;
use super::*;
use crate::base::ids::SessionId;
use crate::base::prng::Prng;
use crate::model::acl::{AclEntry, encode};
use crate::model::create_mode::NodeKind;
use crate::model::image::{AclImage, ImageSink};
use crate::model::stat::Stat;
use crate::model::txn::{OpRef, TxnHead};
use proptest::prelude::*;
use std::collections::BTreeMap;

const OPTIONS: TreeOptions = TreeOptions { hash_seed: 99, extended_types: true, skip_digest: false };

#[derive(Clone, PartialEq, Eq, Debug)]
struct ModelNode {
    data: Option<Vec<u8>>,
    acl: Vec<u8>,
    stat: PersistedStat,
}

/// Path (the root's is empty) to node.
type Model = BTreeMap<Vec<u8>, ModelNode>;

fn fresh_model() -> Model {
    let node =
        |acl: &[u8], aversion| ModelNode { data: Some(vec![]), acl: acl.to_vec(), stat: PersistedStat { aversion, ..Default::default() } };
    let named = |path: &str, acl, aversion| (path.as_bytes().to_vec(), node(acl, aversion));
    Model::from([
        named("", OPEN_UNSAFE, 0),
        named("/zookeeper", OPEN_UNSAFE, 0),
        named("/zookeeper/quota", OPEN_UNSAFE, 0),
        named("/zookeeper/config", READ_UNSAFE, -1),
    ])
}

fn model_parent(path: &[u8]) -> Vec<u8> {
    path[..path.iter().rposition(|b| *b == b'/').unwrap()].to_vec()
}

fn model_children(model: &Model, path: &[u8]) -> Vec<Vec<u8>> {
    let below = |other: &&Vec<u8>| !other.is_empty() && model_parent(other) == path;
    let mut names: Vec<Vec<u8>> = model.keys().filter(below).map(|p| p[path.len() + 1..].to_vec()).collect();
    names.sort();
    names
}

fn model_digest(model: &Model) -> u64 {
    let counted = model.iter().filter(|(path, _)| !path.starts_with(b"/zookeeper/"));
    counted.fold(0u64, |sum, (path, node)| {
        let s = &node.stat;
        let mut bytes = path.clone();
        bytes.extend(node.data.iter().flatten());
        for long in [s.czxid.0, s.mzxid.0, s.pzxid.0, s.ctime_ms as u64, s.mtime_ms as u64] {
            bytes.extend(long.to_be_bytes());
        }
        for int in [s.version, s.cversion, s.aversion] {
            bytes.extend(int.to_be_bytes());
        }
        bytes.extend(s.owner.to_be_bytes());
        sum.wrapping_add(u64::from(Crc32::START.with(&bytes).value()))
    })
}

fn model_ephemerals(model: &Model, session: i64) -> Vec<Vec<u8>> {
    model.iter().filter(|(_, node)| node.stat.owner == session).map(|(path, _)| path.clone()).collect()
}

/// One change as owned values, so that it can be applied to both.
#[derive(Clone, Debug)]
enum Step {
    Create { path: Vec<u8>, data: Option<Vec<u8>>, acl: Vec<u8>, owner: i64 },
    Delete { path: Vec<u8> },
    SetData { path: Vec<u8>, data: Option<Vec<u8>> },
    SetAcl { path: Vec<u8>, acl: Vec<u8> },
    Close { session: i64 },
}

/// Applies a step to the model.
fn apply_to_model(model: &mut Model, head: &TxnHead, step: &Step) {
    let (zxid, time) = (head.zxid, head.time_ms);
    match step {
        Step::Create { path, data, acl, owner } => {
            let parent = model.get_mut(&model_parent(path)).unwrap();
            parent.stat.cversion += 1;
            parent.stat.pzxid = zxid;
            let stat = PersistedStat {
                czxid: zxid,
                mzxid: zxid,
                pzxid: zxid,
                ctime_ms: time,
                mtime_ms: time,
                owner: *owner,
                ..Default::default()
            };
            model.insert(path.clone(), ModelNode { data: data.clone(), acl: acl.clone(), stat });
        }
        Step::Delete { path } => {
            model.remove(path).unwrap();
            model.get_mut(&model_parent(path)).unwrap().stat.pzxid = zxid;
        }
        Step::SetData { path, data } => {
            let node = model.get_mut(path).unwrap();
            node.data.clone_from(data);
            (node.stat.mzxid, node.stat.mtime_ms, node.stat.version) = (zxid, time, node.stat.version + 1);
        }
        Step::SetAcl { path, acl } => {
            let node = model.get_mut(path).unwrap();
            node.acl.clone_from(acl);
            node.stat.aversion += 1;
        }
        Step::Close { session } => {
            for path in model_ephemerals(model, *session) {
                apply_to_model(model, head, &Step::Delete { path });
            }
        }
    }
}

fn full(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"/" } else { path }
}

/// Applies a step to the tree, with the resulting values that the model has before the step.
fn apply_to_tree(tree: &mut Tree, model: &Model, head: &TxnHead, step: &Step, sink: &mut dyn ApplySink) {
    let head = match step {
        Step::Close { session } => TxnHead { session: SessionId(*session), ..*head },
        _ => *head,
    };
    let op = match step {
        Step::Create { path, data, acl, owner } => {
            let parent_cversion = model[&model_parent(path)].stat.cversion + 1;
            OpRef::Create { path, data: data.as_deref(), acl, owner: *owner, parent_cversion }
        }
        Step::Delete { path } => OpRef::Delete { path },
        Step::SetData { path, data } => OpRef::SetData { path: full(path), data: data.as_deref(), version: model[path].stat.version + 1 },
        Step::SetAcl { path, acl } => OpRef::SetAcl { path: full(path), acl, aversion: model[path].stat.aversion + 1 },
        Step::Close { .. } => OpRef::CloseSession,
    };
    tree.apply(&head, op, sink);
}

/// Draws steps that are legal in the model's state.
struct Drawer {
    prng: Prng,
    serial: u32,
}

impl Drawer {
    fn data(&mut self) -> Option<Vec<u8>> {
        let len = self.prng.index(20);
        (!self.prng.chance(1, 8)).then(|| (0..len).map(|_| self.prng.below(256) as u8).collect())
    }

    fn acl(&mut self) -> Vec<u8> {
        let id = format!("user{}:x", self.prng.below(6));
        encode([AclEntry { perms: 31, scheme: b"digest", id: id.as_bytes() }])
    }

    fn owner(&mut self) -> i64 {
        match self.prng.below(8) {
            0..=1 => 10 + self.prng.below(4) as i64,
            2 => i64::MIN,
            3 => NodeKind::Ttl { ttl_ms: 50 }.owner(),
            _ => 0,
        }
    }

    fn is_own(path: &[u8]) -> bool {
        path.is_empty() || !path.starts_with(b"/zookeeper")
    }

    fn pick(&mut self, model: &Model, fits: impl Fn(&Vec<u8>, &ModelNode) -> bool) -> Option<Vec<u8>> {
        let fitting: Vec<&Vec<u8>> = model.iter().filter(|(path, node)| Drawer::is_own(path) && fits(path, node)).map(|(p, _)| p).collect();
        (!fitting.is_empty()).then(|| fitting[self.prng.index(fitting.len())].clone())
    }

    fn step(&mut self, model: &Model) -> Option<Step> {
        match self.prng.below(20) {
            0..=8 => {
                let is_parent =
                    |_: &Vec<u8>, node: &ModelNode| !matches!(NodeKind::from_owner(node.stat.owner, true), NodeKind::Ephemeral(_));
                let mut path = self.pick(model, is_parent)?;
                self.serial += 1;
                path.extend(format!("/{}n{}", ["", "longer-", "ä"][self.prng.index(3)], self.serial).into_bytes());
                Some(Step::Create { path, data: self.data(), acl: self.acl(), owner: self.owner() })
            }
            9..=12 => {
                let path = self.pick(model, |path, _| !path.is_empty() && model_children(model, path).is_empty())?;
                Some(Step::Delete { path })
            }
            13..=16 => Some(Step::SetData { path: self.pick(model, |_, _| true)?, data: self.data() }),
            17..=18 => Some(Step::SetAcl { path: self.pick(model, |_, _| true)?, acl: self.acl() }),
            _ => Some(Step::Close { session: 10 + self.prng.below(4) as i64 }),
        }
    }
}

/// Everything that can be asked must agree.
fn compare(tree: &Tree, model: &Model) {
    assert_eq!(tree.node_count(), model.len() + 1);
    for (path, node) in model {
        let id = tree.find(full(path)).unwrap_or_else(|| panic!("{} is missing", String::from_utf8_lossy(path)));
        let children = model_children(model, path);
        let mut own: Vec<Vec<u8>> = tree.children(id).map(<[u8]>::to_vec).collect();
        own.sort();
        assert_eq!(own, children, "children of {}", String::from_utf8_lossy(path));
        assert_eq!((tree.persisted(id), tree.data(id)), (node.stat, node.data.as_deref()));
        assert_eq!(tree.acl(id).bytes(), node.acl);
        let mut back = Vec::new();
        tree.path_of(id, &mut back);
        assert_eq!(back, full(path));
        assert_eq!(tree.stat(id), expected_stat(node, children.len()));
        let below = [path, &b"/"[..]].concat();
        let descendants = model.keys().filter(|other| !other.is_empty() && other.starts_with(&below)).count();
        assert_eq!(tree.descendants_count(id), descendants);
    }
    for session in 10..14 {
        let mut own: Vec<Vec<u8>> = tree.ephemerals_of(SessionId(session)).map(|id| path_of(tree, id)).collect();
        own.sort();
        assert_eq!(own, model_ephemerals(model, session));
    }
    let owned = (10..14).map(|session| model_ephemerals(model, session).len()).filter(|count| *count > 0);
    assert!(tree.sessions_with_ephemerals().map(|(_, count)| count).eq(owned.clone()));
    assert_eq!(tree.ephemerals_count(), owned.sum::<usize>());
    let bytes = model.iter().map(|(path, node)| path.len() + node.data.as_ref().map_or(0, Vec::len)).sum::<usize>() + 1;
    assert_eq!(tree.approximate_data_bytes(), bytes as u64);
    assert_eq!(tree.digest(), model_digest(model), "the incremental digest");
    compare_acl_uses(tree, model);
}

fn compare_acl_uses(tree: &Tree, model: &Model) {
    let mut uses: BTreeMap<&[u8], u32> = BTreeMap::new();
    model.values().for_each(|node| *uses.entry(&node.acl).or_default() += 1);
    assert_eq!(tree.acl_count(), uses.len());
    for (number, list) in tree.acls.iter() {
        assert_eq!(tree.acls.uses(number), uses[list], "uses of an ACL");
    }
}

fn path_of(tree: &Tree, id: NodeId) -> Vec<u8> {
    let mut path = Vec::new();
    tree.path_of(id, &mut path);
    path
}

fn expected_stat(node: &ModelNode, children: usize) -> Stat {
    let s = node.stat;
    Stat {
        czxid: s.czxid,
        mzxid: s.mzxid,
        pzxid: s.pzxid,
        ctime_ms: s.ctime_ms,
        mtime_ms: s.mtime_ms,
        version: s.version,
        cversion: 2 * s.cversion - children as i32,
        aversion: s.aversion,
        ephemeral_owner: if (10..14).contains(&s.owner) { s.owner } else { 0 },
        data_len: node.data.as_ref().map_or(0, Vec::len) as i32,
        num_children: children as i32,
    }
}

/// Collects a scan: images by place, every place once.
#[derive(Default)]
struct Snapshot {
    acls: BTreeMap<u32, Vec<u8>>,
    nodes: BTreeMap<u32, (u32, Vec<u8>, u32, ModelNode)>,
    zxid: Zxid,
    digest: u64,
    state: Model,
}

impl ImageSink for Snapshot {
    fn node(&mut self, image: NodeImage<'_>) {
        let acl = self.acls[&image.acl].clone();
        let node = ModelNode { data: image.data.map(<[u8]>::to_vec), acl, stat: image.stat };
        let twice = self.nodes.insert(image.slot, (image.parent_slot, image.name.to_vec(), image.acl, node));
        assert!(twice.is_none(), "place {} is handed out twice", image.slot);
    }
}

impl ApplySink for Snapshot {
    fn changed(&mut self, _: Change<'_>) {}
    fn old_image(&mut self, image: NodeImage<'_>) {
        self.node(image);
    }
}

impl Snapshot {
    fn begin(tree: &mut Tree, model: &Model) -> Snapshot {
        tree.begin_scan();
        let acls = tree.acl_images().map(|image| (image.acl, image.list.to_vec())).collect();
        Snapshot { acls, nodes: BTreeMap::new(), zxid: tree.last_zxid(), digest: tree.digest(), state: model.clone() }
    }

    fn load(&self, options: TreeOptions, digest: u64, order: &mut Prng) -> Result<Tree, LoadError> {
        let mut loader = TreeLoader::new(options);
        for (acl, list) in &self.acls {
            loader.acl(AclImage { acl: *acl, list })?;
        }
        let mut slots: Vec<u32> = self.nodes.keys().copied().collect();
        for at in (1..slots.len()).rev() {
            slots.swap(at, order.index(at + 1));
        }
        for slot in slots {
            let (parent_slot, name, acl, node) = &self.nodes[&slot];
            let (parent_slot, acl) = (*parent_slot, *acl);
            loader.node(NodeImage { slot, parent_slot, name, data: node.data.as_deref(), acl, stat: node.stat })?;
        }
        loader.finish(self.zxid, digest)
    }
}

/// One random history: transactions of one to four steps, now and then a scan, at the end of each a load of what it gave.
fn run_history(seed: u64, txns: u64) {
    let mut drawer = Drawer { prng: Prng::from_seed(seed), serial: 0 };
    let (mut tree, mut model) = (Tree::new(OPTIONS), fresh_model());
    let mut snapshot: Option<Snapshot> = None;
    compare(&tree, &model);
    for counter in 1..=txns {
        let head = TxnHead { zxid: Zxid::new(1, counter), session: SessionId(1), cxid: 0, time_ms: 1000 + counter as i64 };
        for _ in 0..drawer.prng.between(1, 4) {
            let Some(step) = drawer.step(&model) else { continue };
            match &mut snapshot {
                Some(snapshot) => apply_to_tree(&mut tree, &model, &head, &step, snapshot),
                None => apply_to_tree(&mut tree, &model, &head, &step, &mut IgnoreChanges),
            }
            apply_to_model(&mut model, &head, &step);
        }
        tree.end_txn(head.zxid);
        if snapshot.is_none() && drawer.prng.chance(1, 12) {
            snapshot = Some(Snapshot::begin(&mut tree, &model));
        }
        if let Some(taken) = &mut snapshot
            && tree.scan_step(drawer.prng.index(6), taken)
        {
            check_snapshot(&mut tree, &model, &snapshot.take().unwrap(), &mut drawer.prng);
        }
        if counter % 16 == 0 {
            compare(&tree, &model);
        }
    }
    compare(&tree, &model);
}

/// A finished scan equals the state at its zxid, and so does the tree loaded from it. Half of the time the loaded tree takes
/// over if nothing changed since.
fn check_snapshot(tree: &mut Tree, model: &Model, snapshot: &Snapshot, prng: &mut Prng) {
    assert_eq!(snapshot.nodes.len(), snapshot.state.len());
    let loaded = snapshot.load(OPTIONS, snapshot.digest, prng).unwrap();
    compare(&loaded, &snapshot.state);
    assert_eq!(loaded.last_zxid(), snapshot.zxid);
    for (slot, (parent, name, _, _)) in &snapshot.nodes {
        let id = NodeId(*slot);
        assert_eq!((loaded.name(id), loaded.parent(id).0), (&name[..], *parent), "places are kept");
    }
    let wrong = snapshot.load(OPTIONS, snapshot.digest ^ 1, prng).err();
    assert_eq!(wrong, Some(LoadError::Digest { expected: snapshot.digest ^ 1, found: snapshot.digest }));
    if *model == snapshot.state && prng.chance(1, 2) {
        *tree = loaded;
        tree.last_zxid = tree.last_zxid.max(snapshot.zxid);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_histories_agree_with_the_model(seed: u64) {
        run_history(seed, 160);
    }
}

#[test]
fn a_long_history_agrees_with_the_model() {
    run_history(7, 900);
}
