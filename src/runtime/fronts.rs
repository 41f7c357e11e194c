//! Sockets of one front: a reading task for each connection, one send for each connection and turn.
//!
//! Reading tasks share one buffer, filled and cut into frames within one poll, so an idle connection holds none. Sending is a
//! plain non-blocking call from the turn; only when a socket is full does a task wait for it. What isn't sent is bounded by
//! [`Front`], which also says when a socket isn't to be read.

mod attend;

use super::backlog::Backlog;
use super::clock::Clock;
use super::wake::{Wake, look_at_io};
use crate::base::ids::ConnId;
use crate::base::time::MonoMs;
use crate::server::front::{Front, Verdict};
use crate::server::mail::{Burst, Outbox, Then};
use attend::Attention;
use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};
use hashbrown::HashMap;
use rustix::fd::BorrowedFd;
use rustix::net::{SendFlags, Shutdown};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Bytes read from a socket at once.
const READ_BYTES: usize = 256 << 10;
/// How long a closed connection may still send what nobody reads, so that our last bytes aren't lost to a reset.
const LINGER_MS: u64 = 1000;
/// Clients that are let in before those that are in already are looked at.
const ACCEPTS_AT_ONCE: usize = 64;
/// Pause after an accept that failed (for want of descriptors, say).
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// One client's socket.
struct Conn {
    stream: RefCell<TcpStream>,
    /// What couldn't be sent yet.
    backlog: RefCell<Backlog>,
    /// Set while this turn has bytes for it.
    dirty: Cell<bool>,
    writing: Cell<bool>,
    paused: Cell<bool>,
    /// Close once the backlog is sent.
    last: Cell<bool>,
    /// Our side is closed; drop everything at this time.
    linger_until: Cell<Option<MonoMs>>,
    reader: RefCell<Option<Waker>>,
}

/// The sockets of one front. Clones share them.
#[derive(Clone)]
pub(super) struct Fronts(Rc<Inner>);

struct Inner {
    front: RefCell<Front>,
    burst: RefCell<Burst>,
    conns: RefCell<HashMap<ConnId, Rc<Conn>>>,
    lingering: RefCell<Vec<Rc<Conn>>>,
    buffer: RefCell<Vec<u8>>,
    dirty: RefCell<Vec<(ConnId, Rc<Conn>)>>,
    attention: RefCell<Attention>,
    /// The keeper takes nothing for now.
    held: Cell<bool>,
    clock: Clock,
    wake: Wake,
    complaints: RefCell<Vec<String>>,
}

impl Fronts {
    /// No connection yet; `wake` is rung when mail for the keeper is ready.
    pub(super) fn new(front: Front, clock: Clock, wake: Wake) -> Fronts {
        Fronts(Rc::new(Inner {
            front: RefCell::new(front),
            burst: RefCell::default(),
            conns: RefCell::default(),
            lingering: RefCell::default(),
            buffer: RefCell::new(vec![0; READ_BYTES]),
            dirty: RefCell::default(),
            attention: RefCell::default(),
            held: Cell::new(false),
            clock,
            wake,
            complaints: RefCell::default(),
        }))
    }

