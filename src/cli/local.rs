//! `ringkeeper local`: a whole ensemble on this machine, for trying out and for tests. Each server is a process of this very
//! program with a directory and ports of its own.
//!
//! The configurations are written anew at each start; data stays. What the servers log comes out on standard error behind their
//! names, and one line on standard output says where clients connect once all serve.

use super::{complain, say};
use crate::base::fatal::{Fatal, FatalError};
use crate::runtime::{ChildEvent, ChildSpec, Others, once_all_serve, run_children};
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Most servers that are started.
pub const SERVERS_MAX: u8 = 9;
/// Ports of one server: client, quorum, election.
const PORTS_EACH: u16 = 3;
/// Name of a server's directory up to its number.
const STEM: &str = "server-";

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// How many.
    pub servers: u8,
    /// Holds a directory for each.
    pub dir: PathBuf,
    /// Client port of the first; the others' follow, then all quorum ports, then all election ports.
    pub base_port: u16,
    /// `-D` settings for all.
    pub defines: Vec<(String, String)>,
}

/// Runs the ensemble until a signal. Returns the exit status.
///
/// # Errors
/// When nothing can be started.
pub fn run(plan: &Plan) -> Result<i32, FatalError> {
    let dir = prepare(plan)?;
    let program = std::env::current_exe().map_err(|e| FatalError::new(Fatal::Directory, format!("this program can't be found: {e}")))?;
    let connect: Vec<String> = (1..=plan.servers).map(|id| format!("127.0.0.1:{}", ports(plan, id)[0])).collect();
    let children: Vec<ChildSpec> = (1..=plan.servers).map(|id| child(&dir, id, &plan.defines)).collect();
    complain(&format!("ringkeeper local: starting {} servers in {}; Ctrl-C ends them all", plan.servers, dir.display()));
    run_children(&program, &children, &mut |event| match event {
        ChildEvent::Line { child, text } => complain(&format!("{} | {text}", children[child].name)),
        // Their ports are open; a leader comes after that.
        ChildEvent::AllReady => {
            let line = format!("ringkeeper local ready connect={} dir={}", connect.join(","), dir.display());
            once_all_serve(connect.clone(), move || say(&line));
        }
        ChildEvent::Ended { child, how, others } => {
            let then = match others {
                Others::GoOn => "; the others go on. Start all anew to have it back",
                Others::End => " before all were ready: ending the others",
                Others::WereEnding => ", as all were ending",
            };
            complain(&format!("ringkeeper local: {} ended ({how}){then}", children[child].name));
        }
        ChildEvent::Stopping => complain("ringkeeper local: ending all servers"),
        ChildEvent::Killed { child } => complain(&format!("ringkeeper local: {} didn't end in time and is killed", children[child].name)),
    })
}

fn child(dir: &Path, id: u8, defines: &[(String, String)]) -> ChildSpec {
    let file = dir.join(format!("{STEM}{id}")).join("zoo.cfg");
    let mut args: Vec<OsString> = vec!["serve".into(), "--end-with-parent".into(), file.into()];
    args.extend(defines.iter().map(|(name, value)| OsString::from(format!("-D{name}={value}"))));
    ChildSpec { name: format!("server.{id}"), args }
}

/// Client, quorum and election port of a server.
fn ports(plan: &Plan, id: u8) -> [u16; 3] {
    let (first, n) = (plan.base_port + u16::from(id) - 1, u16::from(plan.servers));
    [first, first + n, first + 2 * n]
}

/// Makes directories, numbers and configurations. Returns the directory's absolute name.
fn prepare(plan: &Plan) -> Result<PathBuf, FatalError> {
    let last = u32::from(plan.base_port) + u32::from(PORTS_EACH) * u32::from(plan.servers) - 1;
    if plan.base_port == 0 || last > u32::from(u16::MAX) {
        let highest = u32::from(u16::MAX) + 1 - u32::from(PORTS_EACH) * u32::from(plan.servers);
        let text = format!(
            "{} servers need the ports from {} through {last}, but there are those from 1 through 65535: name a --base-port from 1 to {highest}",
            plan.servers, plan.base_port
        );
        return Err(FatalError::new(Fatal::Usage, text));
    }
    let fail = |place: &Path, error: &io::Error| {
        FatalError::new(Fatal::Directory, format!("{} can't be prepared: {error}; name another --dir", place.display()))
    };
    let dir = std::path::absolute(&plan.dir).map_err(|e| fail(&plan.dir, &e))?;
    let there = servers_in(&dir).map_err(|e| fail(&dir, &e))?;
    if there > 0 && there != usize::from(plan.servers) {
        let text = format!(
            "{} holds an ensemble of {there} servers, not of {}: say --servers {there}, or name another --dir. (An ensemble can't grow by \
             starting it anew with more servers.)",
            dir.display(),
            plan.servers
        );
        return Err(FatalError::new(Fatal::Usage, text));
    }
    for id in 1..=plan.servers {
        let home = dir.join(format!("{STEM}{id}"));
        let text = configuration(plan, &home, id)?;
        fs::create_dir_all(home.join("data"))
            .and_then(|()| fs::write(home.join("data/myid"), format!("{id}\n")))
            .and_then(|()| fs::write(home.join("zoo.cfg"), text))
            .map_err(|e| fail(&home, &e))?;
    }
    Ok(dir)
}

