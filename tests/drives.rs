//! Folders that lie on no disk of this machine: a drive on the network, and a card as cameras format it. Both through FUSE,
//! which needs root and no module of the kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::disks;
use crate::support::photos::small;
use crate::support::{Laptop, Server, not_tested, say, wait_for};

/// Where programs that are not on everybody's path lie.
const PLACES: [&str; 5] = ["/usr/bin", "/usr/sbin", "/sbin", "/usr/lib/openssh", "/usr/libexec/openssh"];

fn program(name: &str) -> Option<PathBuf> {
    PLACES.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists())
}

/// The programs of these names; `None` and a word about it when one is missing or nothing can be mounted.
fn programs<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    if !disks::possible() {
        not_tested("drives: only root can mount");
        return None;
    }
    // Nothing that can be installed.
    if !Path::new("/dev/fuse").exists() {
        say("!!!! SKIPPED, NOT TESTED: drives: this kernel has no FUSE");
        return None;
    }
    let found = names.map(program);
    if found.iter().any(Option::is_none) {
        not_tested(&format!("drives: {} are needed", names.join(", ")));
        return None;
    }
    Some(found.map(Option::unwrap_or_default))
}

/// A folder of another machine: what others write there is notified to nobody here.
struct Share {
    mount: PathBuf,
    processes: [Child; 2],
}

impl Share {
    async fn new(theirs: &Path, here: &Path) -> Option<Self> {
        let [sshfs, sftp_server] = programs(["sshfs", "sftp-server"])?;
        let mut server = Command::new(sftp_server).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (from, to) = (server.stdout.take().unwrap(), server.stdin.take().unwrap());
        let mut client = Command::new(sshfs);
        client.args(["-f", "-o", "passive", "-o", "dir_cache=no"]).arg(format!("there:{}", theirs.display())).arg(here);
        let client = client.stdin(from).stdout(to).spawn().unwrap();
        let share = Self { mount: here.to_owned(), processes: [client, server] };
        let mounted = async || Command::new("mountpoint").arg("-q").arg(here).status().unwrap().success().then_some(());
        wait_for("the share to be mounted", mounted).await;
        Some(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_on_a_network_drive_is_found() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let theirs = laptop.place("their disk");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("before.jpg"), small(1)).unwrap();
    let Some(share) = Share::new(&theirs, &laptop.photos()).await else { return };
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("uploaded", 1).await;
    let said = watch.complaints();
    assert!(said.contains("what others put on FUSE is not notified; looking every 2 s"), "{said}");
    // By the other machine, with a name that was taken, and in a new folder.
    fs::create_dir(theirs.join("day 2")).unwrap();
    fs::write(theirs.join("day 2/after.jpg"), small(2)).unwrap();
    fs::write(theirs.join("before.jpg"), small(3)).unwrap();
    watch.wait_for("uploaded", 3).await;
    watch.interrupt();
    watch.end().await.assert_exit(0);
    event.assert_holds_exactly(&[1, 2, 3].map(small)).await;
    drop(share);
}

/// A card in a file, with exFAT on it, and the reader that it is put into.
struct Card {
    reader: PathBuf,
    mount: PathBuf,
    device: String,
}

impl Card {
    fn new(laptop: &Laptop) -> Option<Self> {
        let [format, mount] = programs(["mkfs.exfat", "mount.exfat-fuse"])?;
        let image = laptop.place("card");
        fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        disks::shell(format.to_str().unwrap(), &[image.to_str().unwrap()]);
        let attached = Command::new("losetup").args(["--find", "--show"]).arg(&image).output().unwrap();
        if !attached.status.success() {
            say("!!!! SKIPPED, NOT TESTED: cards: there are no loop devices");
            return None;
        }
        let device = String::from_utf8(attached.stdout).unwrap().trim().to_owned();
        Some(Self { reader: laptop.photos(), mount, device })
    }

    fn put_in(&self) {
        disks::shell(self.mount.to_str().unwrap(), &[&self.device, self.reader.to_str().unwrap()]);
    }

    async fn take_out(&self) {
        // Somebody may just be looking.
        let out = async || Command::new("umount").arg(&self.reader).output().unwrap().status.success().then_some(());
        wait_for("nobody to use the card", out).await;
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.reader).output();
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_as_cameras_format_it_is_sent_once() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let Some(card) = Card::new(&laptop) else { return };
    card.put_in();
    (0..5).for_each(|n| drop(laptop.put(format!("DCIM/100CANON/IMG_{n}.JPG"), &small(n))));
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("uploaded", 5).await;
    watch.wait_for("idle", 1).await;
    assert!(watch.complaints().contains("looking every 2 s"), "{}", watch.complaints());
    laptop.put("DCIM/100CANON/IMG_5.JPG", &small(5));
    watch.wait_for("uploaded", 6).await;
    // Out, into the camera for one more, and in again: its files have other numbers then, and times of two seconds.
    card.take_out().await;
    let gone = async || watch.complaints().contains("is another one now").then_some(());
    wait_for("the empty reader to be noticed", gone).await;
    card.put_in();
    laptop.put("DCIM/101CANON/IMG_0.JPG", &small(6));
    watch.wait_for("uploaded", 7).await;
    watch.interrupt();
    let run = watch.end().await;
    run.assert_exit(0);
    assert_eq!((run.said("uploaded"), run.total("failed"), run.total("duplicate")), (7, 0, 0));
    // Without the program knowing what it knew of the file numbers: nothing is sent again.
    let again = laptop.once(&event).await;
    again.assert_exit(0);
    assert_eq!(again.said("uploaded"), 0);
    event.assert_holds_exactly(&(0..7).map(small).collect::<Vec<_>>()).await;
}
