//! The program as an operator meets it: each refusal of a start ends with its own status and one message that names the place and
//! the remedy, touches nothing, and a start that goes through says one line.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringkeeper");
/// Longer than any start or end takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with a configuration in it.
struct Place(TempDir);

impl Place {
    fn new(lines: &str) -> Place {
        let dir = TempDir::new().expect("a temporary directory");
        let text = format!("dataDir={}\nclientPortAddress=127.0.0.1\nclientPort=0\n{lines}\n", dir.path().join("data").display());
        fs::write(dir.path().join("zoo.cfg"), text).expect("a writable directory");
        Place(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn serve(&self, more: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg(self.path("zoo.cfg")).args(more);
        command
    }
}

/// A server that said that it is ready.
struct Server {
    child: Child,
    ready: String,
    port: u16,
}

impl Server {
    fn start(mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut ready = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut ready).expect("a readable pipe");
        let client = ready.split(' ').find_map(|word| word.strip_prefix("client=")).unwrap_or_default();
        let port = client.rsplit(':').next().and_then(|port| port.parse().ok());
        let Some(port) = port else {
            let output = child.wait_with_output().expect("an end");
            panic!("no ready line: {ready:?}, {output:?}");
        };
        Server { child, ready, port }
    }

    fn ask(&self, word: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("an open port");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(word.as_bytes()).expect("a taker");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Sends a signal; returns the status, and what else was said on standard output.
    fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait().expect("a child").is_none() {
            assert!(Instant::now() < until, "it doesn't end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut rest = String::new();
        self.child.stdout.take().expect("a pipe").read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("a child").code(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, or a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command that must end by itself with `status`; returns what it said on standard error.
fn refused(mut command: Command, status: i32) -> String {
    let Output { status: ended, stderr, stdout } = command.output().expect("the program starts");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(ended.code(), Some(status), "{said}");
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    said
}

/// The same for a start: the message leads with the status.
fn start_refused(command: Command, status: i32, parts: &[&str]) {
    let said = refused(command, status);
    assert!(said.starts_with(&format!("ringkeeper: status {status}, ")), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part} isn't in\n{said}");
    }
}

#[test]
fn cli_a_start_says_one_line_and_ends_with_0() {
    for signal in ["-TERM", "-INT", "-HUP"] {
        let place = Place::new("");
        let server = Server::start(place.serve(&[]));
        let (data, port) = (place.path("data"), server.port);
        assert!(server.ready.starts_with(&format!("ringkeeper ready client=127.0.0.1:{port} data={data} cores=")), "{}", server.ready);
        assert!(server.ready.contains(" durable="), "{}", server.ready);
        assert!(server.ask("srvr").contains("\nMode: standalone\n"));
        assert!(server.ask("conf").starts_with(&format!("clientPort={port}\nsecureClientPort=-1\ndataDir={data}\n")));
        assert_eq!(server.stop(signal), (Some(0), String::new()));
    }
}

#[test]
fn cli_a_signal_ends_a_recovery_too() {
    let place = Place::new("");
    assert_eq!(Server::start(place.serve(&[])).stop("-TERM").0, Some(0));
    let (meta, kept) = (place.path("data/log/epoch-0.meta"), place.path("kept"));
    fs::rename(&meta, &kept).expect("a file");
    // Opening it waits for somebody who writes, so this recovery never ends by itself.
    assert!(Command::new("mkfifo").arg(&meta).status().expect("mkfifo").success());
    let mut child = place.serve(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut log = child.stderr.take().expect("a pipe");
    let status = format!("/proc/{}/status", child.id());
    let recovering = Server { child, ready: String::new(), port: 0 };
    let takes_sigterm = || {
        let text = fs::read_to_string(&status).expect("a process");
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("what it catches").trim();
        u64::from_str_radix(caught, 16).expect("a number") & (1 << 14) != 0
    };
    let until = Instant::now() + PATIENCE;
    while !takes_sigterm() {
        assert!(Instant::now() < until, "it takes no signal");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(recovering.stop("-TERM"), (Some(0), String::new()));
    let mut said = String::new();
    log.read_to_string(&mut said).expect("text");
    assert!(said.contains("SIGTERM came before this server served"), "{said}");
    fs::rename(&kept, &meta).expect("a file");
    assert_eq!(Server::start(place.serve(&[])).stop("-TERM").0, Some(0));
}

#[test]
fn cli_a_signal_that_asks_for_something_ends_nothing() {
    let place = Place::new("");
    let mut server = Server::start(place.serve(&[]));
    for signal in ["-QUIT", "-USR1"] {
        let sent = Command::new("kill").args([signal, &server.child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(server.ask("srvr").contains("\nMode: standalone\n"));
    let mut log = server.child.stderr.take().expect("a pipe");
    assert_eq!(server.stop("-TERM").0, Some(0));
    let mut said = String::new();
    log.read_to_string(&mut said).expect("text");
    for part in ["SIGQUIT came and changes nothing", "SIGUSR1 came and changes nothing", "SIGTERM came: "] {
        assert!(said.contains(part), "{part} isn't in\n{said}");
    }
    assert!(said.trim_end().ends_with("stopped"), "{said}");
}

#[test]
fn cli_with_lines_of_json_the_last_one_is_json_too() {
    let place = Place::new("ringkeeper.log.format=json");
    let server = Server::start(place.serve(&[]));
    let said = refused(place.serve(&[]), 13);
    let last = said.trim_end().lines().last().unwrap_or_default();
    assert!(last.starts_with("{\"") && last.ends_with('}'), "{said}");
    assert!(last.contains("\"status\":13") && last.contains("ringkeeper: status 13, locked: "), "{said}");
    assert_eq!(server.stop("-TERM").0, Some(0));
}

#[test]
fn cli_without_arguments_the_built_in_settings_hold() {
    let place = Place::new("");
    let mut command = Command::new(PROGRAM);
    command.arg("-DclientPort=0").current_dir(place.0.path());
    let server = Server::start(command);
    assert!(
        server.ready.contains("client=127.0.0.1:") && server.ready.contains(&format!("data={} ", place.path("data"))),
        "{}",
        server.ready
    );
    assert_eq!(server.stop("-TERM").0, Some(0));
}

#[test]
fn cli_usage_and_configuration() {
    let mut nonsense = Command::new(PROGRAM);
    nonsense.arg("nonsense");
    assert!(refused(nonsense, 2).contains("Usage: ringkeeper"));
    let place = Place::new("tickTime=soon\nsnpCount=7");
    let file = place.path("zoo.cfg");
    start_refused(place.serve(&[]), 10, &[&format!("{file}:4: error: `tickTime` is `soon`"), "did you mean `snapCount`?"]);
    start_refused(Place::new("sslQuorum=true").serve(&[]), 10, &["zoo.cfg:4: error: `sslQuorum=true`"]);
    let mut missing = Command::new(PROGRAM);
    missing.args(["serve", "/nowhere/zoo.cfg"]);
    start_refused(missing, 10, &["/nowhere/zoo.cfg"]);
    assert!(!Path::new(&place.path("data")).exists(), "a refused configuration made the directory");
}

#[test]
fn cli_an_ensemble_needs_a_number_and_a_founder_an_ensemble() {
    let place = Place::new("server.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4\nserver.3=127.0.0.1:5:6");
    let data = place.path("data");
    start_refused(place.serve(&[]), 10, &[&format!("{data}/myid is missing"), &format!("echo 1 > {data}/myid")]);
    fs::create_dir(&data).expect("a writable directory");
    fs::write(format!("{data}/myid"), "9\n").expect("a writable directory");
    start_refused(place.serve(&[]), 10, &[&format!("{data}/myid:1: error: this server is number 9, but there is no `server.9` line")]);
    start_refused(place.serve(&["-DdynamicConfigFile=/nowhere/members"]), 10, &["/nowhere/members, which isn't there"]);
    start_refused(Place::new("").serve(&["--bootstrap"]), 2, &["--bootstrap founds an ensemble", "a server alone"]);
    let left: Vec<_> = fs::read_dir(&data).expect("a directory").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["myid"], "a refused start left something");
}

#[test]
fn cli_local_says_which_arguments_do_not_fit() {
    let place = Place::new("");
    let local = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("local").args(["--dir", &place.path("ring")]).args(more);
        command
    };
    assert!(refused(local(&["--servers", "0"]), 2).contains("1..=9"));
    start_refused(local(&["--base-port", "65530"]), 2, &["name a --base-port from 1 to 65527"]);
    for id in 1..=2 {
        fs::create_dir_all(place.path(&format!("ring/server-{id}"))).expect("a writable directory");
    }
    start_refused(local(&[]), 2, &["holds an ensemble of 2 servers, not of 3", "--servers 2"]);
    fs::write(place.path("file"), "").expect("a writable directory");
    let mut on_a_file = Command::new(PROGRAM);
    on_a_file.args(["local", "--dir", &place.path("file")]);
    start_refused(on_a_file, 12, &["can't be prepared", "name another --dir"]);
}

/// One server of the local ensemble stands alone, so this much of the command can be run.
#[test]
fn cli_local_hands_on_what_its_server_says_and_ends_it() {
    let place = Place::new("");
    let base_port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a free port").port().min(65_000);
    for _ in 0..2 {
        let mut command = Command::new(PROGRAM);
        command.args(["local", "--servers", "1", "--base-port", &base_port.to_string(), "--dir", &place.path("ring")]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut ready = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut ready).expect("a readable pipe");
        assert_eq!(ready, format!("ringkeeper local ready connect=127.0.0.1:{base_port} dir={}\n", place.path("ring")));
        let sent = Command::new("kill").arg(child.id().to_string()).status().expect("kill");
        assert!(sent.success());
        let output = child.wait_with_output().expect("an end");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.lines().any(|line| line.starts_with("server.1 | ") && line.contains("recovered through")), "{said}");
        // The second round needs the same ports: a server that lived on would have them.
        assert!(said.contains("ringkeeper local: ending all servers"), "{said}");
    }
    assert!(Path::new(&place.path("ring/server-1/data/log")).exists());
}

#[test]
fn cli_latency_shows_the_stages_of_a_server_and_explains_a_refusal() {
    let asked = |server: &Server, more: &[&str]| {
        let address = format!("127.0.0.1:{}", server.port);
        let output = Command::new(PROGRAM).arg("latency").arg(&address).args(more).output().expect("the program starts");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).replace(&address, "S"))
    };
    let server = Server::start(Place::new("").serve(&[]));
    let (status, text) = asked(&server, &[]);
    assert_eq!(status, Some(0), "{text}");
    assert!(
        text.starts_with("S: mode standalone, the last ") && text.contains("\nsync ") && text.contains("handed to the disk > durable here"),
        "{text}"
    );
    drop(server);
    let closed = Server::start(Place::new("4lw.commands.whitelist=ruok").serve(&[]));
    let (status, text) = asked(&closed, &["127.0.0.1:1"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("Add `late` to 4lw.commands.whitelist") && text.contains("127.0.0.1:1: can't be asked"), "{text}");
}

#[test]
fn cli_check_config_starts_nothing() {
    let place = Place::new("tickTime=1000");
    let output =
        Command::new(PROGRAM).args(["check-config", &place.path("zoo.cfg"), "-DsnapCount=5"]).output().expect("the program starts");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0));
    assert!(text.lines().any(|line| line.starts_with("tickTime=1000 ") && line.ends_with("zoo.cfg:4")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("snapCount=5 ") && line.ends_with("# -D")), "{text}");
    assert!(!Path::new(&place.path("data")).exists());
}

#[test]
fn cli_a_port_in_use_also_by_one_that_would_share_it() {
    let place = Place::new("");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    start_refused(place.serve(&[&format!("-DclientPort={port}")]), 11, &[&format!("127.0.0.1:{port} is in use")]);
    let sharing = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    sharing.set_reuse_port(true).expect("an option");
    sharing.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    sharing.listen(1).expect("a listener");
    let port = sharing.local_addr().ok().and_then(|a| a.as_socket()).expect("an address").port();
    start_refused(place.serve(&[&format!("-DclientPort={port}")]), 11, &[&format!("127.0.0.1:{port} is in use"), "another clientPort"]);
}

#[test]
fn cli_directories_that_are_not_to_be_used() {
    let place = Place::new("datadir.autocreate=false");
    let data = place.path("data");
    start_refused(place.serve(&[]), 12, &[&data, "is missing"]);
    fs::write(&data, "no directory").expect("a writable directory");
    start_refused(place.serve(&[]), 12, &[&data, "is not a directory"]);
    fs::remove_file(&data).expect("a file");
    fs::create_dir_all(Path::new(&data).join("version-2")).expect("a directory");
    fs::write(Path::new(&data).join("version-2/snapshot.0"), "ZKSN").expect("a file");
    start_refused(place.serve(&[]), 14, &["data of Apache ZooKeeper", "a dataDir of its own"]);
    let left: Vec<_> = fs::read_dir(&data).expect("a directory").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["version-2"], "something was left beside the foreign data");
}

/// Taken for damage, it would make a server alone ask for an accepted loss, and a member put a good log aside.
#[test]
fn cli_a_log_that_can_not_be_opened_is_not_damaged() {
    let place = Place::new("");
    assert_eq!(Server::start(place.serve(&[])).stop("-TERM").0, Some(0));
    let (log, kept) = (place.path("data/log"), place.path("kept"));
    fs::rename(&log, &kept).expect("a directory");
    // Also for the superuser there is no way into a name that leads back to itself.
    std::os::unix::fs::symlink("log", &log).expect("a link");
    start_refused(place.serve(&[]), 12, &["nothing was touched, since ", &log, "can't be read", "then start again"]);
    let mut accept = Command::new(PROGRAM);
    accept.args(["accept-loss", &place.path("data")]);
    start_refused(accept, 12, &["nothing was touched, since ", &log, "can't be read", "run the command again"]);
    fs::remove_file(&log).expect("a link");
    fs::rename(&kept, &log).expect("a directory");
    assert_eq!(Server::start(place.serve(&[])).stop("-TERM").0, Some(0));
}

#[test]
fn cli_a_directory_serves_one_server() {
    let place = Place::new("");
    let server = Server::start(place.serve(&[]));
    start_refused(place.serve(&[]), 13, &["in use by another server", "ringkeeper.lock"]);
    let mut accept = Command::new(PROGRAM);
    accept.args(["accept-loss", &place.path("data")]);
    start_refused(accept, 13, &["in use by another server"]);
    assert!(server.ask("srvr").contains("Mode: standalone"), "the first one goes on");
    assert_eq!(server.stop("-TERM").0, Some(0));
    assert_eq!(Server::start(place.serve(&[])).stop("-TERM").0, Some(0), "the lock goes with its holder");
}

#[test]
fn cli_too_little_locked_memory() {
    let place = Place::new("");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -l 64 && exec \"$0\" serve \"$1\"", PROGRAM, &place.path("zoo.cfg")]);
    start_refused(command, 16, &["the limit is 64 KiB", "ulimit -l"]);
}

#[test]
fn cli_doctor_ends_as_a_start_would_and_changes_nothing() {
    let place = Place::new("");
    let doctor = |shell: &str, more: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{shell} exec \"$0\" doctor \"$@\""), PROGRAM, &place.path("zoo.cfg")]).args(more);
        let output = command.output().expect("the program starts");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (status, table) = doctor("", &[]);
    assert!(status == Some(0) && table.ends_with(": nothing here stops a server\n"), "{table}");
    let (status, json) = doctor("ulimit -l 64;", &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    let locked = findings.iter().find(|finding| finding["id"] == "limits.locked-memory").expect("a finding");
    assert_eq!((status, &report["status"], &locked["severity"], &locked["status"]), (Some(16), &16.into(), &"error".into(), &16.into()));
    assert!(!Path::new(&place.path("data")).exists());
    fs::create_dir_all(place.path("data/version-2")).expect("a directory");
    assert_eq!(doctor("", &[]).0, Some(14));
    let mut refused_configuration = Command::new(PROGRAM);
    refused_configuration.args(["doctor", &place.path("zoo.cfg"), "-DtickTime=soon"]);
    start_refused(refused_configuration, 10, &["`tickTime` is `soon`"]);
}

