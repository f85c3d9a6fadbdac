//! Opening a file of lines or records: plain or gzip, UTF-8 with or without its mark, and never more in memory than one of them may have.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::ReadError;

/// Longest line or record, bytes: a session has at most 64 KiB of attributes (77).
pub(super) const RECORD: u64 = 1 << 20;
/// How many times larger than the file its content may be (84): text of this kind reaches 30.
const RATIO: u64 = 200;
/// Content that is read whatever the ratio, bytes.
const ALLOWANCE: u64 = 16 << 20;

/// An opened file.
pub struct Opened {
    reader: BufReader<Metered>,
    left: Arc<AtomicU64>,
}

/// Opens a file.
pub fn open(path: &Path) -> Result<Opened, ReadError> {
    let file = File::open(path).map_err(|error| ReadError::Missing(format!("{} cannot be read: {error}.", path.display())))?;
    let counted = Arc::new(AtomicU64::new(0));
    let mut raw = BufReader::with_capacity(1 << 16, Counted { inner: file, bytes: Arc::clone(&counted) });
    let start = raw.fill_buf().map_err(|error| ReadError::Missing(format!("{} cannot be read: {error}.", path.display())))?;
    let inner: Box<dyn Read + Send> = if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(Ratio { inner: MultiGzDecoder::new(raw), compressed: counted, bytes: 0 })
    } else {
        Box::new(raw)
    };
    let left = Arc::new(AtomicU64::new(RECORD));
    let mut reader = BufReader::with_capacity(1 << 16, Metered { inner, left: Arc::clone(&left) });
    let start = reader.fill_buf().map_err(|error| broken(&error))?;
    if [[0xff, 0xfe], [0xfe, 0xff]].iter().any(|mark| start.starts_with(mark)) || start.iter().take(4).any(|byte| *byte == 0) {
        return Err(ReadError::Data(
            "The file is UTF-16 or UTF-32. Convert it: iconv -f UTF-16 -t UTF-8 FILE > FILE.utf8".to_owned(),
        ));
    }
    if start.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    Ok(Opened { reader, left })
}

/// What a failed read means.
pub(super) fn broken(error: &io::Error) -> ReadError {
    ReadError::Data(match error.kind() {
        io::ErrorKind::UnexpectedEof => "The file is truncated.".to_owned(),
        io::ErrorKind::FileTooLarge => error.to_string(),
        _ => format!("The file cannot be read: {error}."),
    })
}

impl Opened {
    /// How much may still be read of this record: for readers that own the file and know where the next one begins.
    pub(super) fn meter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.left)
    }

    /// The next line without its end, into `line`; `false` at the end of the file. A last line without an end counts.
    pub fn line(&mut self, line: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.left.store(RECORD, Ordering::Relaxed);
        line.clear();
        // The meter stops a line that is too long.
        let read = self.reader.read_until(b'\n', line).map_err(|error| broken(&error))?;
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        Ok(read > 0)
    }
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl BufRead for Opened {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

/// Refuses to read on when a line or record has no end.
struct Metered {
    inner: Box<dyn Read + Send>,
    left: Arc<AtomicU64>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "A line or record is longer than 1 MiB. It is refused: no export holds one.",
            ));
        }
        let read = self.inner.read(buffer)?;
        self.left.store(left.saturating_sub(read as u64), Ordering::Relaxed);
        Ok(read)
    }
}

/// Counts what was read of the file itself.
struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Refuses content that is out of all proportion to the file.
struct Ratio<R> {
    inner: R,
    compressed: Arc<AtomicU64>,
    bytes: u64,
}

impl<R: Read> Read for Ratio<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        if self.bytes > ALLOWANCE + RATIO * self.compressed.load(Ordering::Relaxed) {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "The gzip file unpacks to more than 200 times its size. It is refused; unpack it by hand if you trust it.",
            ));
        }
        Ok(read)
    }
}
