//! What the pages say. One file per language, embedded; further ones lie in the data folder (`texts/de.toml`) and are
//! read at the start. An embedded language has every text, which a test proves against the templates and modules that
//! ask for them; where another lacks one, the English text stands.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::Context;

/// The texts of one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Texts {
    /// BCP 47 tag.
    pub(crate) tag: String,
    /// The language's name in itself.
    pub(crate) name: String,
    /// The other languages, to switch to.
    pub(crate) others: Vec<Other>,
    /// By `section.key`.
    texts: BTreeMap<String, String>,
}

/// A language that can be switched to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    pub(crate) tag: String,
    pub(crate) name: String,
}

/// All languages of a server. The first is spoken to whoever wants none of them.
#[derive(Debug)]
pub(crate) struct Languages(Vec<Texts>);

static EMBEDDED: LazyLock<Languages> = LazyLock::new(|| {
    let files = [include_str!("../../../texts/en.toml"), include_str!("../../../texts/fr.toml")];
    Languages::of(files.map(|file| Texts::parse(file).expect("a test reads every embedded language")).into())
});

impl Languages {
    fn of(mut all: Vec<Texts>) -> Self {
        let named: Vec<Other> =
            all.iter().map(|texts| Other { tag: texts.tag.clone(), name: texts.name.clone() }).collect();
        for texts in &mut all {
            texts.others = named.iter().filter(|other| other.tag != texts.tag).cloned().collect();
        }
        Self(all)
    }

    /// The embedded languages, and those of the files in a folder, which need not be there. They are kept for as long as
    /// the program runs.
    ///
    /// # Errors
    /// When a file cannot be read or is no language, or names one that is there already: it names the file.
    pub(crate) fn with_folder(folder: &Path) -> anyhow::Result<&'static Self> {
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(&EMBEDDED),
            entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
        };
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        files.sort_unstable();
        let mut all = EMBEDDED.0.clone();
        for path in &files {
            let out = || format!("{}: mend it or take it away, and start again", path.display());
            let file = std::fs::read_to_string(path).with_context(out)?;
            let texts = Texts::parse(&file).map_err(anyhow::Error::msg).with_context(out)?;
            if all.iter().any(|known| known.tag == texts.tag) {
                return Err(anyhow::anyhow!("the language {} is there already", texts.tag)).with_context(out);
            }
            all.push(texts.over(&EMBEDDED.0[0]));
        }
        Ok(if files.is_empty() { &EMBEDDED } else { Box::leak(Box::new(Self::of(all))) })
    }

    /// The language with exactly this tag.
    pub(crate) fn by_tag(&self, tag: &str) -> Option<&Texts> {
        self.0.iter().find(|texts| texts.tag == tag)
    }

    /// The best of an `Accept-Language` header (RFC 9110 section 12.5.4); the first language when it asks for none.
    pub(crate) fn accepted(&self, header: &str) -> &Texts {
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
        wanted.iter().find_map(|(_, tag)| self.by_tag(&primary(tag))).unwrap_or(&self.0[0])
    }
}

