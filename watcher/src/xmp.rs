//! What XMP says about a photo, in the file or beside it: its rating, the camera's serial number, and whether a program
//! has edited it. Read by looking for names: packets are written by programs that agree on the usual prefixes.
//!
//! Invariant: nothing but the values asked for leaves this file; a packet that is no XML is a packet that says nothing.

/// The value of a property, as attribute (`xmp:Rating="3"`) or element (`<xmp:Rating>3</xmp:Rating>`).
fn property<'a>(packet: &'a str, name: &str) -> Option<&'a str> {
    packet.match_indices(name).find_map(|(at, _)| {
        let before = packet[..at].chars().next_back()?;
        let rest = packet[at + name.len()..].trim_start();
        if before == '<' {
            return rest.strip_prefix('>')?.split_once('<').map(|(value, _)| value.trim());
        }
        if !before.is_whitespace() {
            return None;
        }
        let rest = rest.strip_prefix('=')?.trim_start();
        let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        rest[1..].split_once(quote).map(|(value, _)| value.trim())
    })
}

/// The rating: 0 to 5 stars, -1 for «rejected»; `None` when the packet has none.
pub(crate) fn rating(packet: &str) -> Option<i8> {
    let value = ["xmp:Rating", "xap:Rating"].iter().find_map(|name| property(packet, name))?;
    let stars = value.parse::<f32>().ok().filter(|stars| stars.is_finite())?;
    Some(stars.clamp(-1.0, 5.0) as i8)
}

/// The serial number of the camera's body.
pub(crate) fn serial(packet: &str) -> Option<&str> {
    let value = ["exifEX:BodySerialNumber", "aux:SerialNumber"].iter().find_map(|name| property(packet, name))?;
    Some(value).filter(|value| !value.is_empty())
}

/// Whether a program says that it has changed the picture: a history, what it is derived from, or its own settings.
/// Cameras write XMP too, but none of these.
pub(crate) fn is_edited(packet: &str) -> bool {
    ["xmpMM:History", "xmpMM:DerivedFrom", "crs:HasSettings", "darktable:history", "photoshop:History"]
        .iter()
        .any(|mark| packet.contains(mark))
}

/// The packet in the first bytes of a file, whatever its format: from its outermost element to that element's end.
pub(crate) fn packet(head: &[u8]) -> Option<&str> {
    let start = memchr::memmem::find(head, b"<x:xmpmeta").or_else(|| memchr::memmem::find(head, b"<rdf:RDF"))?;
    let rest = &head[start..];
    let end = [&b"</x:xmpmeta>"[..], b"</rdf:RDF>"].iter().find_map(|end| memchr::memmem::find(rest, end));
    std::str::from_utf8(&rest[..end?]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rating_is_found_in_both_forms_and_nowhere_else() {
        for (packet, stars) in [
            ("<rdf:Description xmp:Rating=\"3\"/>", Some(3)),
            ("<rdf:Description\n xmp:Rating = '5' />", Some(5)),
            ("<xmp:Rating>4</xmp:Rating>", Some(4)),
            ("<xap:Rating>2.0</xap:Rating>", Some(2)),
            ("<d xmp:Rating=\"-1\"/>", Some(-1)),
            ("<d xmp:Rating=\"900\"/>", Some(5)),
            ("<d xmp:RatingPercent=\"99\" xmp:Rating=\"1\"/>", Some(1)),
            ("<d notxmp:Rating=\"3\"/>", None),
            ("<d xmp:Rating=\"three\"/>", None),
            ("<d xmp:Rating=\"", None),
            ("", None),
        ] {
            assert_eq!(rating(packet), stars, "{packet}");
        }
    }

    #[test]
    fn a_camera_that_writes_xmp_has_edited_nothing() {
        assert!(!is_edited("<rdf:Description xmp:CreatorTool=\"NIKON Z 6_2 Ver.01.20\" xmp:Rating=\"0\"/>"));
        assert!(is_edited("<xmpMM:History><rdf:Seq>"));
        assert_eq!(serial("<d aux:SerialNumber=\"6012345\"/>"), Some("6012345"));
    }

    #[test]
    fn a_packet_is_found_between_other_bytes() {
        let file = b"\xFF\xD8\xFF\xE1\0\x20http\0<x:xmpmeta><a xmp:Rating=\"2\"/></x:xmpmeta>\xFF\xD9";
        assert_eq!(packet(file).and_then(rating), Some(2));
        assert_eq!(packet(b"<x:xmpmeta>\xFF</x:xmpmeta>"), None, "no text");
        assert_eq!(packet(b"<x:xmpmeta> cut"), None);
    }
}
