//! Archives of files with any names, read back by another program's reader; lengths of archives of files of any size.
#![no_main]

use std::collections::HashSet;
use std::io::{Cursor, Read};

libfuzzer_sys::fuzz_target!(|input: (Vec<(String, Vec<u8>, String)>, Vec<u32>)| {
    let (files, lengths) = input;
    let (archive, names) = findme_server::fuzzing::archive(&files);
    let mut reader = zip::ZipArchive::new(Cursor::new(archive)).expect("an archive that others can read");
    assert_eq!(reader.len(), files.len());
    for (at, ((_, bytes, _), name)) in files.iter().zip(&names).enumerate() {
        let mut entry = reader.by_index(at).expect("an entry that others can read");
        assert_eq!(entry.name(), name);
        assert!(entry.enclosed_name().is_some_and(|path| path.components().count() == 1), "{name:?} leaves its folder");
        let mut read = Vec::new();
        // The reader compares the checksum.
        entry.read_to_end(&mut read).expect("the entry's bytes");
        assert_eq!(&read, bytes);
    }
    let alike: HashSet<_> = names.iter().map(|name| name.to_lowercase()).collect();
    assert!(alike.len() == names.len() && names.iter().all(|name| name.len() <= 255), "{names:?}");
    // Up to 256 times 4 GiB each: ZIP64 begins at either.
    let lengths: Vec<u64> = lengths.iter().map(|length| u64::from(*length) << (length % 8)).collect();
    findme_server::fuzzing::archive_length(&lengths);
});
