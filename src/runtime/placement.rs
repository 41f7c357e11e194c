//! Which executor runs where: cores found by `core_affinity`, pinned where the configuration names them.
//!
//! Without configured cores nothing is pinned: on a shared host a pinned executor waits for a core that others hold.

use crate::base::fatal::{Fatal, FatalError};
use glommio::Placement;

/// Cores that this process may use, in order.
#[must_use]
pub(super) fn cores_available() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|c| c.id).collect()
}

/// Where the `idx`-th executor goes.
pub(super) fn place(configured: &[usize], idx: usize) -> Placement {
    match configured.get(idx % configured.len().max(1)) {
        Some(core) => Placement::Fixed(*core),
        None => Placement::Unbound,
    }
}

/// Pins this thread to its place, if that is a core.
pub(super) fn pin(place: &Placement) {
    if let Placement::Fixed(core) = place {
        core_affinity::set_for_current(core_affinity::CoreId { id: *core });
    }
}

/// Whether every configured core exists.
///
/// # Errors
/// [`Fatal::Configuration`] naming the first one that doesn't, and those that do.
pub(super) fn check(configured: &[usize]) -> Result<(), FatalError> {
    let available = cores_available();
    match configured.iter().find(|c| !available.contains(c)) {
        Some(missing) => Err(FatalError::new(
            Fatal::Configuration,
            format!("ringkeeper.cores names core {missing}; this process may use {available:?}. Take it out, or widen the CPU set"),
        )),
        None => Ok(()),
    }
}

/// The configured cores, or how many there are, for the line that says the server is ready.
pub(super) fn describe(configured: &[usize]) -> String {
    if configured.is_empty() {
        return format!("any-of-{}", cores_available().len());
    }
    configured.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}
