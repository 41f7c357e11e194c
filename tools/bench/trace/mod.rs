//! Traces: what clients of a running service asked, when and on which session, so that the same load can be made again anywhere.
//!
//! A trace is text: a line that names the format, then one JSON object for each request that was answered, in the order of sending.
//! It holds paths and sizes, never the bytes of a value. Versions aren't kept: a replay writes and deletes whatever the version is.
//! A sequential node stands there with the name that it got, and is made by that name. Leaves to others: listening in (`record`),
//! making the load (`replay`).

mod record;
mod replay;

pub use record::{RecordArguments, record};
pub use replay::{ReplayArguments, replay};

use crate::Failure;
use crate::workload::open_create;
use ringkeeper::model::request::{CreateOp, Request};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

/// The first line.
const FORMAT: &str = "ringkeeper-trace-1";
/// Requests of one trace.
const EVENTS_MAX: usize = 20_000_000;
/// Bytes of one line.
const LINE_BYTES_MAX: usize = 4 << 20;
/// Bytes of a value, below any server's usual limit of a frame.
const VALUE_BYTES_MAX: usize = 1_048_000;
/// A create mode: the node goes with its session.
const EPHEMERAL: i32 = 1;
/// The create mode's bit for a sequence number.
const SEQUENTIAL: i32 = 2;

/// One request.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Event {
    /// Microseconds since the recording began.
    at_us: u64,
    /// The connection, numbered from 0 in the order of their first requests.
    session: u32,
    /// The error that it was answered with, or 0.
    err: i32,
    #[serde(flatten)]
    op: Op,
}

/// What was asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "camelCase")]
enum Op {
    /// Of either kind; ephemeral or not.
    Create {
        path: String,
        bytes: usize,
        ephemeral: bool,
    },
    Delete {
        path: String,
    },
    Exists {
        path: String,
        watch: bool,
    },
    /// `bytes` is the length of the data in the answer.
    GetData {
        path: String,
        watch: bool,
        bytes: usize,
    },
    SetData {
        path: String,
        bytes: usize,
    },
    GetChildren {
        path: String,
        watch: bool,
    },
    GetChildren2 {
        path: String,
        watch: bool,
    },
    Sync {
        path: String,
    },
    Check {
        path: String,
    },
    Multi {
        ops: Vec<Op>,
    },
    CloseSession,
}

impl Op {
    /// `None` for what a trace doesn't hold.
    fn of(request: &Request<'_>) -> Option<Op> {
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let len = |data: &Option<&[u8]>| data.map_or(0, <[u8]>::len);
        Some(match request {
            Request::Create(create) if matches!(create.op, CreateOp::Create | CreateOp::Create2) && (0..4).contains(&create.flags) => {
                Op::Create { path: text(create.path), bytes: len(&create.data), ephemeral: create.flags & EPHEMERAL != 0 }
            }
            Request::Delete { path, .. } => Op::Delete { path: text(path) },
            Request::Exists { path, watch } => Op::Exists { path: text(path), watch: *watch },
            Request::GetData { path, watch } => Op::GetData { path: text(path), watch: *watch, bytes: 0 },
            Request::SetData { path, data, .. } => Op::SetData { path: text(path), bytes: len(data) },
            Request::GetChildren { path, watch } => Op::GetChildren { path: text(path), watch: *watch },
            Request::GetChildren2 { path, watch } => Op::GetChildren2 { path: text(path), watch: *watch },
            Request::Sync { path } => Op::Sync { path: text(path.unwrap_or(b"/")) },
            Request::Check { path, .. } => Op::Check { path: text(path) },
            Request::Multi(ops) => Op::Multi { ops: ops.iter().map(Op::of).collect::<Option<_>>()? },
            Request::CloseSession => Op::CloseSession,
            _ => return None,
        })
    }

    /// As a request; `value` is at least as long as every value of the trace.
    fn request<'a>(&'a self, value: &'a [u8]) -> Request<'a> {
        match self {
            Op::Create { path, bytes, ephemeral } => open_create(path.as_bytes(), &value[..*bytes], if *ephemeral { EPHEMERAL } else { 0 }),
            Op::Delete { path } => Request::Delete { path: path.as_bytes(), version: -1 },
            Op::Exists { path, watch } => Request::Exists { path: path.as_bytes(), watch: *watch },
            Op::GetData { path, watch, .. } => Request::GetData { path: path.as_bytes(), watch: *watch },
            Op::SetData { path, bytes } => Request::SetData { path: path.as_bytes(), data: Some(&value[..*bytes]), version: -1 },
            Op::GetChildren { path, watch } => Request::GetChildren { path: path.as_bytes(), watch: *watch },
            Op::GetChildren2 { path, watch } => Request::GetChildren2 { path: path.as_bytes(), watch: *watch },
            Op::Sync { path } => Request::Sync { path: Some(path.as_bytes()) },
            Op::Check { path } => Request::Check { path: path.as_bytes(), version: -1 },
            Op::Multi { ops } => Request::Multi(ops.iter().map(|op| op.request(value)).collect()),
            Op::CloseSession => Request::CloseSession,
        }
    }

