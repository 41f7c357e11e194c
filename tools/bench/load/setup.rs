//! Before and after the load: connecting, the nodes that it needs, and their removal.

use super::{Latencies, Load, Next, Plan, WAIT_MAX_NS};
use crate::Failure;
use crate::session::Session;
use crate::workload::{Source, plain_create, value};
use ringkeeper::base::prng::Prng;
use ringkeeper::model::request::Request;
use rustix::event::epoll;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// Requests that the setup has in flight.
const BURST: usize = 200;
/// Runs of this process, so that each has nodes of its own.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// A name below the root that no other run uses.
pub fn fresh_root() -> String {
    format!("/bench-{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed))
}

impl Load {
    /// Connects everything and creates the nodes.
    pub(super) fn prepare(plan: &Plan) -> Result<Load, Failure> {
        let mut first = Session::connect(&plan.servers[0])?;
        first.finish_handshake()?;
        let root = fresh_root();
        let value = value(plan.value_bytes);
        first.call_all(&[plain_create(root.as_bytes(), b"")], None)?;
        let own: Vec<String> = own_paths(&root, plan).collect();
        for_each_burst(own.iter().cloned(), |paths| {
            first.call_all(&paths.iter().map(|path| plain_create(path.as_bytes(), &value)).collect::<Vec<_>>(), None)
        })?;
        for_each_burst(shared_paths(&root, plan), |paths| {
            first.call_all(&paths.iter().map(|path| plain_create(path.as_bytes(), b"")).collect::<Vec<_>>(), None)
        })?;
        // Only now, so that none of them idles for longer than its timeout.
        let mut sessions = vec![first];
        for idx in 1..plan.sessions {
            sessions.push(Session::connect(&plan.servers[idx % plan.servers.len()])?);
        }
        for session in &mut sessions[1..] {
            session.finish_handshake()?;
        }
        let random = Prng::from_seed(7);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
        for (idx, session) in sessions.iter_mut().enumerate() {
            // Its server may not have applied yet what another has answered.
            session.call_all(&[Request::Sync { path: Some(root.as_bytes()) }], None)?;
            session.source = Some(Source::new(plan.workload, &own[idx], &shared(&root), &value, random.stream(&own[idx])));
            let data = epoll::EventData::new_u64(idx as u64);
            epoll::add(&epoll, session.stop_blocking()?, data, epoll::EventFlags::IN).map_err(|e| e.to_string())?;
        }
        let now = Instant::now();
        Ok(Load { sessions, epoll, root, clock: now, latencies: Latencies::new()?, wasted: plan.wasted, last_reply: now })
    }

    /// Deletes all nodes, as busily as they were made, and closes the sessions.
    pub(super) fn clean_up(&mut self, plan: &Plan) -> Result<(), Failure> {
        self.start(plan.outstanding, Next::CleanUp)?;
        while self.sessions.iter().any(|s| s.waiting() > 0) {
            self.turn(Next::CleanUp, WAIT_MAX_NS)?;
        }
        let root = std::mem::take(&mut self.root);
        for session in &self.sessions {
            session.block_again()?;
        }
        let (first, others) = self.sessions.split_at_mut(1);
        let first = &mut first[0];
        // The nodes above those that have children come last.
        let mut paths: Vec<String> = shared_paths(&root, plan).collect();
        paths.reverse();
        for_each_burst(paths.into_iter().chain(own_paths(&root, plan)).chain([root.clone()]), |paths| {
            let deletes: Vec<Request<'_>> = paths.iter().map(|path| Request::Delete { path: path.as_bytes(), version: -1 }).collect();
            first.call_all(&deletes, None)
        })?;
        for session in others.iter_mut().chain([first]) {
            session.call_all(&[Request::CloseSession], None)?;
        }
        Ok(())
    }
}

fn own_paths<'a>(root: &'a str, plan: &Plan) -> impl Iterator<Item = String> + use<'a> {
    (0..plan.sessions).map(move |idx| format!("{root}/s{idx:05}"))
}

fn shared(root: &str) -> String {
    format!("{root}/shared")
}

/// The node that all sessions list, and its children; none if the workload lists nothing.
fn shared_paths(root: &str, plan: &Plan) -> impl Iterator<Item = String> + use<> {
    let (shared, count) = (shared(root), plan.workload.shared_children());
    let parent = (count > 0).then(|| shared.clone());
    parent.into_iter().chain((0..count).map(move |idx| format!("{shared}/c{idx:07}")))
}

fn for_each_burst(paths: impl Iterator<Item = String>, mut send: impl FnMut(&[String]) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut burst = Vec::with_capacity(BURST);
    for path in paths {
        burst.push(path);
        if burst.len() == BURST {
            send(&burst)?;
            burst.clear();
        }
    }
    if burst.is_empty() { Ok(()) } else { send(&burst) }
}
