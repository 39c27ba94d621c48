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

/// Bytes that a program may still write there; `None` where the operating system has no simple word for it.
pub(crate) fn free(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let found = rustix::fs::statvfs(folder).ok()?;
        found.f_bavail.checked_mul(found.f_frsize)
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

/// How far the notifications of a file system can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// Whatever happens here is notified.
    Own,
    /// A memory card or stick (its format's name): also a camera may write to it, and it comes and goes.
    Card(&'static str),
    /// Other machines write here, and nobody tells (the file system's name).
    Shared(&'static str),
}

/// On what a folder lies. Where that cannot be told it is taken for this machine's own: the rescan covers the rest.
pub(crate) fn ground(folder: &Path) -> Ground {
    #[cfg(target_os = "linux")]
    {
        #[allow(clippy::unnecessary_cast)] // narrower on machines of 32 bits
        let kind = rustix::fs::statfs(folder).map(|found| found.f_type as i64 & 0xFFFF_FFFF);
        kind.ok().and_then(|kind| u32::try_from(kind).ok()).map_or(Ground::Own, ground_of)
    }
    #[cfg(windows)]
    {
        // `\\server\share`, also as the canonical path writes it.
        use std::path::{Component, Prefix};
        match folder.components().next() {
            Some(Component::Prefix(prefix)) if matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..)) => {
                Ground::Shared("SMB")
            }
            _ => Ground::Own,
        }
    }
    #[cfg(target_os = "macos")]
    {
        // Where macOS puts cards, sticks and network drives alike; both are listed often.
        if folder.starts_with("/Volumes") { Ground::Card("removable") } else { Ground::Own }
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
    {
        let _ = folder;
        Ground::Own
    }
}

/// By the numbers of the kernel's `include/uapi/linux/magic.h`.
#[cfg(target_os = "linux")]
fn ground_of(kind: u32) -> Ground {
    match kind {
        0x0000_6969 => Ground::Shared("NFS"),
        0x0000_517B | 0xFF53_4D42 | 0xFE53_4D42 => Ground::Shared("SMB"),
        0x6573_5546 => Ground::Shared("FUSE"),
        0x0102_1997 => Ground::Shared("9P"),
        0x5346_414F | 0x6B41_4653 => Ground::Shared("AFS"),
        0x00C3_6400 => Ground::Shared("Ceph"),
        0x0BD0_0BD0 => Ground::Shared("Lustre"),
        0x786F_4256 => Ground::Shared("VirtualBox"),
        0xBACB_ACBC => Ground::Shared("VMware"),
        0x0000_4D44 => Ground::Card("FAT"),
        0x2011_BAB0 => Ground::Card("exFAT"),
        _ => Ground::Own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn network_drives_and_cards_are_told_from_disks() {
        for (kind, ground) in [
            (0x0000_6969, Ground::Shared("NFS")),
            (0xFF53_4D42, Ground::Shared("SMB")),
            (0xFE53_4D42, Ground::Shared("SMB")),
            (0x6573_5546, Ground::Shared("FUSE")),
            (0x0000_4D44, Ground::Card("FAT")),
            (0x2011_BAB0, Ground::Card("exFAT")),
            (0x0000_EF53, Ground::Own), // ext4
            (0x0102_1994, Ground::Own), // tmpfs
        ] {
            assert_eq!(ground_of(kind), ground, "{kind:x}");
        }
        assert_eq!(ground(Path::new("/there/is/none")), Ground::Own);
    }

    #[test]
    fn a_folder_is_another_one_after_it_was_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (card, away) = (dir.path().join("card"), dir.path().join("away"));
        std::fs::create_dir(&card).unwrap();
        let first = identity(&card);
        assert!(first.is_some());
        std::fs::rename(&card, &away).unwrap();
        assert_eq!(identity(&card), None);
        std::fs::create_dir(&card).unwrap();
        #[cfg(unix)]
        assert_ne!(identity(&card), first);
    }
}
