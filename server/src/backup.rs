//! `findme-server backup` and `restore`.
//!
//! ```text
//! DIR/backup.json                what this backup is; written last, so that one without it was broken off
//! DIR/catalogue-<time>.sqlite    the catalogue without faces, as it was at one instant
//! DIR/photos/<event>/<photo>     the originals, byte for byte
//! ```
//!
//! Faces, enrolments and keys are in no backup: after a restore faces are indexed again and guests take a new selfie.
//! Order: catalogue → photos of it → sync → `backup.json` (renamed into place) → what the backup before had and this one
//! has not is removed. A backup that is broken off leaves the one before it whole.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use findme_common::{Digest, EventId};
use serde::{Deserialize, Serialize};

use crate::Site;
use crate::catalog::{Catalog, Promised, copy_without_faces};
use crate::check::{self, Depth};
use crate::clock::{now_ms, rfc3339};
use crate::store::{PhotoStore, Rendition, place, private_dir, sync_dir};
use crate::uploads::blocking;

/// The layout that this version writes and reads.
const FORMAT: u32 = 1;

const PAGE: i64 = 500;

/// `backup.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Layout of the folder.
    format: u32,
    /// Version of the program that wrote it.
    version: String,
    /// When it was begun: everything that was acknowledged before is in it.
    pub(crate) begun_at: String,
    /// Name of the catalogue's file.
    catalogue: String,
    /// SHA-256 of the catalogue's file.
    digest: Digest,
    /// Events in it.
    pub(crate) events: u64,
    /// Photos in it.
    pub(crate) photos: u64,
    /// Bytes of their originals.
    pub(crate) bytes: u64,
    /// Files that their rows promised and that were not there.
    pub(crate) missing: u64,
}

