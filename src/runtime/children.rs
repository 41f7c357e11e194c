//! Servers as child processes of one supervisor: started, listened to, and ended together.
//!
//! Guarantees: when [`run_children`] returns, no child lives; an end that nobody asked for is told at once. Children that were
//! started with [`end_with_parent`] also end when the supervisor is killed. Leaves to others: what the children do, and printing.

use super::signals;
use crate::base::fatal::{Fatal, FatalError};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// First words of the line by which a server says that it serves.
const READY: &str = "ringkeeper ready ";
/// How long children may take to end once they are told.
const END_WITHIN: Duration = Duration::from_secs(6);
/// Between two looks at the children.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the last lines of a child that ended are waited for.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);
/// Lines of all children that wait to be told.
const LINES_MAX: usize = 1024;
/// Longest piece of a line.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// A child to be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChildSpec {
    /// For messages.
    pub name: String,
    /// Arguments of the program.
    pub args: Vec<OsString>,
}

/// What the end of a child means for the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Others {
    /// They go on.
    GoOn,
    /// They are told to end too, since not all were ready yet.
    End,
    /// They were told before.
    WereEnding,
}

/// What there is to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChildEvent {
    /// A child wrote a line.
    Line {
        /// Which child, counted from 0.
        child: usize,
        /// Without the newline.
        text: String,
    },
    /// Every child has said that it serves; told once.
    AllReady,
    /// A child ended that wasn't told to, or with a status of its own after it was.
    Ended {
        /// Which child.
        child: usize,
        /// Such as `status 11`.
        how: String,
        /// What comes of it.
        others: Others,
    },
    /// A signal came: all children are told to end.
    Stopping,
    /// A child didn't end in time and was killed.
    Killed {
        /// Which child.
        child: usize,
    },
}

enum Heard {
    Line(String),
    Ready,
    Closed,
}

struct Running {
    process: Child,
    pipes_open: usize,
    ready: bool,
    ended: Option<(ExitStatus, Instant)>,
    told: bool,
}

/// Ends this process with SIGTERM when the thread that started it ends, as it does when that process is killed.
///
/// # Errors
/// When the system refuses.
pub fn end_with_parent() -> Result<(), FatalError> {
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| FatalError::new(Fatal::Usage, format!("--end-with-parent: the system refuses it: {error}")))
}

/// Runs `program` once for each of `children` until all have ended. A signal that ends this process ends them first; so does a
/// child that ends before all are ready. Later ends are told, and the rest goes on. Returns the exit status: 0, or that of
/// the first child that ended otherwise (1 if a signal ended it).
///
/// # Errors
/// When a child can't be started; those that were are ended.
pub fn run_children(program: &Path, children: &[ChildSpec], tell: &mut dyn FnMut(ChildEvent)) -> Result<i32, FatalError> {
    let signals = signals::ending().map_err(|e| FatalError::new(Fatal::Directory, format!("no signal handler can be installed: {e}")))?;
    let (heard, hear) = bounded(LINES_MAX);
    let mut flock = Flock { running: Vec::new(), hear, ready_told: false, status: 0, stopping_since: None };
    for (index, spec) in children.iter().enumerate() {
        match start(program, spec, index, &heard) {
            Ok(running) => flock.running.push(running),
            Err(error) => {
                flock.stop();
                flock.until_all_ended(&signals, tell);
                let text = format!("{} can't be started as {}: {error}", spec.name, program.display());
                return Err(FatalError::new(Fatal::Directory, text));
            }
        }
    }
    drop(heard);
    flock.until_all_ended(&signals, tell);
    Ok(flock.status)
}

