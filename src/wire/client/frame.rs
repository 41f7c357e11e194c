//! Splits received bytes into frames: a big-endian length of 32 bits, then that many bytes.
//!
//! Guarantees: a length is judged as soon as its four bytes are there, before memory for the frame is asked for; the same
//! bytes give the same frames however they arrive. The caller keeps the bytes that don't form a whole frame yet.

/// Bytes of the length in front of a frame.
pub const LENGTH_BYTES: usize = 4;

/// What a first "length" really is, for the log: people point browsers, balancers and TLS clients at the port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Foreign {
    /// A method of HTTP, or HTTP/2's preface.
    Http,
    /// A TLS handshake on a port without TLS.
    Tls,
    /// A balancer's PROXY line, version 1 or 2.
    ProxyProtocol,
    /// An SSH client's greeting.
    Ssh,
}

impl Foreign {
    /// How a log line names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Foreign::Http => "an HTTP request",
            Foreign::Tls => "a TLS handshake",
            Foreign::ProxyProtocol => "a PROXY protocol header",
            Foreign::Ssh => "an SSH greeting",
        }
    }

    /// What the four bytes of a length that was refused look like.
    #[must_use]
    pub fn recognise(len: i32) -> Option<Foreign> {
        match &len.to_be_bytes() {
            b"GET " | b"HEAD" | b"POST" | b"PUT " | b"DELE" | b"OPTI" | b"PATC" | b"CONN" | b"TRAC" | b"PRI " => Some(Foreign::Http),
            [0x16, 3, 0..=4, _] => Some(Foreign::Tls),
            b"PROX" | b"\r\n\r\n" => Some(Foreign::ProxyProtocol),
            b"SSH-" => Some(Foreign::Ssh),
            _ => None,
        }
    }
}

/// A length that no frame can have. The connection can't be used any further: where the next frame starts is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameError {
    /// As received.
    pub len: i32,
    /// The limit (`jute.maxbuffer`).
    pub frame_bytes_max: usize,
}

impl FrameError {
    /// What was sent instead of a frame, if that is known.
    #[must_use]
    pub fn foreign(&self) -> Option<Foreign> {
        Foreign::recognise(self.len)
    }
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.foreign() {
            Some(foreign) => write!(f, "not ZooKeeper's protocol but {}", foreign.name()),
            None => write!(f, "a frame of {} bytes, jute.maxbuffer is {}", self.len, self.frame_bytes_max),
        }
    }
}

impl std::error::Error for FrameError {}

/// Walks over received bytes. Made anew for each batch of bytes; it only borrows them.
///
/// ```
/// use ringkeeper::wire::FrameSplitter;
/// let received = [0, 0, 0, 1, b'x', 0, 0, 0, 9];
/// let mut frames = FrameSplitter::new(&received, 100);
/// assert_eq!(frames.next_frame(), Ok(Some(&b"x"[..])));
/// assert_eq!(frames.next_frame(), Ok(None));
/// assert_eq!((frames.consumed(), frames.missing()), (5, 9));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FrameSplitter<'a> {
    received: &'a [u8],
    consumed: usize,
    frame_bytes_max: usize,
}

impl<'a> FrameSplitter<'a> {
    /// Starts at the first byte of `received`, which must be the first of a length.
    #[must_use]
    pub fn new(received: &'a [u8], frame_bytes_max: usize) -> FrameSplitter<'a> {
        FrameSplitter { received, consumed: 0, frame_bytes_max }
    }

    /// The next whole frame without its length; `None` when more bytes are needed.
    ///
    /// # Errors
    /// A length below 0 or above the limit. The walk stays before it.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<&'a [u8]>, FrameError> {
        let rest = &self.received[self.consumed..];
        let Some(len) = self.length(rest)? else {
            return Ok(None);
        };
        let Some(frame) = rest.get(LENGTH_BYTES..LENGTH_BYTES + len) else {
            return Ok(None);
        };
        self.consumed += LENGTH_BYTES + len;
        Ok(Some(frame))
    }

