//! `ringkeeper accept-loss DATA_DIR`: what an operator orders when a start is refused for damage and there is no backup.

use crate::base::fatal::FatalError;
use crate::runtime;
use std::path::Path;

/// Lines that say what was found, what was put aside and where the history now ends. The log lies in the data directory unless
/// `log_dir` says otherwise.
///
/// # Errors
/// As of [`runtime::accept_loss`].
pub fn run(data_dir: &Path, log_dir: Option<&Path>) -> Result<Vec<String>, FatalError> {
    runtime::accept_loss(data_dir, log_dir.unwrap_or(data_dir))
}
