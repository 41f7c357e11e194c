//! The directories of a server: whether it could use them, whether the log's way of writing works there, and their room.

use super::Plan;
use super::called::{Called, Direct, Directory, Standing};
use super::finding::Finding;
use super::tree::Fact;
use crate::base::fatal::Fatal;

pub(super) fn judge(called: &Called, plan: &Plan, out: &mut Vec<Finding>) {
    out.push(standing("directory.data", "dataDir", &called.data, plan));
    if called.log.path != called.data.path {
        out.push(standing("directory.log", "dataLogDir", &called.log, plan));
    }
    out.push(direct(&called.log));
    out.push(room(&called.log, plan));
    out.push(apart(called));
}

fn standing(id: &'static str, key: &str, at: &Directory, plan: &Plan) -> Finding {
    let place = at.path.display().to_string();
    let found = |text: String| Finding::ok(id, place.as_str(), format!("{key}: {text}"));
    let refuse = "no server starts";
    if at.foreign {
        let text = "it holds data of Apache ZooKeeper".to_owned();
        return found(text).stops(Fatal::ForeignFormat, refuse, format!("give the server a {key} of its own"));
    }
    match &at.standing {
        Standing::Writable => found("files can be made in it".into()),
        Standing::Makeable if plan.autocreate => found(format!("it is missing; a start makes it below {}", at.nearest.display())),
        Standing::Makeable => {
            found("it is missing, and datadir.autocreate is false".into()).stops(Fatal::Directory, refuse, format!("mkdir -p {place}"))
        }
        Standing::Unwritable(why) => {
            let text = format!("no file can be made in {}: {why}", at.nearest.display());
            let mend = format!("as root: install -d -o USER {place}, USER being the server's; or mount it writable");
            found(text).stops(Fatal::Directory, refuse, mend)
        }
        Standing::NoDirectory => found("something else has its name".into()).stops(Fatal::Directory, refuse, format!("name another {key}")),
    }
}

fn direct(at: &Directory) -> Finding {
    const ID: &str = "directory.direct-io";
    let found = |text: &str| Finding::ok(ID, at.nearest.display().to_string(), text);
    let mend = "put dataLogDir on a local ext4 or xfs";
    match &at.direct {
        Direct::Works => found("a block was written with O_DIRECT and O_DSYNC"),
        Direct::Missing { in_memory: true } => found("the filesystem has no O_DIRECT; it lies in memory")
            .warning("what is acknowledged doesn't outlive a restart of the host", mend),
        Direct::Missing { in_memory: false } => {
            found("the filesystem has no O_DIRECT").stops(Fatal::Directory, "the log can't be written: no server starts", mend)
        }
        Direct::Untried(why) => Finding::unknown(ID, at.nearest.display().to_string(), why.clone()),
    }
}

fn room(at: &Directory, plan: &Plan) -> Finding {
    const ID: &str = "directory.room";
    let place = at.nearest.display().to_string();
    let free = match &at.free_bytes {
        Fact::Known(free) => *free,
        Fact::Absent => return Finding::unknown(ID, place, "the filesystem doesn't say how much is free"),
        Fact::Unread(why) => return Finding::unknown(ID, place, why.clone()),
    };
    let text = format!("{} MiB free; a new log reserves {} MiB", free >> 20, plan.log_bytes >> 20);
    let found = Finding::ok(ID, place, text);
    let mend = "make room, or set a smaller ringkeeper.log.segment.kb";
    if free < plan.log_bytes {
        return found.warning("a first start ends with status 12, or takes no writes until there is room", mend);
    }
    if free < 4 * plan.log_bytes {
        return found.advice("snapshots and the log's next segments soon fill it; then no writes are taken", mend);
    }
    found
}

fn apart(called: &Called) -> Finding {
    const ID: &str = "directory.log-apart";
    let place = called.log.nearest.display().to_string();
    if called.log.device != called.data.device {
        return Finding::ok(ID, place, "log and snapshots lie on different devices");
    }
    Finding::ok(ID, place, "log and snapshots lie on the same device")
        .advice("while a snapshot is written, syncs of the log wait behind it", "dataLogDir=DIR in zoo.cfg, DIR on a device of its own")
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::forge::{called, finding_of, plan};
    use super::*;

    fn log_with(change: impl FnOnce(&mut Directory)) -> Called {
        let mut all = called();
        change(&mut all.log);
        all
    }

    #[test]
    fn a_directory_that_a_server_could_not_use_stops_it() {
        let standing = |standing: Standing, autocreate| {
            let finding = finding_of("directory.log", log_with(|log| log.standing = standing), &Plan { autocreate, ..plan() });
            (finding.severity, finding.status)
        };
        assert_eq!(standing(Standing::Writable, false), (Severity::Ok, None));
        assert_eq!(standing(Standing::Makeable, true), (Severity::Ok, None));
        assert_eq!(standing(Standing::Makeable, false), (Severity::Error, Some(12)));
        assert_eq!(standing(Standing::Unwritable("Permission denied".into()), true), (Severity::Error, Some(12)));
        assert_eq!(standing(Standing::NoDirectory, true), (Severity::Error, Some(12)));
        assert_eq!(finding_of("directory.log", log_with(|log| log.foreign = true), &plan()).status, Some(14));
        let mut both = called();
        both.data.path = both.log.path.clone();
        both.data.standing = Standing::Unwritable("Read-only file system".into());
        assert!(finding_of("directory.data", both, &plan()).found.contains("Read-only"));
    }

    #[test]
    fn direct_writes_must_work() {
        let direct = |direct: Direct| {
            let finding = finding_of("directory.direct-io", log_with(|log| log.direct = direct), &plan());
            (finding.severity, finding.status)
        };
        assert_eq!(direct(Direct::Works), (Severity::Ok, None));
        assert_eq!(direct(Direct::Missing { in_memory: true }), (Severity::Warning, None));
        assert_eq!(direct(Direct::Missing { in_memory: false }), (Severity::Error, Some(12)));
        assert_eq!(direct(Direct::Untried("not writable".into())), (Severity::Unknown, None));
    }

    #[test]
    fn room_for_the_log() {
        let room = |free| finding_of("directory.room", log_with(|log| log.free_bytes = free), &plan()).severity;
        assert_eq!(room(Fact::Known(255 << 20)), Severity::Warning);
        assert_eq!(room(Fact::Known(300 << 20)), Severity::Advice);
        assert_eq!(room(Fact::Known(1 << 30)), Severity::Ok);
        assert_eq!(room(Fact::Unread("strange".into())), Severity::Unknown);
    }

    #[test]
    fn a_device_for_log_and_snapshots_together_is_worth_a_word() {
        assert_eq!(finding_of("directory.log-apart", called(), &plan()).severity, Severity::Advice);
        assert_eq!(finding_of("directory.log-apart", log_with(|log| log.device = (259, 2)), &plan()).severity, Severity::Ok);
    }
}
