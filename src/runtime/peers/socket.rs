//! One socket to another server: what waits to be sent, and sending it without waiting.

use super::super::backlog::Backlog;
use super::super::exec::TcpStream;
use super::super::wake::Wake;
use crate::base::time::MonoMs;
use futures_lite::io::AsyncWrite;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown, sockopt};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Ranges of one system call.
const SLICES: usize = 16;
/// See [`Backlog::advance`].
const BACKLOG_BYTES_KEPT_MAX: usize = 1 << 20;
/// After so long without an acknowledgement, or without room at a peer that is too busy to read, the kernel gives a connection up.
/// A host that is gone is noticed earlier, by its missing heartbeats.
const USER_TIMEOUT_MS: u32 = 15_000;
/// An idle connection is probed after so long, and then each second.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(2);

/// How a send ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// Nothing waits.
    All,
    /// The socket is full, or a task sends what waits already.
    Some,
    /// So many bytes would wait, more than may: the connection has to end, since some of the last call weren't taken.
    TooMuch(usize),
    /// The peer is gone.
    Broken,
}

pub(super) struct Socket {
    pub(super) stream: RefCell<TcpStream>,
    /// What couldn't be sent yet.
    backlog: RefCell<Backlog>,
    /// What waited when the socket became full.
    first: Cell<usize>,
    /// This turn's parts of the outbox.
    pub(super) booked: RefCell<Vec<Range<usize>>>,
    pub(super) marked: Cell<bool>,
    pub(super) writing: Cell<bool>,
    /// Close once everything is sent.
    pub(super) last: Cell<bool>,
    pub(super) is_main: Cell<bool>,
    /// Sending failed: what comes is read although reading is held, so that the end is noticed.
    pub(super) broken: Cell<bool>,
    pub(super) up_since: Cell<Option<MonoMs>>,
    /// Our side is closed; drop everything at this time.
    pub(super) linger_until: Cell<Option<MonoMs>>,
    /// Bytes read since the socket last ran dry.
    pub(super) read_on: Cell<usize>,
    pub(super) reader: RefCell<Option<Waker>>,
    /// Rung at the end.
    pub(super) over: Wake,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Socket {
        let socket = Socket {
            stream: RefCell::new(stream),
            backlog: RefCell::default(),
            first: Cell::new(0),
            booked: RefCell::default(),
            marked: Cell::new(false),
            writing: Cell::new(false),
            last: Cell::new(false),
            is_main: Cell::new(false),
            broken: Cell::new(false),
            up_since: Cell::new(None),
            linger_until: Cell::new(None),
            read_on: Cell::new(0),
            reader: RefCell::default(),
            over: Wake::default(),
        };
        socket.with_fd(tune);
        socket
    }

