//! Configuration: the text of a `zoo.cfg` and `-Dname=value` settings in, a typed [`Config`] and [`Finding`]s out.
//!
//! Guarantees: any text is accepted without a panic; every key of ZooKeeper 3.9 is known ([`keys`]) and none is ignored in
//! silence; a configuration with an error is never handed out. Leaves to others: reading files ([`companion_names`] says which
//! are wanted beside the first), resolving host names, looking at directories.

mod dynamic;
pub mod effective;
mod ensemble;
mod ensemble_rules;
pub mod keys;
pub mod kind;
pub mod properties;
mod rules;
pub mod server_line;
mod settings;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_ensemble;
pub mod zoo_cfg;

pub use ensemble::{Bootstrap, Ensemble};
pub use zoo_cfg::{Config, Executor, LogFormat, LogLevel, LogSync, Placement};

use std::collections::BTreeMap;
use std::fmt;

/// The file that was named.
#[derive(Clone, Copy, Debug)]
pub struct ConfigFile<'a> {
    /// For messages.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

/// Everything that decides a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Without one, the built-in settings of a first start hold: 127.0.0.1:2181, `./data`, a tick of 2000 ms.
    pub file: Option<ConfigFile<'a>>,
    /// `-Dname=value`, in order; they go before the file.
    pub overrides: &'a [(String, String)],
    /// Processor cores that the process may use.
    pub cores_available: usize,
}

/// A file that a configuration refers to, as whoever has a disk found it.
#[derive(Clone, Copy, Debug, Default)]
pub enum Companion<'a> {
    /// Nobody looked, or there is none.
    #[default]
    Absent,
    /// It is there, or should be, and can't be read.
    Unreadable {
        /// Its path.
        name: &'a str,
        /// What the system said.
        why: &'a str,
    },
    /// Its content.
    Read(ConfigFile<'a>),
}

/// The files that a configuration may refer to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// What `dynamicConfigFile` names: the members of the ensemble.
    pub dynamic: Companion<'a>,
    /// `myid` in `dataDir`: which member this server is.
    pub my_id: Companion<'a>,
}

/// Paths of the files that a configuration refers to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CompanionNames {
    /// What `dynamicConfigFile` says.
    pub dynamic: Option<String>,
    /// `myid` in `dataDir`.
    pub my_id: Option<String>,
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A line of the file.
    File {
        /// As in [`ConfigFile::name`].
        name: String,
        /// From 1.
        line: usize,
    },
    /// A `-D` setting.
    CommandLine,
    /// The built-in settings that hold without a file.
    BuiltIn,
    /// Not set.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { name, line } => write!(f, "{name}:{line}"),
            Origin::CommandLine => f.write_str("-D"),
            Origin::BuiltIn => f.write_str("built in, no file"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// How grave a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// Accepted; it changes nothing here.
    Info,
    /// Accepted; what was asked for doesn't happen, or is risky.
    Warning,
    /// The start is refused.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        })
    }
}

/// Something to say about a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How grave.
    pub level: Level,
    /// The file's name, or `-D`, or `configuration` for what concerns no single setting.
    pub file: String,
    /// From 1; `None` outside a file.
    pub line: Option<usize>,
    /// What was found and what is accepted.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}: {}", self.file, self.level, self.text),
            None => write!(f, "{}: {}: {}", self.file, self.level, self.text),
        }
    }
}

/// A key that was set and has no effect here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Idle {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// A configuration that was looked at, with or without errors.
#[derive(Clone, Debug)]
pub struct Checked {
    config: Config,
    origins: BTreeMap<String, Origin>,
    idle: Vec<Idle>,
    findings: Vec<Finding>,
    /// What `dynamicConfigFile` and `standaloneEnabled` say; their effect is in the ensemble.
    dynamic: Option<String>,
    standalone_enabled: bool,
}

impl Checked {
    /// Everything there is to say, in the order of the text.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether a start with it is refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Error)
    }

    /// Where the value of a key comes from; `key` as in the catalogue.
    #[must_use]
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// The configuration and what there is to say about it.
    ///
    /// # Errors
    /// All findings, when one of them is an error.
    pub fn into_config(self) -> Result<(Config, Vec<Finding>), Vec<Finding>> {
        if self.is_refused() { Err(self.findings) } else { Ok((self.config, self.findings)) }
    }
}

/// Which files a configuration refers to; they are handed to [`check_with`].
#[must_use]
pub fn companion_names(input: &Input<'_>) -> CompanionNames {
    let settings = settings::gather(input, &Beside::default(), &mut Vec::new());
    let value = |name: &str| settings.get(name).map(|setting| setting.value.clone());
    let my_id = value("dataDir").map(|dir| format!("{}/{}", dir.trim_end_matches('/'), ensemble_rules::MY_ID));
    CompanionNames { dynamic: value("dynamicConfigFile"), my_id }
}

/// Looks at a configuration that refers to no other file.
#[must_use]
pub fn check(input: &Input<'_>) -> Checked {
    check_with(input, &Beside::default())
}

/// Looks at a configuration and the files it refers to.
#[must_use]
pub fn check_with(input: &Input<'_>, beside: &Beside<'_>) -> Checked {
    let mut findings = Vec::new();
    let settings = settings::gather(input, beside, &mut findings);
    let (config, origins) = zoo_cfg::build(&settings, beside, input.cores_available, &mut findings);
    let dynamic = settings.get("dynamicConfigFile").map(|setting| setting.value.clone());
    let standalone_enabled = settings.get("standaloneEnabled").and_then(|setting| kind::boolean(&setting.value)).unwrap_or(true);
    // What the lines of servers mean isn't known after an error; that the server stands alone would be a guess.
    let broken = settings.names_servers() && findings.iter().any(|finding| finding.level == Level::Error);
    let idle = settings::judge(&settings, config.ensemble.is_some() || broken, &mut findings);
    // Findings of one file stand together and in the order of its lines; those without a line come last.
    let main = input.file.map(|file| file.name);
    findings.sort_by_key(|finding| (finding.line.is_none(), Some(finding.file.as_str()) != main, finding.line));
    Checked { config, origins, idle, findings, dynamic, standalone_enabled }
}
