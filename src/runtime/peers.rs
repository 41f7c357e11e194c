//! Sockets to the other servers: listens on both ports, connects to servers with lower ids, reads into one burst, sends from the turn.
//!
//! Works on the keeper's executor, so nothing crosses a channel. A turn's frames for one link leave with one system call, straight
//! from the outbox; only what the socket doesn't take is copied, and a task waits for room. What waits for one link is bounded:
//! beyond, the link is closed and the peer synchronises anew. Leaves to others: who is who ([`Links`]), what is said (the keeper).

mod dial;
mod socket;
#[cfg(test)]
mod tests;

use super::clock::Clock;
use super::exec::{self, TcpListener, TcpStream, look_at_io};
use super::listener::{Purpose, any_ip, listen_for_servers};
use super::logging::Seldom;
use super::wake::Wake;
use crate::base::fatal::{Fatal, FatalError};
use crate::base::ids::{ClusterId, ServerId};
use crate::base::prng::Prng;
use crate::model::membership::Member;
use crate::model::peer::Lane;
use crate::server::links::{LinkEffect, LinkOptions, Links, Port};
use crate::server::note::{Level, Note};
use crate::server::peer_mail::{LinkId, PeerBurst, PeerOutbox};
use dial::Target;
use futures_lite::io::AsyncRead;
use hashbrown::HashMap;
use socket::{Sent, Socket};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Bytes read from a socket at once.
const READ_BYTES: usize = 256 << 10;
/// Bytes read from one socket that never runs dry before others, and the disk, are looked at.
const READ_ON_BYTES_MAX: usize = 1 << 20;
/// How long a closed connection may still send what nobody reads, so that our last words aren't lost to a reset.
const LINGER_MS: u64 = 1000;
/// Pause after an accept that failed (for want of descriptors, say).
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Accept queue of a port for servers.
const LISTEN_BACKLOG: i32 = 256;

/// What the sockets to other servers are told at their start.
pub(super) struct PeerOptions {
    pub(super) links: LinkOptions,
    /// Listen on all addresses instead of that of the own server line (`quorumListenOnAllIPs`).
    pub(super) listen_on_all_ips: bool,
    /// Bytes that may wait for one link.
    pub(super) backlog_bytes: usize,
    /// For the jitter of attempts to connect.
    pub(super) seed: u64,
}

/// The sockets of one server. Clones share them.
#[derive(Clone)]
pub(super) struct Peers(Rc<Inner>);

struct Inner {
    links: RefCell<Links>,
    burst: RefCell<PeerBurst>,
    sockets: RefCell<HashMap<LinkId, Rc<Socket>>>,
    lingering: RefCell<Vec<Rc<Socket>>>,
    buffer: RefCell<Vec<u8>>,
    dirty: RefCell<Vec<(LinkId, Rc<Socket>)>>,
    effects: RefCell<Vec<LinkEffect>>,
    notes: RefCell<Vec<Note>>,
    /// The keeper takes nothing of the main lane for now.
    held: Cell<bool>,
    /// What listens and connects.
    tasks: RefCell<Vec<exec::Task<()>>>,
    /// The listening sockets once more, to end them with.
    listening: RefCell<Vec<socket2::Socket>>,
    backlog_bytes: usize,
    clock: Clock,
    wake: Wake,
}

impl Peers {
    /// Listens, and connects for ever; `wake` is rung when mail for the keeper is ready.
    ///
    /// # Errors
    /// [`Fatal::AddressInUse`] when a port is taken, [`Fatal::Configuration`] when the own address isn't this host's or unknown.
    pub(super) fn start(options: PeerOptions, clock: Clock, wake: Wake) -> Result<Peers, FatalError> {
        let me = options.links.me;
        let own = options.links.membership.get(me).cloned().ok_or_else(|| {
            FatalError::new(
                Fatal::Configuration,
                format!("there is no line server.{} for this server: add it, or correct the file myid", me.0),
            )
        })?;
        let quorum = listen(&own, own.quorum_port, &QUORUM, options.listen_on_all_ips)?;
        let election = listen(&own, own.election_port, &ELECTION, options.listen_on_all_ips)?;
        let targets: Vec<Target> = options.links.membership.members().filter(|m| m.id < me).cloned().map(Target::new).collect();
        let loopback = loopback_trap(&own, &election, &options.links);
        let links = Links::new(options.links);
        let peers = Peers(Rc::new(Inner {
            links: RefCell::new(links),
            burst: RefCell::default(),
            sockets: RefCell::default(),
            lingering: RefCell::default(),
            buffer: RefCell::new(vec![0; READ_BYTES]),
            dirty: RefCell::default(),
            effects: RefCell::default(),
            notes: RefCell::new(loopback.into_iter().collect()),
            held: Cell::new(false),
            tasks: RefCell::default(),
            listening: RefCell::default(),
            backlog_bytes: options.backlog_bytes,
            clock,
            wake,
        }));
        let mut tasks = Vec::new();
        for (socket, port) in [(quorum, Port::Quorum), (election, Port::Election)] {
            // Without a copy the port is free once the process is gone, which is late only for tests.
            peers.0.listening.borrow_mut().extend(socket.try_clone());
            tasks.push(exec::spawn_local(peers.clone().accept_all(socket, port)));
        }
        for target in targets {
            let target = Rc::new(target);
            for lane in crate::model::peer::LANES {
                let jitter = Prng::from_seed(options.seed).stream(&format!("{} {lane:?}", target.id().0));
                tasks.push(exec::spawn_local(peers.clone().keep_connected(Rc::clone(&target), lane, jitter)));
            }
        }
        *peers.0.tasks.borrow_mut() = tasks;
        Ok(peers)
    }

