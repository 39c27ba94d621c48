//! `--serve`: the server inside this process, and the folder's event in it.
//!
//! The watcher uploads to it over HTTP like to any other. Which folder has which event, and the tokens, are kept in one
//! file that only its owner may read; a restart finds them there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use findme_common::PhotographerToken;
use findme_common::manifest::PathText;
use findme_server::{NewEvent, Server};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::args::Faces;
use crate::config::VenueConfig;
use crate::report::Serving;

/// A running server and what the watcher needs to use it.
#[derive(Debug)]
pub(crate) struct Venue {
    /// Over loopback where that is possible.
    pub(crate) url: Url,
    pub(crate) token: PhotographerToken,
    pub(crate) serving: Serving,
    stop: CancellationToken,
    server: JoinHandle<anyhow::Result<()>>,
}

/// A venue does not wait longer for models: photos come first.
const MODELS_TIME: Duration = Duration::from_secs(60);

/// What is remembered about a venue; readable by its owner only.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// Shown by the server once, at its first start.
    operator_token: Option<String>,
    /// By the folder's canonical path (`base64:…` where it is not Unicode).
    folders: BTreeMap<String, RememberedFolder>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RememberedFolder {
    photographer_token: String,
}

/// Starts the server, with the folder's event in it.
pub(crate) async fn start(config: &VenueConfig, folder: &Path) -> anyhow::Result<Venue> {
    let listen = config.listen;
    let listener = TcpListener::bind(listen).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "{listen} is taken, perhaps by another findme-watch --serve: stop that one, or choose another port with \
             --listen, for example 0.0.0.0:8421"
        ),
        io::ErrorKind::AddrNotAvailable => {
            anyhow!("{listen} is not an address of this machine; 0.0.0.0:{} stands for all it has", listen.port())
        }
        _ => anyhow!("cannot listen on {listen} ({error}); choose another with --listen, for example 0.0.0.0:8420"),
    })?;
    let listen = listener.local_addr()?;
    let reach = Reach::of(listen);
    let data = config.data.join("venue");
    let no_models = install_models(config, &data).await;
    let server = Server::open(findme_server::Config {
        // What people copy from the board must work on their phones.
        public_url: reach.guests.map(|address| format!("http://{address}")),
        models: config.models.clone(),
        faces: match config.faces {
            Faces::Local => findme_server::Faces::Local,
            Faces::Off => findme_server::Faces::Off,
        },
        ..findme_server::Config::new(&data)
    })
    .await?;
    let memory = data.join("folders.json");
    let mut remembered = read_remembered(&memory)?;
    if let Some(operator) = server.first_operator_token() {
        remembered.operator_token = Some(operator.reveal());
        write_remembered(&memory, &remembered)?;
    }
    let (token, name, join) = folders_event(&server, &mut remembered, &memory, folder).await?;
    let mut warnings = reach.warnings();
    warnings.extend(no_models.or_else(|| server.faces_problem()));
    let guests = reach.guests.unwrap_or(reach.own);
    let join = format!("http://{guests}/e/{join}");
    let url = format!("http://{}", reach.own);
    let serving = Serving {
        poster: terminal_qr(&join, std::io::stdout().is_terminal() && std::io::stderr().is_terminal()),
        url: url.clone(),
        event: name,
        join,
        photographer_token: token.reveal(),
        operator_token: remembered.operator_token,
        warnings,
    };
    let stop = CancellationToken::new();
    let server = tokio::spawn(server.serve(listener, stop.clone()));
    Ok(Venue { url: Url::parse(&url)?, token, serving, stop, server })
}

impl Venue {
    /// Waits for the server's end, which nobody asked for.
    pub(crate) async fn died(&mut self) -> String {
        match (&mut self.server).await {
            Ok(Ok(())) => "without a reason".into(),
            Ok(Err(error)) => format!("{error:#}"),
            Err(error) => error.to_string(),
        }
    }

    /// Ends the server in order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Ok(Err(error)) = self.server.await {
            tracing::warn!("the server did not end in order: {error:#}");
        }
    }
}

