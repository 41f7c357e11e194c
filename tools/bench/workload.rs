//! What the sessions ask for, as ready-made frames: making a request is a copy and a few patched bytes, so that the generator
//! stays much cheaper than any server.

use ringkeeper::base::prng::Prng;
use ringkeeper::model::acl::OPEN_UNSAFE;
use ringkeeper::model::request::{Create, CreateOp, Request};
use ringkeeper::wire::client_side::put_request;
use std::fmt;
use std::str::FromStr;

/// The mixture of operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workload {
    /// setData on the session's own node.
    Set,
    /// create of ever new children of the session's own node.
    Create,
    /// getData of the session's own node.
    Get,
    /// exists of the session's own node.
    Exists,
    /// getData and setData.
    Mixed {
        /// Share of the reads, 0 to 100.
        read_percent: u8,
    },
    /// multi of so many setData on the session's own node.
    Multi {
        /// Operations in each.
        size: u16,
    },
    /// getChildren2 of one node that has so many children.
    Children {
        /// Of the node.
        count: u32,
    },
    /// What a name node's failover controllers, a resource manager and region servers ask for, as we suppose; see [`HADOOP`].
    Hadoop,
    /// What a cluster manager with its recovery state in the tree asks for, as we suppose; see [`SPARK`].
    Spark,
}

/// One operation of a mixture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// getData of the session's own node.
    Get,
    /// exists of it.
    Exists,
    /// setData on it.
    Set,
    /// sync of it.
    Sync,
    /// getChildren2 of it.
    OwnChildren,
    /// getChildren2 of the one node with many.
    Children,
    /// create of a new child.
    Create,
    /// delete of the oldest such child; a create if there is none.
    Delete,
    /// multi of setData on the session's own node.
    Multi,
}

/// The Hadoop-like mixture in shares of 100: polls of lock and state nodes, listings, state updates, application records that come
/// and go one by one and in multis, and a few syncs before reads that must be fresh.
pub const HADOOP: &[(u64, Op)] = &[
    (25, Op::Exists),
    (30, Op::Get),
    (10, Op::OwnChildren),
    (15, Op::Set),
    (8, Op::Create),
    (8, Op::Delete),
    (2, Op::Multi),
    (2, Op::Sync),
];

/// The Spark-like mixture in shares of 100: worker, driver and application records are created and deleted, sometimes read back.
pub const SPARK: &[(u64, Op)] = &[(30, Op::Create), (30, Op::Delete), (20, Op::Get), (10, Op::OwnChildren), (10, Op::Set)];

/// Operations in a multi that is part of a mixture.
const MIXTURE_MULTI: u16 = 4;
/// Nodes that a session of a mixture with deletes has at most; it deletes instead of creating more.
const LIVE_MAX: u64 = 1000;

const NAMES: &str = "set, create, get, exists, mixed:0 to mixed:100, multi:1 to multi:500, children:1 to children:1000000, hadoop, spark";

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Workload, String> {
        let number = |prefix: &str, range: std::ops::RangeInclusive<u32>| {
            text.strip_prefix(prefix).and_then(|n| n.parse::<u32>().ok()).filter(|n| range.contains(n))
        };
        Ok(match text {
            "set" => Workload::Set,
            "create" => Workload::Create,
            "get" => Workload::Get,
            "exists" => Workload::Exists,
            "hadoop" => Workload::Hadoop,
            "spark" => Workload::Spark,
            _ => {
                if let Some(percent) = number("mixed:", 0..=100) {
                    Workload::Mixed { read_percent: percent as u8 }
                } else if let Some(size) = number("multi:", 1..=500) {
                    Workload::Multi { size: size as u16 }
                } else if let Some(count) = number("children:", 1..=1_000_000) {
                    Workload::Children { count }
                } else {
                    return Err(format!("{text:?} is none of {NAMES}"));
                }
            }
        })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Workload::Set => f.write_str("set"),
            Workload::Create => f.write_str("create"),
            Workload::Get => f.write_str("get"),
            Workload::Exists => f.write_str("exists"),
            Workload::Mixed { read_percent } => write!(f, "mixed:{read_percent}"),
            Workload::Multi { size } => write!(f, "multi:{size}"),
            Workload::Children { count } => write!(f, "children:{count}"),
            Workload::Hadoop => f.write_str("hadoop"),
            Workload::Spark => f.write_str("spark"),
        }
    }
}

