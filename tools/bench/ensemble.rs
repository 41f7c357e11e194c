//! Whole ensembles of either system on 127.0.0.1: the same `zoo.cfg` for both, but for what is asked for on one side; quiet logging.
//!
//! Guarantees: every server serves (`srvr` names its mode) before an ensemble is handed out; all of them end, and their data goes,
//! when it is stopped.

use crate::etcd;
use crate::servers::Server;
use crate::session::Session;
use crate::{Failure, create_dir};
use ringkeeper::model::request::Request;
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long all servers together may take until they serve.
const START_MAX: Duration = Duration::from_secs(90);
/// How long a restart with much data may take until somebody answers.
const RESTART_MAX: Duration = Duration::from_secs(180);
/// What every server's configuration begins with. A key of ours only sets a system property of a Java server.
const COMMON: &str = "tickTime=2000\ninitLimit=10\nsyncLimit=5\nmaxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=srvr,mntr\n\
    ringkeeper.log.level=warn\n";

/// Which system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// Ours.
    Ringkeeper,
    /// The one to compare with.
    #[value(name = "zookeeper")]
    ZooKeeper,
    /// Servers that make their answers up ([`crate::bare`]): what the machine takes from any server.
    Bare,
    /// Another system altogether, by its own client ([`crate::etcd`]).
    Etcd,
}

impl System {
    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            System::Ringkeeper => "ringkeeper",
            System::ZooKeeper => "zookeeper",
            System::Bare => "bare",
            System::Etcd => "etcd",
        }
    }

    /// Whether its `mntr` says how many batches it made durable.
    pub fn counts_its_syncs(self) -> bool {
        matches!(self, System::Ringkeeper | System::ZooKeeper)
    }
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
    /// Arguments of its Java machine.
    pub java_options: Vec<String>,
    /// Both programs of etcd, where it is one of the sides.
    pub etcd: Option<etcd::Programs>,
}

/// Servers that serve.
pub struct Ensemble {
    servers: Vec<Server>,
    dir: PathBuf,
    recipes: Recipes,
    system: System,
}

impl Recipes {
    /// Starts `count` servers with their data in `dir`, which is emptied first.
    pub fn start(&self, system: System, count: usize, dir: &Path) -> Result<Ensemble, Failure> {
        if dir.exists() {
            fs::remove_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        let dir = create_dir(dir)?;
        let ports = free_ports(3 * count)?;
        let mut ensemble = Ensemble { servers: Vec::with_capacity(count), dir, recipes: self.clone(), system };
        for idx in 0..count {
            let home = create_dir(&ensemble.dir.join(format!("server-{}", idx + 1)))?;
            let address = format!("127.0.0.1:{}", ports[idx]);
            let command = match system {
                System::Bare => bare_command(&ports[..count], idx)?,
                System::Etcd => self.etcd()?.server_command(&home, idx, &ports),
                _ => self.command(system, &self.write_configuration(system, &home, idx, &ports)?)?,
            };
            ensemble.servers.push(Server::spawn(command, home, address)?);
        }
        let end = Instant::now() + START_MAX;
        for server in &mut ensemble.servers {
            match system {
                System::Etcd => server.wait_until(end, etcd::serves)?,
                _ => server.wait_until_it_serves(end)?,
            }
        }
        Ok(ensemble)
    }

    /// The programs of etcd.
    pub fn etcd(&self) -> Result<&etcd::Programs, Failure> {
        self.etcd.as_ref().ok_or_else(|| "etcd wasn't built".to_owned())
    }

    fn command(&self, system: System, file: &Path) -> Result<Command, Failure> {
        Ok(match system {
            System::Bare | System::Etcd => return Err(format!("{} isn't started again", system.name())),
            System::Ringkeeper => {
                let mut command = Command::new(&self.ringkeeper);
                command.arg("serve").arg(file);
                command
            }
            System::ZooKeeper => {
                let mut command = Command::new("java");
                command.args(&self.java_options);
                command.args(["-cp", &self.class_path, "org.apache.zookeeper.server.quorum.QuorumPeerMain"]).arg(file);
                command
            }
        })
    }

    fn write_configuration(&self, system: System, home: &Path, idx: usize, ports: &[u16]) -> Result<PathBuf, Failure> {
        let data = create_dir(&home.join("data"))?;
        let settings = match system {
            System::Ringkeeper => &self.ringkeeper_settings,
            System::ZooKeeper => &self.zookeeper_settings,
            System::Bare | System::Etcd => return Err(format!("{} has no such configuration", system.name())),
        };
        let text = configuration(&data, idx, ports, settings);
        let file = home.join("zoo.cfg");
        fs::write(data.join("myid"), format!("{}\n", idx + 1)).map_err(|e| format!("{}: {e}", data.display()))?;
        fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok(file)
    }
}

/// This program itself, as the bare server `idx`.
fn bare_command(client_ports: &[u16], idx: usize) -> Result<Command, Failure> {
    let address = |port: &u16| format!("127.0.0.1:{port}");
    let peers: Vec<String> = client_ports.iter().filter(|port| **port != client_ports[idx]).map(address).collect();
    let mut command = Command::new(std::env::current_exe().map_err(|e| format!("this program's own path: {e}"))?);
    command.args(["bare", "--listen", &address(&client_ports[idx])]);
    if !peers.is_empty() {
        command.args(["--peers", &peers.join(",")]);
    }
    Ok(command)
}

/// Of the server `idx`; the ports are those of all clients, then of all quorum connections, then of all elections.
fn configuration(data: &Path, idx: usize, ports: &[u16], settings: &[String]) -> String {
    let count = ports.len() / 3;
    let mut text = format!("{COMMON}dataDir={}\n", data.display());
    if count == 1 {
        text += &format!("clientPort={}\nclientPortAddress=127.0.0.1\n", ports[idx]);
    } else {
        for each in 0..count {
            let (client, quorum, election) = (ports[each], ports[count + each], ports[2 * count + each]);
            text += &format!("server.{}=127.0.0.1:{quorum}:{election};127.0.0.1:{client}\n", each + 1);
        }
    }
    for line in settings {
        text += line;
        text.push('\n');
    }
    text
}

impl Ensemble {
    /// HOST:PORT of every server's client port.
    pub fn addresses(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.address.clone()).collect()
    }

