//! A bare server: one thread, one epoll set, one receive and one send for all requests that lie ready on a connection, and answers made
//! up on the spot. It looks nothing up, keeps nothing, writes nothing. What it costs is what the machine takes from any server that
//! answers its clients through sockets, so it shows how far a demand on reads and notifications can be met at all.
//!
//! Guarantees: it answers handshakes, pings, reads, syncs, writes (as if they were done) and ends of sessions in the protocol's form; the
//! data watches that a getData leaves fire once, also for a setData at another server of its ensemble that watches were left at.
//! What else it is asked ends the connection. Only for measurements: every frame is bounded, the number of connections is not.

use crate::Failure;
use ringkeeper::base::ids::{SessionId, Zxid};
use ringkeeper::model::op_code::OpCode;
use ringkeeper::model::request::{Connected, Request};
use ringkeeper::model::stat::Stat;
use ringkeeper::model::watch_kind::EventType;
use ringkeeper::wire::{FrameSplitter, Reply, decode_connect, decode_header, decode_request, write_connected, write_event};
use rustix::event::epoll;
use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

/// What `bare` takes.
#[derive(clap::Args)]
pub struct BareArguments {
    /// HOST:PORT for clients.
    #[arg(long)]
    listen: SocketAddr,
    /// The other servers of its ensemble, several with commas: they hear of its writes.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<SocketAddr>,
}

const FRAME_BYTES_MAX: usize = 2 << 20;
/// Bytes that one receive takes at most.
const RECEIVE_BYTES: usize = 64 << 10;
/// Sockets that one wait reports at most.
const EVENTS_MAX: usize = 512;
/// The listener's number; connections count on from there.
const LISTENER: u64 = 0;
/// What every znode holds.
const VALUE: [u8; 100] = [7; 100];
/// Sent first by another server of the ensemble; its frames are paths that were written there.
const PEER_WORD: &[u8] = b"peer";

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing was received yet.
    New,
    Client,
    Peer,
}

struct Bare {
    epoll: OwnedFd,
    listener: TcpListener,
    connections: HashMap<u64, Connection>,
    next_number: u64,
    /// Paths with the connections that watch their data.
    watches: BTreeMap<Vec<u8>, Vec<u64>>,
    /// Whether there ever was one. Before that no peer is told of writes: two that wait for each other's sockets would be stuck.
    watched: bool,
    peers: Vec<SocketAddr>,
    /// Connected at the first write.
    to_peers: Vec<TcpStream>,
    zxid: u64,
    /// What a turn has received, and what it answers.
    scratch: Vec<u8>,
    out: Vec<u8>,
}

/// Serves until the process is ended.
pub fn serve(arguments: &BareArguments) -> Result<(), Failure> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", arguments.listen);
    if !arguments.listen.ip().is_loopback() {
        return Err(failed(&"a bare server keeps nothing: it serves on this machine only, 127.0.0.1 or ::1"));
    }
    let listener = TcpListener::bind(arguments.listen).map_err(|e| failed(&e))?;
    listener.set_nonblocking(true).map_err(|e| failed(&e))?;
    // As the others have it: a storm of connections isn't to be turned away.
    rustix::net::listen(&listener, 4096).map_err(|e| failed(&e))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| failed(&e))?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN).map_err(|e| failed(&e))?;
    let mut bare = Bare {
        epoll,
        listener,
        connections: HashMap::new(),
        next_number: LISTENER + 1,
        watches: BTreeMap::new(),
        watched: false,
        peers: arguments.peers.clone(),
        to_peers: Vec::new(),
        zxid: 0,
        scratch: vec![0; RECEIVE_BYTES],
        out: Vec::new(),
    };
    loop {
        bare.turn()?;
    }
}

