//! What travels as JSON or text between the programs: it reads back as what it was read as.
#![no_main]

use findme_common::protocol::{LiveEvent, NameList, PhotoList, Problem};
use findme_common::{Digest, EventId, JoinCode};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = serde_json::from_str::<Problem>(text);
    let _ = serde_json::from_str::<LiveEvent>(text);
    let _ = serde_json::from_str::<NameList>(text);
    if let Ok(list) = serde_json::from_str::<PhotoList>(text) {
        let again = serde_json::to_string(&list).expect("it was JSON");
        assert_eq!(serde_json::from_str::<PhotoList>(&again).expect("it is what was written"), list);
    }
    if let Ok(id) = text.parse::<EventId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(Digest::from_repr_digest(&digest.to_repr_digest()), Some(digest));
    }
    if let Ok(code) = text.parse::<JoinCode>() {
        assert_eq!(code.as_str().parse::<JoinCode>().expect("its plain form"), code);
    }
    let _ = Digest::from_repr_digest(text);
    let _ = findme_common::media::Media::sniff(text.as_bytes());
});