    /// Every operation in it, itself or those of a multi.
    fn parts(&self) -> &[Op] {
        match self {
            Op::Multi { ops } => ops,
            one => std::slice::from_ref(one),
        }
    }

    fn path_mut(&mut self) -> Option<&mut String> {
        match self {
            Op::Create { path, .. }
            | Op::Delete { path }
            | Op::Exists { path, .. }
            | Op::GetData { path, .. }
            | Op::SetData { path, .. }
            | Op::GetChildren { path, .. }
            | Op::GetChildren2 { path, .. }
            | Op::Sync { path }
            | Op::Check { path } => Some(path),
            Op::Multi { .. } | Op::CloseSession => None,
        }
    }

    /// Moves everything below `root`.
    fn move_below(&mut self, root: &str) {
        if let Op::Multi { ops } = self {
            ops.iter_mut().for_each(|op| op.move_below(root));
        } else if let Some(path) = self.path_mut() {
            *path = if path == "/" { root.to_owned() } else { format!("{root}{path}") };
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Op::Create { bytes, .. } | Op::SetData { bytes, .. } | Op::GetData { bytes, .. } => *bytes,
            Op::Multi { ops } => ops.iter().map(Op::bytes).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// Writes a trace.
fn write(events: &[Event], out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{FORMAT}")?;
    for event in events {
        serde_json::to_writer(&mut *out, event)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Reads a trace, sorted by time. Says the line of what isn't right.
fn read(path: &Path) -> Result<Vec<Event>, Failure> {
    let failed = |line: usize, what: &dyn std::fmt::Display| format!("{}, line {line}: {what}", path.display());
    let file = std::fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut reader = BufReader::new(file);
    let (mut events, mut line, mut number) = (Vec::new(), Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        let mut limited = std::io::Read::take(&mut reader, LINE_BYTES_MAX as u64);
        if limited.read_until(b'\n', &mut line).map_err(|e| failed(number, &e))? == 0 {
            break;
        }
        if number == 1 {
            if line.trim_ascii() != FORMAT.as_bytes() {
                return Err(failed(1, &format!("a trace begins with {FORMAT}")));
            }
            continue;
        }
        if events.len() == EVENTS_MAX {
            return Err(failed(number, &format!("a trace has at most {EVENTS_MAX} requests")));
        }
        let event: Event = serde_json::from_slice(&line).map_err(|e| failed(number, &e))?;
        if event.op.bytes() > VALUE_BYTES_MAX {
            return Err(failed(number, &format!("a value of {} bytes; at most {VALUE_BYTES_MAX} are replayed", event.op.bytes())));
        }
        events.push(event);
    }
    if events.is_empty() {
        return Err(format!("{}: a trace without requests", path.display()));
    }
    events.sort_by_key(|event| event.at_us);
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at_us: u64, op: Op) -> Event {
        Event { at_us, session: 0, err: 0, op }
    }

    #[test]
    fn what_is_written_is_read_and_nonsense_is_refused_by_line() {
        let create = Op::Create { path: "/a".to_owned(), bytes: 7, ephemeral: true };
        let multi = Op::Multi { ops: vec![create.clone(), Op::Check { path: "/b".to_owned() }] };
        let events = [event(2, multi), event(1, create), event(3, Op::CloseSession)];
        let file = std::env::temp_dir().join(format!("ringkeeper-trace-test-{}", std::process::id()));
        write(&events, &mut std::fs::File::create(&file).expect("a file")).expect("written");
        let found = read(&file).expect("a trace");
        assert_eq!(found, [events[1].clone(), events[0].clone(), events[2].clone()]);
        std::fs::write(&file, format!("{FORMAT}\n{{\"at_us\":1}}\n")).expect("written");
        assert!(read(&file).expect_err("half a line").contains("line 2"));
        std::fs::write(&file, "nonsense\n").expect("written");
        assert!(read(&file).expect_err("no trace").contains(FORMAT));
        std::fs::remove_file(&file).expect("removed");
    }

    #[test]
    fn requests_become_operations_below_a_root_and_back() {
        let value = [7; 10];
        let set = Request::SetData { path: b"/x/y", data: Some(&value[..3]), version: 5 };
        let mut op = Op::of(&Request::Multi(vec![set, Request::Delete { path: b"/", version: 2 }])).expect("known");
        op.move_below("/root");
        let wanted = vec![
            Request::SetData { path: b"/root/x/y", data: Some(&value[..3]), version: -1 },
            Request::Delete { path: b"/root", version: -1 },
        ];
        assert_eq!(op.request(&value), Request::Multi(wanted));
        assert_eq!((op.bytes(), op.parts().len()), (3, 2));
        assert_eq!(Op::of(&Request::WhoAmI), None);
    }
}