impl Workload {
    /// Its operations with their weights.
    fn recipe(self) -> Vec<(u64, Op)> {
        match self {
            Workload::Set => vec![(1, Op::Set)],
            Workload::Create => vec![(1, Op::Create)],
            Workload::Get => vec![(1, Op::Get)],
            Workload::Exists => vec![(1, Op::Exists)],
            Workload::Mixed { read_percent } => {
                let reads = u64::from(read_percent);
                [(reads, Op::Get), (100 - reads, Op::Set)].into_iter().filter(|(weight, _)| *weight > 0).collect()
            }
            Workload::Multi { .. } => vec![(1, Op::Multi)],
            Workload::Children { .. } => vec![(1, Op::Children)],
            Workload::Hadoop => HADOOP.to_vec(),
            Workload::Spark => SPARK.to_vec(),
        }
    }

    /// Children that the one node for all sessions must have.
    pub fn shared_children(self) -> u32 {
        if let Workload::Children { count } = self { count } else { 0 }
    }

    fn multi_size(self) -> u16 {
        if let Workload::Multi { size } = self { size } else { MIXTURE_MULTI }
    }
}

/// Whether a request is answered from memory or goes through the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// getData, exists, getChildren2.
    Read,
    /// setData, create, delete, multi, sync.
    Write,
}

/// Digits of the number at the end of a created node's name.
const NUMBER_DIGITS: usize = 10;
/// Where a frame has the xid.
const XID_AT: std::ops::Range<usize> = 4..8;

/// The requests of one session.
#[derive(Debug)]
pub struct Source {
    steps: Vec<(u64, Step)>,
    weights: u64,
    bounded: bool,
    random: Prng,
    create: Numbered,
    delete: Numbered,
    created: u64,
    deleted: u64,
}

/// What one operation of the mixture sends.
#[derive(Debug)]
enum Step {
    Fixed(Kind, Vec<u8>),
    Create,
    Delete,
}

/// A frame in which a number in ASCII digits is patched.
#[derive(Debug)]
struct Numbered {
    frame: Vec<u8>,
    digits_at: usize,
}

/// The bytes of every value: of the given length, the same in every run, not compressible.
pub fn value(bytes: usize) -> Vec<u8> {
    let mut value = vec![0; bytes];
    Prng::from_seed(1).fill(&mut value);
    value
}

/// A create of a plain node that everybody may change.
pub fn plain_create<'a>(path: &'a [u8], data: &'a [u8]) -> Request<'a> {
    open_create(path, data, 0)
}

/// A create of a node of the mode `flags` that everybody may change.
pub fn open_create<'a>(path: &'a [u8], data: &'a [u8], flags: i32) -> Request<'a> {
    Request::Create(Create { op: CreateOp::Create, path, data: Some(data), acl: Some(OPEN_UNSAFE), flags, ttl_ms: 0 })
}

impl Source {
    /// Requests around the session's own node `path`, and `shared` for [`Op::Children`]; both exist.
    pub fn new(workload: Workload, path: &str, shared: &str, value: &[u8], random: Prng) -> Source {
        let child = format!("{path}/n{}", "0".repeat(NUMBER_DIGITS)).into_bytes();
        let frame = |request: &Request<'_>| {
            let mut frame = Vec::new();
            put_request(&mut frame, 0, request);
            frame
        };
        let numbered = |request: &Request<'_>| {
            let frame = frame(request);
            let name_at = frame.windows(child.len()).position(|w| w == child).unwrap_or_default();
            Numbered { frame, digits_at: name_at + child.len() - NUMBER_DIGITS }
        };
        let own = path.as_bytes();
        let set = Request::SetData { path: own, data: Some(value), version: -1 };
        let step = |op: Op| match op {
            Op::Get => Step::Fixed(Kind::Read, frame(&Request::GetData { path: own, watch: false })),
            Op::Exists => Step::Fixed(Kind::Read, frame(&Request::Exists { path: own, watch: false })),
            Op::OwnChildren => Step::Fixed(Kind::Read, frame(&Request::GetChildren2 { path: own, watch: false })),
            Op::Children => Step::Fixed(Kind::Read, frame(&Request::GetChildren2 { path: shared.as_bytes(), watch: false })),
            Op::Set => Step::Fixed(Kind::Write, frame(&set)),
            Op::Sync => Step::Fixed(Kind::Write, frame(&Request::Sync { path: Some(own) })),
            Op::Multi => Step::Fixed(Kind::Write, frame(&Request::Multi(vec![set.clone(); usize::from(workload.multi_size())]))),
            Op::Create => Step::Create,
            Op::Delete => Step::Delete,
        };
        let recipe = workload.recipe();
        Source {
            weights: recipe.iter().map(|(weight, _)| weight).sum(),
            bounded: recipe.iter().any(|(_, op)| *op == Op::Delete),
            steps: recipe.into_iter().map(|(weight, op)| (weight, step(op))).collect(),
            random,
            create: numbered(&plain_create(&child, value)),
            delete: numbered(&Request::Delete { path: &child, version: -1 }),
            created: 0,
            deleted: 0,
        }
    }

    /// Appends the next request.
    pub fn push(&mut self, xid: i32, out: &mut Vec<u8>) -> Kind {
        let at = self.draw();
        let live = self.created - self.deleted;
        match &self.steps[at].1 {
            Step::Fixed(kind, frame) => {
                push_frame(frame, xid, out);
                *kind
            }
            Step::Delete if live > 0 => self.push_delete(xid, out),
            Step::Create if self.bounded && live >= LIVE_MAX => self.push_delete(xid, out),
            Step::Create | Step::Delete => {
                self.create.push(xid, self.created, out);
                self.created += 1;
                Kind::Write
            }
        }
    }

    fn draw(&mut self) -> usize {
        if self.steps.len() == 1 {
            return 0;
        }
        let mut drawn = self.random.below(self.weights);
        for (at, (weight, _)) in self.steps.iter().enumerate() {
            if drawn < *weight {
                return at;
            }
            drawn -= weight;
        }
        0
    }

    fn push_delete(&mut self, xid: i32, out: &mut Vec<u8>) -> Kind {
        self.delete.push(xid, self.deleted, out);
        self.deleted += 1;
        Kind::Write
    }

    /// Appends the removal of the next node that was created; false once all are gone.
    pub fn push_clean_up(&mut self, xid: i32, out: &mut Vec<u8>) -> bool {
        let left = self.deleted < self.created;
        if left {
            self.push_delete(xid, out);
        }
        left
    }
}

