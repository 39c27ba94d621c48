//! A reader that gives no more after a while: decoders ask for the next bytes all the time, and a decoder that cannot get
//! them ends. That bounds the time of every decoder alike, without a thread that could not be stopped anyway.

use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

/// The clock is looked at once in this many calls; decoders read byte by byte.
const LOOK_EVERY: u32 = 1024;

#[derive(Debug)]
pub(super) struct Timed<R> {
    reader: R,
    until: Instant,
    calls: u32,
}

impl<R> Timed<R> {
    pub(super) fn new(reader: R, time: Duration) -> Self {
        Self { reader, until: Instant::now() + time, calls: 0 }
    }

    #[inline]
    fn look(&mut self) -> io::Result<()> {
        self.calls = self.calls.wrapping_add(1);
        if self.calls % LOOK_EVERY == 1 && Instant::now() >= self.until {
            // From now on every call fails.
            self.calls = 0;
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl<R: Read> Read for Timed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.look()?;
        self.reader.read(buffer)
    }

    /// What byte-by-byte readers call: the loop that stands here by default is a tenth of a photo's decoding.
    #[inline]
    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.look()?;
        self.reader.read_exact(buffer)
    }
}

impl<R: BufRead> BufRead for Timed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.look()?;
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

impl<R: Seek> Seek for Timed<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}
