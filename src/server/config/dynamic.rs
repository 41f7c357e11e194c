//! The file that `dynamicConfigFile` names: members of the ensemble and nothing else, under ZooKeeper's rules for it.
//!
//! Its settings join those of the main file, so that one set of rules judges both. What a membership must be is left to
//! [`super::ensemble_rules`].

use super::settings::{Said, finding, say};
use super::{Companion, Finding, Level, Origin, keys, kind, properties};

/// Keys that belong into the file, by their name in the catalogue.
const MEMBERSHIP: [&str; 4] = ["server.*", "group.*", "weight.*", "version"];

/// Adds what the file says to what was `said`; nothing when none is named.
pub(super) fn add(said: &mut Said, file: Companion<'_>, findings: &mut Vec<Finding>) {
    let Some((named, origin)) = said.get("dynamicConfigFile").filter(|(value, _)| !value.is_empty()).cloned() else { return };
    for (name, (_, place)) in said.iter().filter(|(_, (_, place))| *place != Origin::CommandLine) {
        if is_membership(name) {
            let text = format!("`{name}` belongs into the file that `dynamicConfigFile` names ({named}): move it there");
            findings.push(finding(Level::Error, place, text));
        }
    }
    let file = match file {
        Companion::Read(file) => file,
        Companion::Absent => {
            let text = format!("`dynamicConfigFile` names {named}, which isn't there; name the file that holds the server.N lines");
            return findings.push(finding(Level::Error, &origin, text));
        }
        Companion::Unreadable { name, why } => {
            let text = format!("`dynamicConfigFile` names {name}, which can't be read: {why}");
            return findings.push(finding(Level::Error, &origin, text));
        }
    };
    let at = |line: usize| Origin::File { name: file.name.to_owned(), line };
    let read = properties::parse(file.bytes);
    findings.extend(read.errors.into_iter().map(|error| finding(Level::Error, &at(error.line), error.what)));
    let mut members = Said::new();
    for entry in read.entries {
        if is_membership(&entry.key) {
            say(&mut members, &entry.key, &entry.value, at(entry.line), findings);
        } else {
            let text = format!("`{}` doesn't belong here; this file holds server.N, group.N, weight.N and version only", entry.key);
            findings.push(finding(Level::Error, &at(entry.line), text));
        }
    }
    // ZooKeeper writes such files as `zoo.cfg.dynamic.<version>` and keeps the version nowhere else.
    let suffix = file.name.rsplit_once('.').map(|(_, suffix)| suffix).filter(|suffix| kind::hex(suffix).is_some());
    if let Some(version) = suffix {
        members.entry("version".to_owned()).or_insert_with(|| (version.to_owned(), at(1)));
    }
    for (name, what) in members {
        said.entry(name).or_insert(what);
    }
}

fn is_membership(name: &str) -> bool {
    keys::find(name).is_some_and(|key| MEMBERSHIP.contains(&key.name))
}
