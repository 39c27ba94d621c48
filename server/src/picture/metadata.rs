//! The few EXIF fields that matter here. Unreadable metadata is no metadata: it never fails a photo.

use exif::{Exif, In, Reader, Tag, Value};

use super::Orientation;

/// What the camera wrote beside the pixels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Metadata {
    pub(super) orientation: Orientation,
    pub(super) taken_at: Option<String>,
}

impl Metadata {
    /// Reads a block of EXIF data, which begins with a TIFF header.
    pub(super) fn read(block: Option<Vec<u8>>) -> Self {
        block.and_then(parse).map_or_else(Self::default, |exif| Self::of(&exif))
    }

    fn of(exif: &Exif) -> Self {
        let orientation = exif.get_field(Tag::Orientation, In::PRIMARY).and_then(|f| f.value.get_uint(0));
        Self { orientation: Orientation::from_exif(orientation.unwrap_or(1)), taken_at: taken_at(exif) }
    }
}

/// Parses a block that begins with a TIFF header. Cameras write slightly broken ones; what can be read of them counts.
pub(super) fn parse(block: Vec<u8>) -> Option<Exif> {
    Reader::new().continue_on_error(true).read_raw(block).or_else(|e| e.distill_partial_result(|_| {})).ok()
}

fn text(exif: &Exif, tag: Tag) -> Option<&str> {
    let Value::Ascii(lines) = &exif.get_field(tag, In::PRIMARY)?.value else { return None };
    Some(std::str::from_utf8(lines.first()?).ok()?.trim_matches(['\0', ' ']))
}

fn taken_at(exif: &Exif) -> Option<String> {
    let time = iso_time(text(exif, Tag::DateTimeOriginal)?)?;
    let fraction = text(exif, Tag::SubSecTimeOriginal).filter(|t| is_digits(t) && t.len() <= 9);
    let offset = text(exif, Tag::OffsetTimeOriginal).filter(|t| is_offset(t));
    let fraction = fraction.map(|digits| format!(".{digits}")).unwrap_or_default();
    Some(format!("{time}{fraction}{}", offset.unwrap_or_default()))
}

/// `2026:06:20 15:00:04` as `2026-06-20T15:00:04`; `None` for blanks, zeros and anything else that is no time.
fn iso_time(written: &str) -> Option<String> {
    let (date, time) = written.split_once(' ')?;
    let numbers = |text: &str, separators: [char; 2], widths: [usize; 3]| -> Option<[u32; 3]> {
        let mut parts = text.split(separators);
        let mut out = [0; 3];
        for (slot, width) in out.iter_mut().zip(widths) {
            *slot = parts.next().filter(|p| p.len() == width && is_digits(p))?.parse().ok()?;
        }
        parts.next().is_none().then_some(out)
    };
    let [year, month, day] = numbers(date, [':', '-'], [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, [':', ':'], [2, 2, 2])?;
    let valid = year > 0 && (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    (valid && second <= 60).then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `+02:00`, as EXIF 2.31 has it.
fn is_offset(text: &str) -> bool {
    matches!(text.as_bytes(), [b'+' | b'-', a, b, b':', c, d] if [a, b, c, d].iter().all(|x| x.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_rewritten_and_never_guessed() {
        assert_eq!(iso_time("2026:06:20 15:00:04").as_deref(), Some("2026-06-20T15:00:04"));
        for none in ["", "    :  :     :  :  ", "0000:00:00 00:00:00", "2026:13:01 00:00:00", "2026:06:20", "x"] {
            assert_eq!(iso_time(none), None, "{none:?}");
        }
    }

    #[test]
    fn offsets_are_signed_hours_and_minutes() {
        assert!(is_offset("+02:00") && is_offset("-09:30"));
        for none in ["", "Z", "+2:00", "   :  ", "+02:0x"] {
            assert!(!is_offset(none), "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn any_block_is_read_without_a_panic(block in proptest::collection::vec(any::<u8>(), 0..512), tiff in any::<bool>()) {
            let block = if tiff { [b"II*\0\x08\0\0\0".as_slice(), &block].concat() } else { block };
            let _ = Metadata::read(Some(block));
        }
    }
}
