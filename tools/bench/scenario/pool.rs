//! Many sessions on one thread, for scenarios in which what a session does next depends on what it hears: replies and notifications
//! come out as a list of news, in the order in which they arrived.
//!
//! Guarantees: connecting, requests and waits are bounded in time; a session holds no buffer while it waits; idle sessions are kept
//! alive by pings.

use crate::Failure;
use ringkeeper::base::ids::{SessionId, Zxid};
use ringkeeper::model::request::{Connect, Connected, Request};
use ringkeeper::model::txn::PASSWORD_BYTES;
use ringkeeper::model::watch_kind::EventType;
use ringkeeper::wire::FrameSplitter;
use ringkeeper::wire::client::{XID_EVENT, XID_PING};
use ringkeeper::wire::client_side::{decode_connected, decode_event, decode_reply_header, put_connect, put_request};
use rustix::event::{Timespec, epoll};
use socket2::{Domain, Socket, Type};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Bytes that one read takes at most.
const READ_BYTES: usize = 256 << 10;
const REPLY_BYTES_MAX: usize = 8 << 20;
/// Sockets that one wait reports at most.
const EVENTS_MAX: usize = 512;

/// Replies and notifications with the number of the session that heard them.
pub type NewsList = Vec<(usize, News)>;

/// What a session heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// It has a session.
    Connected,
    /// The answer to its oldest request.
    Reply {
        /// As given with the request.
        tag: u32,
        /// 0, or an error code.
        err: i32,
        /// Behind the header.
        body: Vec<u8>,
    },
    /// A watch fired.
    Event {
        /// What happened.
        kind: EventType,
        /// Where.
        path: Vec<u8>,
    },
    /// The connection is gone, before or after the handshake.
    Closed,
    /// The session that was to be resumed is gone; so is the connection.
    Expired,
}

/// Asks for a new session.
const NOBODY: Connected = Connected { timeout_ms: 0, session: SessionId::NONE, password: [0; PASSWORD_BYTES] };

struct Client {
    stream: TcpStream,
    greeted: bool,
    received: Vec<u8>,
    unsent: Vec<u8>,
    wants_out: bool,
    tags: VecDeque<u32>,
    next_xid: i32,
}

/// The sessions, by number from 0. Dropping it closes their connections without ending the sessions.
pub struct Pool {
    clients: Vec<Option<Client>>,
    /// What each was given at its last handshake, to resume it with.
    identities: Vec<Connected>,
    epoll: OwnedFd,
    servers: Vec<SocketAddr>,
    timeout_ms: i32,
    scratch: Vec<u8>,
    last_ping: Instant,
    give_up_at: Instant,
}

impl Pool {
    /// Without sessions yet; all that it ever does is over before `time_max` has passed.
    pub fn new(servers: &[String], timeout_ms: i32, time_max: Duration) -> Result<Pool, Failure> {
        let resolve = |server: &String| {
            let failed = |e: std::io::Error| format!("{server}: {e}");
            server.to_socket_addrs().map_err(failed)?.next().ok_or_else(|| format!("{server} has no address"))
        };
        let now = Instant::now();
        Ok(Pool {
            clients: Vec::new(),
            identities: Vec::new(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?,
            servers: servers.iter().map(resolve).collect::<Result<_, Failure>>()?,
            timeout_ms,
            scratch: vec![0; READ_BYTES],
            last_ping: now,
            give_up_at: now + time_max,
        })
    }

    /// Begins `count` more sessions, all at once; [`News::Connected`] follows for each.
    pub fn connect_many(&mut self, count: usize) -> Result<(), Failure> {
        for _ in 0..count {
            self.clients.push(None);
            self.identities.push(NOBODY);
            self.connect_as(self.clients.len() - 1)?;
        }
        Ok(())
    }

    /// Begins a new session in the place of a closed one.
    pub fn connect_as(&mut self, idx: usize) -> Result<(), Failure> {
        self.connect(idx, self.servers[idx % self.servers.len()], NOBODY)
    }

    /// Resumes the session of a closed connection at the server `at`, counted on from its first one. A server that can't be reached
    /// tells by [`News::Closed`], one that knows no such session by [`News::Expired`].
    pub fn resume(&mut self, idx: usize, at: usize) -> Result<(), Failure> {
        self.connect(idx, self.servers[(idx + at) % self.servers.len()], self.identities[idx])
    }

    fn connect(&mut self, idx: usize, address: SocketAddr, as_whom: Connected) -> Result<(), Failure> {
        let failed = |e: std::io::Error| format!("can't connect to {address}: {e}");
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        socket.set_tcp_nodelay(true).map_err(failed)?;
        match socket.connect(&address.into()) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => return Err(failed(e)),
            _ => {}
        }
        let mut unsent = Vec::new();
        let (read_only, session, password) = (Some(false), as_whom.session, &as_whom.password);
        let (protocol_version, last_zxid_seen, timeout_ms) = (0, Zxid::ZERO, self.timeout_ms);
        put_connect(&mut unsent, &Connect { protocol_version, last_zxid_seen, timeout_ms, session, password, read_only });
        let stream = TcpStream::from(socket);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT;
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(idx as u64), flags).map_err(|e| e.to_string())?;
        let (received, tags) = (Vec::new(), VecDeque::new());
        self.clients[idx] = Some(Client { stream, greeted: false, received, unsent, wants_out: true, tags, next_xid: 1 });
        Ok(())
    }

    /// Sends a request; its reply carries `tag`. One that is closed stays silent: its [`News::Closed`] was told or will be.
    pub fn send(&mut self, idx: usize, tag: u32, request: &Request<'_>) -> Result<(), Failure> {
        let Some(client) = &mut self.clients[idx] else { return Ok(()) };
        put_request(&mut client.unsent, client.next_xid, request);
        client.next_xid = if client.next_xid == i32::MAX { 1 } else { client.next_xid + 1 };
        client.tags.push_back(tag);
        if client.greeted && !client.wants_out { flush(&self.epoll, client, idx) } else { Ok(()) }
    }

    /// Ends all sessions, and waits until their connections are gone.
    pub fn close_all(mut self) -> Result<(), Failure> {
        for idx in 0..self.clients.len() {
            self.send(idx, u32::MAX, &Request::CloseSession)?;
        }
        let mut news = NewsList::new();
        while self.clients.iter().any(Option::is_some) {
            self.wait(&mut news)?;
            news.clear();
        }
        Ok(())
    }

    /// Waits for news, at most a tenth of a second. Fails when the time for everything is over.
    pub fn wait(&mut self, news: &mut NewsList) -> Result<(), Failure> {
        self.wait_at_most(news, Duration::from_millis(100))
    }

    /// As [`Pool::wait`], at most so long.
    pub fn wait_at_most(&mut self, news: &mut NewsList, time: Duration) -> Result<(), Failure> {
        if Instant::now() > self.give_up_at {
            return Err("it didn't come to its end in the time that it may take".to_owned());
        }
        self.ping_if_due()?;
        let empty = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut events = [empty; EVENTS_MAX];
        let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        let count = match epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(e) => return Err(format!("waiting: {e}")),
        };
        for event in &events[..count] {
            let (idx, flags) = (event.data.u64() as usize, event.flags);
            let Some(client) = &mut self.clients[idx] else { continue };
            let alive = (!flags.contains(epoll::EventFlags::OUT) || flush(&self.epoll, client, idx).is_ok())
                && (flags.difference(epoll::EventFlags::OUT).is_empty()
                    || receive(client, &mut self.identities[idx], &mut self.scratch, idx, news)?);
            if !alive {
                self.clients[idx] = None;
                news.push((idx, News::Closed));
            }
        }
        Ok(())
    }

    fn ping_if_due(&mut self) -> Result<(), Failure> {
        if self.last_ping.elapsed() < Duration::from_millis(self.timeout_ms as u64 / 4) {
            return Ok(());
        }
        self.last_ping = Instant::now();
        for (idx, client) in self.clients.iter_mut().enumerate() {
            if let Some(client) = client.as_mut().filter(|client| client.greeted) {
                put_request(&mut client.unsent, XID_PING, &Request::Ping);
                if !client.wants_out {
                    // One that is gone tells so at the next wait.
                    let _ = flush(&self.epoll, client, idx);
                }
            }
        }
        Ok(())
    }
}

