//! Accepting a loss on real files: takes the directories' locks, cuts the log at its last good batch, looks at the result again.
//!
//! Guarantees: nothing is deleted, damaged files are copied or moved aside first; a directory that no start would refuse is left
//! as it is. Leaves to others: what is cut and in which steps ([`crate::log::accept`]).

use super::boot::entropy;
use super::dirs;
use super::files::{DiskFiles, Roots};
use super::script::run_script;
use crate::base::fatal::{Fatal, FatalError};
use crate::base::ids::{ClusterId, Zxid};
use crate::base::limits::SHARDS_MAX;
use crate::log::{self, Base, Case, LogOptions};
use crate::model::file::{Damage, FileOp, Script};
use crate::snapshot::choose_newest_good;
use std::path::Path;

/// What is to be done, decided before anything is written.
struct Plan {
    case: Case,
    damages: Vec<Damage>,
    evidence: Zxid,
    end: Zxid,
    /// It belongs to an ensemble, and doesn't vote until a leader has synchronised it.
    repairing: bool,
    scripts: Vec<Script>,
}

/// Accepts the loss that a start is refused for. Returns lines that say what was found, done, and where the history now ends.
///
/// # Errors
/// What a start would be refused for and no accepted loss heals ([`Fatal::Directory`], [`Fatal::Locked`],
/// [`Fatal::ForeignFormat`]), or a step that failed.
pub fn accept_loss(data_dir: &Path, log_dir: &Path) -> Result<Vec<String>, FatalError> {
    let absolute = |dir: &Path| {
        let found = std::path::absolute(dir).ok().filter(|dir| dir.is_dir());
        found.ok_or_else(|| FatalError::new(Fatal::Directory, format!("{} is no directory: name the data directory", dir.display())))
    };
    let roots = Roots { data: absolute(data_dir)?, log: absolute(log_dir)? };
    let locks = dirs::prepare(&roots, false)?;
    let options = LogOptions { shards: shards_of(&roots.log), ..LogOptions::default() };
    let mut lines = Vec::new();
    let plan = plan(&roots, &options, &mut lines, "nothing was touched")?;
    if plan.case == Case::Foreign {
        let found = damage_lines(&plan.damages).join("\n");
        let text = format!("{} holds data that isn't this server's or of a newer format, no damage:\n{found}", roots.log.display());
        return Err(FatalError::new(Fatal::ForeignFormat, text));
    }
    if plan.case.is_damage() && plan.scripts.is_empty() {
        let found = damage_lines(&plan.damages).join("\n");
        let text = format!("what lies below {} isn't all known, so nothing was changed. See to this first:\n{found}", roots.log.display());
        return Err(FatalError::new(Fatal::Directory, text));
    }
    if !plan.case.is_damage() {
        lines.push(format!("a start wouldn't be refused (case {}, {}): nothing was changed", plan.case.letter(), plan.case.name()));
        return Ok(lines);
    }
    lines.push(format!("damage found (case {}, {}):", plan.case.letter(), plan.case.name()));
    lines.extend(damage_lines(&plan.damages));
    for script in &plan.scripts {
        run_script(&roots, script).map_err(|error| {
            FatalError::new(Fatal::WriteFailed, format!("accepting the loss fails: {error}. See to that and run the command again"))
        })?;
    }
    lines.extend(moved(&roots, &plan.scripts));
    lines.push(outcome(plan.end, plan.evidence));
    if plan.repairing {
        lines.push("it is a member of an ensemble: it has no vote until a leader has synchronised it".to_owned());
    }
    look_again(&roots, &options, &plan)?;
    drop(locks);
    Ok(lines)
}

/// What is found and what is to be done about it; `so_far` says what was done when not all can be looked at.
fn plan(roots: &Roots, options: &LogOptions, lines: &mut Vec<String>, so_far: &str) -> Result<Plan, FatalError> {
    let files = DiskFiles::new(roots.clone());
    let plan = plan_of(&files, options, lines);
    // What nobody could look at isn't lost: accepting that it were would cut a good log.
    if let Some(unseen) = files.unseen() {
        return Err(FatalError::new(Fatal::Directory, format!("{so_far}, since {unseen}, then run the command again")));
    }
    plan
}

