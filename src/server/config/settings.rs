//! From text to settings: names resolved against the catalogue, the last of equal names wins, values checked by kind,
//! and each key's fate told. What the values mean is left to [`super::zoo_cfg`].

use super::keys::{self, Fate, Key};
use super::kind::Kind;
use super::{Beside, Finding, Idle, Input, Level, Origin, dynamic, properties};
use std::collections::{BTreeMap, BTreeSet};

/// Unknown keys for which a near one is looked for; beyond that the warning comes without it.
const NEAREST_MAX: usize = 64;

/// One setting that was made.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// What it sets.
    pub(super) key: &'static Key,
    /// Trimmed.
    pub(super) value: String,
    /// Where it was made.
    pub(super) origin: Origin,
}

/// All settings, by their name without the prefix.
#[derive(Debug, Default)]
pub(super) struct Settings {
    accepted: BTreeMap<String, Setting>,
    refused: BTreeSet<String>,
}

impl Settings {
    /// The setting of a key that is no pattern.
    pub(super) fn get(&self, name: &str) -> Option<&Setting> {
        self.accepted.get(name)
    }

    /// Whether a key was set to a value that isn't accepted, about which there is a finding already.
    pub(super) fn refused(&self, name: &str) -> bool {
        self.refused.contains(name)
    }

    /// Whether a key that begins with `stem` was set to a value that isn't accepted.
    pub(super) fn refused_any(&self, stem: &str) -> bool {
        self.refused.iter().any(|name| name.starts_with(stem))
    }

    /// Whether something is said about the servers of an ensemble, well or badly.
    pub(super) fn names_servers(&self) -> bool {
        let dynamic = "dynamicConfigFile";
        let good = self.of_pattern("server.*").next().is_some() || self.get(dynamic).is_some();
        good || self.refused_any("server.") || self.refused(dynamic)
    }

    /// All settings of a pattern, with their names.
    pub(super) fn of_pattern<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = (&'a str, &'a Setting)> {
        self.accepted.iter().filter(move |(_, setting)| setting.key.name == pattern).map(|(name, setting)| (name.as_str(), setting))
    }
}

/// A finding about something that was said at `origin`.
pub(super) fn finding(level: Level, origin: &Origin, text: String) -> Finding {
    match origin {
        Origin::File { name, line } => Finding { level, file: name.clone(), line: Some(*line), text },
        Origin::CommandLine => Finding { level, file: "-D".into(), line: None, text },
        Origin::BuiltIn | Origin::Default => Finding { level, file: "configuration".into(), line: None, text },
    }
}

/// A value as it may be shown: never a password or a digest.
pub(super) fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    let folded = name.to_ascii_lowercase();
    let secret = folded.ends_with("password") || folded.ends_with("superdigest") || folded == "ensembleauthname";
    if secret { "(not shown)" } else { value }
}

/// What was said so far: value and place by name without the prefix.
pub(super) type Said = BTreeMap<String, (String, Origin)>;

/// Reads everything that was said; unknown keys, duplicates and bad values become findings and are left out.
pub(super) fn gather(input: &Input<'_>, beside: &Beside<'_>, findings: &mut Vec<Finding>) -> Settings {
    let mut said = Said::new();
    match input.file {
        None => said.extend(built_in()),
        Some(file) => {
            let read = properties::parse(file.bytes);
            for error in read.errors {
                let origin = Origin::File { name: file.name.to_owned(), line: error.line };
                findings.push(finding(Level::Error, &origin, error.what));
            }
            for entry in read.entries {
                let origin = Origin::File { name: file.name.to_owned(), line: entry.line };
                say(&mut said, &entry.key, &entry.value, origin, findings);
            }
        }
    }
    for (name, value) in input.overrides {
        say(&mut said, name, value, Origin::CommandLine, findings);
    }
    dynamic::add(&mut said, beside.dynamic, findings);
    let mut near_left = NEAREST_MAX;
    let mut settings = Settings::default();
    for (name, (value, origin)) in said {
        match keys::find(&name) {
            None => {
                let near = if near_left > 0 { keys::nearest(&name) } else { None };
                near_left = near_left.saturating_sub(1);
                findings.push(finding(Level::Warning, &origin, unknown(&name, near)));
            }
            Some(key) if key.kind.accepts(&value) => {
                settings.accepted.insert(name, Setting { key, value, origin });
            }
            Some(key) => {
                let text = format!("`{name}` is `{}`; accepted is {}", shown(&name, &value), key.kind.accepted());
                findings.push(finding(Level::Error, &origin, text));
                settings.refused.insert(name);
            }
        }
    }
    settings
}

