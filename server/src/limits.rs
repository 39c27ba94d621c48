//! Every bound of the server, in one place: a flag, a variable and a default each, with the reason for the default.
//! Nothing here is a promise to a client; what is refused is told with a problem of its own.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::picture;

/// A time in seconds on the command line; fractions are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl Seconds {
    const fn of(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_secs_f64().fmt(f)
    }
}

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds: f64 = text.parse().map_err(|_| "expected seconds")?;
        Duration::try_from_secs_f64(seconds).map(Self).map_err(|_| "expected seconds, 0 or more")
    }
}

/// A number of bytes on the command line; `K`, `M`, `G` and `T` count in 1024s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    const UNITS: [(&'static str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::UNITS.into_iter().find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size)) {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => self.0.fmt(f),
        }
    }
}

impl FromStr for Bytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::UNITS.into_iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size)));
        let (digits, size) = found.unwrap_or((text, 1));
        let number: u64 = digits.parse().map_err(|_| "expected bytes, for example 512M")?;
        number.checked_mul(size).map(Self).ok_or("too many bytes")
    }
}

/// So many in a time, all of them at once if need be: `10/h`, `600/m`, `50/s`; `0` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many; 0: any number.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

impl Rate {
    const fn new(count: u32, seconds: u64) -> Self {
        Self { count, per: Duration::from_secs(seconds) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            _ if self.count == 0 => return f.write_str("0"),
            1 => "s",
            60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected a rate, for example 10/h, 600/m or 50/s; 0 is no limit";
        if text == "0" {
            return Ok(Self::new(0, 1));
        }
        let (count, unit) = text.split_once('/').ok_or(WRONG)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(WRONG),
        };
        count.parse().map(|count| Self::new(count, seconds)).map_err(|_| WRONG)
    }
}

