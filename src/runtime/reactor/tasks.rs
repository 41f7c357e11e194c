//! Ready tasks of one thread, and how other threads make one ready.
//!
//! Guarantees: who makes a task ready from another thread wakes this one if it sleeps; a sleep begins only while nothing is ready.

use async_task::Runnable;
use crossbeam::queue::SegQueue;
use rustix::event::{EventfdFlags, eventfd};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

thread_local! {
    /// The tasks of this thread that are ready, with the address of what other threads know of it.
    static READY: RefCell<(usize, VecDeque<Runnable>)> = const { RefCell::new((0, VecDeque::new())) };
}

/// What other threads know of a thread with tasks.
struct Remote {
    ready: SegQueue<Runnable>,
    sleeps: AtomicBool,
    bell: OwnedFd,
}

impl Remote {
    fn schedule(self: &Arc<Remote>, runnable: Runnable) {
        let elsewhere = READY.with_borrow_mut(|(owner, ready)| {
            if *owner == Arc::as_ptr(self) as usize {
                ready.push_back(runnable);
                None
            } else {
                Some(runnable)
            }
        });
        if let Some(runnable) = elsewhere {
            self.ready.push(runnable);
            if self.sleeps.swap(false, Ordering::SeqCst) {
                // An eventfd takes all but 2^64 of these.
                let _ = rustix::io::write(self.bell.as_fd(), &1u64.to_ne_bytes());
            }
        }
    }
}

/// The tasks of one thread.
pub(super) struct Queue(Arc<Remote>);

impl Queue {
    /// Of this thread.
    pub(super) fn new() -> io::Result<Queue> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let remote = Arc::new(Remote { ready: SegQueue::new(), sleeps: AtomicBool::new(false), bell });
        READY.set((Arc::as_ptr(&remote) as usize, VecDeque::new()));
        Ok(Queue(remote))
    }

    /// Readable when another thread made a task ready during a sleep.
    pub(super) fn bell(&self) -> RawFd {
        self.0.bell.as_raw_fd()
    }

    pub(super) fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        let remote = Arc::clone(&self.0);
        let (runnable, task) = async_task::spawn_local(future, move |runnable| remote.schedule(runnable));
        runnable.schedule();
        Task(task)
    }

    /// Runs ready tasks, at most `max`. Returns how many.
    pub(super) fn run(&self, max: usize) -> usize {
        while let Some(runnable) = self.0.ready.pop() {
            READY.with_borrow_mut(|(_, ready)| ready.push_back(runnable));
        }
        for ran in 0..max {
            let Some(next) = READY.with_borrow_mut(|(_, ready)| ready.pop_front()) else { return ran };
            next.run();
        }
        max
    }

    /// Whether nothing is ready; from now on other threads ring.
    pub(super) fn falls_asleep(&self) -> bool {
        if !READY.with_borrow(|(_, ready)| ready.is_empty()) {
            return false;
        }
        self.0.sleeps.store(true, Ordering::SeqCst);
        self.0.ready.is_empty()
    }

    pub(super) fn is_awake(&self) {
        self.0.sleeps.store(false, Ordering::SeqCst);
    }

    /// Drops what is ready.
    pub(super) fn clear(&self) {
        let ready = READY.take();
        drop(ready);
        while self.0.ready.pop().is_some() {}
    }
}

/// A task's handle: dropped, the task ends.
pub(in super::super) struct Task<T>(async_task::Task<T>);

impl<T> Task<T> {
    /// The task goes on by itself.
    pub(in super::super) fn detach(self) {
        self.0.detach();
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx)
    }
}
