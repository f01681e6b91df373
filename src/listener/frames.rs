//! Follows the frames of an HTTP/2 client by their headers.
//!
//! hyper does not report the start of a head, and waits without a limit for its end. So this module follows the
//! frames, without reading payloads.

/// The HTTP/2 connection preface (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Size of a frame header.
const FRAME_HEADER: usize = 9;

/// Frame types, and the flags that end a stream and a field block.
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Follows the frames of a connection, starting with the preface.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes left of the current payload or preface.
    payload: usize,
    header: [u8; FRAME_HEADER],
    /// Bytes received of the next frame header.
    filled: usize,
    is_data: bool,
    /// Whether the current field block continues in another frame.
    block_goes_on: bool,
    /// Size of the current or last field block.
    block: usize,
    has_data: bool,
    /// Field blocks since the last call of [`take_counts`](Self::take_counts).
    blocks: u64,
    /// Frames since then that are neither a part of a field block nor of a body.
    useless: u64,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            payload: PREFACE.len(),
            header: [0; FRAME_HEADER],
            filled: 0,
            is_data: false,
            block_goes_on: false,
            block: 0,
            has_data: false,
            blocks: 0,
            useless: 0,
        }
    }

    /// Processes received bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let count = self.payload.min(bytes.len());
                self.payload -= count;
                bytes = &bytes[count..];
                continue;
            }
            let count = (FRAME_HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
            self.filled += count;
            bytes = &bytes[count..];
            if self.filled == FRAME_HEADER {
                self.filled = 0;
                self.begin_frame();
            }
        }
    }

    fn begin_frame(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.is_data = kind == DATA;
        self.has_data |= self.is_data;
        match kind {
            HEADERS => {
                self.block = self.payload;
                self.blocks += 1;
            }
            CONTINUATION => self.block += self.payload,
            DATA if self.payload > 0 || flags & END_STREAM != 0 => return,
            _ => {
                self.useless += 1;
                return;
            }
        }
        self.block_goes_on = flags & END_HEADERS == 0;
    }

    /// Whether the client has started something that it must finish before it can send a request: the preface, a
    /// field block or a frame. DATA frames are exempt: a body may take its time.
    pub(super) fn is_unfinished(&self) -> bool {
        self.block_goes_on || self.filled > 0 || (self.payload > 0 && !self.is_data)
    }

    /// Size of the current or last field block, as far as its frames have announced it.
    pub(super) fn block(&self) -> usize {
        self.block
    }

    /// Returns the number of frames since the last call that only cause work, and the number of field blocks.
    pub(super) fn take_counts(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.useless), std::mem::take(&mut self.blocks))
    }

    /// Whether the client has sent any part of a body.
    pub(super) fn has_data(&self) -> bool {
        self.has_data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn a_client_is_unfinished_within_the_preface_a_block_of_fields_and_a_frame() {
        let settings = frame(0x4, 0, b"123456");
        let head = [frame(HEADERS, 0, b"abc"), frame(CONTINUATION, END_HEADERS, b"defg")].concat();
        for size in [1, 2, 7, 1000] {
            let mut frames = Frames::new();
            assert!(frames.is_unfinished());
            PREFACE.chunks(size).for_each(|bytes| frames.feed(bytes));
            assert!(!frames.is_unfinished());
            for bytes in [&settings, &head] {
                for piece in bytes[..bytes.len() - 1].chunks(size) {
                    frames.feed(piece);
                    assert!(frames.is_unfinished());
                }
                frames.feed(&bytes[bytes.len() - 1..]);
                assert!(!frames.is_unfinished());
            }
            assert_eq!(frames.block(), 7);
        }
    }

    #[test]
    fn a_body_takes_its_time() {
        let mut frames = Frames::new();
        frames.feed(PREFACE);
        let data = frame(DATA, 0, b"0123456789");
        frames.feed(&data[..12]);
        assert!(frames.has_data() && !frames.is_unfinished());
        frames.feed(&data[12..]);
        assert!(!frames.is_unfinished());
    }

    #[test]
    fn control_frames_and_empty_data_frames_are_counted_apart_from_field_blocks() {
        let mut frames = Frames::new();
        let head = [frame(HEADERS, 0, b"abc"), frame(CONTINUATION, END_HEADERS, b"")].concat();
        let useful = [head, frame(DATA, 0, b"x"), frame(DATA, END_STREAM, b"")].concat();
        let useless =
            [frame(0x2, 0, b"12345"), frame(0x8, 0, b"1234"), frame(0xee, 0, b""), frame(DATA, 0, b"")];
        frames.feed(PREFACE);
        frames.feed(&[useful, useless.concat()].concat());
        assert_eq!(frames.take_counts(), (4, 1));
        assert_eq!(frames.take_counts(), (0, 0));
    }
}