fn push_frame(frame: &[u8], xid: i32, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(frame);
    out[at + XID_AT.start..at + XID_AT.end].copy_from_slice(&xid.to_be_bytes());
}

impl Numbered {
    fn push(&self, xid: i32, number: u64, out: &mut Vec<u8>) {
        let at = out.len() + self.digits_at;
        push_frame(&self.frame, xid, out);
        let mut rest = number;
        for digit in out[at..at + NUMBER_DIGITS].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringkeeper::model::op_code::OpCode;
    use ringkeeper::wire::{decode_header, decode_request};

    #[test]
    fn workloads_have_names_that_parse() {
        for name in ["set", "create", "get", "exists", "mixed:0", "mixed:100", "multi:20", "children:100000", "hadoop", "spark"] {
            assert_eq!(name.parse::<Workload>().map(|w| w.to_string()), Ok(name.to_owned()));
        }
        for bad in ["mixed", "mixed:", "mixed:101", "multi:0", "multi:501", "children:", "Set", ""] {
            assert!(bad.parse::<Workload>().is_err(), "{bad}");
        }
    }

    #[test]
    fn created_nodes_are_numbered_and_deleted_in_order() {
        let mut source = Source::new(Workload::Create, "/b/s1", "/b/kids", b"v", Prng::from_seed(0));
        let mut out = Vec::new();
        for xid in 1..=12 {
            out.clear();
            assert_eq!(source.push(xid, &mut out), Kind::Write);
        }
        let (header, body) = decode_header(&out[4..]).expect("a frame");
        assert_eq!((header.xid, header.op), (12, 1));
        let request = decode_request(OpCode::Create, body);
        assert_eq!(request, Ok(plain_create(b"/b/s1/n0000000011", b"v")));
        out.clear();
        assert!(source.push_clean_up(13, &mut out));
        let (_, body) = decode_header(&out[4..]).expect("a frame");
        assert_eq!(decode_request(OpCode::Delete, body), Ok(Request::Delete { path: b"/b/s1/n0000000000", version: -1 }));
        assert_eq!((1..20).filter(|xid| source.push_clean_up(*xid, &mut out)).count(), 11);
    }

    #[test]
    fn mixtures_keep_their_shares_and_bound_what_they_create() {
        for (workload, recipe) in [(Workload::Hadoop, HADOOP), (Workload::Spark, SPARK)] {
            assert_eq!(recipe.iter().map(|(weight, _)| weight).sum::<u64>(), 100);
            let mut source = Source::new(workload, "/b/s1", "/b/kids", b"v", Prng::from_seed(3));
            let mut out = Vec::new();
            let mut reads = 0;
            for xid in 0..20_000 {
                out.clear();
                reads += usize::from(source.push(xid, &mut out) == Kind::Read);
                assert!(source.created - source.deleted <= LIVE_MAX);
            }
            let read_share: u64 =
                recipe.iter().filter(|(_, op)| matches!(op, Op::Get | Op::Exists | Op::OwnChildren)).map(|(weight, _)| weight).sum();
            assert!(reads.abs_diff(read_share as usize * 200) < 600, "{workload}: {reads} of 20000");
        }
    }
}