fn built_in() -> impl Iterator<Item = (String, (String, Origin))> {
    let all = [("clientPort", "2181"), ("clientPortAddress", "127.0.0.1"), ("dataDir", "./data"), ("tickTime", "2000")];
    all.into_iter().map(|(name, value)| (name.to_owned(), (value.to_owned(), Origin::BuiltIn)))
}

fn unknown(name: &str, near: Option<&str>) -> String {
    match near {
        Some(near) => format!("unknown key `{name}` is ignored; did you mean `{near}`?"),
        None => format!("unknown key `{name}` is ignored"),
    }
}

/// Takes one setting; the last of equal names holds, and of equal servers none.
pub(super) fn say(said: &mut Said, name: &str, value: &str, origin: Origin, findings: &mut Vec<Finding>) {
    let plain = keys::plain_name(name.trim()).to_owned();
    if let Some((_, earlier)) = said.get(&plain)
        && std::mem::discriminant(earlier) == std::mem::discriminant(&origin)
    {
        let member = keys::find(&plain).is_some_and(|key| key.name == "server.*");
        let (level, text) = if member {
            (Level::Error, format!("`{plain}` is a second server of that number, the first is at {earlier}; give each its own"))
        } else {
            (Level::Warning, format!("`{plain}` is set again; this last value holds, not that of {earlier}"))
        };
        findings.push(finding(level, &origin, text));
    }
    said.insert(plain, (value.trim().to_owned(), origin));
}

/// Why a key of an ensemble does nothing.
const ALONE: &str = "it only counts between the servers of an ensemble, and this server stands alone";

/// Tells the fate of every setting that isn't simply honoured, and returns those without effect.
pub(super) fn judge(settings: &Settings, in_ensemble: bool, findings: &mut Vec<Finding>) -> Vec<Idle> {
    let mut idle = Vec::new();
    for (name, setting) in &settings.accepted {
        let value = shown(name, &setting.value);
        let fate = match setting.key.fate {
            Fate::InEnsemble if in_ensemble => Fate::Honoured,
            Fate::InEnsemble => Fate::NoMeaning(ALONE),
            fate => fate,
        };
        let told = match fate {
            Fate::Honoured | Fate::InEnsemble => literal(name, setting).map(|text| (Level::Warning, text)),
            Fate::NoMeaning(why) => Some((Level::Info, format!("`{name}` is accepted and has no meaning here: {why}"))),
            Fate::Later(off) if is_off(setting, off) => None,
            Fate::Refused(off) if is_off(setting, off) => None,
            Fate::Later(_) => {
                let text = format!("`{name}={value}` has no effect, it is not built yet ({})", setting.key.meaning);
                Some((Level::Warning, text))
            }
            Fate::Refused(off) => Some((Level::Error, refusal(name, value, setting.key, off))),
        };
        findings.extend(told.map(|(level, text)| finding(level, &setting.origin, text)));
        if fate != Fate::Honoured {
            idle.push(Idle { name: name.clone(), value: value.to_owned(), origin: setting.origin.clone() });
        }
    }
    idle
}

/// Whether a value asks for nothing, so that ignoring it loses nothing.
fn is_off(setting: &Setting, off: &str) -> bool {
    match setting.key.kind {
        Kind::Int { .. } => super::kind::int(&setting.value) == super::kind::int(off),
        _ => setting.value.eq_ignore_ascii_case(off),
    }
}

fn refusal(name: &str, value: &str, key: &Key, off: &str) -> String {
    let cure = if off.is_empty() { "remove the line".to_owned() } else { format!("remove the line or set it to {off}") };
    format!("`{name}={value}` is not built yet ({}), and ignoring it would weaken security or safety; {cure}", key.meaning)
}

/// For values that ZooKeeper compares literally: what another spelling does.
fn literal(name: &str, setting: &Setting) -> Option<String> {
    let usual = matches!(setting.value.as_str(), "yes" | "no");
    match setting.key.kind {
        Kind::OnIfYes if !usual => {
            Some(format!("`{name}` is `{}`; it is on only if exactly `yes`, as in ZooKeeper, so it stays off", setting.value))
        }
        Kind::OffIfNo if !usual => {
            Some(format!("`{name}` is `{}`; it is off only if exactly `no`, as in ZooKeeper, so it stays on", setting.value))
        }
        _ => None,
    }
}
