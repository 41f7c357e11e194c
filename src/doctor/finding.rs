//! A finding: what was found, where, what it costs, what mends it.

use super::tree::Fact;
use crate::base::fatal::Fatal;
use serde::Serialize;

/// How grave a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It couldn't be read; nothing is known.
    Unknown,
    /// Something better is possible.
    Advice,
    /// It costs much, or endangers what was promised.
    Warning,
    /// A server wouldn't start, or would end at its first write.
    Error,
}

impl Severity {
    /// As it is printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Unknown => "unknown",
            Severity::Advice => "advice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// Names what was looked at; doesn't change between versions.
    pub id: &'static str,
    /// How grave.
    pub severity: Severity,
    /// What was found; of an unknown one why it isn't known.
    pub found: String,
    /// The file, call or directory that says so.
    pub place: String,
    /// What it costs; empty when nothing.
    pub cost: String,
    /// What mends it, a command where one does; empty when there is nothing to mend.
    pub mend: String,
    /// The exit status that a start would end with.
    pub status: Option<i32>,
}

impl Finding {
    /// As it should be.
    pub(super) fn ok(id: &'static str, place: impl Into<String>, found: impl Into<String>) -> Finding {
        let (cost, mend) = (String::new(), String::new());
        Finding { id, severity: Severity::Ok, found: found.into(), place: place.into(), cost, mend, status: None }
    }

    /// Nothing is known, because of `why`.
    pub(super) fn unknown(id: &'static str, place: impl Into<String>, why: impl Into<String>) -> Finding {
        Finding { severity: Severity::Unknown, ..Finding::ok(id, place, why) }
    }

    /// Something better is possible.
    pub(super) fn advice(self, cost: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { severity: Severity::Advice, cost: cost.into(), mend: mend.into(), ..self }
    }

    /// It costs much.
    pub(super) fn warning(self, cost: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { severity: Severity::Warning, ..self.advice(cost, mend) }
    }

    /// A start would end with `kind`.
    pub(super) fn stops(self, kind: Fatal, cost: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { severity: Severity::Error, status: Some(kind.status()), ..self.advice(cost, mend) }
    }
}

/// The known value, or a finding that says why there is none: `absent` is what an absent fact means.
pub(super) fn known<'a, T>(id: &'static str, place: &str, fact: &'a Fact<T>, absent: Finding) -> Result<&'a T, Box<Finding>> {
    match fact {
        Fact::Known(value) => Ok(value),
        Fact::Absent => Err(Box::new(absent)),
        Fact::Unread(why) => Err(Box::new(Finding::unknown(id, place, why.clone()))),
    }
}
