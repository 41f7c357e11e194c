//! What ZooKeeper does, as plainly as it can be said: the oracle for answers, errors and stats.
//!
//! One map from path to node, one request after the other, nothing outstanding, no cleverness: it recomputes rather than
//! keeps. Written from the rules (T13 to T22, T39, T45 to T50) and independent of `prep` and `tree`, so that the same
//! mistake isn't likely on both sides. Leaves to others: watches, sessions' deadlines, resolving ACLs (the caller's).

use crate::base::ids::{SessionId, Zxid};
use crate::model::acl::{self, AclList, Identity, OPEN_UNSAFE, READ_UNSAFE, perms};
use crate::model::create_mode::{CreateMode, NodeKind, TTL_MS_MAX};
use crate::model::error_code::ErrorCode;
use crate::model::path as paths;
use crate::model::request::{Create, CreateOp, Request};
use crate::model::stat::Stat;
use std::collections::{BTreeMap, BTreeSet};

mod quota;
mod reads;

/// As configured on the servers under test.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ModelOptions {
    /// `skipACL`.
    pub skip_acl: bool,
    /// `zookeeper.extendedTypesEnabled`.
    pub extended_types: bool,
    /// `enforceQuota`.
    pub enforce_quota: bool,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
}

/// Resolves an ACL list as it was sent.
pub type Resolve<'a> = dyn Fn(Option<&[u8]>) -> Result<Vec<u8>, ErrorCode> + 'a;

/// Who asks, and the place of the request in the order.
#[derive(Clone, Copy)]
pub struct Turn<'a> {
    /// Whose request.
    pub session: SessionId,
    /// What its connection is known as.
    pub identities: &'a [Identity],
    /// For create and setACL.
    pub resolve: &'a Resolve<'a>,
    /// The zxid that the request gets if it changes something.
    pub zxid: Zxid,
    /// The leader's wall clock.
    pub time_ms: i64,
}

/// What a successful request answers.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "named like ZooKeeper's response records")]
pub enum Answer {
    Nothing,
    Path(Vec<u8>),
    PathStat(Vec<u8>, Stat),
    Stat(Stat),
    Data(Option<Vec<u8>>, Stat),
    Acl(Vec<u8>, Stat),
    Children(BTreeSet<Vec<u8>>),
    ChildrenStat(BTreeSet<Vec<u8>>, Stat),
    Paths(BTreeSet<Vec<u8>>),
    Count(usize),
    /// Of a multi that passed, or of a multiRead, whose operations fail singly.
    Each(Vec<Result<Answer, ErrorCode>>),
    /// Of a multi that failed at an index, out of so many.
    FailedMulti(usize, ErrorCode, usize),
}

/// Answer or error code.
pub type Outcome = Result<Answer, ErrorCode>;

#[derive(Clone, PartialEq, Eq, Debug)]
struct Node {
    data: Option<Vec<u8>>,
    acl: Vec<u8>,
    czxid: Zxid,
    mzxid: Zxid,
    pzxid: Zxid,
    ctime_ms: i64,
    mtime_ms: i64,
    version: i32,
    aversion: i32,
    /// Children ever created.
    created: i32,
    kind: NodeKind,
}

/// Nodes that can't be deleted.
const FIXED: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];

/// A whole service, as seen by all its clients together.
#[derive(Clone, Debug)]
pub struct Model {
    options: ModelOptions,
    nodes: BTreeMap<Vec<u8>, Node>,
    sessions: BTreeSet<SessionId>,
}

impl Model {
    /// A new service without sessions.
    #[must_use]
    pub fn new(options: ModelOptions) -> Model {
        let mut nodes = BTreeMap::new();
        for path in FIXED {
            let is_config = path == "/zookeeper/config";
            let node = Node {
                data: Some(Vec::new()),
                acl: if is_config { READ_UNSAFE } else { OPEN_UNSAFE }.to_vec(),
                czxid: Zxid::ZERO,
                mzxid: Zxid::ZERO,
                pzxid: Zxid::ZERO,
                ctime_ms: 0,
                mtime_ms: 0,
                version: 0,
                aversion: if is_config { -1 } else { 0 },
                created: 0,
                kind: NodeKind::Persistent,
            };
            nodes.insert(path.as_bytes().to_vec(), node);
        }
        Model { options, nodes, sessions: BTreeSet::new() }
    }