/// The first start ever fetches the face models. Without internet it goes on without them; what to say then.
async fn install_models(config: &VenueConfig, data: &Path) -> Option<String> {
    if config.faces == Faces::Off || config.models.is_some() {
        return None;
    }
    let mut said = false;
    let fetched = findme_server::models::install_default(data, |progress| {
        if !std::mem::replace(&mut said, true) {
            eprintln!("fetching the face models, once ({} …)", progress.name);
        }
    });
    let problem = match tokio::time::timeout(MODELS_TIME, fetched).await {
        Ok(Ok(_)) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("they did not arrive in {} s", MODELS_TIME.as_secs()),
    };
    Some(format!(
        "faces wait for their models: {problem}. Photos are stored and shown meanwhile; start again with internet, or \
         with --models and a folder that has them"
    ))
}

/// Finds the folder's event, or creates it.
async fn folders_event(
    server: &Server,
    remembered: &mut Remembered,
    memory: &Path,
    folder: &Path,
) -> anyhow::Result<(PhotographerToken, String, String)> {
    let key = match PathText::of(folder) {
        PathText::Unicode(text) => text,
        PathText::Base64(text) => format!("base64:{text}"),
    };
    if let Some(known) = remembered.folders.get(&key) {
        let token: PhotographerToken = known
            .photographer_token
            .parse()
            .with_context(|| format!("{} is damaged: a token in it is none", memory.display()))?;
        // An event that was deleted on the board is gone for good; the folder begins a new one.
        if let Some((name, join)) = server.event(token.event).await? {
            return Ok((token, name, join.to_string()));
        }
    }
    let name = folder.file_name().map_or_else(|| "Photos".into(), |name| name.to_string_lossy().into_owned());
    let created = server.create_event(NewEvent::new(name.as_str())).await?;
    // Recorded with the event; who starts it has to read it.
    eprintln!("You state: {}. (Without it: --faces off.)", findme_server::ATTESTED);
    let photographer_token = created.photographer.reveal();
    remembered.folders.insert(key, RememberedFolder { photographer_token });
    write_remembered(memory, remembered)?;
    Ok((created.photographer, name, created.join.to_string()))
}

fn read_remembered(path: &Path) -> anyhow::Result<Remembered> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
            format!(
                "{} is damaged; it holds the tokens of your events. Put a copy back, or move it away to begin anew",
                path.display()
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Remembered::default()),
        Err(error) => bail!("{}: {error}", path.display()),
    }
}

fn write_remembered(path: &Path, remembered: &Remembered) -> anyhow::Result<()> {
    let temp: PathBuf = path.with_extension("json.tmp");
    let write = || -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temp)?;
        file.write_all(&serde_json::to_vec_pretty(remembered)?)?;
        file.sync_all()?;
        fs::rename(&temp, path)?;
        #[cfg(unix)]
        if let Some(folder) = path.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

/// Under which addresses the server is reached.
struct Reach {
    /// By this machine.
    own: SocketAddr,
    /// By guests; `None` when by nobody.
    guests: Option<SocketAddr>,
    /// It listens on every address there is.
    everywhere: bool,
    /// Other addresses that guests may be able to reach.
    others: Vec<SocketAddr>,
}

impl Reach {
    fn of(listen: SocketAddr) -> Self {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let mut addresses: Vec<IpAddr> = interfaces.iter().map(if_addrs::Interface::ip).collect();
        addresses.retain(|ip| rank(*ip).is_some());
        addresses.sort_by_key(|ip| rank(*ip));
        Self::among(listen, &addresses)
    }

    fn among(listen: SocketAddr, addresses: &[IpAddr]) -> Self {
        let (ip, port) = (listen.ip(), listen.port());
        if !ip.is_unspecified() {
            let guests = (!ip.is_loopback()).then_some(listen);
            return Self { own: listen, guests, everywhere: false, others: Vec::new() };
        }
        let mut reachable =
            addresses.iter().filter(|a| ip.is_ipv6() || a.is_ipv4()).map(|ip| SocketAddr::new(*ip, port));
        let own = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        Self { own, guests: reachable.next(), everywhere: true, others: reachable.collect() }
    }

