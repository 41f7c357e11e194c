//! Threads for work that blocks.
//!
//! Guarantees: all threads are there from the start, so that no work waits for one that can't be made; work that panics does so where it is
//! awaited, and its thread goes on.

use crossbeam::channel::{Sender, unbounded};
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

type Work = Box<dyn FnOnce() + Send>;

/// See the module's description.
pub(super) struct Pool(Sender<Work>);

impl Pool {
    /// With so many threads. They end with the pool.
    ///
    /// # Errors
    /// A thread couldn't be made.
    pub(super) fn new(threads: usize) -> io::Result<Pool> {
        let (to_do, take) = unbounded::<Work>();
        for number in 0..threads.max(1) {
            let take = take.clone();
            thread::Builder::new().name(format!("blocking-{number}")).spawn(move || take.into_iter().for_each(|work| work()))?;
        }
        Ok(Pool(to_do))
    }

    /// Begins `work`; what it gives can be awaited.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Done<T> {
        let slot = Arc::new(Mutex::new(Slot { result: None, waker: None }));
        let theirs = Arc::clone(&slot);
        let work = move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            let waker = {
                let mut slot = lock(&theirs);
                slot.result = Some(result);
                slot.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
        };
        let taken = self.0.send(Box::new(work));
        crate::invariant!(taken.is_ok(), "the threads for what blocks ended before their pool");
        Done(slot)
    }
}

struct Slot<T> {
    result: Option<thread::Result<T>>,
    waker: Option<Waker>,
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What some work gives, once it has.
pub(super) struct Done<T>(Arc<Mutex<Slot<T>>>);

impl<T> Future for Done<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut slot = lock(&self.0);
        match slot.result.take() {
            Some(Ok(result)) => Poll::Ready(result),
            Some(Err(panic)) => resume_unwind(panic),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
