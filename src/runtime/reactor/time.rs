//! Timers: when the ring is waited for at most, and who goes on then.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Who waits until when.
#[derive(Default)]
pub(super) struct Timers {
    waiting: BTreeMap<(Instant, u64), Waker>,
    serial: u64,
}

impl Timers {
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn wake_due(&mut self, now: Instant) {
        while let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().wake();
        }
    }

    fn add(&mut self, at: Instant, waker: Waker) -> u64 {
        self.serial += 1;
        self.waiting.insert((at, self.serial), waker);
        self.serial
    }
}

/// Ends at a time.
pub(super) struct Sleep {
    at: Instant,
    serial: Option<u64>,
}

impl Sleep {
    pub(super) fn until(at: Instant) -> Sleep {
        Sleep { at, serial: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let reactor = super::current();
        let mut timers = reactor.timers.borrow_mut();
        if let Some(serial) = self.serial.take()
            && timers.waiting.remove(&(self.at, serial)).is_none()
        {
            return Poll::Ready(());
        }
        self.serial = Some(timers.add(self.at, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(serial) = self.serial
            && super::is_here()
        {
            super::current().timers.borrow_mut().waiting.remove(&(self.at, serial));
        }
    }
}
