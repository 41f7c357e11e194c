//! CRC-32 as in zip and in Java's `CRC32` (polynomial 0xedb88320, reflected), eight bytes at a step.
//!
//! Only for the tree digest, whose definition asks for it; everything of our own formats uses [`crate::base::checksum`].

const POLYNOMIAL: u32 = 0xedb8_8320;

/// `TABLES[k][b]`: what byte `b` contributes when `k` more bytes follow it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut follow = 1;
    while follow < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[follow - 1][byte];
            tables[follow][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        follow += 1;
    }
    tables
}

/// A checksum in progress. A copy can go on separately, so a common beginning is read once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Crc32(u32);

impl Crc32 {
    /// Of nothing yet.
    pub(super) const START: Crc32 = Crc32(u32::MAX);

    /// From what [`Crc32::state`] gave.
    pub(super) fn from_state(state: u32) -> Crc32 {
        Crc32(state)
    }

    /// To be kept and gone on with later.
    pub(super) fn state(self) -> u32 {
        self.0
    }

    /// After `bytes` too.
    #[must_use]
    pub(super) fn with(self, bytes: &[u8]) -> Crc32 {
        let (steps, rest) = bytes.as_chunks::<8>();
        let mut crc = self.0;
        for step in steps {
            let word = u64::from_le_bytes(*step) ^ u64::from(crc);
            let look = |at: usize| TABLES[7 - at][((word >> (8 * at)) & 0xff) as usize];
            crc = look(0) ^ look(1) ^ look(2) ^ look(3) ^ look(4) ^ look(5) ^ look(6) ^ look(7);
        }
        for byte in rest {
            crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(*byte)) & 0xff) as usize];
        }
        Crc32(crc)
    }

    /// The checksum.
    pub(super) fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(Crc32::START.value(), 0);
        assert_eq!(Crc32::START.with(b"123456789").value(), 0xcbf4_3926, "the check value of CRC-32");
        assert_eq!(Crc32::START.with(b"The quick brown fox jumps over the lazy dog").value(), 0x414f_a339);
    }

    #[test]
    fn any_split_gives_the_same() {
        let bytes: Vec<u8> = (0..100u8).map(|b| b.wrapping_mul(37)).collect();
        let whole = Crc32::START.with(&bytes).value();
        for cut in 0..bytes.len() {
            let kept = Crc32::START.with(&bytes[..cut]).state();
            assert_eq!(Crc32::from_state(kept).with(&bytes[cut..]).value(), whole, "cut at {cut}");
        }
    }
}
