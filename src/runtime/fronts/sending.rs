//! The sending half: a turn's bytes go out with one call for each connection, and what a full socket leaves is sent by a task.
//!
//! Guarantees: nothing overtakes anything on one connection; a client that takes what waits for it, however slowly, is known to be there; one
//! that takes fast keeps nobody waiting. Leaves to others: how much may wait ([`crate::server::front`]).

use super::{Conn, Fronts, LINGER_MS};
use crate::base::ids::ConnId;
use crate::base::time::MonoMs;
use crate::runtime::backlog::Backlog;
use crate::runtime::exec::{self, look_at_io};
use crate::server::front::Verdict;
use crate::server::mail::{Outbox, Then};
use futures_lite::io::AsyncWrite;
use rustix::fd::BorrowedFd;
use rustix::net::{SendFlags, Shutdown};
use std::future::poll_fn;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// Bytes of a long answer that are sent before others, and the disk, are looked at.
const SENT_ON_BYTES_MAX: usize = 1 << 20;
/// How often the progress of clients with full sockets is looked at.
const LOOK_AT_FULL_MS: u64 = 100;

impl Fronts {
    /// Sends what the keeper left: one send for each connection.
    pub(in super::super) fn deliver(&self, outbox: &mut Outbox) {
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
            conn.given.set(conn.given.get() + bytes.len() as u64);
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
            inner.share.sent(send_now(conn));
        }
        self.stamp();
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
            // A client that takes as fast as it is answered would have one turn follow the other.
            if inner.share.is_spent() {
                inner.look.ring();
            } else {
                inner.wake.ring();
            }
        }
    }

    fn after_send(&self, id: ConnId, conn: &Rc<Conn>) {
        let left = conn.backlog.borrow().len();
        if left == 0 {
            if conn.last.get() {
                self.cut(id, conn);
            }
        } else if !conn.writing.replace(true) {
            if !conn.is_full.replace(true) {
                self.0.full.borrow_mut().push((id, Rc::clone(conn)));
            }
            exec::spawn_local(self.clone().write_rest(id, Rc::clone(conn))).detach();
        }
    }

    /// Waits for a full socket and sends the rest.
    async fn write_rest(self, id: ConnId, conn: Rc<Conn>) {
        let mut sent = 0;
        loop {
            if sent >= SENT_ON_BYTES_MAX {
                sent = 0;
                look_at_io().await;
            }
            let wrote = poll_fn(|cx| {
                let backlog = conn.backlog.borrow();
                Pin::new(&mut *conn.stream.borrow_mut()).poll_write(cx, backlog.rest())
            })
            .await;
            match wrote {
                Ok(n) if n > 0 => {
                    advance(&conn, n);
                    sent += n;
                }
                _ => {
                    shut(&conn, Shutdown::Both);
                    break;
                }
            }
            let unsent = conn.backlog.borrow().len();
            let now = self.0.clock.now().mono;
            self.stamp();
            let verdict = self.0.front.borrow_mut().on_unsent(id, unsent, now, &mut self.0.burst.borrow_mut());
            self.0.wake.ring();
            if unsent == 0 {
                conn.writing.set(false);
                if conn.linger_until.get().is_some() {
                    conn.linger_until.set(Some(MonoMs(0)));
                } else if conn.last.get() {
                    self.cut(id, &conn);
                } else {
                    self.follow(id, &conn, verdict);
                }
                return;
            }
            // Of a client that says no more the front knows nothing; it may take the rest.
            if matches!(verdict, Verdict::Close(_)) && conn.linger_until.get().is_none() {
                conn.writing.set(false);
                self.follow(id, &conn, verdict);
                return;
            }
        }
        conn.writing.set(false);
        self.cut(id, &conn);
    }

    /// Looks a few times a second what clients take whose sockets are full: a socket holds megabytes, so that it may be long until it takes
    /// more.
    pub(super) fn look_at_full(&self, now: MonoMs) {
        let inner = &self.0;
        if now < inner.next_look.get() {
            return;
        }
        inner.next_look.set(now.plus(LOOK_AT_FULL_MS));
        let mut full = std::mem::take(&mut *inner.full.borrow_mut());
        full.retain(|(id, conn)| {
            let taken = conn.given.get().saturating_sub(conn.backlog.borrow().len() as u64 + held_by_socket(conn));
            if taken > conn.taken.replace(taken) {
                self.note_progress(*id, conn, now);
            }
            conn.is_full.set(conn.writing.get());
            conn.writing.get()
        });
        *inner.full.borrow_mut() = full;
    }

    fn note_progress(&self, id: ConnId, conn: &Conn, now: MonoMs) {
        if conn.linger_until.get().is_some() {
            if conn.writing.get() {
                conn.linger_until.set(Some(now.plus(LINGER_MS)));
            }
            return;
        }
        self.stamp();
        self.0.front.borrow_mut().on_progress(id, now, &mut self.0.burst.borrow_mut());
        self.0.wake.ring();
    }
}

/// Sends what waits, as far as the socket takes it. Returns how much that is.
fn send_now(conn: &Rc<Conn>) -> usize {
    if conn.writing.get() || conn.linger_until.get().is_some() {
        return 0;
    }
    let stream = conn.stream.borrow();
    // SAFETY: the descriptor is the stream's, which is borrowed for as long as it is used here.
    let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    let sent = {
        let backlog = conn.backlog.borrow();
        let rest = backlog.rest();
        if rest.is_empty() {
            return 0;
        }
        rustix::net::send(fd, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
    };
    match sent {
        Ok(n) => {
            advance(conn, n);
            n
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => 0,
        Err(_) => {
            // The client is gone; its reading task notices and tidies up.
            *conn.backlog.borrow_mut() = Backlog::default();
            drop(stream);
            shut(conn, Shutdown::Both);
            0
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
pub(super) fn give_up_unsent(conn: &Rc<Conn>) {
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

/// Ends one direction of a socket, or both.
pub(super) fn shut(conn: &Rc<Conn>, how: Shutdown) {
    let stream = conn.stream.borrow();
    // SAFETY: the descriptor is the stream's, which is borrowed for as long as it is used here.
    let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    // A socket that the client closed already can't be shut down; then there is nothing to do.
    let _ = rustix::net::shutdown(fd, how);
}

/// Bytes that the client's host hasn't taken yet of those that the socket took.
fn held_by_socket(conn: &Conn) -> u64 {
    let mut held: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int, into one that lives here; the descriptor is the stream's.
    let got = unsafe { libc::ioctl(conn.stream.borrow().as_raw_fd(), libc::TIOCOUTQ, &raw mut held) };
    if got == 0 { u64::try_from(held).unwrap_or(0) } else { 0 }
}
