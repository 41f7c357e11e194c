//! Operations of the disk as they end: done, failed, or refused for want of room.

use super::{Event, Stage, World};
use crate::base::memory::BatchMemory;
use crate::log::{DiskDone, ReadRequest, serve_read};
use crate::model::file::{DiskError, FileOp, Ticket};

impl World {
    /// Whether this disk operation is the one that fails.
    pub(super) fn fails(&mut self) -> bool {
        self.disk_ops += 1;
        let fails = self.disk_ops == self.options.fail_op && self.stage == Stage::Work;
        if fails {
            self.failed = true;
            self.coverage.hit("disk-write-failed");
            self.agenda.say(|| "this disk operation fails".to_owned());
        }
        fails
    }

    pub(super) fn append_ends(&mut self, number: u64, ticket: Ticket) {
        let Some((life, ..)) = self.life(number) else { return };
        let Some(append) = life.appends.remove(&ticket) else { return };
        self.agenda.disk_steps += 1;
        let bytes = &append.memory.bytes()[..append.len];
        let result = if self.fails() {
            let mut prng = self.prng.stream("failed append");
            self.disk.tear(&append.file, append.at, bytes, &mut || prng.chance(1, 2));
            Err(DiskError { no_space: false, message: format!("writing {}: input/output error (simulated)", append.file) })
        } else {
            crate::invariant!(
                self.disk.is_reserved(&append.file, append.at + append.len as u64),
                "an append to {} at {} beyond what is durably reserved",
                append.file,
                append.at
            );
            self.disk.write_through(&append.file, append.at, bytes);
            self.history.landed(append.zxids.0, append.zxids.1);
            self.written.push((append.file.clone(), append.at, append.at + append.len as u64, append.zxids.1));
            Ok(())
        };
        self.agenda.trace.event(self.agenda.now_us, "append", &[append.zxids.0.0, append.zxids.1.0, u64::from(result.is_ok())]);
        self.agenda.say(|| format!("{} to {} are on disk: {}", append.zxids.0, append.zxids.1, result.is_ok()));
        let done = Box::new(DiskDone::of(ticket, result));
        self.agenda.mail_alone(Event::DiskDone { life: number, done });
    }

    /// A read sees the disk as it is when it ends, whatever is being written beside it.
    pub(super) fn read_ends(&mut self, number: u64, ticket: Ticket, request: &ReadRequest) {
        if self.life(number).is_none() {
            return;
        }
        let outcome = serve_read(&self.disk, request);
        self.agenda.mail(1999, Event::DiskDone { life: number, done: Box::new(DiskDone::read(ticket, outcome)) });
    }

    pub(super) fn script_step(&mut self, number: u64, lane: usize) {
        let Some((life, ..)) = self.life(number) else { return };
        let Some(running) = life.lanes.get_mut(&lane).and_then(|queue| queue.front_mut()) else { return };
        let (ticket, op) = (running.ticket, running.script.ops.get(running.next).cloned());
        running.next += 1;
        let last = running.next >= running.script.ops.len();
        let result = op.map_or(Ok(()), |op| self.run_op(&op, lane != 0));
        let over = last || result.is_err();
        if let Some((life, agenda, _)) = self.life(number) {
            let queue = life.lanes.entry(lane).or_default();
            if over {
                queue.pop_front();
                agenda.mail(2000 + lane, Event::DiskDone { life: number, done: Box::new(DiskDone::of(ticket, result)) });
            }
            if !queue.is_empty() {
                agenda.disk(Event::ScriptStep { life: number, lane });
            }
        }
    }

    /// Carries out one step of a script, or lets it fail.
    pub(super) fn run_op(&mut self, op: &FileOp, reserves: bool) -> Result<(), DiskError> {
        self.agenda.disk_steps += 1;
        self.agenda.say(|| format!("disk: {}", describe(op)));
        if self.full && reserves && self.disk.needs_room(op) {
            return Err(DiskError { no_space: true, message: "no space left on device (simulated)".to_owned() });
        }
        if self.fails() {
            if let FileOp::Sync(path) = op {
                self.disk.sync_fails(path, &mut self.prng);
            }
            return Err(DiskError { no_space: false, message: format!("{}: input/output error (simulated)", describe(op)) });
        }
        if let FileOp::Rename { from, to } = op
            && from.name.ends_with(".log")
            && to.name.ends_with(".tmp")
        {
            self.coverage.hit("recycled-segment");
        }
        self.disk.run(op)
    }
}

fn describe(op: &FileOp) -> String {
    match op {
        FileOp::MakeDir(path) => format!("make directory {path}"),
        FileOp::Create(path) => format!("create {path}"),
        FileOp::Write { path, at, bytes } => format!("write {} bytes at {at} of {path}", bytes.len()),
        FileOp::Zero { path, at, len } => format!("zero {len} bytes at {at} of {path}"),
        FileOp::Sync(path) => format!("sync {path}"),
        FileOp::Verify { path, .. } => format!("read back {path}"),
        FileOp::Rename { from, to } => format!("rename {from} to {to}"),
        FileOp::SyncDir(path) => format!("sync directory {path}"),
        FileOp::Remove(path) => format!("remove {path}"),
    }
}
