//! `ringkeeper doctor [FILE]`: what this host gives a server, with what each shortcoming costs and what mends it. Changes nothing.
//!
//! It ends with the status that a start would end with, as far as the host is the reason. A server that runs may be left running:
//! nothing is locked and no port is opened.

use super::serve;
use crate::base::fatal::FatalError;
use crate::doctor::{Report, judge};
use crate::runtime;
use std::path::Path;

/// Everything that was found, for a server as the file and the settings describe it.
///
/// # Errors
/// As a start, when the configuration is refused.
pub fn run(file: Option<&Path>, overrides: &[(String, String)]) -> Result<Report, FatalError> {
    let (config, _) = serve::read(file, overrides)?;
    let plan = runtime::plan(&config)?;
    Ok(Report::of(judge(&runtime::examine(&plan), &plan)))
}
