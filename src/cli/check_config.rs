//! `ringkeeper check-config FILE`: says what a start with that file would find, and starts nothing.

use super::companions::read_bounded;
use crate::base::fatal::{Fatal, FatalError};
use crate::server::config::effective::render_effective;
use crate::server::config::{Beside, Checked, Finding, Input, Level, check_with};
use std::path::Path;

/// What to print, and the exit status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// For standard output: the effective configuration.
    pub effective: String,
    /// For standard error: one line for each finding, and the verdict.
    pub findings: String,
    /// 0, or that of [`Fatal::Configuration`].
    pub status: i32,
}

/// Reads a configuration file, as far as a configuration can be long.
///
/// # Errors
/// [`Fatal::Configuration`] when the file can't be read.
pub fn read_file(path: &Path) -> Result<Vec<u8>, FatalError> {
    match read_bounded(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            let message = format!("can't read the configuration {}: {error}; name a readable zoo.cfg", path.display());
            Err(FatalError::new(Fatal::Configuration, message))
        }
    }
}

/// Carries out the command on the content of a file and of those it refers to.
#[must_use]
pub fn run(input: &Input<'_>, beside: &Beside<'_>) -> Report {
    let name = input.file.map_or("the built-in configuration", |file| file.name);
    let checked = check_with(input, beside);
    Report { effective: render_effective(&checked), findings: verdict(name, &checked), status: status(&checked) }
}

fn status(checked: &Checked) -> i32 {
    if checked.is_refused() { Fatal::Configuration.status() } else { 0 }
}

/// Errors come last, where they are seen, apart from what refuses nothing.
fn verdict(name: &str, checked: &Checked) -> String {
    let (errors, others): (Vec<&Finding>, Vec<&Finding>) = checked.findings().iter().partition(|finding| finding.level == Level::Error);
    let mut out: String = others.iter().map(|finding| format!("{finding}\n")).collect();
    if !errors.is_empty() && !others.is_empty() {
        out.push('\n');
    }
    out.extend(errors.iter().map(|finding| format!("{finding}\n")));
    out.push_str(name);
    out.push_str(if checked.is_refused() {
        ": a start would be refused\n"
    } else {
        ": the configuration is accepted; directories, ports and the host weren't looked at (`ringkeeper doctor` does)\n"
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::properties::TEXT_BYTES_MAX;
    use crate::server::config::{Companion, ConfigFile};

    fn run(name: &str, bytes: &[u8], overrides: &[(String, String)], cores_available: usize) -> Report {
        let my_id = Companion::Read(ConfigFile { name: "/d/myid", bytes: b"2" });
        let input = Input { file: Some(ConfigFile { name, bytes }), overrides, cores_available };
        super::run(&input, &Beside { my_id, ..Beside::default() })
    }

    #[test]
    fn an_ensemble_is_shown_as_this_server_sees_it() {
        let text = b"dataDir=/d\nclientPort=2181\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n";
        let report = run("zoo.cfg", text, &[], 2);
        assert_eq!((report.status, report.findings.lines().count()), (0, 1), "{}", report.findings);
        assert!(report.effective.lines().any(|l| l.starts_with("# myid=2 ") && l.ends_with("# /d/myid:1")), "{}", report.effective);
        assert!(report.effective.lines().any(|l| l.starts_with("ringkeeper.pulse.silenceMs=800 ")), "{}", report.effective);
        let stranger = run("zoo.cfg", b"dataDir=/d\nclientPort=2181\nserver.1=a:1:2\nserver.3=c:1:2\n", &[], 2);
        assert_eq!(stranger.status, 10, "number 2 has no line: {}", stranger.findings);
    }

    #[test]
    fn a_good_file_is_shown_with_its_origins() {
        let report = run("zoo.cfg", b"dataDir=/d\nclientPort=2181\ninitLimit=5\n", &[("tickTime".into(), "1000".into())], 2);
        assert_eq!(report.status, 0);
        assert!(report.effective.lines().any(|l| l.starts_with("tickTime=1000 ") && l.ends_with("# -D")), "{}", report.effective);
        assert!(report.findings.starts_with("zoo.cfg:3: info: `initLimit`"), "{}", report.findings);
        assert!(report.findings.contains("\nzoo.cfg: the configuration is accepted; "));
    }

    #[test]
    fn a_bad_file_ends_with_the_status_of_the_configuration() {
        let report = run("zoo.cfg", b"dataDir=/d\nclientPort=2181\nsslQuorum=true\n", &[], 2);
        assert_eq!(report.status, 10);
        assert!(report.findings.ends_with("zoo.cfg: a start would be refused\n"));
        let report = run("zoo.cfg", b"dataDir=/d\nsslQuorum=true\nclientPort=2181\nsnpCount=1\n", &[], 2);
        let lines: Vec<&str> = report.findings.lines().collect();
        assert!(lines[0].starts_with("zoo.cfg:4: warning: ") && lines[1].is_empty(), "{}", report.findings);
        assert!(lines[2].starts_with("zoo.cfg:2: error: ") && lines.len() == 4, "{}", report.findings);
    }

    #[test]
    fn a_file_that_is_not_there_or_too_long_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = read_file(&dir.path().join("none.cfg")).unwrap_err();
        assert_eq!(error.kind, Fatal::Configuration);
        assert!(error.message.contains("none.cfg"), "{}", error.message);
        let long = dir.path().join("long.cfg");
        std::fs::write(&long, vec![b'#'; TEXT_BYTES_MAX * 2]).unwrap();
        let bytes = read_file(&long).unwrap();
        assert_eq!(bytes.len(), TEXT_BYTES_MAX + 1);
        assert_eq!(run("long.cfg", &bytes, &[], 2).status, 10);
    }
}