/// Makes or renews the backup in `to`, beside a serving server or without one. `progress` is told how many photos of how
/// many are copied.
///
/// # Errors
/// When the data cannot be read, or `to` cannot be written or holds something else.
pub(crate) async fn backup(
    site: &Site,
    data: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Manifest> {
    let begun = now_ms();
    begin_in(to)?;
    let name = format!("catalogue-{begun}.sqlite");
    let file = to.join(&name);
    copy_without_faces(&data.join("findme.sqlite"), &file).await.context("cannot copy the catalogue")?;
    let copy = Catalog::open(&file).await.context("cannot open the copy of the catalogue")?;
    let target = PhotoStore::open(to)?;
    let (mut kept, mut missing) = (HashSet::new(), 0);
    for event in copy.events().await? {
        target.create_event(event.id)?;
    }
    let (mut after, mut done) = (0, 0);
    let (total, _) = copy.totals().await?;
    loop {
        let page = copy.promises(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for promised in page {
            missing += copy_photo(site, &copy, &target, promised, &mut kept).await?;
            done += 1;
            progress(done, total.max(done));
        }
    }
    let events = copy.events().await?;
    for event in &events {
        sync_dir(&to.join("photos").join(event.id.to_simple()))?;
    }
    let (photos, bytes) = copy.totals().await?;
    copy.close().await;
    settle(&file)?;
    let digest = check::digest_of(&file)?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = Manifest {
        format: FORMAT,
        version,
        begun_at: rfc3339(begun),
        catalogue: name,
        digest,
        events: events.len() as u64,
        photos,
        bytes,
        missing,
    };
    write_manifest(to, &manifest)?;
    remove_the_rest(to, &target, &manifest.catalogue, &kept)?;
    Ok(manifest)
}

/// The folder of a backup: new, empty, or one that a backup was made in before.
fn begin_in(to: &Path) -> Result<()> {
    private_dir(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut names = fs::read_dir(to)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.retain(|name| {
        let name = name.to_string_lossy();
        !(name == "backup.json" || name.starts_with("catalogue-") || ["photos", "staging", "derived"].contains(&&*name))
    });
    ensure!(!to.join("findme.sqlite").exists(), "{} is a data folder, not one of backups", to.display());
    ensure!(names.is_empty(), "{} holds other files than a backup's; name an empty folder", to.display());
    Ok(())
}

/// Copies the files of one photo; how many of them are missing. A photo that was deleted since the catalogue was copied
/// leaves the copy too.
async fn copy_photo(
    site: &Site,
    copy: &Catalog,
    target: &PhotoStore,
    promised: Promised,
    kept: &mut HashSet<PathBuf>,
) -> Result<u64> {
    let (event, photo) = (promised.event, promised.photo);
    let mut missing = 0;
    let wanted = [(Rendition::Original, promised.original.map(Some)), (Rendition::SentPreview, promised.preview)];
    for (rendition, expected) in wanted {
        let Some(expected) = expected else { continue };
        let (from, to) = (site.store.path(event, photo, rendition), target.path(event, photo, rendition));
        let file = to.clone();
        match blocking(move || place_if_new(&from, &file, expected.map(|(_, length)| length))).await {
            Ok(()) => drop(kept.insert(to)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if site.catalog.promise(event, photo).await?.is_none() {
                    copy.delete_photo(event, photo).await?;
                    kept.remove(&target.path(event, photo, Rendition::Original));
                    return Ok(0);
                }
                missing += 1;
            }
            Err(error) => return Err(error).context("cannot copy a photo"),
        }
    }
    Ok(missing)
}

/// Originals never change under their name; a sent preview may, so its length is looked at, and it is small enough to be
/// copied anew when its time differs.
fn place_if_new(from: &Path, to: &Path, length: Option<u64>) -> io::Result<()> {
    let source = fs::metadata(from)?;
    if let Ok(there) = fs::metadata(to) {
        let same = there.len() == source.len() && length.is_none_or(|length| there.len() == length);
        if same && there.modified()? >= source.modified()? {
            return Ok(());
        }
        fs::remove_file(to)?;
    }
    place(from, to)
}

/// The copy was opened and so has a write-ahead log: all of it must be in the one file that is named.
fn settle(file: &Path) -> Result<()> {
    for end in ["-wal", "-shm"] {
        let beside = PathBuf::from(format!("{}{end}", file.display()));
        if let Ok(found) = fs::metadata(&beside) {
            ensure!(end != "-wal" || found.len() == 0, "the copy of the catalogue could not be closed");
            fs::remove_file(&beside)?;
        }
    }
    File::open(file)?.sync_all()?;
    Ok(())
}

fn write_manifest(to: &Path, manifest: &Manifest) -> Result<()> {
    let part = to.join("backup.json.part");
    let mut file = File::create(&part)?;
    file.write_all(&serde_json::to_vec_pretty(manifest)?)?;
    file.sync_all()?;
    sync_dir(&to.join("photos"))?;
    sync_dir(to)?;
    fs::rename(&part, to.join("backup.json"))?;
    sync_dir(to)?;
    Ok(())
}

/// What was deleted from the server must not live on in its backup.
fn remove_the_rest(to: &Path, target: &PhotoStore, catalogue: &str, kept: &HashSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("catalogue-") && name != catalogue {
            fs::remove_file(entry.path())?;
        }
    }
    for file in target.files()? {
        if !kept.contains(&file.path) {
            fs::remove_file(&file.path)?;
        }
    }
    for folder in ["staging", "derived"] {
        fs::remove_dir_all(to.join(folder))?;
    }
    sync_dir(to)?;
    Ok(())
}

/// What a restore came to.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) manifest: Manifest,
    /// Things that are not as the catalogue promises, one line each.
    pub(crate) problems: Vec<String>,
}

/// Brings a backup back into a new data folder. The catalogue comes last, so that a restore that is broken off is no
/// data folder. `progress` is told how many photos of how many are copied, and then how many are compared.
///
/// # Errors
/// When the backup is incomplete or damaged, or `data` holds something.
pub(crate) async fn restore(
    from: &Path,
    data: &Path,
    mut progress: impl FnMut(u64, u64) + Copy + Send + 'static,
) -> Result<Restored> {
    let manifest = read_manifest(from)?;
    private_dir(data)?;
    ensure!(fs::read_dir(data)?.next().is_none(), "{} is not empty; name a new folder with --data", data.display());
    let catalogue = from.join(&manifest.catalogue);
    let digest = check::digest_of(&catalogue).context("the backup has no catalogue")?;
    ensure!(digest == manifest.digest, "the catalogue of the backup is damaged");
    let part = data.join("restoring.sqlite");
    fs::copy(&catalogue, &part)?;
    File::open(&part)?.sync_all()?;
    let (source, target) = (from.join("photos"), PhotoStore::open(data)?);
    let folder = data.join("photos");
    let photos = manifest.photos;
    blocking(move || copy_folders(&source, &folder, |done| progress(done.min(photos), photos)))
        .await
        .context("cannot copy the photos")?;
    let copy = Catalog::open(&part).await?;
    let events: Vec<EventId> = copy.events().await?.into_iter().map(|event| event.id).collect();
    let vault = crate::vault::Vault::open(&data.join("keys"))?;
    for event in events {
        target.create_event(event)?;
        vault.create(event)?;
        copy.begin_faces_anew(event).await?;
    }
    copy.forget_derivatives().await?;
    copy.close().await;
    settle(&part)?;
    fs::rename(&part, data.join("findme.sqlite"))?;
    sync_dir(data)?;
    let site = Site::open(data).await?;
    let mut problems = Vec::new();
    let mut report = |problem: &check::Problem, _: Option<&str>| problems.push(problem.to_string());
    check::check(&site, Depth::Digests, false, &mut report, &mut progress).await?;
    site.close().await;
    Ok(Restored { manifest, problems })
}

fn read_manifest(from: &Path) -> Result<Manifest> {
    let text = match fs::read(from.join("backup.json")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{} holds no complete backup: there is no backup.json in it", from.display())
        }
        other => other?,
    };
    let manifest: Manifest = serde_json::from_slice(&text).context("backup.json cannot be read")?;
    ensure!(manifest.format == FORMAT, "the backup has format {}; this version reads {FORMAT}", manifest.format);
    ensure!(Path::new(&manifest.catalogue).components().count() == 1, "backup.json names no file of its folder");
    Ok(manifest)
}

/// Copies, never links: a folder that is worked in shares nothing with its backup. Tells how many files are done.
fn copy_folders(from: &Path, to: &Path, mut progress: impl FnMut(u64)) -> io::Result<()> {
    let mut done = 0;
    for event in fs::read_dir(from)? {
        let event = event?;
        let target = to.join(event.file_name());
        fs::create_dir_all(&target)?;
        for file in fs::read_dir(event.path())? {
            let file = file?;
            let copy = target.join(file.file_name());
            fs::copy(file.path(), &copy)?;
            File::open(&copy)?.sync_all()?;
            done += 1;
            progress(done);
        }
        sync_dir(&target)?;
    }
    sync_dir(to)
}
