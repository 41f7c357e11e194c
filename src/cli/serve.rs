//! `ringkeeper serve [FILE] [-Dname=value]…`: from the arguments to a running server.

use super::check_config::read_file;
use crate::base::fatal::{Fatal, FatalError};
use crate::runtime;
use crate::server::config::{self, Config, ConfigFile, Finding, Input, LogFormat, LogLevel};
use crate::server::note::{Level, Note};
use std::path::Path;

/// Serves until a signal; without a file, with the built-in settings.
///
/// # Errors
/// The reason to end with a status of its own.
pub fn run(file: Option<&Path>, overrides: &[(String, String)]) -> Result<(), FatalError> {
    let (config, findings) = read(file, overrides)?;
    runtime::init_logging(config.log_format == LogFormat::Json, level_name(config.log_level));
    for finding in &findings {
        runtime::log_note(&Note { level: level_of(finding), text: finding.to_string() });
    }
    runtime::serve(&config).map(drop)
}

/// The configuration, and what there is to say about it.
fn read(file: Option<&Path>, overrides: &[(String, String)]) -> Result<(Config, Vec<Finding>), FatalError> {
    let name = file.map(|path| path.display().to_string());
    let bytes = file.map(read_file).transpose()?;
    let file = name.as_deref().zip(bytes.as_deref()).map(|(name, bytes)| ConfigFile { name, bytes });
    let checked = config::check(&Input { file, overrides, cores_available: super::cores_available() });
    checked.into_config().map_err(|findings| {
        let lines: Vec<String> = findings.iter().map(|finding| format!("  {finding}")).collect();
        let place = name.as_deref().unwrap_or("given with -D");
        FatalError::new(Fatal::Configuration, format!("the configuration {place} is refused; correct the errors:\n{}", lines.join("\n")))
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
        std::fs::write(&path, "clientPort=0\ndataDir=/d\ntickTime=abc\nsnpCount=1\n").unwrap();
        let error = read(Some(&path), &[]).unwrap_err();
        assert_eq!(error.kind, Fatal::Configuration);
        assert!(error.message.contains("zoo.cfg:3: error: `tickTime` is `abc`"), "{error}");
        assert!(error.message.contains("zoo.cfg:4: warning: unknown key `snpCount`"), "{error}");
        let good = read(Some(&path), &[("tickTime".into(), "500".into())]).unwrap();
        assert_eq!((good.0.tick_ms, good.1.len()), (500, 1));
    }

    #[test]
    fn without_a_file_the_built_in_settings_hold() {
        let (config, findings) = read(None, &[("zookeeper.clientPort".into(), "0".into())]).unwrap();
        assert_eq!((config.client_port, config.client_host.as_deref(), config.data_dir.as_str()), (0, Some("127.0.0.1"), "./data"));
        assert!(findings.is_empty(), "{findings:?}");
    }
}
