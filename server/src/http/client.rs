//! Who is at the other end of a request: address, scheme and host. What a proxy says about them counts only when the
//! proxy was named; anybody else could say the same.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, header, request::Parts};

/// Addresses that belong together: one, or a prefix such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// Leading bits that count.
    bits: u8,
}

impl Network {
    /// Whether an address is one of these.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected an address or a network, for example 10.0.0.1 or 10.0.0.0/8";
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address = address.parse::<IpAddr>().map_err(|_| WRONG)?.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| WRONG))?;
        if bits > most { Err(WRONG) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// What the socket says; put into each request by the accept loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
}

/// The other end, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// `None` for this machine itself and where it is not known: then no limit counts addresses.
    pub(crate) address: Option<IpAddr>,
    /// Whether the client speaks https.
    pub(crate) secure: bool,
    /// What the client calls this server, when that is a host name or address at all.
    pub(crate) host: Option<String>,
    /// Whether a named proxy stands between.
    pub(crate) proxied: bool,
}

impl Client {
    /// Reads it from the socket and, when that is a trusted proxy's, from `Forwarded` or `X-Forwarded-*`.
    pub(crate) fn of(peer: Option<Peer>, headers: &HeaderMap, trusted: &[Network]) -> Self {
        let is_proxy = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        let host = text(headers, header::HOST.as_str());
        let Some(peer) = peer else {
            return Self { address: None, secure: false, host: host.and_then(valid_host), proxied: false };
        };
        let direct = peer.address.ip().to_canonical();
        if !is_proxy(direct) {
            let host = host.and_then(valid_host);
            return Self { address: counted(direct), secure: peer.tls, host, proxied: false };
        }
        let said = Forwarded::read(headers);
        // From the nearest hop outwards, the first that is no proxy of ours: what lies beyond it, it may have made up.
        let client = said.hops.iter().rev().find(|hop| !hop.is_some_and(is_proxy)).copied().flatten();
        Self {
            // Who hides is counted with the proxy, never with nobody.
            address: counted(client.unwrap_or(direct)),
            secure: said.scheme.map_or(peer.tls, |scheme| scheme.eq_ignore_ascii_case("https")),
            host: said.host.as_deref().or(host).and_then(valid_host),
            proxied: true,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_else(|| Self::of(None, &parts.headers, &[])))
    }
}

/// What is counted as one: an address, of IPv6 the 64 bits that a household gets.
fn counted(address: IpAddr) -> Option<IpAddr> {
    match address {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()),
        other => Some(other),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A host that may stand in a link: name or address, and a port.
fn valid_host(host: &str) -> Option<String> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let bracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let good = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    let good_port = port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    (good && good_port && host.len() <= 255).then(|| host.to_ascii_lowercase())
}

/// What proxies said.
#[derive(Debug, Default)]
struct Forwarded {
    /// Furthest first; `None` where a hop is hidden.
    hops: Vec<Option<IpAddr>>,
    /// As the nearest proxy has it.
    scheme: Option<String>,
    host: Option<String>,
}