/// How many servers' directories there are.
fn servers_in(dir: &Path) -> io::Result<usize> {
    match fs::read_dir(dir) {
        Ok(entries) => {
            let names = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
            Ok(names.filter(|name| name.strip_prefix(STEM).is_some_and(|id| id.parse::<u8>().is_ok())).count())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

fn configuration(plan: &Plan, home: &Path, id: u8) -> Result<String, FatalError> {
    let data = home.join("data");
    let Some(data) = data.to_str() else {
        return Err(FatalError::new(
            Fatal::Usage,
            format!("{} is no UTF-8, which a configuration must be: name another --dir", data.display()),
        ));
    };
    let mut text = format!(
        "# Server {id} of {}, written by `ringkeeper local` at each start: changes belong into its -Dname=value arguments.\n\
         dataDir={}\ntickTime=2000\ninitLimit=10\nsyncLimit=5\n",
        plan.servers,
        escaped(data)
    );
    for id in 1..=plan.servers {
        let [client, quorum, election] = ports(plan, id);
        // Writing to a String can't fail.
        let _ = writeln!(text, "server.{id}=127.0.0.1:{quorum}:{election};127.0.0.1:{client}");
    }
    Ok(text)
}

/// A value as a properties file holds it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::ServerId;
    use crate::cli::companions::Companions;
    use crate::server::config::{Config, ConfigFile, Input, check_with};

    fn plan(dir: &Path, servers: u8) -> Plan {
        Plan { servers, dir: dir.to_owned(), base_port: 3000, defines: Vec::new() }
    }

    fn config_of(dir: &Path, id: u8) -> Config {
        let name = dir.join(format!("server-{id}/zoo.cfg")).display().to_string();
        let bytes = fs::read(&name).unwrap();
        let input = Input { file: Some(ConfigFile { name: &name, bytes: &bytes }), overrides: &[], cores_available: 2 };
        let companions = Companions::read(&input);
        let (config, findings) = check_with(&input, &companions.beside()).into_config().unwrap();
        assert!(findings.iter().all(|f| f.level == crate::server::config::Level::Info), "{findings:?}");
        config
    }

    #[test]
    fn each_server_gets_a_directory_a_number_and_ports_and_all_agree() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("odd \\ name");
        prepare(&plan(&root, 3)).unwrap();
        let configs: Vec<Config> = (1..=3).map(|id| config_of(&root, id)).collect();
        for (id, config) in (1..).zip(&configs) {
            let ensemble = config.ensemble.as_ref().unwrap();
            assert_eq!((ensemble.me, config.client_port), (ServerId(id), 2999 + u16::from(id)));
            assert_eq!(config.client_host.as_deref(), Some("127.0.0.1"));
            assert_eq!(ensemble.membership, configs[0].ensemble.as_ref().unwrap().membership);
            assert_eq!(Path::new(&config.data_dir), root.join(format!("server-{id}/data")));
        }
        let last = configs[0].ensemble.as_ref().unwrap().membership.get(ServerId(3)).unwrap().clone();
        assert_eq!((last.quorum_port, last.election_port, last.client.as_deref()), (3005, 3008, Some("127.0.0.1:3002")));
    }

    #[test]
    fn a_second_start_keeps_the_data_and_the_number_of_servers() {
        let dir = tempfile::tempdir().unwrap();
        prepare(&plan(dir.path(), 3)).unwrap();
        fs::write(dir.path().join("server-2/data/kept"), "x").unwrap();
        prepare(&Plan { base_port: 4000, ..plan(dir.path(), 3) }).unwrap();
        assert!(dir.path().join("server-2/data/kept").exists());
        assert_eq!(config_of(dir.path(), 1).client_port, 4000);
        let other = prepare(&plan(dir.path(), 5)).unwrap_err();
        assert!(other.kind == Fatal::Usage && other.message.contains("say --servers 3"), "{other}");
    }

    #[test]
    fn one_server_stands_alone() {
        let dir = tempfile::tempdir().unwrap();
        prepare(&plan(dir.path(), 1)).unwrap();
        let config = config_of(dir.path(), 1);
        assert_eq!((config.ensemble, config.client_port), (None, 3000));
    }

    #[test]
    fn ports_that_do_not_exist_are_a_usage_error() {
        let dir = tempfile::tempdir().unwrap();
        for base_port in [0, 65_528] {
            let error = prepare(&Plan { base_port, ..plan(dir.path(), 3) }).unwrap_err();
            assert!(error.kind == Fatal::Usage && error.message.contains("--base-port from 1 to 65527"), "{error}");
        }
        prepare(&Plan { base_port: 65_527, ..plan(dir.path(), 3) }).unwrap();
    }
}