    async fn accept_all(self, socket: socket2::Socket, port: Port) {
        let listener = match TcpListener::new(socket) {
            Ok(listener) => listener,
            Err(error) => return self.note(Level::Error, format!("no server's connection can be accepted: {error}")),
        };
        let mut seldom = Seldom::default();
        loop {
            match listener.accept().await {
                Ok(stream) => {
                    let address = stream.peer().map_or_else(|| "an unknown address".to_owned(), |a| a.to_string());
                    let now = self.0.clock.now().mono;
                    let link = self.0.links.borrow_mut().on_accepted(now, port, &address);
                    if let Some(link) = link {
                        self.adopt(link, stream);
                    }
                    self.carry_out();
                    // A flood of strangers keeps nobody waiting.
                    look_at_io().await;
                }
                Err(error) => {
                    if seldom.due(self.0.clock.now().mono) {
                        self.note(Level::Warn, format!("accepting a server's connection fails: {error}"));
                    }
                    exec::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    /// The host connected to `peer`.
    fn adopt_dialed(&self, stream: TcpStream, peer: ServerId, lane: Lane, address: SocketAddr) -> Rc<Socket> {
        let now = self.0.clock.now().mono;
        let link = self.0.links.borrow_mut().on_dialed(now, peer, lane, &address.to_string());
        let socket = self.adopt(link, stream);
        self.carry_out();
        socket
    }

    fn adopt(&self, link: LinkId, stream: TcpStream) -> Rc<Socket> {
        let socket = Rc::new(Socket::new(stream));
        self.0.sockets.borrow_mut().insert(link, Rc::clone(&socket));
        exec::spawn_local(self.clone().read_all(link, Rc::clone(&socket))).detach();
        socket
    }

    /// Reads one connection until it ends.
    async fn read_all(self, id: LinkId, socket: Rc<Socket>) {
        while poll_fn(|cx| self.poll_socket(id, &socket, cx)).await {
            if socket.is_cut() || socket.read_on.get() >= READ_ON_BYTES_MAX {
                socket.read_on.set(0);
                look_at_io().await;
            }
        }
        self.cut(id, &socket);
        socket.linger_until.set(Some(crate::base::time::MonoMs(0)));
    }

    /// Waits until reading is allowed and bytes are there, and hands them on. False: the connection is over.
    fn poll_socket(&self, id: LinkId, socket: &Rc<Socket>, cx: &mut Context<'_>) -> Poll<bool> {
        let inner = &self.0;
        if inner.held.get() && socket.is_main.get() && !socket.is_cut() && !socket.broken.get() {
            *socket.reader.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut buffer = inner.buffer.borrow_mut();
        let read = Pin::new(&mut *socket.stream.borrow_mut()).poll_read(cx, &mut buffer);
        match read {
            Poll::Pending => {
                socket.read_on.set(0);
                Poll::Pending
            }
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(false),
            Poll::Ready(Ok(_)) if socket.is_cut() => Poll::Ready(true),
            Poll::Ready(Ok(n)) => {
                socket.read_on.set(socket.read_on.get() + n);
                let now = inner.clock.now().mono;
                inner.links.borrow_mut().on_bytes(now, id, &buffer[..n], &mut inner.burst.borrow_mut());
                inner.wake.ring();
                drop(buffer);
                self.carry_out();
                Poll::Ready(true)
            }
        }
    }

    /// Does what the links want done.
    fn carry_out(&self) {
        let inner = &self.0;
        if !inner.links.borrow().has_effects() {
            return;
        }
        let mut effects = inner.effects.take();
        inner.links.borrow_mut().take_effects(&mut effects);
        for effect in effects.drain(..) {
            match effect {
                LinkEffect::Note(note) => inner.notes.borrow_mut().push(note),
                LinkEffect::Send { link, bytes } => {
                    if let Some(socket) = self.socket(link) {
                        let sent = socket.send(&bytes, std::iter::once(0..bytes.len()), usize::MAX);
                        self.after_send(link, &socket, sent);
                    }
                }
                LinkEffect::Up { link, lane } => {
                    if let Some(socket) = self.socket(link) {
                        socket.up_since.set(Some(inner.clock.now().mono));
                        socket.is_main.set(lane == Lane::Main);
                    }
                }
                LinkEffect::Close { link } => {
                    if let Some(socket) = self.socket(link) {
                        socket.give_up_unsent();
                        self.cut(link, &socket);
                    }
                }
            }
        }
        *inner.effects.borrow_mut() = effects;
        inner.wake.ring();
    }

    fn socket(&self, link: LinkId) -> Option<Rc<Socket>> {
        self.0.sockets.borrow().get(&link).cloned()
    }

    fn note(&self, level: Level, text: String) {
        self.0.notes.borrow_mut().push(Note { level, text });
        self.0.wake.ring();
    }

    /// Ends our side of a connection; what the peer still sends is read and thrown away for a moment.
    fn cut(&self, id: LinkId, socket: &Rc<Socket>) {
        let inner = &self.0;
        if socket.is_cut() {
            return;
        }
        let now = inner.clock.now().mono;
        socket.linger_until.set(Some(now.plus(LINGER_MS)));
        socket.shut(rustix::net::Shutdown::Write);
        inner.sockets.borrow_mut().remove(&id);
        inner.links.borrow_mut().on_closed(now, id, &mut inner.burst.borrow_mut());
        inner.lingering.borrow_mut().push(Rc::clone(socket));
        socket.resume();
        socket.over.ring();
        inner.wake.ring();
        self.carry_out();
    }

    /// What was collected for the keeper.
    pub(super) fn with_burst<T>(&self, take: impl FnOnce(&mut PeerBurst) -> T) -> T {
        take(&mut self.0.burst.borrow_mut())
    }

    /// Lines since the last call.
    pub(super) fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut self.0.notes.borrow_mut())
    }

    /// Stops or allows reading of the main lane. Heartbeats and what is fetched go on.
    pub(super) fn hold(&self, held: bool) {
        if self.0.held.replace(held) && !held {
            self.0.sockets.borrow().values().for_each(|socket| socket.resume());
        }
    }

    /// The ensemble has an identity now.
    pub(super) fn set_cluster(&self, cluster: ClusterId) {
        self.0.links.borrow_mut().set_cluster(cluster, &mut self.0.burst.borrow_mut());
        self.carry_out();
    }

    /// Sends what the keeper left: one send for each link.
    pub(super) fn deliver(&self, outbox: &mut PeerOutbox) {
        if outbox.is_empty() {
            return;
        }
        let inner = &self.0;
        let mut dirty = inner.dirty.take();
        for part in &outbox.parts {
            let sockets = inner.sockets.borrow();
            let Some(socket) = sockets.get(&part.link).filter(|s| !s.last.get()) else { continue };
            socket.book(part.range.clone());
            socket.last.set(part.close);
            if !socket.marked.replace(true) {
                dirty.push((part.link, Rc::clone(socket)));
            }
        }
        for (id, socket) in dirty.drain(..) {
            socket.marked.set(false);
            let mut booked = socket.booked.take();
            let sent = socket.send(&outbox.bytes, booked.drain(..), inner.backlog_bytes);
            *socket.booked.borrow_mut() = booked;
            self.after_send(id, &socket, sent);
        }
        *inner.dirty.borrow_mut() = dirty;
        outbox.clear();
    }

    fn after_send(&self, id: LinkId, socket: &Rc<Socket>, sent: Sent) {
        match sent {
            Sent::All if socket.last.get() => self.cut(id, socket),
            Sent::All => {}
            Sent::Some => {
                if !socket.writing.replace(true) {
                    exec::spawn_local(self.clone().write_rest(id, Rc::clone(socket))).detach();
                }
            }
            Sent::TooMuch(waiting) => {
                let max = self.0.backlog_bytes;
                let why = format!("{waiting} bytes wait for it, {max} may: it takes too little, and will catch up on a new connection");
                let now = self.0.clock.now().mono;
                self.0.links.borrow_mut().end(now, id, &why, &mut self.0.burst.borrow_mut());
                self.carry_out();
            }
            // The reading task notices and tidies up.
            Sent::Broken => {
                socket.shut(rustix::net::Shutdown::Both);
                socket.broken.set(true);
                socket.resume();
            }
        }
    }

    /// Waits for a full socket and sends the rest.
    async fn write_rest(self, id: LinkId, socket: Rc<Socket>) {
        let sent = socket.drain().await;
        socket.writing.set(false);
        if !socket.is_cut() {
            self.after_send(id, &socket, sent);
        }
    }

    /// Ends every link: the keeper begins anew and knows of none. They are opened again.
    pub(super) fn restart(&self) {
        let now = self.0.clock.now().mono;
        let all: Vec<LinkId> = self.0.sockets.borrow().keys().copied().collect();
        for id in all {
            self.0.links.borrow_mut().end(now, id, "this server starts anew from its files", &mut self.0.burst.borrow_mut());
        }
        self.carry_out();
        // What came before, and that the links are down, is the old keeper's.
        self.0.burst.borrow_mut().clear();
    }

    /// For an orderly end: neither listens nor connects any more, and the other servers hear at once that this one is gone.
    pub(super) fn stop(&self) {
        // Dropping a task cancels it, once the executor comes to it.
        self.0.tasks.borrow_mut().clear();
        for socket in self.0.listening.borrow_mut().drain(..) {
            // The kernel's ring may hold the socket for a while; nobody can connect to it any more.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        let sockets: Vec<_> = self.0.sockets.borrow().iter().map(|(id, socket)| (*id, Rc::clone(socket))).collect();
        for (id, socket) in sockets {
            self.cut(id, &socket);
            socket.shut(rustix::net::Shutdown::Both);
        }
    }

    /// Time passed: ends connections that don't greet, and those that lingered enough.
    pub(super) fn tick(&self) {
        let inner = &self.0;
        let now = inner.clock.now().mono;
        inner.links.borrow_mut().on_tick(now, &mut inner.burst.borrow_mut());
        self.carry_out();
        inner.lingering.borrow_mut().retain(|socket| {
            let keep = socket.linger_until.get().is_some_and(|until| until > now);
            if !keep {
                socket.shut(rustix::net::Shutdown::Both);
            }
            keep
        });
    }
}

const QUORUM: Purpose = Purpose {
    what: "the quorum address",
    elsewhere: "set another first port in this server's line of every server's configuration",
    not_ours: "correct the host in this server's own server line, or set quorumListenOnAllIPs=true",
};
const ELECTION: Purpose = Purpose {
    what: "the election address",
    elsewhere: "set another second port in this server's line of every server's configuration",
    ..QUORUM
};

fn listen(own: &Member, port: u16, purpose: &Purpose, on_all_ips: bool) -> Result<socket2::Socket, FatalError> {
    let address = if on_all_ips {
        SocketAddr::new(any_ip(), port)
    } else {
        let found = (own.host.as_str(), port).to_socket_addrs().ok().and_then(|mut all| all.next());
        found.ok_or_else(|| {
            FatalError::new(
                Fatal::Configuration,
                format!(
                    "the host {} of server.{}, this server's own line, doesn't resolve to an address: correct it or its DNS entry, or set \
                     quorumListenOnAllIPs=true, which needs no name",
                    own.host, own.id.0
                ),
            )
        })?
    };
    listen_for_servers(address, LISTEN_BACKLOG, purpose)
}

/// A host whose own name leads to loopback (as some distributions write it in /etc/hosts) listens where no other host can reach it.
fn loopback_trap(own: &Member, socket: &socket2::Socket, options: &LinkOptions) -> Option<Note> {
    let bound = socket.local_addr().ok()?.as_socket()?;
    let is_local = |host: &str| host == own.host || host == "localhost" || host.starts_with("127.") || host == "::1";
    if !bound.ip().is_loopback() || options.membership.members().all(|m| is_local(&m.host)) {
        return None;
    }
    let text = format!(
        "the host {} of this server's own line resolves to {} here, which no other host can reach: correct /etc/hosts, or set \
         quorumListenOnAllIPs=true",
        own.host,
        bound.ip()
    );
    Some(Note { level: Level::Warn, text })
}
