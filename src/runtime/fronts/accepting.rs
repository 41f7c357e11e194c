//! Letting clients in: one task for each listening socket, and no more connections than the process has descriptors for.
//!
//! Guarantees: what clients open leaves descriptors for the server's own files; who doesn't fit waits in the accept queue. Leaves to others:
//! limits by address (the keeper).

use super::{Conn, Fronts};
use crate::runtime::exec::{self, TcpListener, TcpStream, look_at_io};
use crate::runtime::logging::Seldom;
use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// Clients that are let in before those that are in already are looked at.
const ACCEPTS_AT_ONCE: usize = 64;
/// Pause after an accept that failed, or for want of room.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Counts a connection for as long as it holds a descriptor: also while it lingers, or a task still sends to it.
pub(super) struct Living(Rc<Cell<usize>>);

impl Living {
    fn one_more(count: &Rc<Cell<usize>>) -> Living {
        count.set(count.get() + 1);
        Living(Rc::clone(count))
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Fronts {
    /// Accepts clients for ever.
    pub(in super::super) async fn accept_all(self, socket: socket2::Socket) {
        let listener = match TcpListener::new(socket) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!("no client can be accepted: {error}"),
        };
        let (mut accepted, mut seldom) = (0usize, Seldom::default());
        loop {
            let (living, max) = (self.0.living.get(), self.0.conns_max);
            if living >= max {
                if seldom.due(self.0.clock.now().mono) {
                    tracing::warn!(
                        "{living} client connections are open, as many as the descriptors allow: others wait until some end (raise \
                         `ulimit -n` or LimitNOFILE=)"
                    );
                }
                exec::sleep(ACCEPT_RETRY).await;
                continue;
            }
            match listener.accept().await {
                Ok(stream) => {
                    self.welcome(stream);
                    accepted += 1;
                    if accepted.is_multiple_of(ACCEPTS_AT_ONCE) {
                        look_at_io().await;
                    }
                }
                Err(error) => {
                    if seldom.due(self.0.clock.now().mono) {
                        tracing::warn!("accepting a client fails: {error}");
                    }
                    exec::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn welcome(&self, stream: TcpStream) {
        let peer = stream.peer().unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let conn = Rc::new(Conn {
            stream: RefCell::new(stream),
            backlog: RefCell::default(),
            dirty: Cell::new(false),
            writing: Cell::new(false),
            paused: Cell::new(false),
            parked: Cell::new(false),
            given: Cell::new(0),
            taken: Cell::new(0),
            is_full: Cell::new(false),
            last: Cell::new(false),
            linger_until: Cell::new(None),
            reader: RefCell::default(),
            _living: Living::one_more(&self.0.living),
        });
        let inner = &self.0;
        self.stamp();
        let id = inner.front.borrow_mut().on_accept(peer, inner.clock.now().mono, &mut inner.burst.borrow_mut());
        inner.conns.borrow_mut().insert(id, Rc::clone(&conn));
        inner.wake.ring();
        exec::spawn_local(self.clone().read_all(id, conn)).detach();
    }
}
