//! Operations of the disk as they end: done, failed, or refused for want of room.

use super::{Event, Stage, World};
use crate::base::memory::BatchMemory;
use crate::log::meta::{Meta, meta_path};
use crate::log::{DiskDone, ReadRequest, serve_read};
use crate::model::file::{DiskError, FileOp, Ticket};
use crate::sim::agenda::Who;
use crate::sim::checker::{Checker, NoticedBy};
use crate::sim::node::Spot;

impl World {
    /// Whether this disk operation is the one that fails.
    pub(super) fn fails(&mut self, node: usize) -> bool {
        let node = &mut self.nodes[node];
        node.ops_done += 1;
        let fails = node.ops_done == node.fail_op && self.stage == Stage::Work;
        if fails {
            node.failed = true;
            self.coverage.hit("disk-write-failed");
            self.agenda.say(|| "this disk operation fails".to_owned());
        }
        fails
    }

    pub(super) fn append_ends(&mut self, who: Who, ticket: Ticket) {
        let Some((life, ..)) = self.life(who) else { return };
        let Some(append) = life.appends.remove(&ticket) else { return };
        self.step(who.node);
        let bytes = &append.memory.bytes()[..append.len];
        let result = if self.fails(who.node) {
            let mut prng = self.prng.stream("failed append");
            self.nodes[who.node].disk.tear(&append.file, append.at, bytes, &mut || prng.chance(1, 2));
            Err(DiskError { no_space: false, message: format!("writing {}: input/output error (simulated)", append.file) })
        } else {
            crate::invariant!(
                self.nodes[who.node].disk.is_reserved(&append.file, append.at + append.len as u64),
                "an append to {} at {} beyond what is durably reserved",
                append.file,
                append.at
            );
            let node = &mut self.nodes[who.node];
            node.disk.write_through(&append.file, append.at, bytes);
            let range = (append.at, append.at + append.len as u64);
            node.written.push(Spot { path: append.file.clone(), range, last: append.identity.zxid });
            self.history.ledger.landed(who.node, append.identity);
            Ok(())
        };
        self.agenda.trace.event(self.agenda.now_us, "append", &[append.first.0, append.identity.zxid.0, u64::from(result.is_ok())]);
        self.agenda
            .say(|| format!("server {}: {} to {} are on disk: {}", who.node + 1, append.first, append.identity.zxid, result.is_ok()));
        let done = Box::new(DiskDone::of(ticket, result));
        self.agenda.mail_alone(Event::DiskDone { who, done });
    }

    /// A read sees the disk as it is when it ends, whatever is being written beside it.
    pub(super) fn read_ends(&mut self, who: Who, ticket: Ticket, request: &ReadRequest) {
        if self.nodes[who.node].life(who).is_none() {
            return;
        }
        let request = &self.in_pieces(request);
        let outcome = serve_read(&self.nodes[who.node].disk, request);
        self.agenda.say(|| {
            let (asked, got): (String, String) =
                (format!("{request:?}").chars().take(160).collect(), format!("{outcome:?}").chars().take(80).collect());
            format!("disk of server {}: {asked} gives {got}", who.node + 1)
        });
        self.agenda.mail(who.node, 1999, Event::DiskDone { who, done: Box::new(DiskDone::read(ticket, outcome)) });
    }

    /// Mostly less than was asked for: what is small here takes many answers in earnest, and any of them may be the last.
    fn in_pieces(&mut self, request: &ReadRequest) -> ReadRequest {
        let mut request = request.clone();
        let most = if self.pieces.chance(3, 4) { self.pieces.between(1, 4096) as usize } else { usize::MAX };
        match &mut request {
            ReadRequest::Batches { bytes_max: len, .. } | ReadRequest::File { len, .. } => *len = (*len).min(most),
            ReadRequest::Locate { .. } => {}
        }
        request
    }

    pub(super) fn script_step(&mut self, who: Who, lane: usize) -> Result<(), String> {
        let Some((life, ..)) = self.life(who) else { return Ok(()) };
        let Some(running) = life.lanes.get_mut(&lane).and_then(|queue| queue.front_mut()) else { return Ok(()) };
        let (ticket, op) = (running.ticket, running.script.ops.get(running.next).cloned());
        running.next += 1;
        let last = running.next >= running.script.ops.len();
        let result = op.as_ref().map_or(Ok(()), |op| self.run_op(who.node, op));
        if let Some(op) = op.filter(|_| result.is_ok()) {
            self.watch_metadata(who.node, &op)?;
        }
        let over = last || result.is_err();
        if let Some((life, agenda, _)) = self.life(who) {
            let queue = life.lanes.entry(lane).or_default();
            if over {
                queue.pop_front();
                agenda.mail(who.node, 2000 + lane, Event::DiskDone { who, done: Box::new(DiskDone::of(ticket, result)) });
            }
            if !queue.is_empty() {
                agenda.disk(who.node, Event::ScriptStep { who, lane });
            }
        }
        Ok(())
    }