    /// The kind of a node, which clients can't ask for.
    #[must_use]
    pub fn kind_of(&self, path: &[u8]) -> Option<NodeKind> {
        self.nodes.get(path).map(|node| node.kind)
    }

    /// A session begins.
    pub fn open(&mut self, session: SessionId) {
        self.sessions.insert(session);
    }

    /// A session ends, and its ephemeral nodes with it. Returns their paths.
    pub fn close(&mut self, session: SessionId, zxid: Zxid) -> BTreeSet<Vec<u8>> {
        self.sessions.remove(&session);
        let gone = self.ephemerals(session);
        gone.iter().for_each(|path| self.remove(path, zxid));
        gone
    }

    /// The reaper's deletion of a container or TTL node; false if it must not happen. Its age isn't judged.
    pub fn reap(&mut self, path: &[u8], zxid: Zxid) -> bool {
        let Some(node) = self.nodes.get(path) else { return false };
        let of_a_kind = match node.kind {
            NodeKind::Container => node.created != 0,
            kind => matches!(kind, NodeKind::Ttl { .. }),
        };
        let may = of_a_kind && self.names(path).next().is_none();
        if may {
            self.remove(path, zxid);
        }
        may
    }

    /// What `request` must be answered; `None` for operations that aren't about nodes (watches, sessions, authentication).
    pub fn ask(&mut self, turn: &Turn<'_>, request: &Request<'_>) -> Option<Outcome> {
        Some(match request {
            Request::Multi(list) => self.multi(turn, list),
            Request::MultiRead(list) => self.multi_read(turn, list),
            Request::Check { .. } => Err(ErrorCode::Unimplemented),
            Request::Reconfig { .. } if !self.options.reconfig_enabled => Err(ErrorCode::ReconfigDisabled),
            Request::Reconfig { .. } => self.in_session(turn).and(Err(ErrorCode::Unimplemented)),
            Request::Create(create) => self.create(turn, create, create.op),
            Request::Delete { .. } | Request::SetData { .. } | Request::SetAcl { .. } => self.change(turn, request),
            _ => return self.read(turn, request),
        })
    }

