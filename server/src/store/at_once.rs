//! Reading files without waiting for the disk: what the system has in its own cache costs a microsecond and needs no thread
//! of the blocking pool. `None`: it would have to wait (or cannot tell); ask on the blocking pool.

use std::fs::File;
use std::path::Path;

/// Opens a file for reading, when its path is in the system's cache.
#[cfg(target_os = "linux")]
pub(crate) fn open(path: &Path) -> Option<File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok().map(File::from)
}

/// Bytes from `at` on, as many as are in the system's cache; never 0 unless the buffer is empty.
#[cfg(target_os = "linux")]
pub(crate) fn read(file: &File, buffer: &mut [u8], at: u64) -> Option<usize> {
    use rustix::io::{ReadWriteFlags, preadv2};
    let mut buffers = [std::io::IoSliceMut::new(buffer)];
    preadv2(file, &mut buffers, at, ReadWriteFlags::NOWAIT).ok().filter(|read| *read > 0)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn open(_: &Path) -> Option<File> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn read(_: &File, _: &mut [u8], _: u64) -> Option<usize> {
    None
}
