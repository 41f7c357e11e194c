//! Counts what the program allocates, so that a target can bound what one call holds at most.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator with two counters. The fuzzer runs on one thread.
pub struct Counting;

fn grew(by: usize) {
    let held = HELD.fetch_add(by, Ordering::Relaxed).wrapping_add(by);
    PEAK.fetch_max(held, Ordering::Relaxed);
}

fn shrank(by: usize) {
    HELD.fetch_sub(by, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        shrank(layout.size());
        // SAFETY: the caller got `at` from this allocator with this layout, and so from the system's.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        // Old and new are held at once while the content moves.
        grew(len);
        shrank(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, len) }
    }
}

/// Runs `work`; how many bytes it held at most beyond what was held before.
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work();
    (result, PEAK.load(Ordering::Relaxed).saturating_sub(before))
}

/// Runs `work`, which may hold `bytes_max` at most.
///
/// # Errors
/// It held more.
pub fn bounded<T>(what: &str, bytes_max: usize, work: impl FnOnce() -> T) -> Result<T, String> {
    let (result, held) = measure(work);
    if held <= bytes_max { Ok(result) } else { Err(format!("{what} held {held} bytes, {bytes_max} are in proportion to its input")) }
}
