//! The ring: requests that wait for the next visit, and who is told of each completion.
//!
//! Guarantees: memory that a request names is kept until its completion, also when nobody waits for that any more; a socket's readiness is
//! kept until somebody looks at it. Needs Linux 5.13, for polls that stand ([`IS_NEEDED`]). Leaves to others: when the ring is visited (the
//! executor's loop).

use super::current;
use io_uring::types::{self, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use slab::Slab;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Requests between two visits; more make a visit of their own.
const REQUESTS: u32 = 256;
/// Completions between two visits. What doesn't fit the kernel keeps for the next one.
pub(super) const COMPLETIONS: u32 = 4096;
/// `IORING_FEAT_EXT_ARG` (Linux 5.11), for waits with an end, and `IORING_FEAT_RSRC_TAGS`, which came with polls that stand (5.13).
pub(in super::super) const IS_NEEDED: u32 = (1 << 8) | (1 << 10);
/// The bell's request, which always stands.
const BELL: u64 = u64::MAX;
/// Completions that nobody waits for.
const NOBODY: u64 = u64::MAX - 1;

/// What a socket was last seen to be ready for. It may no longer be: a look tells.
#[derive(Default)]
struct Readiness {
    is_ready: Cell<bool>,
    /// It ended, or failed: that stays to be read.
    is_over: Cell<bool>,
    /// The kernel will say more.
    is_asked: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

/// Who is told of a completion.
enum Asked {
    /// A write or a sync.
    Once(Rc<RefCell<Answer>>),
    /// Readiness of a socket, again and again.
    Watch { over: i32, told: Rc<Readiness> },
    /// The same, and nobody is told any more.
    Nobody,
}

/// How a request ended, who waits for that, and what the kernel uses until then.
pub(super) struct Answer {
    result: Option<i32>,
    waker: Option<Waker>,
    _memory: Box<dyn Any>,
}

/// See the module's description.
pub(super) struct Ring {
    ring: IoUring,
    asked: Slab<Asked>,
    bell: RawFd,
    /// Completions that were taken out of the ring, and not told yet.
    done: Vec<(u64, i32, u32)>,
}

impl Ring {
    /// `bell` becomes readable when another thread has work for this one.
    ///
    /// # Errors
    /// The system's, for want of memory or permission.
    pub(super) fn new(bell: RawFd) -> io::Result<Ring> {
        let ring = build()?;
        let mut ring = Ring { ring, asked: Slab::new(), bell, done: Vec::new() };
        ring.listen_to_bell();
        Ok(ring)
    }

    /// Whether the next visit has something to submit.
    pub(super) fn has_requests(&mut self) -> bool {
        !self.ring.submission().is_empty()
    }

    /// Submits what waits, and waits for a completion until `deadline` if there is none.
    pub(super) fn visit(&mut self, may_wait: bool, deadline: Option<Instant>) {
        let wants = usize::from(may_wait && self.done.is_empty() && self.ring.completion().is_empty());
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let visited = match left {
            _ if wants == 0 => self.look(),
            None => self.ring.submit_and_wait(1).map(drop),
            Some(left) if left.is_zero() => self.look(),
            Some(left) => {
                let time = Timespec::from(left);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time)).map(drop)
            }
        };
        // A signal, the time, or completions that must be taken before more is submitted.
        let is_usual = |e: &io::Error| matches!(e.raw_os_error(), Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN));
        if let Err(error) = visited {
            crate::invariant!(is_usual(&error), "the ring can't be used any more: {error}");
        }
    }

    /// Submits, and has the kernel post what ended.
    fn look(&mut self) -> io::Result<()> {
        const GET_EVENTS: u32 = 1;
        self.ring.submission().sync();
        let waiting = self.ring.submission().len();
        // SAFETY: the call takes no memory of ours but the ring's own.
        unsafe { self.ring.submitter().enter::<libc::sigset_t>(waiting as u32, 0, GET_EVENTS, None) }.map(drop)
    }

    /// Whether the kernel still works on memory of ours.
    pub(super) fn is_writing(&self) -> bool {
        self.asked.iter().any(|(_, asked)| matches!(asked, Asked::Once(_)))
    }

    /// Requests without a last completion, without the bell.
    #[cfg(test)]
    pub(super) fn standing(&self) -> usize {
        self.asked.len()
    }

    /// Tells whoever waits.
    pub(super) fn take_completions(&mut self) {
        self.put_by();
        let mut done = std::mem::take(&mut self.done);
        for (key, result, flags) in done.drain(..) {
            match key {
                BELL => self.on_bell(flags),
                NOBODY => {}
                key => self.on_done(key as usize, result, flags),
            }
        }
        if self.done.is_empty() {
            self.done = done;
        }
    }

    /// Takes completions out of the ring, to be told later.
    fn put_by(&mut self) {
        self.done.extend(self.ring.completion().map(|entry| (entry.user_data(), entry.result(), entry.flags())));
    }

    fn on_bell(&mut self, flags: u32) {
        let mut count = [0u8; 8];
        // SAFETY: the bell outlives this ring, as the queue does that owns it.
        let bell = unsafe { rustix::fd::BorrowedFd::borrow_raw(self.bell) };
        let _ = rustix::io::read(bell, &mut count);
        if !cqueue::more(flags) {
            self.listen_to_bell();
        }
    }

    fn on_done(&mut self, key: usize, result: i32, flags: u32) {
        match self.asked.get(key) {
            Some(Asked::Once(answer)) => {
                let answer = Rc::clone(answer);
                self.asked.remove(key);
                let mut answer = answer.borrow_mut();
                answer.result = Some(result);
                if let Some(waker) = answer.waker.take() {
                    waker.wake();
                }
            }
            Some(Asked::Watch { over, told }) => {
                told.is_asked.set(cqueue::more(flags));
                told.is_ready.set(true);
                if result < 0 || result & over != 0 {
                    told.is_over.set(true);
                }
                if let Some(waker) = told.waiter.borrow_mut().take() {
                    waker.wake();
                }
            }
            Some(Asked::Nobody) if !cqueue::more(flags) => drop(self.asked.remove(key)),
            Some(Asked::Nobody) | None => {}
        }
    }

    fn listen_to_bell(&mut self) {
        let request = opcode::PollAdd::new(Fd(self.bell), libc::POLLIN as u32).multi(true);
        self.push(&request.build().user_data(BELL));
    }

    fn ask(&mut self, key: usize, fd: RawFd, mask: u32, told: &Readiness) {
        told.is_asked.set(true);
        let request = opcode::PollAdd::new(Fd(fd), mask).multi(true);
        self.push(&request.build().user_data(key as u64));
    }

    fn forget(&mut self, key: usize, told: &Readiness) {
        if told.is_asked.get() {
            self.asked[key] = Asked::Nobody;
            // Not PollRemove: that fails while an event of the watch waits to be told, and the watch would stand for ever.
            self.push(&opcode::AsyncCancel::new(key as u64).build().user_data(NOBODY));
        } else {
            self.asked.remove(key);
        }
    }

    /// # Safety
    /// `memory` is what `request` names.
    unsafe fn once(&mut self, request: &squeue::Entry, memory: Box<dyn Any>) -> Requested {
        let answer = Rc::new(RefCell::new(Answer { result: None, waker: None, _memory: memory }));
        let key = self.asked.insert(Asked::Once(Rc::clone(&answer)));
        self.push(&request.clone().user_data(key as u64));
        Requested(answer)
    }

    fn push(&mut self, request: &squeue::Entry) {
        loop {
            // SAFETY: what a request names is kept until its completion: by `asked`, or by the caller's stack where it waits.
            if unsafe { self.ring.submission().push(request) }.is_ok() {
                return;
            }
            // Some kernels take nothing more while completions don't fit.
            self.put_by();
            let _ = self.ring.submit();
        }
    }
}

