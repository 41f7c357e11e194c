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
    /// getData and setData.
    Mixed {
        /// Share of the reads, 0 to 100.
        read_percent: u8,
    },
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Workload, String> {
        match text {
            "set" => Ok(Workload::Set),
            "create" => Ok(Workload::Create),
            "get" => Ok(Workload::Get),
            _ => text
                .strip_prefix("mixed:")
                .and_then(|percent| percent.parse().ok())
                .filter(|percent| *percent <= 100)
                .map(|read_percent| Workload::Mixed { read_percent })
                .ok_or_else(|| format!("{text:?} is none of set, create, get, mixed:0 to mixed:100")),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Workload::Set => f.pad("set"),
            Workload::Create => f.pad("create"),
            Workload::Get => f.pad("get"),
            Workload::Mixed { read_percent } => f.pad(&format!("mixed:{read_percent}")),
        }
    }
}

impl serde::Serialize for Workload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether a request is answered from memory or goes through the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// getData.
    Read,
    /// setData, create, delete.
    Write,
}

/// Digits of the number at the end of a created node's name.
const NUMBER_DIGITS: usize = 10;
/// Where a frame has the xid.
const XID_AT: std::ops::Range<usize> = 4..8;

/// The requests of one session.
#[derive(Debug)]
pub struct Source {
    workload: Workload,
    random: Prng,
    get: Vec<u8>,
    set: Vec<u8>,
    create: Numbered,
    delete: Numbered,
    created: u64,
    deleted: u64,
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
    Request::Create(Create { op: CreateOp::Create, path, data: Some(data), acl: Some(OPEN_UNSAFE), flags: 0, ttl_ms: 0 })
}

impl Source {
    /// Requests around the session's own node `path`, which exists.
    pub fn new(workload: Workload, path: &str, value: &[u8], random: Prng) -> Source {
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
        Source {
            workload,
            random,
            get: frame(&Request::GetData { path: own, watch: false }),
            set: frame(&Request::SetData { path: own, data: Some(value), version: -1 }),
            create: numbered(&plain_create(&child, value)),
            delete: numbered(&Request::Delete { path: &child, version: -1 }),
            created: 0,
            deleted: 0,
        }
    }

    /// Appends the next request.
    pub fn push(&mut self, xid: i32, out: &mut Vec<u8>) -> Kind {
        let read = match self.workload {
            Workload::Get => true,
            Workload::Set => false,
            Workload::Create => {
                self.create.push(xid, self.created, out);
                self.created += 1;
                return Kind::Write;
            }
            Workload::Mixed { read_percent } => self.random.chance(u64::from(read_percent), 100),
        };
        push_frame(if read { &self.get } else { &self.set }, xid, out);
        if read { Kind::Read } else { Kind::Write }
    }

    /// Appends the removal of the next node that was created; false once all are gone.
    pub fn push_clean_up(&mut self, xid: i32, out: &mut Vec<u8>) -> bool {
        if self.deleted == self.created {
            return false;
        }
        self.delete.push(xid, self.deleted, out);
        self.deleted += 1;
        true
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
        for name in ["set", "create", "get", "mixed:0", "mixed:100"] {
            assert_eq!(name.parse::<Workload>().map(|w| w.to_string()), Ok(name.to_owned()));
        }
        for bad in ["mixed", "mixed:", "mixed:101", "Set", ""] {
            assert!(bad.parse::<Workload>().is_err(), "{bad}");
        }
    }

    #[test]
    fn created_nodes_are_numbered_and_deleted_in_order() {
        let mut source = Source::new(Workload::Create, "/b/s1", b"v", Prng::from_seed(0));
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
}
