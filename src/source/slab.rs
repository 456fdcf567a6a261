//! Memory for messages on their way, used again and again. A backlog moves gigabytes through buffers of a few megabytes; given
//! back to the allocator each time, they leave holes in its heaps that no later message fits into.

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};

/// Free buffers kept at most.
const KEPT: usize = 8;
/// Buffers below this are the allocator's business.
const WORTH_KEEPING: usize = 256 << 10;

/// Free buffers.
pub(super) struct Slabs {
    back: Sender<Vec<u8>>,
    free: Receiver<Vec<u8>>,
}

impl Default for Slabs {
    fn default() -> Self {
        let (back, free) = bounded(KEPT);
        Slabs { back, free }
    }
}

impl Slabs {
    /// An empty buffer.
    pub(super) fn take(&self) -> Vec<u8> {
        self.free.try_recv().unwrap_or_default()
    }

    /// Makes the content shared; the buffer comes back when the last slice of it is gone.
    pub(super) fn share(&self, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() < WORTH_KEEPING {
            return buffer.into();
        }
        Bytes::from_owner(Slab { buffer, back: self.back.clone() })
    }

    /// Lets the free buffers go: nothing large is expected for now.
    pub(super) fn forget(&self) {
        self.free.try_iter().for_each(drop);
    }
}

struct Slab {
    buffer: Vec<u8>,
    back: Sender<Vec<u8>>,
}

impl AsRef<[u8]> for Slab {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        // Enough of them are kept, or nobody reads any more.
        let _ = self.back.try_send(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_comes_back_with_its_last_slice() {
        let slabs = Slabs::default();
        let shared = slabs.share(vec![7; WORTH_KEEPING]);
        let slice = shared.slice(1..3);
        drop(shared);
        assert_eq!(slabs.take().capacity(), 0, "still in use");
        assert_eq!(slice.as_ref(), [7, 7]);
        drop(slice);
        let again = slabs.take();
        assert!(again.is_empty() && again.capacity() >= WORTH_KEEPING);
        drop(slabs.share(vec![7; WORTH_KEEPING]));
        slabs.forget();
        assert_eq!(slabs.take().capacity(), 0);
        drop(slabs.share(vec![7; 10]));
        assert_eq!(slabs.take().capacity(), 0, "small ones are not kept");
    }
}
