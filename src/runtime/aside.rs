//! Scripts and reads of files, on threads that may block, beside the executor of the keeper.
//!
//! Guarantees: each reports exactly once, with its ticket; it is known when none is under way. Leaves to others: their order (the log begins
//! none before what it depends on).

use super::files::{DiskFiles, Roots};
use super::script::run_script;
use super::wake::Wake;
use crate::log::{DiskDone, ReadRequest, serve_read};
use crate::model::file::{Script, Ticket};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// How often it is looked whether all have ended.
const REST_POLL: Duration = Duration::from_millis(1);

/// See the module's description.
pub(super) struct Aside {
    roots: Roots,
    /// Rung when something is done.
    wake: Wake,
    done: Rc<RefCell<Vec<DiskDone>>>,
    /// Begun, and the result isn't there yet.
    running: Rc<Cell<usize>>,
}

impl Aside {
    pub(super) fn new(roots: Roots, wake: Wake) -> Aside {
        Aside { roots, wake, done: Rc::default(), running: Rc::default() }
    }

    pub(super) fn script(&self, script: Script, ticket: Ticket) {
        let roots = self.roots.clone();
        self.run(move || DiskDone::of(ticket, run_script(&roots, &script)));
    }

    pub(super) fn read(&self, request: Box<ReadRequest>, ticket: Ticket) {
        let roots = self.roots.clone();
        self.run(move || DiskDone::read(ticket, serve_read(&DiskFiles::new(roots), &request)));
    }

    fn run(&self, work: impl FnOnce() -> DiskDone + Send + 'static) {
        let (dones, running, wake) = (Rc::clone(&self.done), Rc::clone(&self.running), self.wake.clone());
        running.set(running.get() + 1);
        glommio::spawn_local(async move {
            let done = glommio::executor().spawn_blocking(work).await;
            running.set(running.get() - 1);
            dones.borrow_mut().push(done);
            wake.ring();
        })
        .detach();
    }

    /// What ended since the last call.
    pub(super) fn take_done(&self) -> Vec<DiskDone> {
        self.done.take()
    }

    /// Waits until none is under way.
    pub(super) async fn at_rest(&self) {
        while self.running.get() > 0 {
            glommio::timer::sleep(REST_POLL).await;
        }
    }

    /// Results that nobody took concern nobody any more.
    pub(super) fn forget(&self) {
        self.done.borrow_mut().clear();
    }
}