    /// The processes.
    pub fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(Server::pid).collect()
    }

    /// Of which system they are.
    pub fn system(&self) -> System {
        self.system
    }

    /// Ends the leader as a crash would.
    pub fn crash_leader(&mut self) -> Result<(), Failure> {
        let leader = self.servers.iter_mut().find(|server| server.mode().as_deref() == Some("leader"));
        leader.ok_or("no server says that it leads")?.crash()
    }

    /// All crash at once and are started again. Returns how long it takes, from the first start on, until any of them answers with
    /// the data of the znode `path`.
    pub fn crash_and_restart(&mut self, path: &str) -> Result<Duration, Failure> {
        let command = |server: &Server| self.recipes.command(self.system, &server.file("zoo.cfg"));
        let commands: Vec<Command> = self.servers.iter().map(command).collect::<Result<_, _>>()?;
        for server in &mut self.servers {
            server.crash()?;
        }
        let began = Instant::now();
        for (server, command) in self.servers.iter_mut().zip(commands) {
            server.spawn_again(command)?;
        }
        while !self.servers.iter().any(|server| answers(&server.address, path)) {
            if began.elapsed() > RESTART_MAX {
                return Err(format!("nobody answers {} s after the restart", RESTART_MAX.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let took = began.elapsed();
        let end = Instant::now() + START_MAX;
        for server in &mut self.servers {
            server.wait_until_it_serves(end)?;
        }
        Ok(took)
    }

    /// Where each keeps its data.
    pub fn data_dirs(&self) -> Vec<PathBuf> {
        self.servers.iter().map(|server| server.file("data")).collect()
    }

    /// What each answers to a four-letter word.
    pub fn four_letter(&self, word: &str) -> Result<Vec<String>, Failure> {
        self.servers.iter().map(|server| server.four_letter(word)).collect()
    }

    /// The last lines that each has logged.
    pub fn log_tails(&self) -> String {
        let tail = |server: &Server| format!("{}: {}", server.address, server.log_tail());
        self.servers.iter().map(tail).collect::<Vec<_>>().join("\n")
    }

    /// Ends all and removes their data.
    pub fn stop(mut self) -> Result<(), Failure> {
        self.servers.iter_mut().for_each(Server::ask_to_end);
        self.servers.clear();
        fs::remove_dir_all(&self.dir).map_err(|e| format!("{}: {e}", self.dir.display()))
    }
}

/// Whether the server lets a session in and has the znode.
fn answers(address: &str, path: &str) -> bool {
    let ask = || -> Result<i32, Failure> {
        let mut session = Session::connect(address)?;
        session.finish_handshake()?;
        let (err, _) = session.call(&Request::GetData { path: path.as_bytes(), watch: false })?;
        session.call_all(&[Request::CloseSession], None)?;
        Ok(err)
    };
    ask() == Ok(0)
}

/// Ports that were all free a moment ago.
fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
    // All listen until the last is found, so that none is found twice.
    let found: Vec<(u16, TcpListener)> = (0..count).map(bind).collect::<Result<_, _>>().map_err(|e| format!("no free port: {e}"))?;
    Ok(found.into_iter().map(|(port, _)| port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_agree_on_their_configuration() {
        let ports = [10, 11, 12, 20, 21, 22, 30, 31, 32];
        let texts: Vec<String> = (0..3).map(|idx| configuration(Path::new("/d"), idx, &ports, &["snapCount=5".to_owned()])).collect();
        assert_eq!(texts[0], texts[2]);
        assert!(texts[0].contains("\nserver.2=127.0.0.1:21:31;127.0.0.1:11\n") && texts[0].ends_with("\nsnapCount=5\n"), "{}", texts[0]);
        let alone = configuration(Path::new("/d"), 0, &[10, 20, 30], &[]);
        assert!(alone.contains("\nclientPort=10\n") && !alone.contains("server."), "{alone}");
    }

    #[test]
    fn free_ports_differ() {
        let mut ports = free_ports(9).expect("ports");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 9);
    }
}
