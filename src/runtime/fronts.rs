//! Sockets of one front: a reading task for each connection, one send for each connection and turn.
//!
//! Reading tasks share one buffer, filled and cut into frames within one poll, so an idle connection holds none. Sending is a
//! plain non-blocking call from the turn; only when a socket is full does a task wait for it. What isn't sent is bounded by
//! [`Front`], which also says when a socket isn't to be read; what is read and not yet taken is bounded here. However much clients have to say,
//! the executor looks at its rings again and again ([`share`]). Leaves to others: letting clients in (`accepting`), sending (`sending`).

mod accepting;
mod attend;
mod sending;
mod share;

use super::backlog::Backlog;
use super::clock::Clock;
use super::exec::{self, TcpStream, look_at_io};
use super::wake::Wake;
use crate::base::ids::ConnId;
use crate::base::time::MonoMs;
use crate::server::front::{Front, Verdict};
use crate::server::mail::{Burst, Hold};
use accepting::Living;
use attend::Attention;
use futures_lite::io::AsyncRead;
use hashbrown::HashMap;
use rustix::net::Shutdown;
use sending::{give_up_unsent, shut};
use share::Share;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Bytes read from a socket at once.
const READ_BYTES: usize = 256 << 10;
/// Bytes of requests that all fronts together collect while the keeper takes none; each its part of them.
const COLLECTED_BYTES_MAX: usize = 16 << 20;
/// A front's part of them is at least and at most so many. One frame may be longer.
const BURST_BYTES: std::ops::RangeInclusive<usize> = 1 << 20..=8 << 20;
/// How long a closed connection may still send what nobody reads, so that our last bytes aren't lost to a reset; and how long a client that
/// says no more may take nothing of what is for it.
const LINGER_MS: u64 = 1000;

/// One client's socket.
struct Conn {
    stream: RefCell<TcpStream>,
    /// What couldn't be sent yet.
    backlog: RefCell<Backlog>,
    /// Set while this turn has bytes for it.
    dirty: Cell<bool>,
    writing: Cell<bool>,
    paused: Cell<bool>,
    /// It waits for the others, or the keeper, to have had their turn.
    parked: Cell<bool>,
    /// Bytes that were given to it in all, and what the client had taken of them at the last look.
    given: Cell<u64>,
    taken: Cell<u64>,
    /// It stands in [`Inner::full`].
    is_full: Cell<bool>,
    /// Close once the backlog is sent.
    last: Cell<bool>,
    /// Our side is closed; drop everything at this time.
    linger_until: Cell<Option<MonoMs>>,
    reader: RefCell<Option<Waker>>,
    _living: Living,
}

impl Conn {
    /// Wakes the reading task if it was kept from reading.
    fn wake_reader(&self) {
        if let Some(waker) = self.reader.borrow_mut().take() {
            waker.wake();
        }
    }
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
    /// Which sockets the keeper wants unread.
    hold: Cell<Hold>,
    share: Share,
    /// Rung when the executor has to look at its rings before clients go on.
    look: Wake,
    /// Readers that go on once the burst is taken and the executor has looked at its rings.
    parked: RefCell<Vec<Rc<Conn>>>,
    /// Connections whose sockets are full, and when the progress of their clients is looked at next.
    full: RefCell<Vec<(ConnId, Rc<Conn>)>>,
    next_look: Cell<MonoMs>,
    burst_bytes_max: usize,
    /// Connections that hold a descriptor, and how many may.
    living: Rc<Cell<usize>>,
    conns_max: usize,
    clock: Clock,
    wake: Wake,
    complaints: RefCell<Vec<String>>,
}

impl Fronts {
    /// No connection yet; `wake` is rung when mail for the keeper is ready. One of `fronts` fronts, with at most `conns_max` connections at once.
    pub(super) fn new(front: Front, clock: Clock, wake: Wake, fronts: usize, conns_max: usize) -> Fronts {
        let fronts = Fronts(Rc::new(Inner {
            front: RefCell::new(front),
            burst: RefCell::default(),
            conns: RefCell::default(),
            lingering: RefCell::default(),
            buffer: RefCell::new(vec![0; READ_BYTES]),
            dirty: RefCell::default(),
            attention: RefCell::default(),
            hold: Cell::default(),
            share: Share::default(),
            look: Wake::default(),
            parked: RefCell::default(),
            full: RefCell::default(),
            next_look: Cell::default(),
            burst_bytes_max: (COLLECTED_BYTES_MAX / fronts.max(1)).clamp(*BURST_BYTES.start(), *BURST_BYTES.end()),
            living: Rc::default(),
            conns_max,
            clock,
            wake,
            complaints: RefCell::default(),
        }));
        exec::spawn_local(fronts.clone().look_when_due()).detach();
        fronts
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
        let ours = inner.conns.borrow_mut().remove(&id).is_some();
        if ours {
            self.stamp();
            inner.front.borrow_mut().on_closed(id, &mut inner.burst.borrow_mut());
            inner.wake.ring();
        }
        if ours && conn.writing.get() {
            // The client says no more and may still take what is for it, for as long as it takes something.
            conn.linger_until.set(Some(inner.clock.now().mono.plus(LINGER_MS)));
            inner.lingering.borrow_mut().push(conn);
        } else {
            conn.linger_until.set(Some(MonoMs(0)));
        }
    }

