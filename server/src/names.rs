//! File names for anybody's disk and screen: people download what somebody else has named.

/// Room for a number behind it within the 255 bytes that file systems allow.
const MOST_BYTES: usize = 200;

/// A name without a path, without characters that a system does not allow in a name, that nobody sees or that turn the
/// text around, and that no system takes for a device.
pub(crate) fn safe_name(name: &str) -> String {
    let file = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let shown = file.chars().filter(|c| !is_invisible(*c));
    let clean: String = shown.map(|c| if is_forbidden(c) { '_' } else { c }).collect();
    let clean = clean.trim_matches([' ', '.']);
    if clean.is_empty() {
        return "photo.jpg".to_owned();
    }
    let clean = if is_device(clean) { format!("_{clean}") } else { clean.to_owned() };
    let mut end = clean.len().min(MOST_BYTES);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    if end == clean.len() {
        return clean;
    }
    let extension = clean.rfind('.').map(|at| &clean[at..]).filter(|extension| extension.len() <= 8);
    format!("{}{}", &clean[..end], extension.unwrap_or_default())
}

/// Not allowed in a name by some system.
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|')
}

/// Turns the direction of text around, or has no width: `gpj.exe` can look like `exe.jpg` with these.
fn is_invisible(c: char) -> bool {
    matches!(
        u32::from(c),
        0x00AD | 0x034F | 0x061C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
            | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB
            | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF
    )
}

/// What Windows opens as a device, whatever stands behind a dot or a blank.
fn is_device(name: &str) -> bool {
    let stem = name.split(['.', ' ']).next().unwrap_or_default().to_ascii_uppercase();
    let numbered = |port: &str| {
        let number = stem.strip_prefix(port).unwrap_or_default();
        matches!(number, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$")
        || numbered("COM")
        || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_hides_in_a_name() {
        for (name, safe) in [
            ("Anna & Jürgen 1.jpg", "Anna & Jürgen 1.jpg"),
            ("写真.jpg", "写真.jpg"),
            ("photo\u{202E}gpj.exe", "photogpj.exe"),
            ("\u{2066}a\u{200B}b\u{FEFF}\u{00AD}.jpg", "ab.jpg"),
            ("a\u{7}\u{9B}b.jpg", "a__b.jpg"),
            ("CON", "_CON"),
            ("nul.jpg", "_nul.jpg"),
            ("Aux .tar.gz", "_Aux .tar.gz"),
            ("com1.jpg", "_com1.jpg"),
            ("LPT³.jpg", "_LPT³.jpg"),
            ("C\u{200D}ON.jpg", "_CON.jpg"),
            ("COM.jpg", "COM.jpg"),
            ("CONCERT.jpg", "CONCERT.jpg"),
            ("../../\u{202E}", "photo.jpg"),
            ("C:\\x\\prn.txt. ", "_prn.txt"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_name_that_stays_as_it_is(text in "\\PC{0,40}|[\\x00-\\x1F\\u{200B}-\\u{206F}a.CON ]{0,30}|.{0,300}") {
            let name = safe_name(&text);
            prop_assert!(!name.is_empty() && name.len() <= 255);
            prop_assert!(!name.contains(['/', '\\']) && !name.chars().any(|c| is_invisible(c) || is_forbidden(c)));
            prop_assert!(!is_device(&name), "{name}");
        }
    }
}