    fn warnings(&self) -> Vec<String> {
        let alone = "phones cannot reach this laptop: it has no address in a network. Join a Wi-Fi, then start again";
        let only_own = "phones cannot reach this laptop: --listen names an address that only it can use. With 0.0.0.0";
        match self.guests {
            None if self.everywhere => vec![alone.to_owned()],
            None => vec![format!("{only_own}:{} they can", self.own.port())],
            Some(_) if !self.others.is_empty() => {
                let others: Vec<_> = self.others.iter().map(|other| format!("http://{other}")).collect();
                vec![format!("also under {}; choose one with --listen", others.join(", "))]
            }
            Some(_) => Vec::new(),
        }
    }
}

/// How likely guests reach an address, best first; `None` for those that nobody else reaches.
fn rank(ip: IpAddr) -> Option<u8> {
    match ip {
        IpAddr::V4(v4) if v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() => None,
        // The ranges that access points give out come before those of containers and virtual machines.
        IpAddr::V4(v4) => Some(match v4.octets() {
            [192, 168, ..] => 0,
            [10, ..] => 1,
            [172, 16..=31, ..] => 3,
            _ => 2,
        }),
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() => None,
        IpAddr::V6(_) => Some(4),
    }
}

/// Light modules and the border are drawn, dark ones left out. `coloured`: drawn white on black whatever the terminal's own
/// colours are, because not every reader takes a code whose colours are the wrong way round.
fn terminal_qr(text: &str, coloured: bool) -> String {
    let Ok(code) = QrCode::new(text) else { return String::new() };
    let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    if !coloured {
        return drawn;
    }
    drawn.lines().map(|line| format!("\x1b[97;40m{line}\x1b[0m\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_of_a_code_is_drawn_and_its_colours_are_fixed() {
        let plain = terminal_qr("http://192.0.2.1:8420/e/0123456789", false);
        let first = plain.lines().next().unwrap();
        assert!(first.chars().all(|c| c == '█'), "the border is light, so it is drawn: {first}");
        let coloured = terminal_qr("http://192.0.2.1:8420/e/0123456789", true);
        assert_eq!(coloured.lines().count(), plain.lines().count());
        assert!(coloured.lines().all(|line| line.starts_with("\x1b[97;40m") && line.ends_with("\x1b[0m")));
    }

    fn among(listen: &str, addresses: &[&str]) -> Reach {
        let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        Reach::among(listen.parse().unwrap(), &addresses)
    }

    #[test]
    fn guests_get_an_address_of_the_network_and_the_watcher_loopback() {
        let reach = among("0.0.0.0:8420", &["192.168.1.7", "10.0.0.3"]);
        assert_eq!(reach.own.to_string(), "127.0.0.1:8420");
        assert_eq!(reach.guests.unwrap().to_string(), "192.168.1.7:8420");
        assert!(reach.warnings()[0].contains("10.0.0.3"), "the others are named");
    }

    #[test]
    fn a_named_address_is_used_as_it_is() {
        let reach = among("192.168.1.7:80", &["10.0.0.3"]);
        assert_eq!((reach.own, reach.guests), (reach.guests.unwrap(), Some(reach.own)));
        assert!(reach.warnings().is_empty());
    }

    #[test]
    fn it_says_when_phones_cannot_reach_it() {
        for (reach, way_out) in
            [(among("127.0.0.1:8420", &["192.168.1.7"]), "0.0.0.0:8420"), (among("0.0.0.0:8420", &[]), "Join a Wi-Fi")]
        {
            assert_eq!(reach.guests, None);
            let warning = &reach.warnings()[0];
            assert!(warning.contains("phones cannot reach") && warning.contains(way_out), "{warning}");
        }
        assert_eq!(rank("169.254.3.4".parse().unwrap()), None);
        assert_eq!(rank("fe80::1".parse().unwrap()), None);
    }

    #[cfg(unix)]
    #[test]
    fn tokens_are_for_their_owner_only_and_damage_is_no_beginning() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folders.json");
        let mut remembered = read_remembered(&path).unwrap();
        remembered.operator_token = Some("o".into());
        write_remembered(&path, &remembered).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_remembered(&path).unwrap().operator_token.as_deref(), Some("o"));
        fs::write(&path, "{\"operator_token\":").unwrap();
        assert!(read_remembered(&path).is_err());
    }
}
