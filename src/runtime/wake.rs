//! A wake-up within one executor: tasks that collected something call [`Wake::ring`], the turn task awaits [`Wake::rung`].
//!
//! The turn task is queued behind the tasks that are ready already, so one turn serves all of them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

#[derive(Default)]
struct State {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A handle; clones ring the same bell.
#[derive(Clone, Default)]
pub(super) struct Wake(Rc<State>);

impl Wake {
    /// Wakes whoever waits, or makes the next wait end at once.
    pub(super) fn ring(&self) {
        if !self.0.rung.replace(true)
            && let Some(waker) = self.0.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Returns once it was rung since the last return.
    pub(super) async fn rung(&self) {
        poll_fn(|cx| {
            if self.0.rung.replace(false) {
                return Poll::Ready(());
            }
            *self.0.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Long enough for a timer that isn't due yet when it is made.
const LOOK_AT_IO: Duration = Duration::from_micros(50);

/// Lets the executor look at its sockets, files and timers, which it does only when no task is ready.
pub(super) async fn look_at_io() {
    glommio::timer::sleep(LOOK_AT_IO).await;
}

/// A bell that rings `then` after the executor looked at I/O: for work that goes on by itself and mustn't keep others waiting.
pub(super) fn ring_after_io(then: Wake) -> Wake {
    let bell = Wake::default();
    let hearing = bell.clone();
    glommio::spawn_local(async move {
        loop {
            hearing.rung().await;
            look_at_io().await;
            then.ring();
        }
    })
    .detach();
    bell
}