impl Bare {
    fn turn(&mut self) -> Result<(), Failure> {
        let empty = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut events = [empty; EVENTS_MAX];
        let count = match epoll::wait(&self.epoll, &mut events[..], None) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(e) => return Err(format!("waiting: {e}")),
        };
        for event in &events[..count] {
            match event.data.u64() {
                LISTENER => self.accept()?,
                number => {
                    if !self.receive(number)? {
                        self.connections.remove(&number);
                    }
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), Failure> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(format!("accepting: {e}")),
            };
            stream.set_nodelay(true).map_err(|e| e.to_string())?;
            let number = self.next_number;
            self.next_number += 1;
            epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(number), epoll::EventFlags::IN).map_err(|e| e.to_string())?;
            self.connections.insert(number, Connection { stream, received: Vec::new(), kind: Kind::New });
        }
    }

    /// One receive, all whole frames, one send; false if the connection is to be closed.
    fn receive(&mut self, number: u64) -> Result<bool, Failure> {
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(true) };
        let count = match connection.stream.read(&mut self.scratch) {
            Ok(0) | Err(_) => return Ok(false),
            Ok(count) => count,
        };
        let mut bytes = std::mem::take(&mut connection.received);
        bytes.extend_from_slice(&self.scratch[..count]);
        let mut kind = connection.kind;
        let mut at = 0;
        if kind == Kind::New {
            if bytes.starts_with(b"srvr") {
                // What is lost of it was wanted by nobody.
                let _ = connection.stream.write_all(b"Mode: bare\n");
                return Ok(false);
            }
            if bytes.starts_with(PEER_WORD) {
                (kind, at) = (Kind::Peer, PEER_WORD.len());
            }
        }
        let mut open = true;
        let mut frames = FrameSplitter::new(&bytes[at..], FRAME_BYTES_MAX);
        self.out.clear();
        while open {
            let frame = match frames.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return Ok(false),
            };
            match kind {
                Kind::New => {
                    let Ok(connect) = decode_connect(frame) else { return Ok(false) };
                    let connected =
                        Connected { timeout_ms: connect.timeout_ms.unsigned_abs(), session: SessionId(number as i64), password: [0; 16] };
                    write_connected(&mut self.out, &connected, connect.read_only);
                    kind = Kind::Client;
                }
                Kind::Client => open = self.answer(number, frame)?,
                Kind::Peer => self.fire(frame)?,
            }
        }
        at += frames.consumed();
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(true) };
        (connection.received, connection.kind) = (bytes[at..].to_vec(), kind);
        let sent = self.out.is_empty() || connection.stream.write_all(&self.out).is_ok();
        Ok(open && sent)
    }

    /// False if the connection ends with this answer.
    fn answer(&mut self, number: u64, frame: &[u8]) -> Result<bool, Failure> {
        let Ok((header, body)) = decode_header(frame) else { return Ok(false) };
        let Some(Ok(request)) = OpCode::from_wire(header.op).map(|op| decode_request(op, body)) else { return Ok(false) };
        self.zxid += 1;
        match &request {
            Request::GetData { path, watch: true } => {
                self.watched = true;
                self.watches.entry(path.to_vec()).or_default().push(number);
            }
            Request::SetData { path, .. } => {
                self.fire(path)?;
                self.tell_peers(path)?;
            }
            _ => {}
        }
        let mut reply = Reply::begin(&mut self.out, header.xid, Zxid(self.zxid), None);
        match &request {
            Request::Create(create) => _ = reply.put_text(create.path),
            Request::GetData { .. } => _ = reply.put_buffer(Some(&VALUE)).put_stat(&Stat::default()),
            Request::SetData { .. } | Request::Exists { .. } => _ = reply.put_stat(&Stat::default()),
            Request::Sync { path } => _ = reply.put_text(path.unwrap_or_default()),
            Request::GetChildren { .. } => _ = reply.put_texts([]),
            Request::Ping | Request::Delete { .. } | Request::CloseSession => {}
            _ => return Ok(false),
        }
        reply.finish();
        Ok(!matches!(request, Request::CloseSession))
    }

    /// Notifies all that watch the path.
    fn fire(&mut self, path: &[u8]) -> Result<(), Failure> {
        let Some(watching) = self.watches.remove(path) else { return Ok(()) };
        let mut notification = Vec::new();
        write_event(&mut notification, None, EventType::NodeDataChanged, path);
        for number in watching {
            if let Some(connection) = self.connections.get_mut(&number) {
                // One that is gone tells so by itself.
                let _ = connection.stream.write_all(&notification);
            }
        }
        Ok(())
    }

    fn tell_peers(&mut self, path: &[u8]) -> Result<(), Failure> {
        if !self.watched {
            return Ok(());
        }
        if self.to_peers.is_empty() {
            for address in &self.peers {
                let connect = || -> std::io::Result<TcpStream> {
                    let mut stream = TcpStream::connect(address)?;
                    stream.set_nodelay(true)?;
                    stream.write_all(PEER_WORD)?;
                    Ok(stream)
                };
                self.to_peers.push(connect().map_err(|e| format!("{address}: {e}"))?);
            }
        }
        let len = u32::try_from(path.len()).map_err(|e| e.to_string())?;
        for stream in &mut self.to_peers {
            stream.write_all(&[&len.to_be_bytes()[..], path].concat()).map_err(|e| format!("a peer is gone: {e}"))?;
        }
        Ok(())
    }
}
