//! Scripts and reads of files, on threads that may block, beside the executor of the keeper.
//!
//! Guarantees: each reports exactly once, with its ticket; it is known when none is under way; scripts of one shard are carried out in
//! the order in which they came, and so are those of none and the reads; the metadata of a new epoch never waits until a segment is
//! filled. Leaves to others: the order between the lanes (the log begins none before what it depends on).

use super::exec;
use super::files::{DiskFiles, Roots};
use super::script::run_script;
use super::wake::Wake;
use crate::base::ids::ShardId;
use crate::base::limits::SHARDS_MAX;
use crate::log::{DiskDone, ReadRequest, serve_read};
use crate::model::file::{Script, Ticket};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// How often it is looked whether all have ended.
const REST_POLL: Duration = Duration::from_millis(1);

/// See the module's description.
pub(super) struct Aside {
    roots: Roots,
    /// One for each shard, and the last for the rest.
    lanes: [Rc<Lane>; SHARDS_MAX + 1],
    results: Rc<Results>,
}

type Work = Box<dyn FnOnce() -> DiskDone + Send>;

/// What is done in order, each when the one before it has ended.
#[derive(Default)]
struct Lane {
    waiting: RefCell<VecDeque<Work>>,
    /// A task carries them out.
    is_busy: Cell<bool>,
}

struct Results {
    /// Rung when something is done.
    wake: Wake,
    done: RefCell<Vec<DiskDone>>,
    /// Begun, and the result isn't there yet.
    running: Cell<usize>,
}

impl Results {
    fn begin(&self) {
        self.running.set(self.running.get() + 1);
    }

    fn end(&self, done: DiskDone) {
        self.running.set(self.running.get() - 1);
        self.done.borrow_mut().push(done);
        self.wake.ring();
    }
}

impl Aside {
    pub(super) fn new(roots: Roots, wake: Wake) -> Aside {
        let results = Rc::new(Results { wake, done: RefCell::default(), running: Cell::default() });
        Aside { roots, lanes: std::array::from_fn(|_| Rc::default()), results }
    }

    /// `shard`: whose segments it is about, if any's.
    pub(super) fn script(&self, shard: Option<ShardId>, script: Script, ticket: Ticket) {
        let roots = self.roots.clone();
        self.run(shard.map_or(SHARDS_MAX, ShardId::idx), move || DiskDone::of(ticket, run_script(&roots, &script)));
    }

    pub(super) fn read(&self, request: Box<ReadRequest>, ticket: Ticket) {
        let roots = self.roots.clone();
        self.run(SHARDS_MAX, move || DiskDone::read(ticket, serve_read(&DiskFiles::new(roots), &request)));
    }

    fn run(&self, lane: usize, work: impl FnOnce() -> DiskDone + Send + 'static) {
        let (lane, results) = (Rc::clone(&self.lanes[lane]), Rc::clone(&self.results));
        results.begin();
        lane.waiting.borrow_mut().push_back(Box::new(work));
        if lane.is_busy.replace(true) {
            return;
        }
        exec::spawn_local(async move {
            loop {
                let next = lane.waiting.borrow_mut().pop_front();
                let Some(work) = next else { break };
                results.end(exec::spawn_blocking(work).await);
            }
            lane.is_busy.set(false);
        })
        .detach();
    }

    /// What ended since the last call.
    pub(super) fn take_done(&self) -> Vec<DiskDone> {
        self.results.done.take()
    }

    /// Waits until none is under way.
    pub(super) async fn at_rest(&self) {
        while self.results.running.get() > 0 {
            exec::sleep(REST_POLL).await;
        }
    }

    /// Results that nobody took concern nobody any more.
    pub(super) fn forget(&self) {
        self.results.done.borrow_mut().clear();
    }
}
