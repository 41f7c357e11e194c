//! Configuration: the text of a `zoo.cfg` and `-Dname=value` settings in, a typed [`Config`] and [`Finding`]s out.
//!
//! Guarantees: any text is accepted without a panic; every key of ZooKeeper 3.9 is known ([`keys`]) and none is ignored in
//! silence; a configuration with an error is never handed out. Leaves to others: reading the file, resolving host names,
//! looking at directories.

pub mod effective;
mod ensemble;
pub mod keys;
pub mod kind;
pub mod properties;
mod rules;
pub mod server_line;
mod settings;
#[cfg(test)]
mod tests;
pub mod zoo_cfg;

pub use ensemble::{Bootstrap, Ensemble};
pub use zoo_cfg::{Config, LogFormat, LogLevel, LogSync, Placement};

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
    origins: BTreeMap<&'static str, Origin>,
    idle: Vec<Idle>,
    findings: Vec<Finding>,
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

/// Looks at a configuration.
#[must_use]
pub fn check(input: &Input<'_>) -> Checked {
    let mut findings = Vec::new();
    let settings = settings::gather(input, &mut findings);
    let idle = settings::judge(&settings, &mut findings);
    let (config, origins) = zoo_cfg::build(&settings, input.cores_available, &mut findings);
    // Findings of one place stand together; those without a line come last.
    findings.sort_by_key(|finding| finding.line.unwrap_or(usize::MAX));
    Checked { config, origins, idle, findings }
}