    #[inline]
    fn length(&self, rest: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(head) = rest.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let len = i32::from_be_bytes(*head);
        match usize::try_from(len) {
            Ok(bytes) if bytes <= self.frame_bytes_max => Ok(Some(bytes)),
            _ => Err(FrameError { len, frame_bytes_max: self.frame_bytes_max }),
        }
    }

    /// Bytes of the frames given so far, with their lengths; the caller drops these from the front of its buffer.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// Bytes that must arrive before the next call of [`FrameSplitter::next_frame`] can give more: those missing of the
    /// frame that has begun, or of its length. At least 1 unless a whole frame (or a refused length) is waiting already.
    #[must_use]
    pub fn missing(&self) -> usize {
        let rest = &self.received[self.consumed..];
        match self.length(rest) {
            Ok(Some(len)) => (LENGTH_BYTES + len).saturating_sub(rest.len()),
            Ok(None) => LENGTH_BYTES - rest.len(),
            Err(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
        frames.iter().flat_map(|f| [&(f.len() as u32).to_be_bytes()[..], f].concat()).collect()
    }

    #[test]
    fn lengths_outside_the_limit_are_refused_at_once() {
        assert_eq!(FrameSplitter::new(b"\0\0\0\x05abcde", 5).next_frame(), Ok(Some(&b"abcde"[..])));
        for (bytes, len) in [(b"\0\0\0\x06", 6), (b"\xff\xff\xff\xff", -1), (b"\x80\0\0\0", i32::MIN), (b"\x7f\xff\xff\xff", i32::MAX)] {
            let mut frames = FrameSplitter::new(bytes, 5);
            assert_eq!(frames.next_frame(), Err(FrameError { len, frame_bytes_max: 5 }));
            assert_eq!((frames.consumed(), frames.missing()), (0, 0));
        }
    }

    #[test]
    fn an_empty_frame_is_a_frame() {
        assert_eq!(FrameSplitter::new(b"\0\0\0\0", 5).next_frame(), Ok(Some(&b""[..])));
    }

    #[test]
    fn what_is_not_zookeeper_gets_its_name() {
        let name = |bytes: &[u8]| FrameSplitter::new(bytes, 1 << 20).next_frame().unwrap_err().to_string();
        assert_eq!(name(b"GET / HTTP/1.1\r\n"), "not ZooKeeper's protocol but an HTTP request");
        assert_eq!(name(b"\x16\x03\x01\x02\0"), "not ZooKeeper's protocol but a TLS handshake");
        assert_eq!(name(b"PROXY TCP4 "), "not ZooKeeper's protocol but a PROXY protocol header");
        assert_eq!(name(b"\r\n\r\n\0\r\nQUIT\n"), "not ZooKeeper's protocol but a PROXY protocol header");
        assert_eq!(name(b"\0\x20\0\0"), "a frame of 2097152 bytes, jute.maxbuffer is 1048576");
    }

    proptest! {
        #[test]
        fn frames_are_the_same_wherever_the_bytes_are_split(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6),
        ) {
            let bytes = framed(&frames);
            for split in 0..=bytes.len() {
                let mut buffer: Vec<u8> = Vec::new();
                let mut got: Vec<Vec<u8>> = Vec::new();
                for part in [&bytes[..split], &bytes[split..]] {
                    buffer.extend_from_slice(part);
                    let mut splitter = FrameSplitter::new(&buffer, 64);
                    while let Some(frame) = splitter.next_frame().unwrap() {
                        got.push(frame.to_vec());
                    }
                    let (consumed, missing) = (splitter.consumed(), splitter.missing());
                    prop_assert!(missing > 0);
                    buffer.drain(..consumed);
                }
                prop_assert_eq!(&got, &frames);
                prop_assert!(buffer.is_empty());
            }
        }

        #[test]
        fn exactly_the_missing_bytes_complete_a_frame(frame in proptest::collection::vec(any::<u8>(), 1..40), cut in 0usize..44) {
            let bytes = framed(&[frame]);
            let cut = cut.min(bytes.len() - 1);
            let missing = FrameSplitter::new(&bytes[..cut], 64).missing();
            prop_assert!(cut + missing <= bytes.len());
            if cut >= LENGTH_BYTES {
                prop_assert_eq!(cut + missing, bytes.len());
            }
        }
    }
}
