//! Findings as people and as machines read them.

use super::{Finding, Severity};
use serde::Serialize;
use std::fmt::Write;

/// Everything that was found, and the status to end with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// 0, or that of a start on this host: of the first finding that would stop one.
    pub status: i32,
    /// In the order in which they were looked at.
    pub findings: Vec<Finding>,
}

/// Graver ones first, as a summary counts them.
const GRAVEST_FIRST: [Severity; 5] = [Severity::Error, Severity::Warning, Severity::Advice, Severity::Unknown, Severity::Ok];
/// Columns before what was found.
const INDENT: usize = 37;

impl Report {
    /// Of these findings.
    #[must_use]
    pub fn of(findings: Vec<Finding>) -> Report {
        Report { status: findings.iter().find_map(|finding| finding.status).unwrap_or(0), findings }
    }

    /// A table, the gravest findings first, and a last line that sums it up.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = String::new();
        for severity in GRAVEST_FIRST {
            for finding in self.findings.iter().filter(|finding| finding.severity == severity) {
                row(&mut out, finding);
            }
        }
        let _ = writeln!(out, "{}", self.summary());
        out
    }

    fn summary(&self) -> String {
        let counts = GRAVEST_FIRST.map(|severity| (severity, self.findings.iter().filter(|finding| finding.severity == severity).count()));
        let counts: Vec<String> = counts.iter().filter(|(_, n)| *n > 0).map(|(severity, n)| format!("{n} {}", severity.name())).collect();
        let verdict = match self.status {
            0 => "nothing here stops a server".to_owned(),
            status => format!("a server would not start (status {status})"),
        };
        format!("{}: {verdict}", counts.join(", "))
    }

    /// One JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

fn row(out: &mut String, finding: &Finding) {
    let _ = writeln!(out, "{:<8} {:<27} {}", finding.severity.name(), finding.id, finding.found);
    let more = [("where", &finding.place), ("costs", &finding.cost), ("mends", &finding.mend)];
    let wanted = |name: &str| name != "where" || finding.severity != Severity::Ok;
    for (name, text) in more.iter().filter(|(name, text)| !text.is_empty() && wanted(name)) {
        let _ = writeln!(out, "{:INDENT$}{name}: {text}", "");
    }
}

#[cfg(test)]
mod tests {
    use super::super::called::{Called, Limit, Ring};
    use super::super::forge::{Forged, called, plan};
    use super::super::{Host, judge};
    use super::*;

    fn report(called: Called) -> Report {
        Report::of(judge(&Host::read(&Forged::good().tree(), called), &plan()))
    }

    #[test]
    fn a_good_host_stops_nothing() {
        let report = report(called());
        let but: Vec<&str> = report.findings.iter().filter(|f| f.severity != Severity::Ok).map(|f| f.id).collect();
        assert_eq!((report.status, but), (0, vec!["directory.log-apart"]), "{}", report.table());
        assert!(report.table().ends_with(" ok: nothing here stops a server\n"), "{}", report.table());
    }

    #[test]
    fn a_host_without_any_file_is_judged_by_what_the_calls_gave() {
        let findings = judge(&Host::read(&Forged::new().tree(), called()), &plan());
        assert!(findings.iter().all(|finding| finding.status.is_none()), "{findings:?}");
        assert!(findings.iter().any(|finding| finding.severity == Severity::Unknown));
    }

    #[test]
    fn the_status_is_that_of_a_start() {
        let ring = Ring::Refused { call: "io_uring_setup", errno: libc::ENOSYS };
        let locked = Limit { soft: Some(0), hard: Some(0) };
        let both = report(Called { ring, locked, ..called() });
        assert_eq!(both.status, 15);
        let table = both.table();
        assert!(table.starts_with("error    io_uring ") && table.contains("costs: no server starts"), "{table}");
        assert!(table.trim_end().ends_with("a server would not start (status 15)"), "{table}");
        assert_eq!(report(Called { locked, ..called() }).status, 16);
    }

    #[test]
    fn json_has_every_part_of_a_finding() {
        let json: serde_json::Value = serde_json::from_str(&report(called()).json()).unwrap();
        assert_eq!(json["status"], 0);
        let first = &json["findings"][0];
        assert_eq!((first["id"].as_str(), first["severity"].as_str()), (Some("kernel.version"), Some("ok")));
        for key in ["found", "place", "cost", "mend", "status"] {
            assert!(first.get(key).is_some(), "{key}");
        }
    }
}