    /// All nodes, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.nodes.keys().map(Vec::as_slice)
    }

    fn in_session(&self, turn: &Turn<'_>) -> Result<(), ErrorCode> {
        self.sessions.contains(&turn.session).then_some(()).ok_or(ErrorCode::SessionExpired)
    }

    fn node(&self, path: &[u8]) -> Result<&Node, ErrorCode> {
        self.nodes.get(path).ok_or(ErrorCode::NoNode)
    }

    fn allowed(&self, turn: &Turn<'_>, node: &Node, wanted: i32) -> Result<(), ErrorCode> {
        let list = AclList::parse(&node.acl).expect("the resolver makes whole lists");
        let passes = self.options.skip_acl || acl::permits(list, wanted, turn.identities);
        passes.then_some(()).ok_or(ErrorCode::NoAuth)
    }

    /// Names of the children.
    fn children(&self, path: &[u8]) -> BTreeSet<Vec<u8>> {
        self.names(path).map(<[u8]>::to_vec).collect()
    }

    /// Names of the children: whatever begins with the path and a slash lies side by side in the map.
    fn names(&self, path: &[u8]) -> impl Iterator<Item = &[u8]> {
        let begin = if path == b"/" { path.to_vec() } else { [path, b"/"].concat() };
        let len = begin.len();
        let below = self.nodes.range(begin.clone()..).map(|(other, _)| other.as_slice()).take_while(move |other| other.starts_with(&begin));
        below.map(move |other| &other[len..]).filter(|name| !name.is_empty() && !name.contains(&b'/'))
    }

    fn ephemerals(&self, session: SessionId) -> BTreeSet<Vec<u8>> {
        let owned = self.nodes.iter().filter(|(_, node)| node.kind == NodeKind::Ephemeral(session));
        owned.map(|(path, _)| path.clone()).collect()
    }

    fn stat(&self, path: &[u8]) -> Stat {
        let node = &self.nodes[path];
        let num_children = self.names(path).count() as i32;
        Stat {
            czxid: node.czxid,
            mzxid: node.mzxid,
            ctime_ms: node.ctime_ms,
            mtime_ms: node.mtime_ms,
            version: node.version,
            // Creations and deletions: every created child that is gone was deleted.
            cversion: node.created.wrapping_add(node.created.wrapping_sub(num_children)),
            aversion: node.aversion,
            ephemeral_owner: if let NodeKind::Ephemeral(session) = node.kind { session.0 } else { 0 },
            data_len: node.data.as_ref().map_or(0, Vec::len) as i32,
            num_children,
            pzxid: node.pzxid,
        }
    }

    fn create(&mut self, turn: &Turn<'_>, create: &Create<'_>, op: CreateOp) -> Outcome {
        let mode = CreateMode::from_flags(create.flags).ok_or(ErrorCode::BadArguments)?;
        let kind = self.kind(turn, create, op, mode)?;
        self.in_session(turn)?;
        if create.path.contains(&0) {
            return Err(ErrorCode::BadArguments);
        }
        let parent_path = paths::parent(create.path).ok_or(ErrorCode::BadArguments)?.to_vec();
        let acl = (turn.resolve)(create.acl)?;
        let parent = self.node(&parent_path)?;
        self.allowed(turn, parent, perms::CREATE)?;
        let mut path = create.path.to_vec();
        if mode.is_sequential() {
            path.extend(format!("{:010}", parent.created).bytes());
        }
        if paths::validate(&path).is_err() {
            return Err(ErrorCode::BadArguments);
        }
        if self.nodes.contains_key(&path) {
            return Err(ErrorCode::NodeExists);
        }
        if matches!(parent.kind, NodeKind::Ephemeral(_)) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let data_len = create.data.map_or(0, <[u8]>::len) as i64;
        self.within_quota(&path, 1, data_len)?;
        let node = Node {
            data: create.data.map(<[u8]>::to_vec),
            acl,
            czxid: turn.zxid,
            mzxid: turn.zxid,
            pzxid: turn.zxid,
            ctime_ms: turn.time_ms,
            mtime_ms: turn.time_ms,
            version: 0,
            aversion: 0,
            created: 0,
            kind,
        };
        self.nodes.insert(path.clone(), node);
        let parent = self.nodes.get_mut(&parent_path).expect("found above");
        parent.created = parent.created.wrapping_add(1);
        parent.pzxid = turn.zxid;
        self.count_new_quota(&path);
        self.charge(&path, 1, data_len);
        let stat = self.stat(&path);
        Ok(if create.op == CreateOp::Create { Answer::Path(path) } else { Answer::PathStat(path, stat) })
    }

    fn kind(&self, turn: &Turn<'_>, create: &Create<'_>, op: CreateOp, mode: CreateMode) -> Result<NodeKind, ErrorCode> {
        if mode.is_ttl() && !self.options.extended_types {
            return Err(ErrorCode::Unimplemented);
        }
        match op {
            CreateOp::Ttl if mode.is_ttl() && create.ttl_ms > 0 && create.ttl_ms <= TTL_MS_MAX => {
                Ok(NodeKind::Ttl { ttl_ms: create.ttl_ms })
            }
            CreateOp::Ttl => Err(ErrorCode::BadArguments),
            _ if mode.is_ttl() => Err(ErrorCode::BadArguments),
            CreateOp::Container => Ok(NodeKind::Container),
            _ if mode.is_ephemeral() => Ok(NodeKind::Ephemeral(turn.session)),
            _ => Ok(NodeKind::Persistent),
        }
    }

    /// delete, setData, setACL and, inside a multi, check.
    fn change(&mut self, turn: &Turn<'_>, request: &Request<'_>) -> Outcome {
        self.in_session(turn)?;
        let matches = |current: i32, expected: i32| (expected == -1 || expected == current).then_some(()).ok_or(ErrorCode::BadVersion);
        match *request {
            Request::Delete { path, version } => {
                if path.contains(&0) || FIXED.iter().any(|fixed| fixed.as_bytes() == path) {
                    return Err(ErrorCode::BadArguments);
                }
                let parent = self.node(paths::parent(path).ok_or(ErrorCode::BadArguments)?)?;
                self.allowed(turn, parent, perms::DELETE)?;
                matches(self.node(path)?.version, version)?;
                if self.names(path).next().is_some() {
                    return Err(ErrorCode::NotEmpty);
                }
                self.remove(path, turn.zxid);
                Ok(Answer::Nothing)
            }
            Request::SetData { path, data, version } => {
                let node = self.valid(turn, path, perms::WRITE)?;
                let more = data.map_or(0, <[u8]>::len) as i64 - node.data.as_ref().map_or(0, Vec::len) as i64;
                self.within_quota(path, 0, more)?;
                matches(node.version, version)?;
                let node = self.nodes.get_mut(path).expect("found above");
                node.data = data.map(<[u8]>::to_vec);
                node.version = node.version.wrapping_add(1);
                (node.mzxid, node.mtime_ms) = (turn.zxid, turn.time_ms);
                self.charge(path, 0, more);
                Ok(Answer::Stat(self.stat(path)))
            }
            Request::SetAcl { path, acl, version } => {
                paths::validate(path).map_err(|_| ErrorCode::BadArguments)?;
                let acl = (turn.resolve)(acl)?;
                matches(self.valid(turn, path, perms::ADMIN)?.aversion, version)?;
                let node = self.nodes.get_mut(path).expect("found above");
                node.acl = acl;
                node.aversion = node.aversion.wrapping_add(1);
                Ok(Answer::Stat(self.stat(path)))
            }
            Request::Check { path, version } => {
                matches(self.valid(turn, path, perms::READ)?.version, version)?;
                Ok(Answer::Nothing)
            }
            _ => Err(ErrorCode::Unimplemented),
        }
    }

    fn valid(&self, turn: &Turn<'_>, path: &[u8], wanted: i32) -> Result<&Node, ErrorCode> {
        paths::validate(path).map_err(|_| ErrorCode::BadArguments)?;
        let node = self.node(path)?;
        self.allowed(turn, node, wanted)?;
        Ok(node)
    }

    fn remove(&mut self, path: &[u8], zxid: Zxid) {
        let Some(node) = self.nodes.remove(path) else { return };
        if let Some(parent) = paths::parent(path).and_then(|parent| self.nodes.get_mut(parent)) {
            parent.pzxid = zxid;
        }
        self.charge(path, -1, -(node.data.map_or(0, |data| data.len()) as i64));
    }

    /// All or nothing, by working on a copy.
    fn multi(&mut self, turn: &Turn<'_>, list: &[Request<'_>]) -> Outcome {
        let decodes = |request: &Request<'_>| match request {
            Request::Create(create) => {
                create.op == CreateOp::Ttl || CreateMode::from_flags(create.flags).is_some_and(|mode| !mode.is_ttl())
            }
            Request::Delete { .. } | Request::SetData { .. } | Request::Check { .. } => true,
            _ => false,
        };
        if !list.iter().all(decodes) {
            return Err(ErrorCode::MarshallingError);
        }
        let mut copy = self.clone();
        let mut answers = Vec::new();
        for (idx, request) in list.iter().enumerate() {
            let outcome = match request {
                // Inside a multi the flags choose the operation.
                Request::Create(create) => match create.flags {
                    4 => copy.create(turn, create, CreateOp::Container),
                    5 | 6 => copy.create(turn, create, CreateOp::Ttl),
                    _ => copy.create(turn, create, CreateOp::Create),
                },
                other => copy.change(turn, other),
            };
            match outcome {
                Ok(answer) => answers.push(Ok(answer)),
                Err(code) => return Ok(Answer::FailedMulti(idx, code, list.len())),
            }
        }
        *self = copy;
        Ok(Answer::Each(answers))
    }
}