/// Letters and digits in parts, as far as it has to be checked before it stands in headers and cookies.
fn is_tag(tag: &str) -> bool {
    (2..=35).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

impl Texts {
    fn parse(file: &str) -> Result<Self, String> {
        let mut table: toml::Table = file.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let mut own = |key: &str| match table.remove(key) {
            Some(toml::Value::String(text)) => Ok(text),
            _ => Err(format!("`{key}` is missing")),
        };
        let (tag, name) = (own("tag")?, own("name")?);
        if !is_tag(&tag) {
            return Err("`tag` is a language's, in small letters: de, pt-br".to_owned());
        }
        let mut texts = BTreeMap::new();
        for (section, entries) in &table {
            let entries = entries.as_table().ok_or_else(|| format!("`{section}` is no section"))?;
            for (key, text) in entries {
                let text = text.as_str().ok_or_else(|| format!("`{section}.{key}` is no text"))?;
                texts.insert(format!("{section}.{key}"), text.trim().to_owned());
            }
        }
        Ok(Self { tag, name, others: Vec::new(), texts })
    }

    /// With another language's texts where it has none.
    fn over(mut self, other: &Self) -> Self {
        for (key, text) in &other.texts {
            self.texts.entry(key.clone()).or_insert_with(|| text.clone());
        }
        self
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
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use findme_common::Digest;

    use super::*;
    use crate::http::guests::{CONSENT_TEXT, NEVER_TEXT, OTHERS_TEXT, SERVICE_TEXT};
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
        let english: BTreeSet<_> = EMBEDDED.0[0].texts.keys().collect();
        for texts in &EMBEDDED.0 {
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
            let known = |section: &str| EMBEDDED.0[0].texts.contains_key(&format!("{section}.{key}"));
            assert!(known("module") || known("desk"), "no text for {key}");
        }
        for key in keys {
            assert!(EMBEDDED.0[0].texts.contains_key(&key), "no text for {key}");
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
            assert_eq!(EMBEDDED.accepted(header).tag, tag, "{header}");
        }
    }

    #[test]
    fn a_changed_consent_text_has_a_new_version() {
        let said: Vec<&str> = EMBEDDED.0.iter().map(|texts| texts.say("consent.text")).collect();
        let digest = Digest::of(said.join("\n").as_bytes()).to_string();
        // Whoever changes the text gives it a new version in `guests.rs`, and writes both here.
        assert_eq!((CONSENT_TEXT, &digest[..16]), ("2026-11-1", "3c99ef9ca37a4a93"));
        let said: Vec<&str> = EMBEDDED.0.iter().map(|texts| texts.say("consent.text-other")).collect();
        let digest = Digest::of(said.join("\n").as_bytes()).to_string();
        assert_eq!((OTHERS_TEXT, &digest[..16]), ("2026-11-3", "3c46d5a0bb21c3d3"));
        let said: Vec<&str> = EMBEDDED.0.iter().map(|texts| texts.say("never.text")).collect();
        let digest = Digest::of(said.join("\n").as_bytes()).to_string();
        assert_eq!((NEVER_TEXT, &digest[..16]), ("2026-11-2", "ebcac89bd5ebe871"));
        let said: Vec<&str> = EMBEDDED.0.iter().map(|texts| texts.say("consent.service")).collect();
        let digest = Digest::of(said.join("\n").as_bytes()).to_string();
        assert_eq!((SERVICE_TEXT, &digest[..16]), ("2026-11-4", "f7c58fbe37b86c2f"));
        let digest = Digest::of(ATTESTED.as_bytes()).to_string();
        assert_eq!((ATTESTED_VERSION, &digest[..16]), ("2026-11-1", "887cc602edd36682"));
    }

    #[test]
    fn languages_beside_the_data_stand_over_the_english_one() {
        let folder = tempfile::tempdir().unwrap();
        let add = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        assert!(std::ptr::eq(Languages::with_folder(&folder.path().join("none")).unwrap(), &*EMBEDDED));
        add("notes.txt", "no language");
        assert!(std::ptr::eq(Languages::with_folder(folder.path()).unwrap(), &*EMBEDDED));
        add("de.toml", "tag = \"de\"\nname = \"Deutsch\"\n[page]\nmine = \"Meine Fotos\"\n[module]\nyes = \"Ja\"\n");
        let all = Languages::with_folder(folder.path()).unwrap();
        let german = all.accepted("de-AT,fr;q=0.5");
        assert_eq!((german.say("page.mine"), german.say("page.all")), ("Meine Fotos", "All photos"));
        assert!(german.for_modules().any(|pair| pair == ("yes", "Ja")));
        assert!(german.for_modules().any(|pair| pair == ("no", "No")), "what is missing is said in English");
        let others = |texts: &Texts| texts.others.iter().map(|other| other.name.clone()).collect::<Vec<_>>();
        assert_eq!(others(german), ["English", "Français"]);
        assert_eq!(others(all.by_tag("fr").unwrap()), ["English", "Deutsch"]);
        for wrong in [
            "tag = 3",
            "tag = \"en\"\nname = \"E\"",
            "tag = \"x\\ny\"\nname = \"E\"",
            "name = \"E\"",
            "tag = \"es\"\nname = \"E\"\npage = 1",
        ] {
            add("es.toml", wrong);
            let error = format!("{:#}", Languages::with_folder(folder.path()).unwrap_err());
            assert!(error.contains("es.toml"), "{error}");
        }
    }
}
