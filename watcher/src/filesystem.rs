//! What kind of file system a folder lies on, and whether it is still the same folder.

use std::path::Path;

/// Device and file number of a folder; `None` when it is not there. Where the operating system has no such numbers,
/// only whether it is there.
pub(crate) fn identity(folder: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(folder).ok().filter(std::fs::Metadata::is_dir)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        Some((0, 0))
    }
}

/// Name of the file system when it gives no notifications of what other machines or the camera do.
#[cfg(target_os = "linux")]
pub(crate) fn needs_polling(folder: &Path) -> Option<&'static str> {
    // Numbers from the kernel's `include/uapi/linux/magic.h`.
    let kind = rustix::fs::statfs(folder).ok()?.f_type;
    match u32::try_from(kind as i64 & 0xFFFF_FFFF).ok()? {
        0x0000_6969 => Some("NFS"),
        0x0000_517B | 0xFF53_4D42 | 0xFE53_4D42 => Some("SMB"),
        0x6573_5546 => Some("FUSE"),
        0x0102_1997 => Some("9P"),
        0x5346_414F => Some("AFS"),
        0x00C3_6400 => Some("Ceph"),
        0x786F_4256 => Some("VirtualBox"),
        _ => None,
    }
}

/// Elsewhere the periodic listing is what covers network folders.
#[cfg(not(target_os = "linux"))]
pub(crate) fn needs_polling(_: &Path) -> Option<&'static str> {
    None
}
