//! Read back by other people's programs (Python's zipfile, unzip); sizes that no disk here holds by holes in files.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use super::*;

fn entry(name: &str, length: u64) -> Entry {
    Entry { name: name.to_owned(), length, modified: DosTime::of_capture(Some("2026-06-20T15:00:04+02:00")) }
}

/// Writes an archive of entries that are all zeros, as holes where they are large.
fn write(path: &Path, entries: &[Entry]) {
    let mut file = std::fs::File::create(path).unwrap();
    let mut writer = Writer::default();
    for entry in entries {
        file.write_all(&writer.begin(entry)).unwrap();
        let mut checksum = crc32fast::Hasher::new();
        let zeros = vec![0; 1 << 20];
        let mut left = entry.length;
        while left > 0 {
            let piece = left.min(1 << 20);
            checksum.update(&zeros[..piece as usize]);
            left -= piece;
        }
        file.seek(SeekFrom::Current(entry.length as i64)).unwrap();
        file.write_all(&writer.end(entry, checksum.finalize())).unwrap();
    }
    file.write_all(&writer.finish()).unwrap();
    assert_eq!(file.metadata().unwrap().len(), length(entries), "the promised length");
}

/// What Python finds in an archive: its entries, and the first one that is damaged.
fn listed(path: &Path, test: bool) -> Option<String> {
    let program = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\n\
        print(len(z.infolist()), z.testzip() if sys.argv[2] == 'test' else None)\n\
        for i in z.infolist()[:4]: print(i.filename, i.file_size, i.date_time)";
    let output =
        Command::new("python3").args(["-c", program]).arg(path).arg(if test { "test" } else { "list" }).output();
    let Ok(output) = output else {
        eprintln!("!!!! SKIPPED: python3 is not there");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn others_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.zip");
    write(&path, &[entry("Hochzeit ü 1.jpg", 12_345), entry("empty.jpg", 0), entry("写真.png", 1)]);
    if let Some(said) = listed(&path, true) {
        let time = "(2026, 6, 20, 15, 0, 4)";
        assert_eq!(said, format!("3 None\nHochzeit ü 1.jpg 12345 {time}\nempty.jpg 0 {time}\n写真.png 1 {time}\n"));
    }
    if let Ok(output) = Command::new("unzip").arg("-tqq").arg(&path).output() {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    write(&path, &[]);
    assert!(listed(&path, true).is_none_or(|said| said == "0 None\n"));
}

#[test]
fn archives_beyond_four_gigabytes_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.zip");
    // One entry that needs 64 bits itself, and one that begins beyond what 32 bits can say.
    write(&path, &[entry("small.jpg", 5), entry("large.jpg", (1 << 32) + 7), entry("beyond.jpg", 3)]);
    if let Some(said) = listed(&path, false) {
        assert!(said.contains("large.jpg 4294967303") && said.contains("beyond.jpg 3"), "{said}");
    }
    std::fs::remove_file(&path).unwrap();
    for length in [MOST_32 - 1, MOST_32, MOST_32 + 1] {
        let entries = [entry("a", length), entry("b", 1)];
        let mut writer = Writer::default();
        let mut written = 0;
        for entry in &entries {
            written += writer.begin(entry).len() as u64 + entry.length;
            written += writer.end(entry, 0).len() as u64;
            assert_eq!(writer.at, written);
        }
        assert_eq!(written + writer.finish().len() as u64, super::length(&entries));
    }
}

#[test]
fn more_entries_than_sixteen_bits_count_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("many.zip");
    for count in [65_534, 65_535, 65_536, 70_000] {
        let entries: Vec<Entry> = (0..count).map(|n| entry(&format!("{n}.jpg"), 0)).collect();
        write(&path, &entries);
        assert!(listed(&path, false).is_none_or(|said| said.starts_with(&format!("{count} None\n0.jpg 0"))), "{count}");
    }
}

#[test]
fn names_are_unique_and_harmless() {
    let names = ["a.jpg", "A.JPG", "a.jpg", "../../etc/passwd", "C:\\x\\b:c.jpg", "", "..", "a (2).jpg", ".hidden"];
    let unique = unique_names(names.into_iter());
    assert_eq!(
        unique,
        [
            "a.jpg",
            "A (2).JPG",
            "a (3).jpg",
            "passwd",
            "b_c.jpg",
            "photo.jpg",
            "photo (2).jpg",
            "a (2) (2).jpg",
            "hidden"
        ]
    );
    let long = format!("{}.jpeg", "ü".repeat(300));
    let unique = unique_names([long.as_str(), long.as_str()].into_iter());
    assert!(unique.iter().all(|name| name.len() <= 255 && name.ends_with(".jpeg")), "{unique:?}");
    assert_ne!(unique[0], unique[1]);
}

#[test]
fn times_that_the_format_cannot_say_are_its_earliest() {
    for none in [None, Some(""), Some("1979-01-01T00:00:00"), Some("2200-01-01T00:00:00"), Some("2026-13-01T00:00:00")]
    {
        assert_eq!(DosTime::of_capture(none), EARLIEST, "{none:?}");
    }
}