    /// Waits until reading is allowed and bytes are there, and hands them on. False: the connection is over.
    fn poll_conn(&self, id: ConnId, conn: &Rc<Conn>, cx: &mut Context<'_>) -> Poll<bool> {
        let inner = &self.0;
        let lingering = conn.linger_until.get().is_some();
        let room = if lingering { Some(READ_BYTES) } else { self.room(id, conn) };
        let Some(room) = room else {
            *conn.reader.borrow_mut() = Some(cx.waker().clone());
            self.park(conn);
            return Poll::Pending;
        };
        let mut buffer = inner.buffer.borrow_mut();
        let read = Pin::new(&mut *conn.stream.borrow_mut()).poll_read(cx, &mut buffer[..room]);
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

    /// How many bytes may be read from a connection now.
    fn room(&self, id: ConnId, conn: &Rc<Conn>) -> Option<usize> {
        let inner = &self.0;
        if conn.paused.get() {
            return None;
        }
        let hold = inner.hold.get();
        let waits = hold == Hold::Waiting && inner.front.borrow().waits(id);
        hold.allows(waits, READ_BYTES).filter(|_| !inner.share.is_spent() && !self.is_burst_full())
    }

    fn is_burst_full(&self) -> bool {
        self.0.burst.borrow().bytes.len() >= self.0.burst_bytes_max
    }

    /// A reader that was kept from reading is woken when that may have changed: by the hold or the front, which know it, or from here.
    fn park(&self, conn: &Rc<Conn>) {
        let is_spent = self.0.share.is_spent();
        if (is_spent || self.is_burst_full()) && !conn.parked.replace(true) {
            self.0.parked.borrow_mut().push(Rc::clone(conn));
        }
        if is_spent {
            self.0.look.ring();
        }
    }

    /// Readers that were parked look again.
    fn wake_parked(&self) {
        let mut parked = std::mem::take(&mut *self.0.parked.borrow_mut());
        for conn in parked.drain(..) {
            conn.parked.set(false);
            conn.wake_reader();
        }
        // Waking runs nobody, so nobody was parked meanwhile.
        *self.0.parked.borrow_mut() = parked;
    }

    /// Whenever the clients had their share the executor looks at its rings, then they go on.
    async fn look_when_due(self) {
        loop {
            self.0.look.rung().await;
            look_at_io().await;
            self.0.share.renew();
            self.wake_parked();
            if !self.0.burst.borrow().is_empty() {
                self.0.wake.ring();
            }
        }
    }

    /// The first item of a burst says when it was read.
    fn stamp(&self) {
        let mut burst = self.0.burst.borrow_mut();
        if burst.is_empty() {
            burst.received_ns = self.0.clock.mono_ns();
        }
    }

    /// Hands bytes on that came from a client.
    fn take(&self, id: ConnId, conn: &Rc<Conn>, bytes: &[u8]) {
        let inner = &self.0;
        inner.share.read(bytes.len());
        self.stamp();
        let verdict = inner.front.borrow_mut().on_bytes(id, bytes, &mut inner.burst.borrow_mut());
        inner.wake.ring();
        self.follow(id, conn, verdict);
    }

    /// Does to a socket what the front says.
    fn follow(&self, id: ConnId, conn: &Rc<Conn>, verdict: Verdict) {
        match verdict {
            Verdict::Read => resume(conn),
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

    /// Ends our side of a connection; what the client still sends is read and thrown away for a moment.
    fn cut(&self, id: ConnId, conn: &Rc<Conn>) {
        let inner = &self.0;
        if conn.linger_until.get().is_some() {
            return;
        }
        conn.linger_until.set(Some(inner.clock.now().mono.plus(LINGER_MS)));
        shut(conn, Shutdown::Write);
        if inner.conns.borrow_mut().remove(&id).is_some() {
            self.stamp();
            inner.front.borrow_mut().on_closed(id, &mut inner.burst.borrow_mut());
            inner.wake.ring();
        }
        inner.lingering.borrow_mut().push(Rc::clone(conn));
        resume(conn);
    }

    /// What was collected for the keeper; `take` takes all of it.
    pub(super) fn with_burst<T>(&self, take: impl FnOnce(&mut Burst) -> T) -> T {
        let taken = take(&mut self.0.burst.borrow_mut());
        if !self.0.share.is_spent() {
            self.wake_parked();
        } else if !self.0.parked.borrow().is_empty() {
            self.0.look.ring();
        }
        taken
    }

    /// Lines about connections since the last call.
    pub(super) fn take_complaints(&self) -> Vec<String> {
        std::mem::take(&mut self.0.complaints.borrow_mut())
    }

    /// Which sockets are left unread from now on.
    pub(super) fn hold(&self, hold: Hold) {
        if self.0.hold.replace(hold) > hold {
            self.0.conns.borrow().values().for_each(|conn| conn.wake_reader());
        }
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
        self.look_at_full(now);
        inner.lingering.borrow_mut().retain(|conn| {
            let keep = conn.linger_until.get().is_some_and(|until| until > now);
            if !keep {
                give_up_unsent(conn);
                shut(conn, Shutdown::Both);
            }
            keep
        });
    }
}

/// The socket may be read again, as far as its connection is concerned.
fn resume(conn: &Conn) {
    conn.paused.set(false);
    conn.wake_reader();
}
