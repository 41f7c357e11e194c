//! A wake-up within one executor: tasks that collected something call [`Wake::ring`], the turn task awaits [`Wake::rung`].
//!
//! The turn task is queued behind the tasks that are ready already, so one turn serves all of them.

use super::exec::{self, look_at_io};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

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

    /// Whether the next wait ends at once.
    pub(super) fn is_rung(&self) -> bool {
        self.0.rung.get()
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

/// A bell that rings `then` after the executor looked at I/O: for work that goes on by itself and mustn't keep others waiting.
pub(super) fn ring_after_io(then: Wake) -> Wake {
    let bell = Wake::default();
    let hearing = bell.clone();
    exec::spawn_local(async move {
        loop {
            hearing.rung().await;
            look_at_io().await;
            then.ring();
        }
    })
    .detach();
    bell
}