    fn with_fd<T>(&self, act: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        let stream = self.stream.borrow();
        // SAFETY: the descriptor is the stream's, which is borrowed for as long as it is used here.
        act(unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) })
    }

    /// Whether our side is closed.
    pub(super) fn is_cut(&self) -> bool {
        self.linger_until.get().is_some()
    }

    /// Wakes the reading task if it was kept from reading.
    pub(super) fn resume(&self) {
        if let Some(waker) = self.reader.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(super) fn shut(&self, how: Shutdown) {
        // A socket that the peer closed already can't be shut down; then there is nothing to do.
        let _ = self.with_fd(|fd| rustix::net::shutdown(fd, how));
    }

    /// Adds a range of the outbox to this turn's, joined to the one before where it follows it.
    pub(super) fn book(&self, range: Range<usize>) {
        let mut booked = self.booked.borrow_mut();
        match booked.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ if range.is_empty() => {}
            _ => booked.push(range),
        }
    }

    fn waiting(&self) -> usize {
        self.backlog.borrow().len()
    }

    /// Sends `ranges` of `bytes`, behind what waits already: as much as `backlog_bytes_max` beyond what one call left when nothing waited.
    /// So a message may be longer than the bound.
    pub(super) fn send(&self, bytes: &[u8], ranges: impl Iterator<Item = Range<usize>>, backlog_bytes_max: usize) -> Sent {
        if self.is_cut() {
            return Sent::All;
        }
        let before = self.waiting();
        let max = self.first.get().saturating_add(backlog_bytes_max);
        let mut slices = Slices::new();
        let mut taken = Sent::All;
        for range in ranges {
            // Once the socket is full, the rest is only gathered.
            if (before > 0 || self.writing.get() || taken != Sent::All) && taken != Sent::Broken {
                let waiting = self.waiting() + range.len();
                if before > 0 && waiting > max {
                    return Sent::TooMuch(waiting);
                }
                self.backlog.borrow_mut().push(&bytes[range]);
                taken = Sent::Some;
            } else if let Some(full) = slices.push(range) {
                taken = self.flush(bytes, full);
            }
        }
        if taken == Sent::All && !slices.is_empty() {
            taken = self.flush(bytes, slices.take());
        }
        if before == 0 {
            self.first.set(self.waiting());
        }
        taken
    }

    /// One system call for all of `ranges`; what it leaves is copied.
    fn flush(&self, bytes: &[u8], (ranges, count): ([Range<usize>; SLICES], usize)) -> Sent {
        let ranges = &ranges[..count];
        let slices: [IoSlice<'_>; SLICES] = std::array::from_fn(|n| IoSlice::new(ranges.get(n).map_or(&[], |r| &bytes[r.clone()])));
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = self.with_fd(|fd| rustix::net::sendmsg(fd, &slices[..count], &mut SendAncillaryBuffer::default(), flags));
        let mut sent = match sent {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => return Sent::Broken,
        };
        let mut backlog = self.backlog.borrow_mut();
        for range in ranges {
            let skip = sent.min(range.len());
            sent -= skip;
            backlog.push(&bytes[range.start + skip..range.end]);
        }
        if backlog.is_empty() { Sent::All } else { Sent::Some }
    }

    /// Waits for room and sends until nothing waits.
    pub(super) async fn drain(self: &Rc<Socket>) -> Sent {
        while self.waiting() > 0 {
            let wrote = poll_fn(|cx| {
                let backlog = self.backlog.borrow();
                // It may have been given up since.
                if backlog.is_empty() {
                    return Poll::Ready(Ok(0));
                }
                Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, backlog.rest())
            })
            .await;
            match wrote {
                Ok(n) if n > 0 => self.advance(n),
                Ok(_) if self.waiting() == 0 => {}
                _ => return Sent::Broken,
            }
        }
        Sent::All
    }

    fn advance(&self, n: usize) {
        self.backlog.borrow_mut().advance(n, BACKLOG_BYTES_KEPT_MAX);
    }

    /// What waits isn't sent any more, and the connection ends with a reset: the kernel doesn't keep it for a peer that takes nothing.
    pub(super) fn give_up_unsent(&self) {
        if self.waiting() == 0 {
            return;
        }
        *self.backlog.borrow_mut() = Backlog::default();
        // If that fails the socket ends as any other does, only later.
        let _ = self.with_fd(|fd| sockopt::set_socket_linger(fd, Some(Duration::ZERO)));
        self.shut(Shutdown::Both);
    }
}

/// Ranges gathered for one system call.
struct Slices {
    ranges: [Range<usize>; SLICES],
    count: usize,
}

impl Slices {
    fn new() -> Slices {
        Slices { ranges: std::array::from_fn(|_| 0..0), count: 0 }
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn take(&mut self) -> ([Range<usize>; SLICES], usize) {
        let count = std::mem::take(&mut self.count);
        (std::mem::replace(&mut self.ranges, std::array::from_fn(|_| 0..0)), count)
    }

    /// `Some`: that many are enough for one call.
    fn push(&mut self, range: Range<usize>) -> Option<([Range<usize>; SLICES], usize)> {
        self.ranges[self.count] = range;
        self.count += 1;
        (self.count == SLICES).then(|| self.take())
    }
}

/// Small messages leave at once; a host that vanished is noticed. None of it is worth ending a connection for.
fn tune(fd: BorrowedFd<'_>) {
    let _ = sockopt::set_tcp_nodelay(fd, true);
    let _ = sockopt::set_tcp_user_timeout(fd, USER_TIMEOUT_MS);
    let _ = sockopt::set_socket_keepalive(fd, true);
    let _ = sockopt::set_tcp_keepidle(fd, KEEPALIVE_IDLE);
    let _ = sockopt::set_tcp_keepintvl(fd, Duration::from_secs(1));
    let _ = sockopt::set_tcp_keepcnt(fd, 3);
}