    /// Accepts clients for ever.
    pub(super) async fn accept_all(self, socket: socket2::Socket) {
        // SAFETY: the descriptor is a listening TCP socket that nobody else holds; ownership passes over.
        let listener = unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) };
        let mut accepted = 0usize;
        loop {
            match listener.accept().await {
                Ok(stream) => {
                    self.welcome(stream);
                    accepted += 1;
                    if accepted.is_multiple_of(ACCEPTS_AT_ONCE) {
                        look_at_io().await;
                    }
                }
                Err(error) => {
                    tracing::warn!("accepting a client fails: {error}");
                    glommio::timer::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn welcome(&self, stream: TcpStream) {
        let peer = stream.peer_addr().unwrap_or_else(|_| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let conn = Rc::new(Conn {
            stream: RefCell::new(stream),
            backlog: RefCell::default(),
            dirty: Cell::new(false),
            writing: Cell::new(false),
            paused: Cell::new(false),
            last: Cell::new(false),
            linger_until: Cell::new(None),
            reader: RefCell::default(),
        });
        let inner = &self.0;
        let mut burst = inner.burst.borrow_mut();
        if burst.is_empty() {
            burst.received_ns = inner.clock.mono_ns();
        }
        drop(burst);
        let id = inner.front.borrow_mut().on_accept(peer, inner.clock.now().mono, &mut inner.burst.borrow_mut());
        inner.conns.borrow_mut().insert(id, Rc::clone(&conn));
        inner.wake.ring();
        glommio::spawn_local(self.clone().read_all(id, conn)).detach();
    }

    /// Reads one connection until it ends.
    async fn read_all(self, id: ConnId, conn: Rc<Conn>) {
        while poll_fn(|cx| self.poll_conn(id, &conn, cx)).await {
            // What is read is bounded by what may be outstanding, but what is thrown away isn't.
            if conn.linger_until.get().is_some() {
                look_at_io().await;
            }
        }
        let inner = &self.0;
        if inner.conns.borrow_mut().remove(&id).is_some() {
            inner.front.borrow_mut().on_closed(id, &mut inner.burst.borrow_mut());
            inner.wake.ring();
        }
        conn.linger_until.set(Some(MonoMs(0)));
    }

    /// Waits until reading is allowed and bytes are there, and hands them on. False: the connection is over.
    fn poll_conn(&self, id: ConnId, conn: &Rc<Conn>, cx: &mut Context<'_>) -> Poll<bool> {
        let inner = &self.0;
        let lingering = conn.linger_until.get().is_some();
        if !lingering && (conn.paused.get() || inner.held.get()) {
            *conn.reader.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut buffer = inner.buffer.borrow_mut();
        let read = Pin::new(&mut *conn.stream.borrow_mut()).poll_read(cx, &mut buffer);
        match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(false),
            Poll::Ready(Ok(_)) if lingering => Poll::Ready(true),
            Poll::Ready(Ok(n)) => {
                self.take(id, conn, &buffer[..n]);
                Poll::Ready(true)
            }
        }
    }

    /// Hands bytes on that came from a client.
    fn take(&self, id: ConnId, conn: &Rc<Conn>, bytes: &[u8]) {
        let inner = &self.0;
        let mut burst = inner.burst.borrow_mut();
        if burst.is_empty() {
            burst.received_ns = inner.clock.mono_ns();
        }
        let verdict = inner.front.borrow_mut().on_bytes(id, bytes, &mut burst);
        drop(burst);
        inner.wake.ring();
        self.follow(id, conn, verdict);
    }

    /// Does to a socket what the front says.
    fn follow(&self, id: ConnId, conn: &Rc<Conn>, verdict: Verdict) {
        match verdict {
            Verdict::Read => self.resume(conn),
            Verdict::Pause => conn.paused.set(true),
            Verdict::Close(reason) => {
                if let Some(reason) = reason {
                    let peer = self.0.front.borrow().peer(id);
                    let peer = peer.map_or_else(String::new, |p| format!(" from {p}"));
                    self.0.complaints.borrow_mut().push(format!("closing the connection{peer}: {reason}"));
                    give_up_unsent(conn);
                }
                self.cut(id, conn);
            }
        }
    }

    fn resume(&self, conn: &Rc<Conn>) {
        if conn.paused.replace(false)
            && let Some(waker) = conn.reader.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Ends our side of a connection; what the client still sends is read and thrown away for a moment.
    fn cut(&self, id: ConnId, conn: &Rc<Conn>) {
        let inner = &self.0;
        if conn.linger_until.get().is_some() {
            return;
        }
        conn.linger_until.set(Some(inner.clock.now().mono.plus(LINGER_MS)));
        shut(conn, Shutdown::Write);
        if inner.conns.borrow_mut().remove(&id).is_some() {
            inner.front.borrow_mut().on_closed(id, &mut inner.burst.borrow_mut());
            inner.wake.ring();
        }
        inner.lingering.borrow_mut().push(Rc::clone(conn));
        conn.paused.set(true);
        self.resume(conn);
    }

    /// What was collected for the keeper.
    pub(super) fn with_burst<T>(&self, take: impl FnOnce(&mut Burst) -> T) -> T {
        take(&mut self.0.burst.borrow_mut())
    }

    /// Lines about connections since the last call.
    pub(super) fn take_complaints(&self) -> Vec<String> {
        std::mem::take(&mut self.0.complaints.borrow_mut())
    }

    /// Stops or allows reading of all sockets.
    pub(super) fn hold(&self, held: bool) {
        if self.0.held.replace(held) && !held {
            for conn in self.0.conns.borrow().values() {
                if let Some(waker) = conn.reader.borrow_mut().take() {
                    waker.wake();
                }
            }
        }
    }

    /// Sends what the keeper left: one send for each connection.
    pub(super) fn deliver(&self, outbox: &mut Outbox) {
        let inner = &self.0;
        if outbox.is_empty() {
            return;
        }
        let mut at = 0;
        let mut dirty = std::mem::take(&mut *inner.dirty.borrow_mut());
        let mut told = Vec::new();
        for part in &outbox.parts {
            let bytes = &outbox.bytes[at..at + part.len];
            at += part.len;
            let Some(conn) = inner.conns.borrow().get(&part.conn).cloned() else { continue };
            conn.backlog.borrow_mut().push(bytes);
            conn.last.set(conn.last.get() || part.then == Then::Close);
            told.push((part.conn, part.replies, part.then));
            if !conn.dirty.replace(true) {
                dirty.push((part.conn, conn));
            }
        }
        outbox.clear();
        inner.attention.borrow_mut().answered(match dirty.as_slice() {
            [(alone, _)] => Some(*alone),
            _ => None,
        });
        for (_, conn) in &dirty {
            send_now(conn);
        }
        let now = inner.clock.now().mono;
        for (id, replies, then) in told {
            let Some(conn) = inner.conns.borrow().get(&id).cloned() else { continue };
            let unsent = conn.backlog.borrow().len();
            let verdict = inner.front.borrow_mut().on_answered(id, replies, then, unsent, now, &mut inner.burst.borrow_mut());
            if !conn.last.get() {
                self.follow(id, &conn, verdict);
            }
        }
        for (id, conn) in dirty.drain(..) {
            conn.dirty.set(false);
            self.after_send(id, &conn);
        }
        *inner.dirty.borrow_mut() = dirty;
        if !inner.burst.borrow().is_empty() {
            inner.wake.ring();
        }
    }

    fn after_send(&self, id: ConnId, conn: &Rc<Conn>) {
        let left = conn.backlog.borrow().len();
        if left == 0 {
            if conn.last.get() {
                self.cut(id, conn);
            }
        } else if !conn.writing.replace(true) {
            glommio::spawn_local(self.clone().write_rest(id, Rc::clone(conn))).detach();
        }
    }

    /// Waits for a full socket and sends the rest.
    async fn write_rest(self, id: ConnId, conn: Rc<Conn>) {
        loop {
            let wrote = poll_fn(|cx| {
                let backlog = conn.backlog.borrow();
                Pin::new(&mut *conn.stream.borrow_mut()).poll_write(cx, backlog.rest())
            })
            .await;
            match wrote {
                Ok(n) if n > 0 => advance(&conn, n),
                _ => {
                    shut(&conn, Shutdown::Both);
                    break;
                }
            }
            let unsent = conn.backlog.borrow().len();
            let now = self.0.clock.now().mono;
            let verdict = self.0.front.borrow_mut().on_unsent(id, unsent, now, &mut self.0.burst.borrow_mut());
            self.0.wake.ring();
            if unsent == 0 {
                conn.writing.set(false);
                if conn.last.get() {
                    self.cut(id, &conn);
                } else {
                    self.follow(id, &conn, verdict);
                }
                return;
            }
            if matches!(verdict, Verdict::Close(_)) {
                conn.writing.set(false);
                self.follow(id, &conn, verdict);
                return;
            }
        }
        conn.writing.set(false);
        self.cut(id, &conn);
    }

    /// Time passed: ends connections without a session, stuck ones, and those that lingered enough.
    pub(super) fn tick(&self) {
        let inner = &self.0;
        let now = inner.clock.now().mono;
        let mut over = Vec::new();
        inner.front.borrow_mut().on_tick(now, &mut over);
        for (id, reason) in over {
            let conn = inner.conns.borrow().get(&id).cloned();
            if let Some(conn) = conn {
                self.follow(id, &conn, Verdict::Close(Some(reason)));
                shut(&conn, Shutdown::Both);
            }
        }
        inner.lingering.borrow_mut().retain(|conn| {
            let keep = conn.linger_until.get().is_some_and(|until| until > now);
            if !keep {
                shut(conn, Shutdown::Both);
            }
            keep
        });
    }
}

/// Sends what waits, as far as the socket takes it.
fn send_now(conn: &Rc<Conn>) {
    if conn.writing.get() || conn.linger_until.get().is_some() {
        return;
    }
    let stream = conn.stream.borrow();
    // SAFETY: the descriptor is the stream's, which is borrowed for as long as it is used here.
    let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    let sent = {
        let backlog = conn.backlog.borrow();
        let rest = backlog.rest();
        if rest.is_empty() {
            return;
        }
        rustix::net::send(fd, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
    };
    match sent {
        Ok(n) => advance(conn, n),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
        Err(_) => {
            // The client is gone; its reading task notices and tidies up.
            *conn.backlog.borrow_mut() = Backlog::default();
            drop(stream);
            shut(conn, Shutdown::Both);
        }
    }
}

/// See [`Backlog::advance`].
const BACKLOG_BYTES_KEPT_MAX: usize = 16 << 10;

fn advance(conn: &Rc<Conn>, n: usize) {
    conn.backlog.borrow_mut().advance(n, BACKLOG_BYTES_KEPT_MAX);
}

/// A client that is turned out while bytes for it wait won't take them: they go at once, and the socket ends with a reset when it
/// is closed. Without that the kernel would keep them for minutes, behind a window that the client never opens.
fn give_up_unsent(conn: &Rc<Conn>) {
    if conn.backlog.borrow().is_empty() {
        return;
    }
    *conn.backlog.borrow_mut() = Backlog::default();
    let stream = conn.stream.borrow();
    // SAFETY: the descriptor is the stream's, which is borrowed for as long as it is used here.
    let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    // If that fails the socket ends as any other does, only later.
    let _ = rustix::net::sockopt::set_socket_linger(fd, Some(Duration::ZERO));
}

fn shut(conn: &Rc<Conn>, how: Shutdown) {
    let stream = conn.stream.borrow();
    // SAFETY: the descriptor is the stream's, which is borrowed for as long as it is used here.
    let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    // A socket that the client closed already can't be shut down; then there is nothing to do.
    let _ = rustix::net::shutdown(fd, how);
}
