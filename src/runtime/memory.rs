//! Batch memory of an executor that runs keeper and log shards: DMA buffers, encoded into by the keeper and handed to the
//! ring as they are.

use crate::base::memory::{BatchMemory, BatchPool};
use glommio::io::DmaBuffer;
use std::fmt::Debug;
use std::rc::Rc;

/// A handle on one DMA buffer, and the bytes that were asked for it.
#[derive(Clone)]
pub(super) struct DmaMemory(Rc<DmaBuffer>, usize);

impl DmaMemory {
    /// The buffer, for the ring.
    pub(super) fn share(&self) -> Rc<DmaBuffer> {
        Rc::clone(&self.0)
    }
}

impl Debug for DmaMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DmaMemory({} bytes)", self.0.len())
    }
}

impl BatchMemory for DmaMemory {
    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        Rc::get_mut(&mut self.0).map(DmaBuffer::as_bytes_mut)
    }

    fn seal(&mut self, len: usize) {
        if let Some(buffer) = Rc::get_mut(&mut self.0) {
            buffer.trim_to_size(len);
        }
    }

    fn held_bytes(&self) -> usize {
        self.1
    }
}

/// Gives out DMA buffers. The allocator below recycles them: a batch's buffer goes back with its last handle.
#[derive(Debug, Default)]
pub(super) struct DmaPool;

impl BatchPool for DmaPool {
    type Memory = DmaMemory;

    fn take(&mut self, len: usize) -> DmaMemory {
        DmaMemory(Rc::new(glommio::allocate_dma_buffer_global(len)), len)
    }
}