/// All bounds. [`Limits::default`] has the defaults of the flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Largest upload; today's largest RAW files are under 200 MB.
    #[arg(long, env = "FINDME_MAX_UPLOAD", default_value_t = DEFAULT.max_upload, value_name = "BYTES")]
    pub max_upload: Bytes,
    /// Largest selfie; phones make 3 to 12 MB.
    #[arg(long, env = "FINDME_MAX_SELFIE", default_value_t = DEFAULT.max_selfie, value_name = "BYTES")]
    pub max_selfie: Bytes,
    /// Memory for selfies in flight: five of the largest, or a hundred of what our page sends.
    #[arg(long, env = "FINDME_SELFIE_MEMORY", default_value_t = DEFAULT.selfie_memory, value_name = "BYTES")]
    pub selfie_memory: Bytes,
    /// Selfies in flight; more wait for their turn, which a core gives in under a second.
    #[arg(long, env = "FINDME_MAX_SELFIES", default_value_t = DEFAULT.max_selfies, value_name = "N")]
    pub max_selfies: u32,
    /// Pixels that a picture's header may announce; the largest cameras of today make 102 million.
    #[arg(long, env = "FINDME_MAX_PIXELS", default_value_t = DEFAULT.max_pixels, value_name = "N")]
    pub max_pixels: u64,
    /// Memory that decoding one picture may take; a progressive picture of 60 megapixels needs 400 MB.
    #[arg(long, env = "FINDME_DECODE_MEMORY", default_value_t = DEFAULT.decode_memory, value_name = "BYTES")]
    pub decode_memory: Bytes,
    /// Time that decoding one picture may take; 100 megapixels take two seconds, a slow machine ten times as long.
    #[arg(long, env = "FINDME_DECODE_TIME", default_value_t = DEFAULT.decode_time, value_name = "SECONDS")]
    pub decode_time: Seconds,
    /// Connections at once; a thousand guests open some six each at worst. Also bounded by the files that the system
    /// lets the process open, of which 256 are kept for photos and the catalogue.
    #[arg(long, env = "FINDME_MAX_CONNECTIONS", default_value_t = DEFAULT.max_connections, value_name = "N")]
    pub max_connections: u32,
    /// Connections of one address (not of loopback and trusted proxies); a whole venue may be one address.
    #[arg(long, env = "FINDME_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N",
        default_value_t = DEFAULT.max_connections_per_address)]
    pub max_connections_per_address: u32,
    /// Time from a connection's last answer, or its beginning, to the end of a request's head: how long an idle one
    /// stays and how slow a head may be.
    #[arg(long, env = "FINDME_HEAD_TIME", default_value_t = DEFAULT.head_time, value_name = "SECONDS")]
    pub head_time: Seconds,
    /// Bytes of a request's head; browsers send under 2 KB, tus metadata at most 8 KB.
    #[arg(long, env = "FINDME_MAX_HEAD", default_value_t = DEFAULT.max_head, value_name = "BYTES")]
    pub max_head: Bytes,
    /// Time that a TLS handshake may take; three round trips on the worst mobile network.
    #[arg(long, env = "FINDME_HANDSHAKE_TIME", default_value_t = DEFAULT.handshake_time, value_name = "SECONDS")]
    pub handshake_time: Seconds,
    /// A body may pause for this long before its connection is given up; shorter than proxies' 60 s.
    #[arg(long, env = "FINDME_BODY_IDLE", default_value_t = DEFAULT.body_idle, value_name = "SECONDS")]
    pub body_idle: Seconds,
    /// A body that comes more slowly than this many bytes a second, on average after its first 30 s, is given up; the
    /// worst network that is of use carries ten times as much.
    #[arg(long, env = "FINDME_BODY_RATE", default_value_t = DEFAULT.body_rate, value_name = "BYTES")]
    pub body_rate: Bytes,
    /// A client that takes nothing of its answer for this long is cut off.
    #[arg(long, env = "FINDME_WRITE_STALL", default_value_t = DEFAULT.write_stall, value_name = "SECONDS")]
    pub write_stall: Seconds,
    /// What is in flight at shutdown gets this long; service managers wait 90 s.
    #[arg(long, env = "FINDME_SHUTDOWN_TIME", default_value_t = DEFAULT.shutdown_time, value_name = "SECONDS")]
    pub shutdown_time: Seconds,
    /// Bytes of the disk that stay free, so that the catalogue can always be written.
    #[arg(long, env = "FINDME_DISK_RESERVE", default_value_t = DEFAULT.disk_reserve, value_name = "BYTES")]
    pub disk_reserve: Bytes,
    /// Memory for the faces of the events that are searched, two million of them. When they take more, the event that was
    /// searched longest ago is let go, and read again when it is searched again.
    #[arg(long, env = "FINDME_GALLERY_MEMORY", default_value_t = DEFAULT.gallery_memory, value_name = "BYTES")]
    pub gallery_memory: Bytes,
    /// Live listeners of one session or token: a guest's open tabs, a photographer's machines.
    #[arg(long, env = "FINDME_MAX_LISTENERS", default_value_t = DEFAULT.max_listeners, value_name = "N")]
    pub max_listeners: u32,
    /// Photos of one event that guests' reports may hide before anybody has looked: more than are reported in earnest,
    /// and no gallery is emptied by one person with many sessions. Further reports only wait.
    #[arg(long, env = "FINDME_MAX_REPORTED", default_value_t = DEFAULT.max_reported, value_name = "N")]
    pub max_reported: u32,
    /// An unfinished upload is forgotten when nothing came for this long: a week, to finish from home.
    #[arg(long, env = "FINDME_UPLOAD_EXPIRY", default_value_t = DEFAULT.upload_expiry, value_name = "SECONDS")]
    pub upload_expiry: Seconds,
    /// Uploads that a new photographer token may create in all; a festival's weekend is 30,000. 0 is no limit.
    #[arg(long, env = "FINDME_TOKEN_UPLOADS", default_value_t = DEFAULT.token_uploads, value_name = "N")]
    pub token_uploads: u64,
    /// Bytes that a new photographer token may upload in all: 100,000 photos of 20 MB. 0 is no limit.
    #[arg(long, env = "FINDME_TOKEN_BYTES", default_value_t = DEFAULT.token_bytes, value_name = "BYTES")]
    pub token_bytes: Bytes,
    /// Guests who join with one code, and who join from one address: a hall that scans a screen at once.
    #[arg(long, env = "FINDME_RATE_JOINS", default_value_t = DEFAULT.rate_joins, value_name = "RATE")]
    pub rate_joins: Rate,
    /// Wrong codes from one address. Then codes from there wait, except those that somebody there joined with.
    #[arg(long, env = "FINDME_RATE_GUESSES", default_value_t = DEFAULT.rate_guesses, value_name = "RATE")]
    pub rate_guesses: Rate,
    /// Requests of one address (not of loopback) that are refused for a wrong token or session, or for none: a hall whose
    /// event was deleted asks once each. Then they wait; whoever has a good one is not counted here.
    #[arg(long, env = "FINDME_RATE_REFUSED", default_value_t = DEFAULT.rate_refused, value_name = "RATE")]
    pub rate_refused: Rate,
    /// Selfies of one guest; nobody needs ten tries, who looks for others does.
    #[arg(long, env = "FINDME_RATE_SELFIES", default_value_t = DEFAULT.rate_selfies, value_name = "RATE")]
    pub rate_selfies: Rate,
    /// Pictures of one guest in which a camera only looks where faces are, for its hints.
    #[arg(long, env = "FINDME_RATE_LOOKS", default_value_t = DEFAULT.rate_looks, value_name = "RATE")]
    pub rate_looks: Rate,
    /// Lists of one session or token; a page asks once a second at most, a watcher four times.
    #[arg(long, env = "FINDME_RATE_LISTS", default_value_t = DEFAULT.rate_lists, value_name = "RATE")]
    pub rate_lists: Rate,
    /// Pictures of one session or token; who scrolls fast sees fifty thumbnails a second.
    #[arg(long, env = "FINDME_RATE_BYTES", default_value_t = DEFAULT.rate_bytes, value_name = "RATE")]
    pub rate_bytes: Rate,
    /// Requests about uploads of one token; small files over a fast network come at some hundred a second.
    #[arg(long, env = "FINDME_RATE_UPLOADS", default_value_t = DEFAULT.rate_uploads, value_name = "RATE")]
    pub rate_uploads: Rate,
    /// All requests of one address (not of loopback): the last resort, since a venue is one address.
    #[arg(long, env = "FINDME_RATE_ADDRESS", default_value_t = DEFAULT.rate_address, value_name = "RATE")]
    pub rate_address: Rate,
}

