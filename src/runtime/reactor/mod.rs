//! An executor of one thread on one io_uring: tasks, timers, readiness of sockets, writes of files, and threads for what blocks.
//!
//! It does what the executor of a server needs and nothing else, so that a wake-up costs one visit to the ring: whatever the tasks asked
//! for meanwhile is submitted by the call that waits for the next completion, and a timer is the time that this call waits at most.
//!
//! Guarantees: tasks run in the order in which they became ready; the ring is looked at after at most [`RUN_MAX`] of them, however many are ready;
//! memory of a write lives until the kernel is done with it. Leaves to others: what blocks a task blocks the thread.

mod file;
mod net;
mod pool;
mod ring;
mod tasks;
mod time;

pub(super) use file::DirectFile;
pub(super) use net::{Listener, Stream};
pub(super) use ring::IS_NEEDED;
pub(super) use tasks::Task;

use pool::Pool;
use ring::Ring;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use tasks::Queue;
use time::Timers;

/// Tasks that run before the ring is looked at.
const RUN_MAX: usize = 512;
/// How long an executor that ends waits for its last writes.
const REST_MAX: Duration = Duration::from_secs(1);

thread_local! {
    static CURRENT: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
}

/// What a thread runs on.
struct Reactor {
    ring: RefCell<Ring>,
    queue: Queue,
    timers: RefCell<Timers>,
    /// Tasks that go on once the ring was looked at.
    after_look: RefCell<Vec<Waker>>,
    pool: Pool,
}

/// Whether this thread is one of ours.
pub(super) fn is_here() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

fn current() -> Rc<Reactor> {
    CURRENT.with_borrow(|current| current.clone()).unwrap_or_else(|| panic!("no executor runs on this thread"))
}

/// Runs `root` and whatever it spawns on this thread, until `root` ends. What blocks goes to `blocking_threads` threads.
///
/// # Errors
/// No ring could be made.
pub(super) fn run<F: Future + 'static>(root: F, blocking_threads: usize) -> io::Result<F::Output>
where
    F::Output: 'static,
{
    let queue = Queue::new()?;
    let ring = Ring::new(queue.bell())?;
    let reactor = Rc::new(Reactor {
        ring: RefCell::new(ring),
        queue,
        timers: RefCell::default(),
        after_look: RefCell::default(),
        pool: Pool::new(blocking_threads)?,
    });
    CURRENT.set(Some(Rc::clone(&reactor)));
    let result: Rc<RefCell<Option<F::Output>>> = Rc::default();
    let end = Rc::clone(&result);
    spawn_local(async move {
        let output = root.await;
        *end.borrow_mut() = Some(output);
    })
    .detach();
    let output = reactor.go_on_until(&result);
    let at_rest = reactor.comes_to_rest();
    // Tasks that are left hold sockets, which take leave of the ring.
    reactor.queue.clear();
    CURRENT.set(None);
    if !at_rest {
        // Memory that the device may still read isn't given to anybody else.
        std::mem::forget(reactor);
    }
    Ok(output)
}

impl Reactor {
    /// Waits until no write is under way, for a moment. Whether it came to that.
    fn comes_to_rest(&self) -> bool {
        let until = Instant::now() + REST_MAX;
        while self.ring.borrow().is_writing() && Instant::now() < until {
            self.ring.borrow_mut().visit(true, Some(until));
            self.ring.borrow_mut().take_completions();
        }
        !self.ring.borrow().is_writing()
    }

    fn go_on_until<T>(&self, result: &RefCell<Option<T>>) -> T {
        loop {
            let ran = self.queue.run(RUN_MAX);
            if let Some(output) = result.borrow_mut().take() {
                return output;
            }
            self.timers.borrow_mut().wake_due(Instant::now());
            let looks = std::mem::take(&mut *self.after_look.borrow_mut());
            let may_wait = looks.is_empty() && self.queue.falls_asleep();
            let deadline = self.timers.borrow().next();
            // While tasks are ready the ring is visited for what they asked for, or now and then.
            if may_wait || !looks.is_empty() || ran == RUN_MAX || self.ring.borrow_mut().has_requests() {
                self.ring.borrow_mut().visit(may_wait, deadline);
            }
            self.queue.is_awake();
            self.ring.borrow_mut().take_completions();
            looks.into_iter().for_each(Waker::wake);
        }
    }
}

/// Starts a task on this thread. It ends when its handle is dropped, unless that is detached.
pub(super) fn spawn_local<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    current().queue.spawn(future)
}

/// Carries `work` out on a thread that may block.
pub(super) async fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = current().pool.run(work);
    done.await
}

/// Ends after `time`.
pub(super) async fn sleep(time: Duration) {
    time::Sleep::until(Instant::now() + time).await;
}

/// Goes on once the ring was looked at.
pub(super) async fn look() {
    let mut asked = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        current().after_look.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests;