/// Of the readiness of a socket: it ended in both directions, or failed. The kernel adds these, and the other side's end, to what is asked for.
const OVER: i16 = libc::POLLHUP | libc::POLLERR;

/// A request's answer, when it is there.
pub(super) struct Requested(Rc<RefCell<Answer>>);

impl Future for Requested {
    type Output = io::Result<u32>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u32>> {
        let mut answer = self.0.borrow_mut();
        match answer.result {
            Some(result) => Poll::Ready(u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))),
            None => {
                answer.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Writes `memory`, whose bytes lie at `bytes`, at `at` of a file.
///
/// # Safety
/// `bytes` stays where it is, and unchanged, as long as `memory` lives; the descriptor is open until the answer is there.
pub(super) unsafe fn write(fd: RawFd, bytes: *const [u8], at: u64, memory: impl Any) -> Requested {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let request = opcode::Write::new(Fd(fd), bytes.cast(), len).offset(at).build();
    // SAFETY: by this function's own contract.
    unsafe { current().ring.borrow_mut().once(&request, Box::new(memory)) }
}

/// Makes what was written to a file durable, but for times.
///
/// # Safety
/// The descriptor is open until the answer is there.
pub(super) unsafe fn sync_data(fd: RawFd) -> Requested {
    let request = opcode::Fsync::new(Fd(fd)).flags(types::FsyncFlags::DATASYNC).build();
    // SAFETY: it names no memory.
    unsafe { current().ring.borrow_mut().once(&request, Box::new(())) }
}

/// Whether a socket is ready for something: kept until it is found not to be.
pub(super) struct Watch {
    key: usize,
    fd: RawFd,
    mask: u32,
    told: Rc<Readiness>,
}

impl Watch {
    /// For something to read, or the end. The descriptor stays open as long as the watch lives.
    pub(super) fn of_reading(fd: RawFd) -> Watch {
        Watch::of(fd, libc::POLLIN, OVER | libc::POLLRDHUP)
    }

    /// For room to write, or an outgoing connection that is there.
    pub(super) fn of_writing(fd: RawFd) -> Watch {
        Watch::of(fd, libc::POLLOUT, OVER)
    }

    fn of(fd: RawFd, mask: i16, over: i16) -> Watch {
        let (mask, over, told) = (mask as u32, i32::from(over), Rc::<Readiness>::default());
        // Something may be there already.
        told.is_ready.set(true);
        let key = current().ring.borrow_mut().asked.insert(Asked::Watch { over, told: Rc::clone(&told) });
        Watch { key, fd, mask, told }
    }

    /// Waits until the socket may be ready.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.told.is_asked.get() {
            current().ring.borrow_mut().ask(self.key, self.fd, self.mask, &self.told);
        }
        if self.told.is_ready.get() {
            return Poll::Ready(());
        }
        *self.told.waiter.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether it ended, or failed.
    pub(super) fn is_over(&self) -> bool {
        self.told.is_over.get()
    }

    /// It was found not to be ready. Its end stays.
    pub(super) fn is_not_ready(&self) {
        self.told.is_ready.set(self.told.is_over.get());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if super::is_here() {
            current().ring.borrow_mut().forget(self.key, &self.told);
        }
    }
}

fn build() -> io::Result<IoUring> {
    let builder = |how: fn(&mut io_uring::Builder)| {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS);
        how(&mut builder);
        builder.build(REQUESTS)
    };
    // Completions are worked on only when this thread asks for them (Linux 6.1), or at least don't interrupt it (5.19).
    builder(|b| _ = b.setup_coop_taskrun().setup_single_issuer().setup_defer_taskrun())
        .or_else(|_| builder(|b| _ = b.setup_coop_taskrun()))
        .or_else(|_| builder(|_| {}))
}
