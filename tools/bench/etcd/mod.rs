//! etcd, for whom it is the alternative: servers built from its Go module, and the same closed loops through its own client, since it doesn't speak
//! ZooKeeper's protocol.
//!
//! Guarantees: what is compared is alike as far as the two can be. A session is a connection to one server; its node is a key; a write is a
//! put, durable on a majority; a read is a serializable one, answered by the server that is asked, as ZooKeeper reads. The client's CPU
//! isn't counted as the servers'. What it can't do (sequences, ephemerals, watches that fire once) isn't compared.

use crate::figures::{Figures, Latency};
use crate::load::Plan;
use crate::servers::end_with_this_process;
use crate::usage::Usage;
use crate::workload::Workload;
use crate::{Failure, create_dir};
use serde::Deserialize;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The release that is compared with.
pub const VERSION: &str = "3.6.16";

/// The sources of both programs, as Go wants to find them.
const SOURCES: [(&str, &str); 3] = [
    ("go.mod", include_str!("programs/go.mod")),
    ("server/main.go", include_str!("programs/server/main.go")),
    ("load/main.go", include_str!("programs/load/main.go")),
];
/// Bytes of an answer about a server's health that are read.
const HEALTH_BYTES_MAX: u64 = 4 << 10;

/// What was built.
#[derive(Clone, Debug)]
pub struct Programs {
    server: PathBuf,
    load: PathBuf,
}