/// Sends what is unsent, and asks to be told when there is room for the rest.
fn flush(epoll: &OwnedFd, client: &mut Client, idx: usize) -> Result<(), Failure> {
    let mut sent = 0;
    while sent < client.unsent.len() {
        match client.stream.write(&client.unsent[sent..]) {
            Ok(n) => sent += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // The next read says that it is gone.
            Err(_) => break,
        }
    }
    client.unsent.drain(..sent);
    let wants_out = !client.unsent.is_empty();
    if wants_out != client.wants_out {
        client.wants_out = wants_out;
        let flags = if wants_out { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
        epoll::modify(epoll, &client.stream, epoll::EventData::new_u64(idx as u64), flags).map_err(|e| e.to_string())?;
    }
    if !wants_out {
        client.unsent.shrink_to(0);
    }
    Ok(())
}

/// One read and all whole frames; false if the connection is gone.
fn receive(client: &mut Client, identity: &mut Connected, scratch: &mut [u8], idx: usize, news: &mut NewsList) -> Result<bool, Failure> {
    match client.stream.read(scratch) {
        Ok(0) => return Ok(false),
        Ok(n) => client.received.extend_from_slice(&scratch[..n]),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(true),
        Err(_) => return Ok(false),
    }
    let received = std::mem::take(&mut client.received);
    let mut frames = FrameSplitter::new(&received, REPLY_BYTES_MAX);
    while let Some(frame) = frames.next_frame().map_err(|e| format!("the server sent {e}"))? {
        match heard(client, identity, frame)? {
            Some(News::Expired) => {
                news.push((idx, News::Expired));
                return Ok(false);
            }
            Some(heard) => news.push((idx, heard)),
            None => {}
        }
    }
    client.received = received[frames.consumed()..].to_vec();
    Ok(true)
}

fn heard(client: &mut Client, identity: &mut Connected, frame: &[u8]) -> Result<Option<News>, Failure> {
    if !client.greeted {
        let reply = decode_connected(frame).map_err(|e| format!("the answer to the handshake: {e}"))?;
        client.greeted = true;
        if reply.connected.timeout_ms == 0 {
            return Ok(Some(News::Expired));
        }
        *identity = reply.connected;
        return Ok(Some(News::Connected));
    }
    let (header, body) = decode_reply_header(frame).map_err(|e| format!("a reply: {e}"))?;
    Ok(match header.xid {
        XID_PING => None,
        XID_EVENT => {
            let event = decode_event(body).map_err(|e| format!("a notification: {e}"))?;
            Some(News::Event { kind: event.event, path: event.path.to_vec() })
        }
        _ => {
            let tag = client.tags.pop_front().ok_or("the server answered more than it was asked")?;
            Some(News::Reply { tag, err: header.err, body: body.to_vec() })
        }
    })
}
