//! `ringkeeper serve [FILE] [-Dname=value]…`: from the arguments to a running server.

use super::check_config::read_file;
use super::companions::Companions;
use crate::base::fatal::{Fatal, FatalError};
use crate::runtime;
use crate::server::config::{self, Config, ConfigFile, Finding, Input, LogFormat, LogLevel};
use crate::server::note::{Level, Note};
use std::path::Path;

/// What the command line says beside settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// This server founds an ensemble with the history that it holds.
    pub bootstrap: bool,
    /// It ends with the process that started it.
    pub end_with_parent: bool,
}

/// Serves until a signal; without a file, with the built-in settings.
///
/// # Errors
/// The reason to end with a status of its own.
pub fn run(file: Option<&Path>, options: Options, overrides: &[(String, String)]) -> Result<(), FatalError> {
    if options.end_with_parent {
        runtime::end_with_parent()?;
    }
    let (mut config, findings) = read(file, overrides)?;
    if options.bootstrap {
        found(&mut config)?;
    }
    runtime::init_logging(config.log_format == LogFormat::Json, level_name(config.log_level));
    for finding in &findings {
        runtime::log_note(&Note { level: level_of(finding), text: finding.to_string() });
    }
    runtime::serve(&config).map(drop)
}

/// Marks this server as the founder of its ensemble.
fn found(config: &mut Config) -> Result<(), FatalError> {
    match &mut config.ensemble {
        Some(ensemble) if ensemble.membership.votes(ensemble.me) => {
            ensemble.founder = true;
            Ok(())
        }
        Some(ensemble) => {
            let text =
                format!("--bootstrap: server {} is an observer, and founding an ensemble takes a vote; say it to a voter", ensemble.me.0);
            Err(FatalError::new(Fatal::Usage, text))
        }
        None => {
            let text =
                "--bootstrap founds an ensemble, and this configuration is that of a server alone; leave it out, or add server.N lines";
            Err(FatalError::new(Fatal::Usage, text))
        }
    }
}

/// The configuration, and what there is to say about it.
///
/// # Errors
/// [`Fatal::Configuration`] with every finding.
pub(super) fn read(file: Option<&Path>, overrides: &[(String, String)]) -> Result<(Config, Vec<Finding>), FatalError> {
    let name = file.map(|path| path.display().to_string());
    let bytes = file.map(read_file).transpose()?;
    let file = name.as_deref().zip(bytes.as_deref()).map(|(name, bytes)| ConfigFile { name, bytes });
    let input = Input { file, overrides, cores_available: super::cores_available() };
    let checked = config::check_with(&input, &Companions::read(&input).beside());
    checked.into_config().map_err(|findings| {
        let (errors, others): (Vec<&Finding>, Vec<&Finding>) = findings.iter().partition(|finding| finding.level == config::Level::Error);
        let lines = |all: Vec<&Finding>| all.iter().map(|finding| format!("\n  {finding}")).collect::<String>();
        let also = if others.is_empty() { String::new() } else { format!("\nAlso found, but no reason to refuse it:{}", lines(others)) };
        let place = name.as_deref().unwrap_or("given with -D");
        FatalError::new(Fatal::Configuration, format!("the configuration {place} is refused; correct the errors:{}{also}", lines(errors)))
    })
}

fn level_of(finding: &Finding) -> Level {
    match finding.level {
        config::Level::Info => Level::Info,
        config::Level::Warning => Level::Warn,
        config::Level::Error => Level::Error,
    }
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_configuration_names_every_finding_and_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zoo.cfg");
        std::fs::write(&path, "clientPort=0\ndataDir=/d\nsnpCount=1\ntickTime=abc\n").unwrap();
        let error = read(Some(&path), &[]).unwrap_err();
        assert_eq!(error.kind, Fatal::Configuration);
        let lines: Vec<&str> = error.message.lines().collect();
        assert!(lines[1].contains("zoo.cfg:4: error: `tickTime` is `abc`"), "{error}");
        assert!(lines[2].starts_with("Also found") && lines[3].contains("zoo.cfg:3: warning: unknown key `snpCount`"), "{error}");
        let good = read(Some(&path), &[("tickTime".into(), "500".into())]).unwrap();
        assert_eq!((good.0.tick_ms, good.1.len()), (500, 1));
    }

    #[test]
    fn an_ensemble_needs_its_number_and_only_a_voter_founds_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zoo.cfg");
        let members = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2:observer\n";
        std::fs::write(&path, format!("clientPort=0\ndataDir={}\n{members}", dir.path().display())).unwrap();
        let error = read(Some(&path), &[]).unwrap_err();
        assert!(error.message.contains("/myid is missing"), "{error}");
        std::fs::write(dir.path().join("myid"), "3\n").unwrap();
        let mut config = read(Some(&path), &[]).unwrap().0;
        assert_eq!(config.ensemble.as_ref().map(|e| (e.me.0, e.founder)), Some((3, false)));
        found(&mut config).unwrap();
        assert!(config.ensemble.as_ref().is_some_and(|e| e.founder));
        std::fs::write(dir.path().join("myid"), "4\n").unwrap();
        let observer = found(&mut read(Some(&path), &[]).unwrap().0).unwrap_err();
        assert!(observer.kind == Fatal::Usage && observer.message.contains("observer"), "{observer}");
        let alone = found(&mut read(None, &[]).unwrap().0).unwrap_err();
        assert!(alone.kind == Fatal::Usage && alone.message.contains("a server alone"), "{alone}");
    }

    #[test]
    fn without_a_file_the_built_in_settings_hold() {
        let (config, findings) = read(None, &[("zookeeper.clientPort".into(), "0".into())]).unwrap();
        assert_eq!((config.client_port, config.client_host.as_deref(), config.data_dir.as_str()), (0, Some("127.0.0.1"), "./data"));
        assert!(findings.is_empty(), "{findings:?}");
    }
}