fn start(program: &Path, spec: &ChildSpec, index: usize, heard: &Sender<(usize, Heard)>) -> std::io::Result<Running> {
    let mut command = Command::new(program);
    command.args(&spec.args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A Ctrl-C is for the supervisor alone, who hands it on once.
    command.process_group(0);
    let mut process = command.spawn()?;
    let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
    let mut running = Running { process, pipes_open: 0, ready: false, ended: None, told: false };
    let listening = stdout
        .map_or(Ok(()), |pipe| listen(pipe, index, true, heard).map(|()| running.pipes_open += 1))
        .and_then(|()| stderr.map_or(Ok(()), |pipe| listen(pipe, index, false, heard).map(|()| running.pipes_open += 1)));
    match listening {
        Ok(()) => Ok(running),
        Err(error) => {
            // Nobody would hear it: it never started.
            let _ = running.process.kill();
            let _ = running.process.wait();
            Err(error)
        }
    }
}

/// Hands on what comes out of a pipe, from a thread of its own.
fn listen(pipe: impl Read + Send + 'static, index: usize, may_be_ready: bool, heard: &Sender<(usize, Heard)>) -> std::io::Result<()> {
    let heard = heard.clone();
    std::thread::Builder::new().name(format!("listen-{index}")).spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let said = if may_be_ready && text.starts_with(READY) { Heard::Ready } else { Heard::Line(text) };
            if heard.send((index, said)).is_err() {
                return;
            }
            line.clear();
        }
        let _ = heard.send((index, Heard::Closed));
    })?;
    Ok(())
}

struct Flock {
    running: Vec<Running>,
    hear: Receiver<(usize, Heard)>,
    ready_told: bool,
    status: i32,
    stopping_since: Option<Instant>,
}

impl Flock {
    fn until_all_ended(&mut self, signals: &Receiver<i32>, tell: &mut dyn FnMut(ChildEvent)) {
        while self.running.iter().any(|child| !child.told) {
            self.listen_a_while(tell);
            if self.stopping_since.is_none() && signals.try_recv().is_ok() {
                tell(ChildEvent::Stopping);
                self.stop();
            }
            self.look(tell);
        }
    }

