//! Counters of the block device below a directory: what everything on the machine had written and flushed, so what a server asks of its disk
//! can be told when nothing else writes.

use crate::Failure;
use rustix::fs::{major, minor, stat};
use std::fs;
use std::path::{Path, PathBuf};

/// Fields of `/sys/block/DEVICE/stat`: completed writes, sectors written, completed flushes.
const WRITES_FIELD: usize = 4;
const SECTORS_FIELD: usize = 6;
const FLUSHES_FIELD: usize = 15;
/// A sector of those counters, whatever the device's own is.
const SECTOR_BYTES: u64 = 512;

/// One device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    stat: PathBuf,
}

/// Its counters up to one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Writes that ended.
    pub writes: u64,
    /// Bytes of them.
    pub written_bytes: u64,
    /// Flushes that ended.
    pub flushes: u64,
}

impl Device {
    /// The whole device that `dir` lies on; `None` where there is none (memory, network, an overlay).
    pub fn of(dir: &Path) -> Option<Device> {
        let device = stat(dir).ok()?.st_dev;
        let named = fs::canonicalize(format!("/sys/dev/block/{}:{}", major(device), minor(device))).ok()?;
        // A partition doesn't count flushes, its device does.
        let whole = if named.join("partition").exists() { named.parent()?.to_owned() } else { named };
        let device = Device { stat: whole.join("stat") };
        device.counters().ok().map(|_| device)
    }

    /// What it has done so far.
    pub fn counters(&self) -> Result<Counters, Failure> {
        let path = self.stat.display();
        let text = fs::read_to_string(&self.stat).map_err(|e| format!("{path}: {e}"))?;
        parse(&text).ok_or_else(|| format!("{path} isn't as expected"))
    }
}

impl Counters {
    /// What was done since `earlier`.
    pub fn since(&self, earlier: &Counters) -> Counters {
        Counters {
            writes: self.writes.saturating_sub(earlier.writes),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            flushes: self.flushes.saturating_sub(earlier.flushes),
        }
    }
}

fn parse(stat: &str) -> Option<Counters> {
    let fields: Vec<u64> = stat.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let field = |at: usize| fields.get(at).copied();
    Some(Counters { writes: field(WRITES_FIELD)?, written_bytes: field(SECTORS_FIELD)? * SECTOR_BYTES, flushes: field(FLUSHES_FIELD)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_their_place() {
        let earlier = parse("9 9 9 9 100 9 2000 9 9 9 9 9 9 9 9 30 9\n").unwrap();
        assert_eq!(earlier, Counters { writes: 100, written_bytes: 1_024_000, flushes: 30 });
        let later = parse(" 9 9 9 9 104 9 2008 9 9 9 9 9 9 9 9 31 9").unwrap();
        assert_eq!(later.since(&earlier), Counters { writes: 4, written_bytes: 4096, flushes: 1 });
        assert_eq!(parse("9 9 9 9 100 9 2000 9 9 9 9"), None, "a kernel that counts no flushes");
        assert_eq!(Device::of(Path::new("/proc")), None);
    }
}