/// Both programs, built if the cache doesn't have them from these very sources.
pub fn build(cache_dir: &Path) -> Result<Programs, Failure> {
    let dir = create_dir(&cache_dir.join(format!("etcd-{VERSION}")))?;
    let programs = Programs { server: dir.join("bin/server"), load: dir.join("bin/load") };
    // Beside the programs, not compared with go.mod: tidying adds to that.
    let (stamp, sources) = (dir.join("bin/sources"), SOURCES.map(|(_, text)| text).concat());
    if fs::read_to_string(&stamp).is_ok_and(|built| built == sources) && programs.server.is_file() && programs.load.is_file() {
        return Ok(programs);
    }
    eprintln!("building etcd {VERSION} from its Go module in {}", dir.display());
    for (name, text) in SOURCES {
        let file = dir.join(name);
        create_dir(file.parent().unwrap_or(&dir))?;
        fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    for arguments in [&["mod", "tidy"][..], &["build", "-o", "bin/", "./server", "./load"]] {
        let output = Command::new("go").args(arguments).current_dir(&dir).stdin(Stdio::null()).output();
        let output = output.map_err(|e| format!("can't run go: {e}; etcd is built from its Go module"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("go {} failed ({}): {said}", arguments.join(" "), output.status));
        }
    }
    fs::write(&stamp, sources).map_err(|e| format!("{}: {e}", stamp.display()))?;
    Ok(programs)
}

impl Programs {
    /// Starts the server `idx`; the ports are those of all clients, then of all peers, then as many that aren't used.
    pub fn server_command(&self, home: &Path, idx: usize, ports: &[u16]) -> Command {
        let count = ports.len() / 3;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let members: Vec<String> = (0..count).map(|each| format!("server-{}={}", each + 1, url(ports[count + each]))).collect();
        let (client, peer) = (url(ports[idx]), url(ports[count + idx]));
        let mut command = Command::new(&self.server);
        command.args(["--name", &format!("server-{}", idx + 1), "--data-dir"]).arg(home.join("data"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &members.join(","), "--initial-cluster-state", "new", "--log-level", "error"]);
        // Without, it refuses writes when 2 GiB of history lie there, which a busy comparison makes.
        command.args(["--quota-backend-bytes", &(8_u64 << 30).to_string()]);
        command
    }
}

/// Whether the server at `address` says that it serves.
pub fn serves(address: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let to = address.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.take(HEALTH_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    ask().is_ok_and(|text| text.contains("\"health\":\"true\""))
}

/// Whether it knows what these sessions ask for.
pub fn knows(workload: Workload) -> bool {
    asks(workload).is_some()
}

/// Share of the reads, and whether writes are of new keys.
fn asks(workload: Workload) -> Option<(u8, bool)> {
    match workload {
        Workload::Set => Some((0, false)),
        Workload::Create => Some((0, true)),
        Workload::Get => Some((100, false)),
        Workload::Mixed { read_percent } => Some((read_percent, false)),
        _ => None,
    }
}

/// What the generator prints at its end.
#[derive(Deserialize)]
struct Outcome {
    operations: u64,
    seconds: f64,
    p50_us: f64,
    p99_us: f64,
    p99_9_us: f64,
    max_us: f64,
    generator_cpu_us: f64,
}

/// Runs a closed loop against etcd servers.
pub fn run(programs: &Programs, plan: &Plan) -> Result<Figures, Failure> {
    let (read_percent, creates) = asks(plan.workload).ok_or_else(|| format!("etcd isn't asked for {}", plan.workload))?;
    let mut command = Command::new(&programs.load);
    command.args(["--endpoints", &plan.servers.join(",")]);
    command.args(["--sessions", &plan.sessions.to_string(), "--outstanding", &plan.outstanding.to_string()]);
    command.args(["--value-bytes", &plan.value_bytes.to_string(), "--read-percent", &read_percent.to_string()]);
    command.args([format!("--create={creates}"), format!("--warmup={}ms", plan.warmup.as_millis())]);
    command.arg(format!("--counted={}ms", plan.measured.as_millis()));
    end_with_this_process(&mut command);
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut generator = spawned.map_err(|e| format!("can't start {}: {e}", programs.load.display()))?;
    let outcome = follow(&mut generator, plan);
    if outcome.is_err() {
        // It may have ended by itself; otherwise nobody listens to it any more.
        let _ = generator.kill();
    }
    let status = generator.wait().map_err(|e| e.to_string())?;
    match outcome {
        Ok((outcome, used)) if status.success() => Ok(figures(plan, &outcome, used)),
        Ok(_) => Err(format!("etcd's client ended with {status}")),
        // Why stands on its own standard error, which is this program's: nothing that it logs can fill a pipe and hold it up.
        Err(failure) => Err(format!("etcd's client, which says why itself: {failure}")),
    }
}

/// What the servers used between its first and its second line, and what it says in its third.
fn follow(generator: &mut Child, plan: &Plan) -> Result<(Outcome, Usage), Failure> {
    let mut lines = BufReader::new(generator.stdout.take().ok_or("no output")?);
    expect(&mut lines, "\"begin\"")?;
    let before = Usage::now(&plan.watched)?;
    expect(&mut lines, "\"end\"")?;
    let used = Usage::now(&plan.watched)?.since(&before);
    let text = line(&mut lines)?;
    let outcome: Outcome = serde_json::from_str(&text).map_err(|e| format!("{text:?}: {e}"))?;
    let generator_us = outcome.generator_cpu_us as u64;
    // This thread only waited; the load was made by the threads of that process.
    Ok((outcome, Usage { generator_us, generator_waited_us: None, ..used }))
}

fn line(lines: &mut BufReader<ChildStdout>) -> Result<String, Failure> {
    let mut text = String::new();
    lines.read_line(&mut text).map_err(|e| e.to_string())?;
    if text.is_empty() { Err("it ended too early".to_owned()) } else { Ok(text.trim().to_owned()) }
}

fn expect(lines: &mut BufReader<ChildStdout>, what: &str) -> Result<(), Failure> {
    let text = line(lines)?;
    if text == what { Ok(()) } else { Err(format!("it said {text:?} where {what} was due")) }
}

fn figures(plan: &Plan, outcome: &Outcome, used: Usage) -> Figures {
    let Outcome { operations, seconds, p50_us, p99_us, p99_9_us, max_us, .. } = *outcome;
    let mut figures = Figures {
        seconds,
        operations,
        ops_per_s: operations as f64 / seconds,
        latency: Latency { count: operations, p50_us, p99_us, p99_9_us, max_us },
        ..plan.figures()
    };
    figures.set_usage(&used);
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_know_each_other() {
        let programs = Programs { server: "server".into(), load: "load".into() };
        let command = programs.server_command(Path::new("/d"), 1, &[10, 11, 12, 20, 21, 22, 30, 31, 32]);
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        let all = arguments.join(" ");
        let members = "server-1=http://127.0.0.1:20,server-2=http://127.0.0.1:21,server-3=http://127.0.0.1:22";
        assert!(all.starts_with("--name server-2 --data-dir /d/data --listen-client-urls http://127.0.0.1:11 "), "{all}");
        assert!(all.contains(&format!("--initial-cluster {members} ")), "{all}");
    }

    #[test]
    fn what_is_asked_of_both_is_alike() {
        assert_eq!(asks(Workload::Mixed { read_percent: 90 }), Some((90, false)));
        assert_eq!((asks(Workload::Create), asks(Workload::Get)), (Some((0, true)), Some((100, false))));
        assert!(!knows(Workload::Spark));
    }
}
