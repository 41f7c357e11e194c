//! Starts one of the two servers on a fresh directory, waits until it serves, and ends it.

use crate::{Failure, create_dir};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a server may take until it serves.
const START_MAX: Duration = Duration::from_secs(60);
/// How long it may take to end by itself.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Heap of the Java process.
const HEAP: &str = "1g";
/// What stands at the start of the line with which Ringkeeper says that it serves, before the address.
const READY: &str = "ringkeeper ready client=";
/// Bytes of a server's log that are shown when it fails.
const LOG_TAIL_BYTES: usize = 2000;

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Ours.
    Ringkeeper,
    /// The one to compare with.
    ZooKeeper,
}

/// How to start them.
#[derive(Clone, Debug)]
pub struct Recipes {
    /// The program.
    pub ringkeeper: PathBuf,
    /// Lines added to its configuration.
    pub ringkeeper_settings: Vec<String>,
    /// Class path of real ZooKeeper.
    pub class_path: String,
    /// Lines added to its configuration.
    pub zookeeper_settings: Vec<String>,
}

/// A server that runs. Ends when dropped.
pub struct Server {
    child: Child,
    dir: PathBuf,
    /// HOST:PORT of its client port.
    pub address: String,
}

impl Recipes {
    /// Starts `side` with its data in `dir`, which is emptied first.
    pub fn start(&self, side: Side, dir: &Path) -> Result<Server, Failure> {
        if dir.exists() {
            fs::remove_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        let dir = create_dir(dir)?;
        match side {
            Side::Ringkeeper => self.start_ringkeeper(dir),
            Side::ZooKeeper => self.start_zookeeper(dir),
        }
    }

    fn start_ringkeeper(&self, dir: PathBuf) -> Result<Server, Failure> {
        let file = write_configuration(&dir, 0, &self.ringkeeper_settings)?;
        let mut command = Command::new(&self.ringkeeper);
        command.arg("serve").arg(&file);
        let mut server = spawn(command, dir, Stdio::piped())?;
        let lines = server.child.stdout.take().map(lines_of).ok_or("no standard output")?;
        server.wait_until("ready", || {
            let line = lines.try_recv().ok()?;
            line.strip_prefix(READY).and_then(|rest| rest.split_whitespace().next()).map(str::to_owned)
        })?;
        Ok(server)
    }

    fn start_zookeeper(&self, dir: PathBuf) -> Result<Server, Failure> {
        let port = free_port()?;
        let file = write_configuration(&dir, port, &self.zookeeper_settings)?;
        let mut command = Command::new("java");
        command.args([&format!("-Xms{HEAP}"), &format!("-Xmx{HEAP}"), "-Dzookeeper.admin.enableServer=false"]);
        command.args(["-cp", &self.class_path, "org.apache.zookeeper.server.quorum.QuorumPeerMain"]).arg(&file);
        let mut server = spawn(command, dir, Stdio::null())?;
        let address = format!("127.0.0.1:{port}");
        server.wait_until("serving", || serves(&address).then(|| address.clone()))?;
        Ok(server)
    }
}

impl Server {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until(&mut self, what: &str, mut ready: impl FnMut() -> Option<String>) -> Result<(), Failure> {
        let end = Instant::now() + START_MAX;
        while Instant::now() < end {
            if let Some(address) = ready() {
                self.address = address;
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Err(format!("a server ended while starting ({status}): {}", self.log_tail()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("a server wasn't {what} after {} s: {}", START_MAX.as_secs(), self.log_tail()))
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

    /// Ends it and removes its data.
    pub fn stop(mut self) -> Result<(), Failure> {
        self.end();
        fs::remove_dir_all(&self.dir).map_err(|e| format!("{}: {e}", self.dir.display()))
    }

    fn end(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| matches!(self.child.try_wait(), Ok(None))) {
            // It may have ended by itself meanwhile; then there is nothing to do.
            let _ = kill_process(pid, Signal::TERM);
        }
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

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(mut command: Command, dir: PathBuf, stdout: Stdio) -> Result<Server, Failure> {
    let log = File::create(dir.join("stderr.log")).map_err(|e| format!("{}: {e}", dir.display()))?;
    let name = command.get_program().to_string_lossy().into_owned();
    command.current_dir(&dir).stdin(Stdio::null()).stdout(stdout).stderr(log);
    let child = command.spawn().map_err(|e| format!("can't start {name}: {e}"))?;
    Ok(Server { child, dir, address: String::new() })
}

/// The lines that a process prints, read to its end so that it never blocks on them.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens any more once the server serves.
            let _ = sender.send(line);
        }
    });
    receiver
}

fn write_configuration(dir: &Path, port: u16, settings: &[String]) -> Result<PathBuf, Failure> {
    let data = create_dir(&dir.join("data"))?;
    let mut text = format!(
        "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n",
        data.display()
    );
    for line in settings {
        text += line;
        text.push('\n');
    }
    let file = dir.join("zoo.cfg");
    fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(file)
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}

/// Whether the four-letter word `srvr` says that the server has a mode.
fn serves(address: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let to = address.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"srvr")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    ask().is_ok_and(|text| text.contains("Mode: "))
}