    fn listen_a_while(&mut self, tell: &mut dyn FnMut(ChildEvent)) {
        let until = Instant::now() + LOOK_EVERY;
        loop {
            match self.hear.recv_timeout(until.saturating_duration_since(Instant::now())) {
                // Of one that was killed since its other pipe couldn't be listened to: it never was one of the children.
                Ok((child, _)) if child >= self.running.len() => {}
                Ok((child, Heard::Line(text))) => tell(ChildEvent::Line { child, text }),
                Ok((child, Heard::Ready)) => self.on_ready(child, tell),
                Ok((child, Heard::Closed)) => self.running[child].pipes_open -= 1,
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => {
                    // All pipes are closed, so the ends are near; don't spin until then.
                    std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
                    return;
                }
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    fn on_ready(&mut self, child: usize, tell: &mut dyn FnMut(ChildEvent)) {
        self.running[child].ready = true;
        if !self.ready_told && self.stopping_since.is_none() && self.running.iter().all(|child| child.ready) {
            self.ready_told = true;
            tell(ChildEvent::AllReady);
        }
    }

    /// Sees who has ended, and kills who should have.
    fn look(&mut self, tell: &mut dyn FnMut(ChildEvent)) {
        let overdue = self.stopping_since.is_some_and(|since| since.elapsed() > END_WITHIN);
        for index in 0..self.running.len() {
            let child = &mut self.running[index];
            if child.ended.is_none() {
                child.ended = child.process.try_wait().ok().flatten().map(|status| (status, Instant::now()));
            }
            match child.ended {
                None if overdue => {
                    tell(ChildEvent::Killed { child: index });
                    let _ = child.process.kill();
                    child.ended = child.process.wait().ok().map(|status| (status, Instant::now()));
                }
                Some((status, since)) if !child.told && (child.pipes_open == 0 || since.elapsed() > LAST_LINES_WITHIN) => {
                    child.told = true;
                    self.on_end(index, status, tell);
                }
                _ => {}
            }
        }
    }

    fn on_end(&mut self, child: usize, status: ExitStatus, tell: &mut dyn FnMut(ChildEvent)) {
        if self.status == 0 {
            self.status = status.code().unwrap_or(1);
        }
        let how =
            status.code().map_or_else(|| format!("by signal {}", status.signal().unwrap_or_default()), |code| format!("status {code}"));
        if self.stopping_since.is_some() {
            // Whom a signal ended now was ended by us.
            if status.code().is_some_and(|code| code != 0) {
                tell(ChildEvent::Ended { child, how, others: Others::WereEnding });
            }
            return;
        }
        let others = if self.ready_told { Others::GoOn } else { Others::End };
        tell(ChildEvent::Ended { child, how, others });
        if others == Others::End {
            self.stop();
        }
    }

    /// Tells every child that lives to end.
    fn stop(&mut self) {
        self.stopping_since.get_or_insert_with(Instant::now);
        for child in self.running.iter().filter(|child| child.ended.is_none()) {
            // Whoever has ended meanwhile isn't waited for yet, so its number means nobody else.
            let _ = kill_process(Pid::from_child(&child.process), Signal::TERM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs shell scripts as children in a directory of their own, where `await NAME` waits for a file; what was told, in order.
    fn run(scripts: &[&str]) -> (i32, Vec<ChildEvent>) {
        let dir = tempfile::tempdir().unwrap();
        let wait = "await() { n=0; while [ ! -e $1 ] && [ $n -lt 600 ]; do sleep 0.05; n=$((n+1)); done; }";
        let spec = |(i, script): (usize, &&str)| ChildSpec {
            name: format!("child {i}"),
            args: vec!["-c".into(), format!("cd {}; {wait}; {script}", dir.path().display()).into()],
        };
        let specs: Vec<ChildSpec> = scripts.iter().enumerate().map(spec).collect();
        let mut told = Vec::new();
        let status = run_children(Path::new("/bin/sh"), &specs, &mut |event| told.push(event)).unwrap();
        (status, told)
    }

    #[test]
    fn all_being_ready_is_told_once_and_later_ends_one_by_one() {
        let first = "echo ringkeeper ready a; echo said >&2; await b; sleep 0.5; touch a; exit 7";
        let (status, told) = run(&[first, "sleep 0.3; echo ringkeeper ready b; touch b; await a; sleep 0.5; kill -9 $$"]);
        assert_eq!(status, 7, "{told:?}");
        assert_eq!(
            told,
            [
                ChildEvent::Line { child: 0, text: "said".into() },
                ChildEvent::AllReady,
                ChildEvent::Ended { child: 0, how: "status 7".into(), others: Others::GoOn },
                ChildEvent::Ended { child: 1, how: "by signal 9".into(), others: Others::GoOn },
            ]
        );
    }

    #[test]
    fn an_end_before_all_are_ready_ends_all_after_its_last_words() {
        let reluctant = "trap 'exit 21' TERM; touch trapped; while :; do sleep 0.05; done";
        let (status, told) = run(&["echo ringkeeper ready a; exec sleep 60", "await trapped; echo in use >&2; exit 11", reluctant]);
        assert_eq!(status, 11, "{told:?}");
        assert_eq!(
            told,
            [
                ChildEvent::Line { child: 1, text: "in use".into() },
                ChildEvent::Ended { child: 1, how: "status 11".into(), others: Others::End },
                ChildEvent::Ended { child: 2, how: "status 21".into(), others: Others::WereEnding },
            ]
        );
    }

    #[test]
    fn what_comes_of_a_child_that_was_not_taken_in_is_passed_over() {
        let (heard, hear) = bounded(LINES_MAX);
        let mut flock = Flock { running: Vec::new(), hear, ready_told: false, status: 0, stopping_since: None };
        for said in [Heard::Line("last words".into()), Heard::Ready, Heard::Closed] {
            heard.try_send((0, said)).unwrap();
        }
        flock.listen_a_while(&mut |event| panic!("{event:?}"));
        assert!(flock.hear.is_empty() && !flock.ready_told);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let spec = ChildSpec { name: "server 1".into(), args: Vec::new() };
        let error = run_children(Path::new("/nowhere/ringkeeper"), &[spec], &mut |event| panic!("{event:?}")).unwrap_err();
        assert!(error.message.contains("server 1 can't be started as /nowhere/ringkeeper"), "{error}");
    }
}
