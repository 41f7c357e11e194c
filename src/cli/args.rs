//! What may be said on the command line of `ringkeeper`. Anything else ends with exit status 2 and a usage text.

use super::local::SERVERS_MAX;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A coordination service that every ZooKeeper client can use unchanged.
#[derive(Clone, PartialEq, Eq, Debug, Parser)]
#[command(name = "ringkeeper", version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; without it, a server starts.
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug, Subcommand)]
pub enum Command {
    /// Run a server in the foreground: by a configuration file, or on 127.0.0.1:2181 with its data in ./data
    Serve {
        /// A ZooKeeper zoo.cfg
        file: Option<PathBuf>,
        /// Found a new ensemble with the history that this server holds; for the first start of one server only
        #[arg(long)]
        bootstrap: bool,
        /// End when the process that started this one ends
        #[arg(long, hide = true)]
        end_with_parent: bool,
        #[command(flatten)]
        #[allow(missing_docs, reason = "the fields are documented in Settings")]
        settings: Settings,
    },
    /// Run a whole ensemble on this machine, each server in a directory of its own, until Ctrl-C
    Local {
        /// How many servers
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(SERVERS_MAX)))]
        servers: u8,
        /// Holds the servers' directories; a second start finds the data there
        #[arg(long, default_value = "./ringkeeper-local")]
        dir: PathBuf,
        /// Client port of the first server; those of the others, the quorum and the election ports follow
        #[arg(long, value_name = "PORT", default_value_t = 2181, value_parser = clap::value_parser!(u16).range(1..))]
        base_port: u16,
        #[command(flatten)]
        #[allow(missing_docs, reason = "the fields are documented in Settings")]
        settings: Settings,
    },
    /// Print the effective configuration and where each value comes from; start nothing
    CheckConfig {
        /// A ZooKeeper zoo.cfg
        file: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs, reason = "the fields are documented in Settings")]
        settings: Settings,
    },
    /// Print what a log segment, a snapshot or a data directory holds; change nothing
    Inspect {
        /// A file or a data directory
        path: PathBuf,
    },
    /// Accept the loss that a damaged data directory was refused for, so that a server starts with what is left
    AcceptLoss {
        /// The data directory that was named when the start was refused
        data_dir: PathBuf,
        /// The directory of the log, where dataLogDir is another one
        #[arg(long, value_name = "DIR")]
        log_dir: Option<PathBuf>,
    },
    /// Look at this host: what stops or slows a server, what it costs, what mends it; change nothing
    Doctor {
        /// A ZooKeeper zoo.cfg, whose directories are judged; without it those of the built-in settings
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        #[allow(missing_docs, reason = "the fields are documented in Settings")]
        settings: Settings,
    },
    /// Show where writes spend their time on running servers: a table for each, stage by stage, of the last minute
    Latency {
        /// Client addresses
        #[arg(value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:2181")]
        servers: Vec<String>,
        /// Ask again after so many seconds, until Ctrl-C
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
        every: Option<u64>,
    },
    /// Measure how long a durable write takes on a disk and how parallel ones scale; recommend settings
    ProbeDisk {
        /// A directory on the disk; files of 32 MiB are made in it, and removed
        dir: PathBuf,
        /// Seconds of measuring
        #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Settings that go before those of the file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Args)]
pub struct Settings {
    /// A setting that goes before the file's; its name counts with and without the prefix `zookeeper.`
    #[arg(short = 'D', value_name = "NAME=VALUE", value_parser = parse_setting, action = clap::ArgAction::Append)]
    pub defines: Vec<(String, String)>,
}

impl Cli {
    /// What to do; no command starts a server.
    #[must_use]
    pub fn into_command(self) -> Command {
        let serve = Command::Serve { file: None, bootstrap: false, end_with_parent: false, settings: self.settings };
        self.command.unwrap_or(serve)
    }
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("a setting is NAME=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let words = std::iter::once("ringkeeper").chain(line.split_whitespace());
        Cli::try_parse_from(words).map(Cli::into_command)
    }

    fn defines(pairs: &[(&str, &str)]) -> Settings {
        Settings { defines: pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect() }
    }

    fn serve(file: Option<&str>, settings: Settings) -> Command {
        Command::Serve { file: file.map(PathBuf::from), bootstrap: false, end_with_parent: false, settings }
    }

    #[test]
    fn no_command_serves_with_the_built_in_settings() {
        assert_eq!(parse("").unwrap(), serve(None, Settings::default()));
        assert_eq!(parse("-DclientPort=0").unwrap(), serve(None, defines(&[("clientPort", "0")])));
        assert_eq!(parse("serve").unwrap(), serve(None, Settings::default()));
    }

    #[test]
    fn founding_an_ensemble_is_said_on_the_command_line() {
        let file = Some("f".into());
        let founding = Command::Serve { file, bootstrap: true, end_with_parent: false, settings: Settings::default() };
        assert_eq!(parse("serve --bootstrap f").unwrap(), founding);
        assert_eq!(parse("serve f --bootstrap").unwrap(), founding);
    }

    #[test]
    fn a_local_ensemble_has_three_servers_unless_told_otherwise() {
        let local = |servers, dir: &str, base_port, settings| Command::Local { servers, dir: dir.into(), base_port, settings };
        assert_eq!(parse("local").unwrap(), local(3, "./ringkeeper-local", 2181, Settings::default()));
        let settings = defines(&[("tickTime", "500")]);
        assert_eq!(parse("local --servers 5 --dir d --base-port 4000 -DtickTime=500").unwrap(), local(5, "d", 4000, settings));
    }

    #[test]
    fn settings_stand_before_and_after_the_file() {
        let settings = defines(&[("zookeeper.snapCount", "5"), ("a", "b=c"), ("d", "")]);
        assert_eq!(parse("serve -Dzookeeper.snapCount=5 zoo.cfg -Da=b=c -D d=").unwrap(), serve(Some("zoo.cfg"), settings));
        let settings = defines(&[("x", "1")]);
        assert_eq!(parse("check-config f -Dx=1").unwrap(), Command::CheckConfig { file: "f".into(), settings });
    }

    #[test]
    fn the_other_commands() {
        assert_eq!(parse("inspect a/b").unwrap(), Command::Inspect { path: "a/b".into() });
        assert_eq!(parse("accept-loss d").unwrap(), Command::AcceptLoss { data_dir: "d".into(), log_dir: None });
        let both = Command::AcceptLoss { data_dir: "d".into(), log_dir: Some("l".into()) };
        assert_eq!(parse("accept-loss d --log-dir l").unwrap(), both);
    }

    #[test]
    fn asking_servers_where_time_goes() {
        let latency = |servers: &[&str], every| Command::Latency { servers: servers.iter().map(|s| (*s).to_owned()).collect(), every };
        assert_eq!(parse("latency").unwrap(), latency(&["127.0.0.1:2181"], None));
        assert_eq!(parse("latency a:1,b:2 c:3 --every 5").unwrap(), latency(&["a:1", "b:2", "c:3"], Some(5)));
        assert_eq!(parse("latency --every 0").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn looking_at_the_host() {
        let doctor = |file: Option<&str>, json, settings| Command::Doctor { file: file.map(PathBuf::from), json, settings };
        assert_eq!(parse("doctor").unwrap(), doctor(None, false, Settings::default()));
        assert_eq!(parse("doctor f --json -Da=b").unwrap(), doctor(Some("f"), true, defines(&[("a", "b")])));
        let probe = |seconds, json| Command::ProbeDisk { dir: "d".into(), seconds, json };
        assert_eq!(parse("probe-disk d").unwrap(), probe(12, false));
        assert_eq!(parse("probe-disk d --seconds 600 --json").unwrap(), probe(600, true));
        for line in ["probe-disk", "probe-disk d --seconds 0", "probe-disk d --seconds 601", "doctor a b"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn usage_errors_end_with_status_2_and_questions_with_0() {
        for line in ["start", "serve a b", "check-config", "inspect", "accept-loss", "-D=5", "-D==5", "-DskipACL", "serve -Q", "serve -D"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        for line in
            ["--bootstrap", "check-config f --bootstrap", "local x", "local --servers 0", "local --servers 10", "local --base-port 0"]
        {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        assert_eq!(parse("--version").unwrap_err().exit_code(), 0);
        assert!(parse("--version").unwrap_err().to_string().starts_with("ringkeeper 0."));
        assert_eq!(parse("--help").unwrap_err().exit_code(), 0);
    }

    #[test]
    fn the_declaration_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