const DEFAULT: Limits = Limits {
    max_upload: Bytes(512 << 20),
    max_selfie: Bytes(25 << 20),
    selfie_memory: Bytes(128 << 20),
    max_selfies: 128,
    max_pixels: 120_000_000,
    decode_memory: Bytes(512 << 20),
    decode_time: Seconds::of(60),
    max_connections: 8192,
    max_connections_per_address: 4096,
    head_time: Seconds::of(30),
    max_head: Bytes(64 << 10),
    handshake_time: Seconds::of(10),
    body_idle: Seconds::of(30),
    body_rate: Bytes(1 << 10),
    write_stall: Seconds::of(30),
    shutdown_time: Seconds::of(10),
    disk_reserve: Bytes(256 << 20),
    gallery_memory: Bytes(512 << 20),
    max_listeners: 16,
    max_reported: 30,
    upload_expiry: Seconds::of(7 * 24 * 3600),
    token_uploads: 100_000,
    token_bytes: Bytes(2 << 40),
    rate_joins: Rate::new(1200, 60),
    rate_guesses: Rate::new(60, 60),
    rate_refused: Rate::new(600, 60),
    rate_selfies: Rate::new(10, 3600),
    rate_looks: Rate::new(120, 3600),
    rate_lists: Rate::new(1200, 60),
    rate_bytes: Rate::new(12_000, 60),
    rate_uploads: Rate::new(60_000, 60),
    rate_address: Rate::new(120_000, 60),
};

impl Default for Limits {
    fn default() -> Self {
        DEFAULT
    }
}

impl Limits {
    /// What decoding one picture may cost.
    pub(crate) const fn picture(&self) -> picture::Limits {
        picture::Limits { max_pixels: self.max_pixels, max_bytes: self.decode_memory.0, max_time: self.decode_time.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_is_read() {
        for text in ["512M", "1000", "0", "25K"] {
            assert_eq!(text.parse::<Bytes>().unwrap().to_string(), text);
        }
        for text in ["10/h", "600/m", "50/s", "0"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["30", "0.5"] {
            assert_eq!(text.parse::<Seconds>().unwrap().to_string(), text);
        }
        assert!("-1".parse::<Seconds>().is_err() && "x".parse::<Bytes>().is_err() && "10".parse::<Rate>().is_err());
        assert!("99999999999T".parse::<Bytes>().is_err() && "10/d".parse::<Rate>().is_err());
    }

    #[test]
    fn the_flags_have_the_defaults() {
        #[derive(Debug, clap::Parser)]
        struct Only {
            #[command(flatten)]
            limits: Limits,
        }
        let parsed: Only = clap::Parser::parse_from(["test"]);
        assert_eq!(parsed.limits, Limits::default());
        let parsed: Only = clap::Parser::parse_from(["test", "--rate-selfies", "2/m", "--max-upload", "1M"]);
        assert_eq!((parsed.limits.rate_selfies.count, parsed.limits.max_upload), (2, Bytes(1 << 20)));
    }
}