#[test]
fn cli_probe_disk_reports_and_leaves_nothing() {
    let place = Place::new("");
    let mut missing = Command::new(PROGRAM);
    missing.args(["probe-disk", &place.path("none")]);
    start_refused(missing, 12, &["/none", "name a directory that is there"]);
    let output =
        Command::new(PROGRAM).args(["probe-disk", &place.path(""), "--seconds", "1", "--json"]).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(report["figures"].as_array().is_some_and(|figures| !figures.is_empty()) && report["advice"]["shards"].is_u64(), "{report}");
    let left: Vec<_> = fs::read_dir(place.0.path()).expect("a directory").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["zoo.cfg"]);
}

#[test]
fn cli_damage_is_refused_until_its_loss_is_accepted() {
    let place = Place::new("");
    assert_eq!(Server::start(place.serve(&[])).stop("-TERM").0, Some(0));
    let metas = ["data/log/epoch-0.meta", "data/log/epoch-1.meta"].map(|name| place.path(name));
    for meta in &metas {
        fs::write(meta, "worn").expect("a file");
    }
    let command = format!("`ringkeeper accept-loss {}`", place.path("data"));
    start_refused(place.serve(&[]), 20, &["log/epoch-0.meta at byte 0", &command]);
    assert_eq!(fs::read(&metas[0]).expect("a file"), b"worn", "a refused start changed something");
    let shown = Command::new(PROGRAM).args(["inspect", &place.path("data")]).output().expect("the program starts");
    assert!(shown.status.success() && String::from_utf8_lossy(&shown.stdout).contains("mark sector 0: sequence"), "{shown:?}");
    let accept = || Command::new(PROGRAM).args(["accept-loss", &place.path("data")]).output().expect("the program starts");
    let text = String::from_utf8(accept().stdout).expect("text");
    assert!(text.starts_with("damage found (case C, metadata lost):\n") && text.contains("the history now ends at zxid 0x0"), "{text}");
    let aside = text.lines().find_map(|line| line.strip_prefix("copied aside: ")).expect("a copy");
    assert_eq!(fs::read(aside).expect("the copy"), b"worn");
    assert_eq!(Server::start(place.serve(&[])).stop("-TERM").0, Some(0));
    let again = accept();
    assert!(again.status.success() && String::from_utf8_lossy(&again.stdout).contains("nothing was changed"), "{again:?}");
}
