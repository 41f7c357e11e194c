//! One session on one connection: handshake, simple calls during setup, and bursts under load.
//!
//! Under load the socket doesn't block; all replies of one read are taken at once and their successors leave in one send.

use crate::Failure;
use crate::workload::{Kind, Source};
use ringkeeper::base::ids::{SessionId, Zxid};
use ringkeeper::model::request::{Connect, Request};
use ringkeeper::wire::client_side::{decode_connected, decode_reply_header, put_connect, put_request};
use ringkeeper::wire::{FrameSplitter, client::XID_EVENT};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Bytes that one read takes at most; a burst of replies fits.
const READ_BYTES: usize = 64 << 10;
/// No reply is larger: values are below the frame limit of any server in its usual configuration.
const REPLY_BYTES_MAX: usize = 8 << 20;
/// Wanted session timeout. The sessions are never idle for long, so nothing pings.
const SESSION_TIMEOUT_MS: i32 = 30_000;
/// How long connecting and a single call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// What a session tells of each reply.
pub trait Replies {
    /// These requests were answered at `now_ns`.
    fn answered(&mut self, burst: &Burst, now_ns: u64);
}

/// Requests that were meant for one moment and sent at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Burst {
    /// When they were meant to start; in a closed loop that is when they were sent.
    pub start_ns: u64,
    /// When they were handed to the socket.
    pub sent_ns: u64,
    /// Read or write.
    pub kind: Kind,
    /// A write of the same session was on its way before them: their answers have to wait for its own.
    pub behind_a_write: bool,
    /// How many.
    pub count: u64,
}

/// A connected session.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    received: Vec<u8>,
    filled: usize,
    unsent: Vec<u8>,
    sent: usize,
    full: bool,
    next_xid: i32,
    expected_xid: i32,
    in_flight: VecDeque<Burst>,
    writes_in_flight: u64,
    waiting: usize,
    /// The requests it makes under load.
    pub source: Option<Source>,
}