impl Forwarded {
    fn read(headers: &HeaderMap) -> Self {
        let all = |name: &str| -> Vec<String> {
            let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).map(|part| part.trim().to_owned()).collect()
        };
        let (usual, standard) = (all("x-forwarded-for"), all("forwarded"));
        // One family only, and first the one that proxies write by themselves: the other they pass on from the client.
        if standard.is_empty() || !usual.is_empty() {
            return Self {
                hops: usual.iter().map(|hop| hop_address(hop)).collect(),
                scheme: all("x-forwarded-proto").pop(),
                host: all("x-forwarded-host").pop(),
            };
        }
        let mut said = Self::default();
        for element in standard {
            let mut hop = None;
            for (name, value) in element.split(';').filter_map(|pair| pair.split_once('=')) {
                let value = value.trim().trim_matches('"');
                match name.trim().to_ascii_lowercase().as_str() {
                    "for" => hop = hop_address(value),
                    "proto" => said.scheme = Some(value.to_owned()),
                    "host" => said.host = Some(value.to_owned()),
                    _ => {}
                }
            }
            said.hops.push(hop);
        }
        said
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`; `None` for anything else.
fn hop_address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// Whether a request came from a page of this server, whose name for the client is `host`. Browsers say so by
/// `Sec-Fetch-Site` over https and on localhost, and by `Origin` everywhere; what says neither is no page of ours.
pub(crate) fn same_origin(headers: &HeaderMap, host: Option<&str>, public_url: Option<&str>) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = text("origin") else { return false };
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let ours = public_url.and_then(|url| url.split_once("://")).map(|(_, rest)| rest.trim_end_matches('/'));
    host.or(text("host")).is_some_and(|host| host.eq_ignore_ascii_case(authority))
        || ours.is_some_and(|ours| ours.eq_ignore_ascii_case(authority))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn peer(address: &str) -> Option<Peer> {
        Some(Peer { address: SocketAddr::new(address.parse().unwrap(), 4000), tls: false })
    }

    const SAID: [(&str, &str); 4] = [
        ("host", "inside:8420"),
        ("x-forwarded-for", "1.2.3.4, 198.51.100.7, 10.0.0.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "photos.example"),
    ];

    #[test]
    fn a_stranger_is_believed_nothing() {
        let client = Client::of(peer("203.0.113.9"), &headers(&SAID), &["10.0.0.0/8".parse().unwrap()]);
        let plain = Client {
            address: Some([203, 0, 113, 9].into()),
            secure: false,
            host: Some("inside:8420".into()),
            proxied: false,
        };
        assert_eq!(client, plain);
    }

    #[test]
    fn a_named_proxy_is_believed_up_to_the_first_stranger() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let expected = Client {
            address: Some([198, 51, 100, 7].into()),
            secure: true,
            host: Some("photos.example".into()),
            proxied: true,
        };
        assert_eq!(Client::of(peer("10.0.0.1"), &headers(&SAID), &trusted), expected);
        let standard = "for=1.2.3.4, for=198.51.100.7;proto=http, For=\"10.0.0.2:99\";Proto=https;host=photos.example";
        let said = headers(&[("forwarded", standard)]);
        assert_eq!(Client::of(peer("10.0.0.1"), &said, &trusted), expected);
        // What a client writes beside what the proxy writes counts for nothing.
        for made_up in ["for=9.9.9.9;proto=http;host=evil.example", "for=unknown", "for=_hidden"] {
            let said = headers(&[&SAID[..], &[("forwarded", made_up)]].concat());
            assert_eq!(Client::of(peer("10.0.0.1"), &said, &trusted), expected, "{made_up}");
        }
        let hidden = Client::of(peer("10.0.0.1"), &headers(&[("x-forwarded-for", "junk")]), &trusted);
        assert_eq!(hidden.address, Some([10, 0, 0, 1].into()), "who hides is counted with the proxy");
    }

    #[test]
    fn households_and_this_machine() {
        let trusted = [];
        let of = |address| Client::of(peer(address), &HeaderMap::new(), &trusted).address;
        assert_eq!(of("127.0.0.1"), None);
        assert_eq!(of("::1"), None);
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_eq!(of("::ffff:203.0.113.9"), Some([203, 0, 113, 9].into()));
    }

    #[test]
    fn only_hosts_are_hosts() {
        for good in ["photos.example", "photos.example:8420", "192.168.1.5:80", "[2001:db8::1]:80", "[::1]"] {
            assert_eq!(valid_host(good).as_deref(), Some(good));
        }
        for bad in ["", "a b", "evil.example/x", "user@host", "host:port", "host:99999", "[x]", "a\"b", ":80"] {
            assert_eq!(valid_host(bad), None, "{bad}");
        }
    }

    #[test]
    fn networks() {
        let network: Network = "192.168.4.0/22".parse().unwrap();
        assert!(network.contains([192, 168, 7, 255].into()) && !network.contains([192, 168, 8, 0].into()));
        assert!("::1".parse::<Network>().unwrap().contains("::1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains([1, 2, 3, 4].into()));
        for bad in ["", "10.0.0.0/33", "10.0.0.0/x", "host"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_our_own_forms() {
        let ours = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            same_origin(&headers, None, Some("https://photos.example/"))
        };
        assert!(ours(&[("host", "10.0.0.1:8420"), ("origin", "http://10.0.0.1:8420")]));
        assert!(ours(&[("host", "inside:80"), ("origin", "https://Photos.example")]));
        assert!(ours(&[("sec-fetch-site", "same-origin")]));
        assert!(!ours(&[("host", "10.0.0.1:8420"), ("origin", "http://10.0.0.1")]));
        assert!(!ours(&[("host", "10.0.0.1:8420"), ("origin", "null")]));
        assert!(!ours(&[("host", "10.0.0.1:8420"), ("origin", "http://evil.example")]));
        assert!(!ours(&[("host", "a"), ("origin", "http://a"), ("sec-fetch-site", "cross-site")]));
        assert!(!ours(&[("host", "a")]));
    }
}
