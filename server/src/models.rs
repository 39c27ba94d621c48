//! Installs a face pack: fetches its files from their official places or takes them from a folder, imports what is
//! published in another form, and puts each in place only when its digest is the pack's.

mod fetch;
mod ir;
mod onnx;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use findme_common::Digest;
use reqwest::Client;

use crate::face::{ModelFile, Pack, Source, default_pack};
use crate::store::{private_dir_if_new, sync_dir};
use fetch::{Wanted, client, fetch};

/// Why a pack could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// An official place could not be reached, or did not give the file.
    #[error("{url} cannot be fetched: {problem}")]
    Network {
        /// Where.
        url: String,
        /// What happened.
        problem: String,
    },
    /// What came is not what the pack names.
    #[error("{name} is not the file that the face pack names (its SHA-256 is {found})")]
    Digest {
        /// A URL or a path.
        name: String,
        /// What was found.
        found: Digest,
    },
    /// The folder that was named has not all files.
    #[error("{} has not the files of the pack: {wanted} is missing", folder.display())]
    NotThere {
        /// The folder.
        folder: PathBuf,
        /// One of the missing files.
        wanted: String,
    },
    /// The published network is not one that can be imported.
    #[error("{name} cannot be imported: {problem}")]
    Import {
        /// The model file.
        name: String,
        /// Why.
        problem: String,
    },
    /// The models folder cannot be written.
    #[error("the models folder cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// How far an installation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Last part of the file's address.
    pub name: &'a str,
    /// Bytes that are here.
    pub done: u64,
    /// Bytes in all.
    pub of: u64,
}

/// Where the models of a data folder lie when no other folder is named.
pub fn folder_in(data: &Path) -> PathBuf {
    data.join("models")
}

/// Installs the default pack into a data folder that has it not yet; whether there was something to do.
///
/// # Errors
/// As [`install`].
pub async fn install_default(data: &Path, report: impl FnMut(Progress<'_>) + Send) -> Result<bool, InstallError> {
    let (pack, folder) = (default_pack(), folder_in(data));
    if is_installed(pack, &folder) {
        return Ok(false);
    }
    private_dir_if_new(data)?;
    install(pack, &folder, None, report).await.map(|()| true)
}

/// Whether a pack's files are all in a folder. Their digests are checked when they are loaded.
pub fn is_installed(pack: &Pack, folder: &Path) -> bool {
    pack.files().iter().all(|file| folder.join(&file.file).is_file())
}

/// Puts the files of a pack into `folder`; those that are there already stay. They come from the folder `from`, or
/// without one from their official places.
///
/// # Errors
/// See [`InstallError`]; what was fetched is kept, so that the next time goes on there.
pub async fn install(
    pack: &Pack,
    folder: &Path,
    from: Option<&Path>,
    mut report: impl FnMut(Progress<'_>) + Send,
) -> Result<(), InstallError> {
    private_dir_if_new(folder)?;
    let mut online = None;
    for file in pack.files() {
        if file.read(folder).is_ok() {
            continue;
        }
        let bytes = match from {
            Some(from) => from_folder(file, from)?,
            None => {
                let client = match &online {
                    Some(client) => client,
                    None => online.insert(client()?),
                };
                from_sources(client, file, folder, &mut report).await?
            }
        };
        put(folder, &file.file, &bytes)?;
    }
    Ok(())
}

/// The file itself, or what it is imported from, in a folder.
fn from_folder(file: &ModelFile, from: &Path) -> Result<Vec<u8>, InstallError> {
    let direct = from.join(&file.file);
    if direct.is_file() {
        let bytes = fs::read(&direct)?;
        let found = Digest::of(&bytes);
        return match file.accepts(&found) {
            true => Ok(bytes),
            false => Err(InstallError::Digest { name: direct.display().to_string(), found }),
        };
    }
    let missing = |wanted: &str| InstallError::NotThere { folder: from.to_owned(), wanted: wanted.to_owned() };
    let mut parts = Vec::new();
    for source in file.sources.iter().filter(|source| source.sha256.is_some()) {
        let path = from.join(name_of(source));
        if !path.is_file() {
            return Err(missing(&file.file));
        }
        let bytes = fs::read(&path)?;
        let found = Digest::of(&bytes);
        if source.sha256 != Some(found) {
            return Err(InstallError::Digest { name: path.display().to_string(), found });
        }
        parts.push(bytes);
    }
    if parts.is_empty() {
        return Err(missing(&file.file));
    }
    import(file, &parts)
}

async fn from_sources(
    client: &Client,
    file: &ModelFile,
    folder: &Path,
    report: &mut (impl FnMut(Progress<'_>) + Send),
) -> Result<Vec<u8>, InstallError> {
    let mut parts = Vec::new();
    for source in &file.sources {
        let (bytes, sha256) = (source.bytes.unwrap_or(file.bytes), source.sha256.unwrap_or(file.sha256));
        let name = name_of(source);
        // Named by its digest: what another version left behind is not gone on with.
        let part = folder.join(format!("{name}.{}.part", &sha256.to_string()[..8]));
        let wanted = Wanted { url: &source.url, bytes, sha256 };
        let content = fetch(client, wanted, &part, &mut |done| report(Progress { name, done, of: bytes })).await?;
        parts.push((content, part));
    }
    let (contents, files): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let bytes = match (contents.len(), file.sources.first().and_then(|source| source.sha256)) {
        (1, None) => contents.into_iter().next().unwrap_or_default(),
        _ => import(file, &contents)?,
    };
    // Only now is nothing of them needed any more.
    files.iter().try_for_each(fs::remove_file)?;
    Ok(bytes)
}

/// Makes the model file from the description and the weights of an OpenVINO network.
pub(crate) fn import(file: &ModelFile, parts: &[Vec<u8>]) -> Result<Vec<u8>, InstallError> {
    let broken = |problem: String| InstallError::Import { name: file.file.clone(), problem };
    let [xml, weights] = parts else { return Err(broken("it has not two parts".to_owned())) };
    let xml = std::str::from_utf8(xml).map_err(|error| broken(error.to_string()))?;
    let bytes = ir::to_onnx(xml, weights).map_err(|error| broken(error.to_string()))?;
    let found = Digest::of(&bytes);
    if file.accepts(&found) { Ok(bytes) } else { Err(InstallError::Digest { name: file.file.clone(), found }) }
}

/// Last part of a source's address.
fn name_of(source: &Source) -> &str {
    source.url.rsplit('/').next().unwrap_or_default()
}

/// Writes a file whole or not at all.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (temporary, target) = (folder.join(format!("{name}.new")), folder.join(name));
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, &target)?;
    sync_dir(folder)
}

#[cfg(test)]
mod tests;
