//! What the machine itself allows, measured beside the servers: how long one write takes until the device has it, and how long a
//! small message needs to go to another thread and back through TCP on this machine.
//!
//! Both are bounded in count and time, whatever the device does.

use crate::Failure;
use crate::figures::Latency;
use hdrhistogram::Histogram;
use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of a write.
const BLOCK_BYTES: usize = 4096;
/// Blocks of the file; written over and over, as a preallocated log is.
const BLOCKS: usize = 1024;
const WRITES: usize = 500;
const ECHOES: usize = 5000;
/// Bytes of a message: a small request's.
const MESSAGE_BYTES: usize = 140;
/// Longest time for each of the two.
const TIME_MAX: Duration = Duration::from_secs(2);

/// The machine's own figures.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Limits {
    /// A write of 4 KiB past all caches (O_DIRECT and O_DSYNC).
    pub sync: Latency,
    /// There and back.
    pub echo: Latency,
}

#[repr(align(4096))]
struct Block([u8; BLOCK_BYTES]);

/// Measures both; `dir` lies on the disk that matters.
pub fn measure(dir: &Path) -> Result<Limits, Failure> {
    Ok(Limits { sync: sync(&dir.join("sync-probe"))?, echo: echo()? })
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(100, 60_000_000_000, 3).map_err(|e| e.to_string())
}

fn sync(path: &Path) -> Result<Latency, Failure> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    std::fs::write(path, vec![1; BLOCKS * BLOCK_BYTES]).map_err(|e| failed(&e))?;
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| failed(&e))?;
    let flags = OFlags::WRONLY | OFlags::DSYNC | OFlags::CLOEXEC;
    // A filesystem in memory knows no O_DIRECT, and has no device to wait for.
    let file = open(path, flags | OFlags::DIRECT, Mode::empty()).or_else(|_| open(path, flags, Mode::empty())).map_err(|e| failed(&e))?;
    let (file, block) = (File::from(file), Box::new(Block([7; BLOCK_BYTES])));
    let (mut latencies, end) = (histogram()?, Instant::now() + TIME_MAX);
    for idx in 0..WRITES {
        let began = Instant::now();
        file.write_all_at(&block.0, ((idx % BLOCKS) * BLOCK_BYTES) as u64).map_err(|e| failed(&e))?;
        latencies.saturating_record(began.elapsed().as_nanos() as u64);
        if Instant::now() > end {
            break;
        }
    }
    std::fs::remove_file(path).map_err(|e| failed(&e))?;
    Latency::of(&latencies).ok_or_else(|| "nothing was written".to_owned())
}

fn echo() -> Result<Latency, Failure> {
    let failed = |e: std::io::Error| format!("echo: {e}");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let other = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut message = [0; MESSAGE_BYTES];
        // Ends when the other side closes.
        while stream.read_exact(&mut message).is_ok() {
            stream.write_all(&message)?;
        }
        Ok(())
    });
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    stream.set_read_timeout(Some(TIME_MAX)).map_err(failed)?;
    let (mut latencies, end) = (histogram()?, Instant::now() + TIME_MAX);
    let mut message = [5; MESSAGE_BYTES];
    for _ in 0..ECHOES {
        let began = Instant::now();
        stream.write_all(&message).and_then(|()| stream.read_exact(&mut message)).map_err(failed)?;
        latencies.saturating_record(began.elapsed().as_nanos() as u64);
        if Instant::now() > end {
            break;
        }
    }
    drop(stream);
    other.join().map_err(|_| "echo: its thread panicked".to_owned())?.map_err(failed)?;
    Latency::of(&latencies).ok_or_else(|| "nothing was echoed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_measured_and_nothing_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let limits = measure(dir.path()).expect("limits");
        assert!(limits.sync.p50_us > 0.0 && limits.echo.p50_us > 0.0 && limits.echo.count > 0);
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0);
    }
}
