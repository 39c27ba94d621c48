//! What the pages say. One file per language; every language has every text, which a test proves against the templates
//! and modules that ask for them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The texts of one language.
#[derive(Debug)]
pub(crate) struct Texts {
    /// BCP 47 tag.
    pub(crate) tag: String,
    /// The language's name in itself.
    pub(crate) name: String,
    /// By `section.key`.
    texts: BTreeMap<String, String>,
}

/// The first is spoken to whoever wants none of them.
static LANGUAGES: LazyLock<Vec<Texts>> = LazyLock::new(|| {
    [include_str!("../../../texts/en.toml"), include_str!("../../../texts/fr.toml")]
        .map(|file| Texts::parse(file).expect("a test reads every embedded language"))
        .into()
});

/// All languages.
pub(crate) fn languages() -> &'static [Texts] {
    &LANGUAGES
}

/// The language with exactly this tag.
pub(crate) fn by_tag(tag: &str) -> Option<&'static Texts> {
    languages().iter().find(|texts| texts.tag == tag)
}

/// The best of an `Accept-Language` header (RFC 9110 section 12.5.4); the first language when it asks for none of them.
pub(crate) fn accepted(header: &str) -> &'static Texts {
    let mut wanted: Vec<(f32, &str)> = header
        .split(',')
        .filter_map(|range| {
            let mut parts = range.split(';');
            let tag = parts.next()?.trim();
            let weight = parts.find_map(|p| p.trim().strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok())?;
            (weight > 0.0).then_some((weight, tag))
        })
        .collect();
    // Stable: of equal weight, the one named first.
    wanted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let primary = |tag: &str| tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
    wanted.iter().find_map(|(_, tag)| by_tag(&primary(tag))).unwrap_or(&languages()[0])
}

impl Texts {
    fn parse(file: &str) -> Result<Self, String> {
        let mut table: toml::Table = file.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let mut own = |key: &str| match table.remove(key) {
            Some(toml::Value::String(text)) => Ok(text),
            _ => Err(format!("`{key}` is missing")),
        };
        let (tag, name) = (own("tag")?, own("name")?);
        let mut texts = BTreeMap::new();
        for (section, entries) in &table {
            let entries = entries.as_table().ok_or_else(|| format!("`{section}` is no section"))?;
            for (key, text) in entries {
                let text = text.as_str().ok_or_else(|| format!("`{section}.{key}` is no text"))?;
                texts.insert(format!("{section}.{key}"), text.trim().to_owned());
            }
        }
        Ok(Self { tag, name, texts })
    }

    /// The text of a key. One that is missing shows its key: ugly, and never an empty button.
    pub(crate) fn say<'a>(&'a self, key: &'a str) -> &'a str {
        self.texts.get(key).map_or(key, String::as_str)
    }

    /// The text of a key with `{name}` filled in.
    pub(crate) fn fill(&self, key: &str, value: &str) -> String {
        self.say(key).replace("{name}", value)
    }

    /// The texts that the browser's modules say, by their key without the section.
    pub(crate) fn for_modules(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().filter_map(|(key, text)| Some((key.strip_prefix("module.")?, text.as_str())))
    }

    /// The texts that the modules of photographers' and operators' pages say besides.
    pub(crate) fn for_desk(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().filter_map(|(key, text)| Some((key.strip_prefix("desk.")?, text.as_str())))
    }

    /// The other languages.
    pub(crate) fn others(&self) -> impl Iterator<Item = &'static Self> {
        languages().iter().filter(|other| other.tag != self.tag)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use findme_common::Digest;

    use super::*;
    use crate::http::guests::{CONSENT_TEXT, NEVER_TEXT};
    use crate::retention::{ATTESTED, ATTESTED_VERSION};

    /// Everything between `before` and the next quote, in every file of a folder.
    fn asked_for(folder: &str, before: &str) -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut keys = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() || path.extension().is_some_and(|e| e == "png") {
                continue;
            }
            let source = std::fs::read_to_string(path).unwrap();
            keys.extend(source.split(before).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
        keys
    }

    #[test]
    fn every_language_has_every_text_and_no_other() {
        let english: BTreeSet<_> = languages()[0].texts.keys().collect();
        for texts in languages() {
            let keys: BTreeSet<_> = texts.texts.keys().collect();
            assert_eq!(
                keys.symmetric_difference(&english).collect::<Vec<_>>(),
                Vec::<&&String>::new(),
                "{}",
                texts.tag
            );
            assert!(texts.texts.values().all(|text| !text.is_empty()), "{}", texts.tag);
        }
    }

    #[test]
    fn what_is_asked_for_is_there() {
        let mut keys = asked_for("templates", "t.say(\"");
        keys.extend(asked_for("templates", "t.fill(\""));
        assert!(keys.len() > 40, "{}", keys.len());
        keys.extend(asked_for("src/http/pages", "Some(\"").into_iter().filter(|key| key.starts_with("home.")));
        keys.extend(asked_for("src/http/pages", "=> (\"").into_iter().filter(|key| key.starts_with("message.")));
        keys.extend(asked_for("templates/desk", "t.say(\""));
        for key in asked_for("static", "say(\"") {
            let known = |section: &str| languages()[0].texts.contains_key(&format!("{section}.{key}"));
            assert!(known("module") || known("desk"), "no text for {key}");
        }
        for key in keys {
            assert!(languages()[0].texts.contains_key(&key), "no text for {key}");
        }
    }

    #[test]
    fn the_browser_chooses() {
        for (header, tag) in [
            ("", "en"),
            ("fr", "fr"),
            ("fr-CA,fr;q=0.9,en;q=0.8", "fr"),
            ("de-DE,de;q=0.9,fr;q=0.5,en;q=0.4", "fr"),
            ("en;q=0.3, FR;q=0.7", "fr"),
            ("fr;q=0, en", "en"),
            ("*", "en"),
            ("fr;q=x,,;;q=", "en"),
        ] {
            assert_eq!(accepted(header).tag, tag, "{header}");
        }
    }

    #[test]
    fn a_changed_consent_text_has_a_new_version() {
        let said: Vec<&str> = languages().iter().map(|texts| texts.say("consent.text")).collect();
        let digest = Digest::of(said.join("\n").as_bytes()).to_string();
        // Whoever changes the text gives it a new version in `guests.rs`, and writes both here.
        assert_eq!((CONSENT_TEXT, &digest[..16]), ("2026-11-1", "3c99ef9ca37a4a93"));
        let said: Vec<&str> = languages().iter().map(|texts| texts.say("never.text")).collect();
        let digest = Digest::of(said.join("\n").as_bytes()).to_string();
        assert_eq!((NEVER_TEXT, &digest[..16]), ("2026-11-2", "ebcac89bd5ebe871"));
        let digest = Digest::of(ATTESTED.as_bytes()).to_string();
        assert_eq!((ATTESTED_VERSION, &digest[..16]), ("2026-11-1", "887cc602edd36682"));
    }
}