impl Session {
    /// Connects and sends the handshake, whose answer [`Session::finish_handshake`] takes.
    pub fn connect(server: &str) -> Result<Session, Failure> {
        let failed = |e: std::io::Error| format!("can't connect to {server}: {e}");
        let address = server.to_socket_addrs().map_err(failed)?.next().ok_or_else(|| format!("{server} has no address"))?;
        let stream = TcpStream::connect_timeout(&address, CALL_TIMEOUT).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(CALL_TIMEOUT)).map_err(failed)?;
        let mut session = Session {
            stream,
            received: vec![0; READ_BYTES],
            filled: 0,
            unsent: Vec::new(),
            sent: 0,
            full: false,
            next_xid: 1,
            expected_xid: 1,
            in_flight: VecDeque::new(),
            writes_in_flight: 0,
            waiting: 0,
            source: None,
        };
        let connect = Connect {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: SESSION_TIMEOUT_MS,
            session: SessionId::NONE,
            password: &[0; 16],
            read_only: Some(false),
        };
        put_connect(&mut session.unsent, &connect);
        session.flush()?;
        Ok(session)
    }

    /// Waits for the handshake's answer.
    pub fn finish_handshake(&mut self) -> Result<(), Failure> {
        let frame = self.next_frame()?;
        let reply = decode_connected(&frame).map_err(|e| format!("the server's answer to the handshake: {e}"))?;
        if reply.connected.timeout_ms == 0 {
            return Err("the server refused a new session".to_owned());
        }
        Ok(())
    }

    /// Sends requests and waits for all their replies (setup). A reply with an error other than `tolerated` fails.
    pub fn call_all(&mut self, requests: &[Request<'_>], tolerated: Option<i32>) -> Result<(), Failure> {
        for request in requests {
            let xid = self.take_xid();
            put_request(&mut self.unsent, xid, request);
        }
        self.flush()?;
        for request in requests {
            let frame = self.next_frame()?;
            let (header, _) = decode_reply_header(&frame).map_err(|e| format!("a reply: {e}"))?;
            if header.err != 0 && Some(header.err) != tolerated {
                return Err(format!("the server answered {} to {request:?}", header.err));
            }
            self.expect_xid(header.xid)?;
        }
        Ok(())
    }

    /// Sends one request and waits for its reply: error and body.
    pub fn call(&mut self, request: &Request<'_>) -> Result<(i32, Vec<u8>), Failure> {
        let xid = self.take_xid();
        put_request(&mut self.unsent, xid, request);
        self.flush()?;
        let frame = self.next_frame()?;
        let (header, body) = decode_reply_header(&frame).map_err(|e| format!("a reply: {e}"))?;
        self.expect_xid(header.xid)?;
        Ok((header.err, body.to_vec()))
    }

    /// Goes on without blocking, as the load wants it.
    pub fn stop_blocking(&self) -> Result<&TcpStream, Failure> {
        self.stream.set_nonblocking(true).map_err(|e| e.to_string())?;
        Ok(&self.stream)
    }

    /// Back to blocking calls.
    pub fn block_again(&self) -> Result<(), Failure> {
        self.stream.set_nonblocking(false).map_err(|e| e.to_string())
    }

    /// The connection.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether the last send left something because the socket was full.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Requests without a reply yet.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// What was sent and isn't answered yet, oldest first.
    pub fn in_flight(&self) -> impl Iterator<Item = &Burst> {
        self.in_flight.iter()
    }

    /// Adds up to `count` requests, meant to start at `start_ns`, to what is sent next; returns how many there were.
    pub fn add(&mut self, count: usize, start_ns: u64, now_ns: u64, cleaning_up: bool) -> usize {
        let mut added = 0;
        while added < count {
            let xid = self.next_xid;
            let Some(source) = &mut self.source else { break };
            let kind = if !cleaning_up {
                source.push(xid, &mut self.unsent)
            } else if source.push_clean_up(xid, &mut self.unsent) {
                Kind::Write
            } else {
                break;
            };
            self.take_xid();
            let one = Burst { start_ns, sent_ns: now_ns, kind, behind_a_write: self.writes_in_flight > 0, count: 1 };
            match self.in_flight.back_mut() {
                Some(last) if (Burst { count: 1, ..*last }) == one => last.count += 1,
                _ => self.in_flight.push_back(one),
            }
            self.writes_in_flight += u64::from(kind == Kind::Write);
            added += 1;
        }
        self.waiting += added;
        added
    }

    /// Sends what is unsent; true if some of it had to stay because the socket is full.
    pub fn send(&mut self) -> Result<bool, Failure> {
        while self.sent < self.unsent.len() {
            match self.stream.write(&self.unsent[self.sent..]) {
                Ok(0) => return Err("the server closed a connection".to_owned()),
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.full = true;
                    return Ok(true);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(format!("sending: {e}")),
            }
        }
        self.unsent.clear();
        self.sent = 0;
        self.full = false;
        Ok(false)
    }

    /// Takes all replies that one read gives; returns how many. `now_ns` is asked for after the read.
    pub fn receive(&mut self, now_ns: impl FnOnce() -> u64, replies: &mut dyn Replies) -> Result<usize, Failure> {
        match self.stream.read(&mut self.received[self.filled..]) {
            Ok(0) => return Err("the server closed a connection".to_owned()),
            Ok(n) => self.filled += n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(0),
            Err(e) => return Err(format!("receiving: {e}")),
        }
        let now_ns = now_ns();
        let received = std::mem::take(&mut self.received);
        let outcome = self.take_replies(&received[..self.filled], now_ns, replies);
        self.received = received;
        let (answered, consumed) = outcome?;
        self.received.copy_within(consumed..self.filled, 0);
        self.filled -= consumed;
        if self.filled == self.received.len() {
            self.received.resize(self.filled * 2, 0);
        }
        self.waiting -= answered;
        Ok(answered)
    }

    fn take_replies(&mut self, received: &[u8], now_ns: u64, replies: &mut dyn Replies) -> Result<(usize, usize), Failure> {
        let mut frames = FrameSplitter::new(received, REPLY_BYTES_MAX);
        let mut answered = 0;
        while let Some(frame) = frames.next_frame().map_err(|e| format!("the server sent {e}"))? {
            let (header, _) = decode_reply_header(frame).map_err(|e| format!("a reply: {e}"))?;
            if header.xid == XID_EVENT {
                continue;
            }
            self.expect_xid(header.xid)?;
            if header.err != 0 {
                return Err(format!("the server answered {} to request {}", header.err, header.xid));
            }
            answered += 1;
        }
        self.report(answered as u64, now_ns, replies)?;
        Ok((answered, frames.consumed()))
    }

    /// Assigns `answered` replies to the oldest requests in flight.
    fn report(&mut self, mut answered: u64, now_ns: u64, replies: &mut dyn Replies) -> Result<(), Failure> {
        while answered > 0 {
            let Some(oldest) = self.in_flight.front_mut() else {
                return Err("the server answered more than it was asked".to_owned());
            };
            let count = answered.min(oldest.count);
            replies.answered(&Burst { count, ..*oldest }, now_ns);
            if oldest.kind == Kind::Write {
                self.writes_in_flight -= count;
            }
            answered -= count;
            oldest.count -= count;
            if oldest.count == 0 {
                self.in_flight.pop_front();
            }
        }
        Ok(())
    }

    fn take_xid(&mut self) -> i32 {
        let xid = self.next_xid;
        self.next_xid = following(xid);
        xid
    }

    /// Replies come in the order of the requests.
    fn expect_xid(&mut self, xid: i32) -> Result<(), Failure> {
        if xid != self.expected_xid {
            return Err(format!("the server answered request {xid} where {} was next", self.expected_xid));
        }
        self.expected_xid = following(xid);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.send()? { Err("the server doesn't take requests".to_owned()) } else { Ok(()) }
    }

    /// The next frame, waiting for it.
    fn next_frame(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            let mut frames = FrameSplitter::new(&self.received[..self.filled], REPLY_BYTES_MAX);
            if let Some(frame) = frames.next_frame().map_err(|e| format!("the server sent {e}"))? {
                let (frame, consumed) = (frame.to_vec(), frames.consumed());
                self.received.copy_within(consumed..self.filled, 0);
                self.filled -= consumed;
                return Ok(frame);
            }
            if self.filled == self.received.len() {
                self.received.resize(self.filled * 2, 0);
            }
            match self.stream.read(&mut self.received[self.filled..]) {
                Ok(0) => return Err("the server closed a connection".to_owned()),
                Ok(n) => self.filled += n,
                Err(e) => return Err(format!("waiting for a reply: {e}")),
            }
        }
    }
}

fn following(xid: i32) -> i32 {
    if xid == i32::MAX { 1 } else { xid + 1 }
}
