//! One server's process: started on a directory, waited for until it serves, ended by its id when dropped.
//!
//! Guarantees: every wait is bounded; what it writes goes to a file of its directory, so it never blocks on its output.

use crate::Failure;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to end by itself.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Bytes of a server's log that are shown when it fails.
const LOG_TAIL_BYTES: usize = 2000;
/// Bytes of an answer to a four-letter word that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// A server that runs. Ends when dropped.
pub struct Server {
    child: Child,
    dir: PathBuf,
    /// HOST:PORT of its client port.
    pub address: String,
}

impl Server {
    /// Starts `command` in `dir`; it will serve at `address`.
    pub fn spawn(mut command: Command, dir: PathBuf, address: String) -> Result<Server, Failure> {
        let log = File::create(dir.join("stderr.log")).map_err(|e| format!("{}: {e}", dir.display()))?;
        let name = command.get_program().to_string_lossy().into_owned();
        command.current_dir(&dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        end_with_this_process(&mut command);
        let child = command.spawn().map_err(|e| format!("can't start {name}: {e}"))?;
        Ok(Server { child, dir, address })
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it serves, at longest until `end`.
    pub fn wait_until_it_serves(&mut self, end: Instant) -> Result<(), Failure> {
        self.wait_until(end, |address| mode(address).is_some())
    }

    /// Waits until `serves` says so of its address, at longest until `end`.
    pub fn wait_until(&mut self, end: Instant, serves: impl Fn(&str) -> bool) -> Result<(), Failure> {
        while !serves(&self.address) {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Err(format!("a server ended while starting ({status}): {}", self.log_tail()));
            }
            if Instant::now() > end {
                return Err(format!("the server at {} doesn't serve in time: {}", self.address, self.log_tail()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Its mode, if it serves: leader, follower, standalone.
    pub fn mode(&self) -> Option<String> {
        mode(&self.address)
    }

    /// Its answer to a four-letter word.
    pub fn four_letter(&self, word: &str) -> Result<String, Failure> {
        ask(&self.address, word).map_err(|e| format!("{word}, asked of {}: {e}", self.address))
    }

    /// The last lines that it logged.
    pub fn log_tail(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(self.dir.join("stderr.log")) {
            // What can't be read isn't shown; the caller has an error of its own.
            let _ = file.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned()
    }

    /// A file of its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Ends it as a crash would.
    pub fn crash(&mut self) -> Result<(), Failure> {
        self.child.kill().and_then(|()| self.child.wait()).map(drop).map_err(|e| format!("can't kill the server at {}: {e}", self.address))
    }

    /// Starts it again once it has ended.
    pub fn spawn_again(&mut self, command: Command) -> Result<(), Failure> {
        *self = Server::spawn(command, self.dir.clone(), self.address.clone())?;
        Ok(())
    }

    /// Asks it to end, without waiting.
    pub fn ask_to_end(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| matches!(self.child.try_wait(), Ok(None))) {
            // It may have ended by itself meanwhile; then there is nothing to do.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ask_to_end();
        let end = Instant::now() + STOP_MAX;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// However this process ends, no server stays behind.
pub fn end_with_this_process(command: &mut Command) {
    // SAFETY: between fork and exec only this one system call is made; it takes numbers and touches no memory.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

/// What the four-letter word `srvr` says of the server's mode, if it has one.
fn mode(address: &str) -> Option<String> {
    let text = ask(address, "srvr").ok()?;
    text.lines().find_map(|line| line.strip_prefix("Mode: ")).map(|mode| mode.trim().to_owned())
}

/// The answer to a four-letter word.
fn ask(address: &str, word: &str) -> std::io::Result<String> {
    let to = address.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(word.as_bytes())?;
    let mut text = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