fn plan_of(files: &DiskFiles, options: &LogOptions, lines: &mut Vec<String>) -> Result<Plan, FatalError> {
    let choice = choose_newest_good(files)
        .map_err(|damage| FatalError::new(Fatal::Damage, format!("the snapshots can't be listed: {damage}. Restore a backup")))?;
    lines.extend(choice.damaged.iter().map(|damage| format!("damaged snapshot, passed over: {damage}")));
    let base = choice.newest_good.map_or_else(Base::default, |(path, summary)| {
        lines.push(format!("newest good snapshot: {path}, zxid {}", summary.head.zxid));
        Base { at: summary.head.identity(), of: Some((summary.head.cluster, path)) }
    });
    let fresh = ClusterId((u128::from(entropy()) << 64) | u128::from(entropy()));
    let recovery = log::accept_loss(files, base, options, fresh);
    let (case, evidence, end) = (recovery.case, recovery.evidence, recovery.tail.zxid);
    let repairing = recovery.start.as_ref().is_some_and(|start| start.log.meta.repairing);
    let scripts = recovery.start.map(|start| start.scripts).unwrap_or_default();
    Ok(Plan { case, damages: recovery.damages, evidence, end, repairing, scripts })
}

/// Whether a start goes through now.
fn look_again(roots: &Roots, options: &LogOptions, done: &Plan) -> Result<(), FatalError> {
    let again = plan(roots, options, &mut Vec::new(), "the loss was accepted, but it isn't known whether a start goes through now")?;
    if again.case.is_damage() || again.end != done.end {
        let found = damage_lines(&again.damages).join("\n");
        let text = format!("the log is still refused afterwards (case {}); this is a defect:\n{found}", again.case.letter());
        return Err(FatalError::new(Fatal::Damage, text));
    }
    Ok(())
}

/// What is lost. Zxids of different epochs say nothing of how many transactions lie between them.
fn outcome(end: Zxid, evidence: Zxid) -> String {
    if evidence <= end {
        return format!("the history now ends at zxid {end}");
    }
    let lost = if evidence.epoch() == end.epoch() {
        format!("{} transactions are lost", evidence.0 - end.0)
    } else {
        "everything between the two is lost".to_owned()
    };
    format!("the history now ends at zxid {end}; it had been durable through {evidence}: {lost}")
}

fn damage_lines(damages: &[Damage]) -> Vec<String> {
    damages.iter().map(|damage| format!("  {damage}")).collect()
}

/// Which files were put aside, and where.
fn moved(roots: &Roots, scripts: &[Script]) -> Vec<String> {
    let aside = scripts.first().into_iter().flat_map(|script| &script.ops);
    aside
        .filter_map(|op| match op {
            FileOp::Copy { to, .. } => Some(format!("copied aside: {}", roots.resolve(to).display())),
            FileOp::Rename { from, to } => {
                Some(format!("moved aside: {} to {}", roots.resolve(from).display(), roots.resolve(to).display()))
            }
            _ => None,
        })
        .collect()
}

/// Stripes that the log has on disk.
fn shards_of(log_root: &Path) -> u8 {
    let entries = std::fs::read_dir(log_root.join(log::segment::LOG_DIR)).into_iter().flatten().flatten();
    let found = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("shard-")).count();
    u8::try_from(found.clamp(1, SHARDS_MAX)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_transactions_are_counted_within_an_epoch_only() {
        let at = Zxid::new;
        assert_eq!(outcome(at(0, 5), at(0, 5)), "the history now ends at zxid 0x5");
        assert_eq!(
            outcome(at(2, 5), at(2, 8)),
            "the history now ends at zxid 0x20000000005; it had been durable through 0x20000000008: 3 transactions are lost"
        );
        assert!(outcome(at(1, 9), at(2, 1)).ends_with("everything between the two is lost"));
    }
}
