//! Memory that a batch is encoded into and that goes to disk and to the wire unchanged.
//!
//! The core encodes straight into memory that the host gives it, so that the very bytes reach the disk without a copy: DMA
//! buffers of one executor in production, plain aligned memory in the simulator and between executors. A handle is cheap to
//! clone; memory can be changed only while there is a single handle.

use crate::base::limits::BLOCK_BYTES;
use std::fmt::Debug;
use std::sync::Arc;

/// A handle on block-aligned memory.
pub trait BatchMemory: Clone + Debug + 'static {
    /// All bytes of it; the length is a multiple of [`BLOCK_BYTES`].
    fn bytes(&self) -> &[u8];
    /// The same, to be changed; `None` while another handle exists.
    fn bytes_mut(&mut self) -> Option<&mut [u8]>;
    /// Limits it to its first `len` bytes (a multiple of the block) for good: what goes to disk is exactly [`Self::bytes`].
    /// Called once, while there is a single handle.
    fn seal(&mut self, len: usize);
    /// Bytes of memory that stay taken as long as a handle exists; sealing gives none back.
    fn held_bytes(&self) -> usize;
}

/// Where a core gets its memory from. Hosts pool it.
pub trait BatchPool {
    /// The kind of memory.
    type Memory: BatchMemory;
    /// Memory of at least `len` bytes, block-aligned, with any content.
    fn take(&mut self, len: usize) -> Self::Memory;
}

/// One block, aligned as O_DIRECT wants it.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK_BYTES]);

/// Plain aligned memory that may cross threads.
#[derive(Clone)]
pub struct HeapMemory(Arc<Vec<Block>>, usize);

impl HeapMemory {
    /// Zeroed memory of at least `len` bytes.
    #[must_use]
    pub fn zeroed(len: usize) -> HeapMemory {
        let blocks = len.div_ceil(BLOCK_BYTES).max(1);
        HeapMemory(Arc::new(vec![bytemuck::Zeroable::zeroed(); blocks]), blocks * BLOCK_BYTES)
    }
}

impl Debug for HeapMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeapMemory({} blocks)", self.0.len())
    }
}

impl BatchMemory for HeapMemory {
    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.0)[..self.1]
    }

    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        let len = self.1;
        Arc::get_mut(&mut self.0).map(|blocks| &mut bytemuck::cast_slice_mut(blocks.as_mut_slice())[..len])
    }

    fn seal(&mut self, len: usize) {
        self.1 = self.1.min(len.next_multiple_of(BLOCK_BYTES));
    }

    fn held_bytes(&self) -> usize {
        self.0.len() * BLOCK_BYTES
    }
}

/// A pool that keeps handles to memory it gave out and gives it again when it is the last holder.
#[derive(Debug, Default)]
pub struct HeapPool {
    kept: Vec<HeapMemory>,
}

/// Handles that a [`HeapPool`] keeps at most.
const POOL_KEPT_MAX: usize = 64;

impl BatchPool for HeapPool {
    type Memory = HeapMemory;

    fn take(&mut self, len: usize) -> HeapMemory {
        let free = |m: &HeapMemory| Arc::strong_count(&m.0) == 1 && m.0.len() * BLOCK_BYTES >= len;
        if let Some(at) = self.kept.iter().position(free) {
            let mut memory = self.kept.swap_remove(at);
            memory.1 = memory.0.len() * BLOCK_BYTES;
            return memory;
        }
        HeapMemory::zeroed(len)
    }
}

impl HeapPool {
    /// Remembers `memory`, to be given out again once every other handle is gone.
    pub fn keep(&mut self, memory: &HeapMemory) {
        if self.kept.len() < POOL_KEPT_MAX {
            self.kept.push(memory.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_frozen_while_shared() {
        let mut m = HeapMemory::zeroed(5000);
        assert_eq!(m.bytes().len(), 8192);
        assert_eq!(m.bytes().as_ptr() as usize % BLOCK_BYTES, 0);
        let other = m.clone();
        assert!(m.bytes_mut().is_none());
        drop(other);
        assert!(m.bytes_mut().is_some());
    }

    #[test]
    fn a_pool_gives_memory_again_only_when_it_is_free() {
        let mut pool = HeapPool::default();
        let a = pool.take(4096);
        pool.keep(&a);
        let b = pool.take(4096);
        assert_ne!(a.bytes().as_ptr(), b.bytes().as_ptr());
        let at = a.bytes().as_ptr();
        drop(a);
        assert_eq!(pool.take(4096).bytes().as_ptr(), at);
    }
}
