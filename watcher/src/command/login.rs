//! `login`: asks for server and token and keeps them in the system's config folder, readable by their owner alone.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, Write};
use std::path::Path;

use findme_common::PhotographerToken;

use super::{Stop, fatal, usage};
use crate::Exit;
use crate::config::parse_server;

/// Asks on standard input; a terminal is not needed.
pub(super) fn login(server: Option<String>) -> Result<Exit, Stop> {
    let folders = directories::ProjectDirs::from("", "", "findme")
        .ok_or_else(|| fatal("this system names no folder for settings; use --server and --token-file"))?;
    let config = folders.config_dir().join("config.toml");
    let before = match fs::read_to_string(&config) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(fatal(format!("{}: {error}", config.display()))),
    };
    let mut settings: toml::Table = before.parse().map_err(|error| fatal(format!("{}: {error}", config.display())))?;
    let server = match server {
        Some(server) => server,
        None => ask("Address of the server, for example https://photos.example: ").map_err(fatal)?,
    };
    let url = parse_server(&server).map_err(usage)?;
    let typed = ask("Photographer token (fmp.…): ").map_err(fatal)?;
    let malformed = |_| (Exit::Usage, "that is no photographer token: one begins with fmp. and has three parts".into());
    let token: PhotographerToken = typed.parse().map_err(malformed)?;
    let token_file = folders.config_dir().join("token");
    settings.insert("server".into(), url.as_str().into());
    settings.insert("token-file".into(), token_file.display().to_string().into());
    fs::create_dir_all(folders.config_dir()).map_err(fatal)?;
    write_private(&token_file, &format!("{}\n", token.reveal())).map_err(fatal)?;
    write_private(&config, &settings.to_string()).map_err(fatal)?;
    println!("Kept in {}. From now on `findme-watch DIR` is enough.", folders.config_dir().display());
    Ok(Exit::Done)
}

fn ask(question: &str) -> io::Result<String> {
    eprint!("{question}");
    io::stderr().flush()?;
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer)? == 0 {
        return Err(io::Error::other("nothing was typed; --server and --token-file do without asking"));
    }
    Ok(answer.trim().to_owned())
}

/// Writes a file whole or not at all; only its owner may read it.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
