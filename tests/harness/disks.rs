//! Disks of a known size that lose their power: a file system in memory, and ext4 in a file that XFS can copy in an
//! instant. Only root can mount; [`possible`] tells.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted file system; unmounted with this.
pub(crate) struct Mount {
    path: PathBuf,
}

impl Mount {
    pub(crate) fn new(path: &Path, arguments: &[&str], what: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        shell("mount", &[arguments, &[what.to_str().unwrap(), path.to_str().unwrap()]].concat());
        Self { path: path.to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.path).status().is_ok_and(|status| status.success());
        if !done {
            // Something still has a file open: it goes when that ends.
            let _ = Command::new("umount").arg("-l").arg(&self.path).status();
        }
    }
}

/// Runs a program of the system that must succeed.
pub(crate) fn shell(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether this user may mount.
pub(crate) fn possible() -> bool {
    let place = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(place.path()).output();
    let mounted = mounted.is_ok_and(|output| output.status.success());
    if mounted {
        shell("umount", &[place.path().to_str().unwrap()]);
    }
    mounted
}

/// A small disk in memory.
pub(crate) struct Small {
    disk: Mount,
    _place: TempDir,
}

impl Small {
    pub(crate) fn of(megabytes: u64) -> Self {
        let place = tempfile::tempdir().unwrap();
        let disk = Mount::new(
            &place.path().join("disk"),
            &["-t", "tmpfs", "-o", &format!("size={megabytes}m")],
            Path::new("none"),
        );
        Self { disk, _place: place }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.disk.path().join("data")
    }

    /// Fills it up to its last `left` bytes.
    pub(crate) fn fill(&self, left: u64) {
        use std::io::Write;
        let mut filler = std::fs::File::create(self.disk.path().join("filler")).unwrap();
        let mut piece = vec![0; 4 << 20];
        let mut written = 0;
        while !piece.is_empty() {
            match filler.write(&piece) {
                Ok(n) if n > 0 => written += n as u64,
                _ => piece.truncate(if piece.len() > 4096 { piece.len() / 8 } else { 0 }),
            }
        }
        filler.set_len(written.saturating_sub(left)).unwrap();
    }

    pub(crate) fn free(&self) {
        std::fs::remove_file(self.disk.path().join("filler")).unwrap();
    }
}

/// ext4 in a file on XFS. A copy of the file, made in an instant by sharing its blocks, is what the disk held then:
/// everything that the file system had handed to it, and nothing that only the kernel's memory knew. (A real disk may
/// also lose what it was handed and not told to flush; this one does not.)
pub(crate) struct Pausable {
    disk: Option<Mount>,
    below: Option<Mount>,
    place: TempDir,
}

impl Pausable {
    pub(crate) fn of(megabytes: u64) -> Self {
        let place = tempfile::tempdir().unwrap();
        let xfs = place.path().join("xfs.img");
        file_of(&xfs, megabytes * 4);
        shell("mkfs.xfs", &["-q", "-m", "reflink=1", xfs.to_str().unwrap()]);
        let below = Mount::new(&place.path().join("below"), &["-o", "loop"], &xfs);
        let ext4 = below.path().join("ext4.img");
        file_of(&ext4, megabytes);
        shell("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", ext4.to_str().unwrap()]);
        let disk = Mount::new(&place.path().join("disk"), &["-o", "loop"], &ext4);
        Self { disk: Some(disk), below: Some(below), place }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.place.path().join("disk").join("data")
    }

    /// What the disk holds at this instant.
    pub(crate) fn cut(&self) -> Held {
        let below = self.place.path().join("below");
        let copy = below.join("cut.img");
        shell("cp", &["--reflink=always", below.join("ext4.img").to_str().unwrap(), copy.to_str().unwrap()]);
        Held { copy, place: self.place.path().join("held") }
    }
}

impl Drop for Pausable {
    fn drop(&mut self) {
        // In this order: one lies on the other.
        self.disk.take();
        self.below.take();
    }
}

/// The disk as it was at an instant; removed with this.
pub(crate) struct Held {
    copy: PathBuf,
    place: PathBuf,
}

impl Held {
    pub(crate) fn mount(&self) -> Mount {
        Mount::new(&self.place, &["-o", "loop"], &self.copy)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.copy);
    }
}

fn file_of(path: &Path, megabytes: u64) {
    std::fs::File::create(path).unwrap().set_len(megabytes << 20).unwrap();
}
