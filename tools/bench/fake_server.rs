//! A server for the tests of the load: answers from a set of paths, in memory, a thread for each connection.

use ringkeeper::base::ids::{SessionId, Zxid};
use ringkeeper::model::error_code::ErrorCode;
use ringkeeper::model::op_code::OpCode;
use ringkeeper::model::request::{Connected, Request};
use ringkeeper::model::stat::Stat;
use ringkeeper::wire::client_side::request_op;
use ringkeeper::wire::{FrameSplitter, Reply, decode_connect, decode_header, decode_request, write_connected};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server has seen.
#[derive(Default)]
pub struct Seen {
    /// Paths that exist.
    pub nodes: BTreeSet<Vec<u8>>,
    /// Requests by operation.
    pub counts: BTreeMap<i32, u64>,
    /// What it does wrong.
    pub fault: Fault,
}

/// What the server does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// After this many requests every answer is an error.
    FailAfter(u64),
    /// Before it answers the request of this number it stands still for so long, with all its connections.
    StallAt(u64, Duration),
    /// The request of this number isn't answered, nor any later one.
    SilentFrom(u64),
    /// Each setData takes so long, while answers before it are on their way already.
    SlowSets(Duration),
}

/// Starts one; it lives until the test's process ends.
pub fn start(fault: Fault) -> (String, Arc<Mutex<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let seen = Arc::new(Mutex::new(Seen { fault, ..Seen::default() }));
    let shared = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Arc::clone(&shared);
            std::thread::spawn(move || serve(stream, &seen));
        }
    });
    (address, seen)
}

fn serve(mut stream: TcpStream, seen: &Mutex<Seen>) {
    let (mut received, mut out, mut greeted) = (Vec::new(), Vec::new(), false);
    let mut chunk = [0; 1 << 16];
    while let Ok(n @ 1..) = stream.read(&mut chunk) {
        received.extend_from_slice(&chunk[..n]);
        let mut frames = FrameSplitter::new(&received, 1 << 20);
        while let Some(frame) = frames.next_frame().expect("legal frames") {
            if greeted {
                let mut seen = seen.lock().expect("no panic elsewhere");
                if matches!(seen.fault, Fault::SlowSets(_)) && stream.write_all(&std::mem::take(&mut out)).is_err() {
                    return;
                }
                answer(frame, &mut seen, &mut out);
            } else {
                let connect = decode_connect(frame).expect("a legal handshake");
                let connected = Connected { timeout_ms: 1000, session: SessionId(1), password: [0; 16] };
                write_connected(&mut out, &connected, connect.read_only);
                greeted = true;
            }
        }
        let consumed = frames.consumed();
        received.drain(..consumed);
        if stream.write_all(&out).is_err() {
            return;
        }
        out.clear();
    }
}

fn answer(frame: &[u8], seen: &mut Seen, out: &mut Vec<u8>) {
    let (header, body) = decode_header(frame).expect("a header");
    let request = decode_request(OpCode::from_wire(header.op).expect("a known operation"), body).expect("a legal request");
    *seen.counts.entry(request_op(&request).wire()).or_default() += 1;
    let total: u64 = seen.counts.values().sum();
    match seen.fault {
        Fault::StallAt(at, time) if total == at => std::thread::sleep(time),
        Fault::SilentFrom(from) if total >= from => return,
        Fault::SlowSets(time) if matches!(request, Request::SetData { .. }) => std::thread::sleep(time),
        _ => {}
    }
    let error = match &request {
        _ if matches!(seen.fault, Fault::FailAfter(limit) if total > limit) => Some(ErrorCode::SystemError),
        Request::Create(create) => (!seen.nodes.insert(create.path.to_vec())).then_some(ErrorCode::NodeExists),
        Request::Delete { path, .. } => (!seen.nodes.remove(*path)).then_some(ErrorCode::NoNode),
        Request::GetData { path, .. } | Request::SetData { path, .. } => (!seen.nodes.contains(*path)).then_some(ErrorCode::NoNode),
        _ => None,
    };
    let mut reply = Reply::begin(out, header.xid, Zxid(total), error);
    match &request {
        _ if error.is_some() => {}
        Request::Create(create) => _ = reply.put_text(create.path),
        Request::GetData { .. } => _ = reply.put_buffer(Some(&[7; 100])).put_stat(&Stat::default()),
        Request::SetData { .. } => _ = reply.put_stat(&Stat::default()),
        Request::Sync { path } => _ = reply.put_text(path.unwrap_or_default()),
        _ => {}
    }
    reply.finish();
}
