//! Secrets that people and programs carry. They never appear in `Debug` output, and servers keep only their hashes.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::digest::Digest;
use crate::id::EventId;

/// 256 random bits, written as 43 characters of base64url.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

/// The text had not the form of the secret that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed {0}")]
pub struct Malformed(pub &'static str);

impl Secret {
    /// A fresh secret.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// What may be stored: SHA-256 of the secret. With 256 random bits no salt or slow hash adds anything.
    pub fn hash(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// The text form, for the one place where the secret is handed out.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for Secret {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Malformed("secret"))?;
        Ok(Self(bytes.try_into().map_err(|_| Malformed("secret"))?))
    }
}

/// `fmp.<event id, 32 hex>.<43 base64url>`: lets a machine upload to one event, and tells it the event offline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhotographerToken {
    /// The event that may be uploaded to.
    pub event: EventId,
    /// What proves it.
    pub secret: Secret,
}

impl PhotographerToken {
    /// The text form, for the one place where the token is handed out.
    pub fn reveal(&self) -> String {
        format!("fmp.{}.{}", self.event.to_simple(), self.secret.reveal())
    }
}

impl FromStr for PhotographerToken {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (event, secret) = text
            .strip_prefix("fmp.")
            .and_then(|rest| rest.split_once('.'))
            .filter(|(event, _)| event.len() == 32)
            .ok_or(Malformed("photographer token"))?;
        Ok(Self {
            event: event.parse().map_err(|_| Malformed("photographer token"))?,
            secret: secret.parse().map_err(|_| Malformed("photographer token"))?,
        })
    }
}

/// `fmo.<43 base64url>`: lets the operator of a server do everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorToken(pub Secret);

impl OperatorToken {
    /// The text form, for the one place where the token is handed out.
    pub fn reveal(&self) -> String {
        format!("fmo.{}", self.0.reveal())
    }
}

impl FromStr for OperatorToken {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let secret = text.strip_prefix("fmo.").ok_or(Malformed("operator token"))?;
        secret.parse().map(Self).map_err(|_| Malformed("operator token"))
    }
}

/// Ten characters of Crockford base32 (50 random bits) that let a guest join an event.
///
/// Parsing forgives what people mistype: case, spaces, hyphens, and `O`, `I`, `L` for `0`, `1`, `1`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JoinCode(String);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl JoinCode {
    /// A fresh code.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 10];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes.iter().map(|b| char::from(CROCKFORD[usize::from(b & 31)])).collect()))
    }

    /// The ten characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinCode(…)")
    }
}

impl FromStr for JoinCode {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut code = String::with_capacity(10);
        for c in text.chars().filter(|c| !matches!(c, ' ' | '-')) {
            let c = match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            if !c.is_ascii() || !CROCKFORD.contains(&(c as u8)) || code.len() == 10 {
                return Err(Malformed("join code"));
            }
            code.push(c);
        }
        if code.len() == 10 { Ok(Self(code)) } else { Err(Malformed("join code")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photographer_token_round_trips_and_hides_itself() {
        let token = PhotographerToken { event: EventId::random().unwrap(), secret: Secret::random().unwrap() };
        let text = token.reveal();
        assert_eq!(text.len(), 4 + 32 + 1 + 43);
        assert_eq!(text.parse::<PhotographerToken>().unwrap(), token);
        assert!(!format!("{token:?}").contains(&token.secret.reveal()));
    }

    #[test]
    fn malformed_tokens_are_refused() {
        for text in [
            "",
            "fmp.",
            "fmp.x.y",
            "fmo.00112233445566778899aabbccddeeff.",
            "fmp.00112233445566778899aabbccddeeff.AAAA",
        ] {
            assert!(text.parse::<PhotographerToken>().is_err(), "{text}");
        }
    }

    #[test]
    fn join_code_forgives_what_people_type() {
        let code: JoinCode = "01abc defgh".parse().unwrap();
        assert_eq!(code.as_str(), "01ABCDEFGH");
        assert_eq!("oi-ABC-DEFGH".parse::<JoinCode>().unwrap(), code);
        for text in ["", "01ABCDEFG", "01ABCDEFGHJ", "01ABCDEFGU", "01ABCDEFGé"] {
            assert!(text.parse::<JoinCode>().is_err(), "{text}");
        }
    }
}