    pub(super) fn step(&mut self, node: usize) {
        self.agenda.disk_steps += 1;
        self.nodes[node].disk_steps += 1;
    }

    /// Carries out one step of a script, or lets it fail.
    pub(super) fn run_op(&mut self, node: usize, op: &FileOp) -> Result<(), DiskError> {
        self.step(node);
        self.agenda.say(|| format!("disk of server {}: {}", node + 1, describe(op)));
        if self.nodes[node].full && self.nodes[node].disk.needs_room(op) {
            return Err(DiskError { no_space: true, message: "no space left on device (simulated)".to_owned() });
        }
        if self.fails(node) {
            if let FileOp::Sync(path) = op {
                self.nodes[node].disk.sync_fails(path, &mut self.prng);
            }
            return Err(DiskError { no_space: false, message: format!("{}: input/output error (simulated)", describe(op)) });
        }
        if let FileOp::Rename { from, to } = op
            && from.name.ends_with(".log")
            && to.name.ends_with(".tmp")
        {
            self.coverage.hit("recycled-segment");
        }
        if let FileOp::Zero { len, .. } = op
            && *len > u64::from(self.options.first_segment_kb) << 11
        {
            self.coverage.hit("grown-segment");
        }
        self.nodes[node].disk.run(op)
    }
}

/// The highest epoch metadata that is there in a readable copy.
fn highest(copies: impl Iterator<Item = Vec<u8>>) -> Option<Meta> {
    copies.filter_map(|bytes| Meta::decode(&bytes).ok()).max_by_key(|meta| meta.sequence)
}

impl World {
    /// Looks at the epoch metadata of a running server as it changes: cuts, promises, epochs.
    fn watch_metadata(&mut self, node: usize, op: &FileOp) -> Result<(), String> {
        let copies = [meta_path(0), meta_path(1)];
        let disk = &self.nodes[node].disk;
        match op {
            FileOp::Rename { to: path, .. } | FileOp::Write { path, .. } if copies.contains(path) => {
                if let Some(meta) = highest(copies.iter().filter_map(|path| disk.content(path))) {
                    self.history.ledger.metadata_seen(node, &meta);
                }
            }
            FileOp::SyncDir(path) | FileOp::Sync(path) if *path == copies[0].dir() || copies.contains(path) => {
                if let Some(meta) = highest(copies.iter().filter_map(|path| disk.durable(path))) {
                    let seen = self.history.ledger.metadata(node, &meta).map_err(|what| format!("server {}: {what}", node + 1));
                    let (cut, jumped) = seen.by(Checker::OneHistory)?;
                    if cut {
                        self.coverage.hit("cut");
                        self.agenda.say(|| format!("server {} has cut its log at {}", node + 1, meta.start.zxid));
                    }
                    if jumped {
                        self.coverage.hit("snapshot-install");
                        self.agenda.say(|| format!("server {} goes on from a snapshot at {}", node + 1, meta.start.zxid));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn describe(op: &FileOp) -> String {
    match op {
        FileOp::MakeDir(path) => format!("make directory {path}"),
        FileOp::Create(path) => format!("create {path}"),
        FileOp::Write { path, at, bytes } => format!("write {} bytes at {at} of {path}", bytes.len()),
        FileOp::Zero { path, at, len } => format!("zero {len} bytes at {at} of {path}"),
        FileOp::Copy { from, to } => format!("copy {from} to {to}"),
        FileOp::Rewrite { path, at, len } => format!("write {len} bytes at {at} of {path} again"),
        FileOp::Sync(path) => format!("sync {path}"),
        FileOp::Verify { path, .. } => format!("read back {path}"),
        FileOp::Rename { from, to } => format!("rename {from} to {to}"),
        FileOp::SyncDir(path) => format!("sync directory {path}"),
        FileOp::Remove(path) => format!("remove {path}"),
    }
}
