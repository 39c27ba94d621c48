//! `repair`: a manifest that cannot be believed any more is built anew from whatever of it is good (the snapshot or the
//! one before it, the journal up to its first bad line) and from what the server has. The old files are kept.

use super::{Stop, connect, fatal, names, no_answer};
use crate::Exit;
use crate::config::At;
use crate::manifest::{Location, Manifest, OpenError, Salvaged};
use crate::run::exit_of;

pub(super) async fn repair(at: At) -> Result<Exit, Stop> {
    let location = Location::new(at.snapshot.clone());
    match Manifest::open(location.clone(), at.token.event) {
        Ok(_) => {
            println!("{} can be read; there is nothing to repair", at.snapshot.display());
            return Ok(Exit::Done);
        }
        Err(OpenError::Unreadable { .. }) => {}
        Err(other) => return Err((exit_of(&other), other.to_string())),
    }
    // Asked before anything is moved: without an answer everything stays as it is.
    let held = names(&connect(&at)?).await.map_err(|failure| no_answer(&failure))?;
    let Salvaged { manifest, kept, photos } = Manifest::salvage(location, at.token.event).map_err(fatal)?;
    let mut learned = 0;
    for (digest, name) in held {
        if !manifest.is_received(&digest) {
            manifest.put_received(digest, name.bytes, name.id).wait().await.map_err(fatal)?;
            learned += 1;
        }
    }
    manifest.compact().map_err(fatal)?;
    println!(
        "{} is good again: {photos} contents from its own files, {learned} from the server",
        at.snapshot.display()
    );
    println!("what could not be read is kept in {}", kept.display());
    Ok(Exit::Done)
}
