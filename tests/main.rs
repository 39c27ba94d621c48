//! End-to-end tests of the two real programs, as a photographer and guests would use them. One file per subject.
//!
//! | file | what it shows |
//! |---|---|
//! | `upload` | a folder arrives whole, each photo once, and the manifest says why each path was or was not sent |
//! | `protocol` | what the server keeps of a cut connection; what it answers to strangers |
//! | `tus` | tus 1.0, line by line; can be pointed at any server |
//! | `stand_in` | the manifest alone prevents duplicates, against a server that names every upload at random |
//! | `odd_files` | every odd file gets its word and stops no other |
//! | `away` | the server away at the start and in the middle; exit codes |
//! | `line` | https with a certificate of one's own, a proxy in between, HTTP/2 |
//! | `events` | several events from one program; the alarm; the service; what is asked while a watcher runs |
//! | `watching` | nothing is overlooked: new folders, too few watches, cards that come and go, a laptop that slept |
//! | `drives` | a drive on the network, and a card as cameras format it |
//! | `writers` | how real programs write photos: whatever they do, what arrives is whole and there once |
//! | `previews` | previews ahead of their originals; RAW files; what ratings let go |
//! | `versions` | edits, exports, undoing: guests see one version of each shot |
//! | `kills` | `kill -9` of either side at random moments |
//! | `at_once` | what is taken away is away for the very next request, although the server remembers |
//! | `bad_requests` | what no honest client sends, from a seed; short runs of `harness` too |
//! | `faults` | the server killed, its disk full, its power cut, under load: short runs of what `harness` does at length |
//! | `workers` | worker processes beside one that serves: each photo indexed once, whoever is killed |
//! | `live` | the event stream: a thousand listeners, slow ones, restarts, replay, a log that was cut |
//! | `commands` | `login`, `status`, `verify`, `doctor`, `withdraw`, `repair` |
//! | `limits` | limits met by real connections: slow, idle, too many, too long; https; what the log never says |
//! | `backup` | a backup while photos come in, brought back; what `support` says |
//! | `sync_order` | bytes, name and row are synced in this order before the answer, by the system calls |
//! | `erasure` | what is erased is in no file any more: by the guest, by «never match me», with its event, when its time has come |
//! | `people` | an event's faces in groups, for its operator; hiding somebody everywhere |
//! | `packs` | another face pack: guests are found while it changes |
//! | `venue` | `--serve`: everything in one process, for guests too |
//! | `accuracy` | who is found, on an event whose truth is known |
//! | `rekognition` | faces found by Rekognition, against a stand-in of the service (cargo feature `rekognition`) |
//! | `browser` | the guests' pages in a real browser, from another network |

#![allow(clippy::unwrap_used)] // a test that meets the unexpected fails there

mod accuracy;
mod at_once;
mod away;
mod backup;
mod bad_requests;
mod browser;
mod commands;
mod drives;
mod erasure;
mod events;
mod faults;
mod kills;
mod limits;
mod line;
mod live;
mod odd_files;
mod packs;
mod people;
mod previews;
mod protocol;
#[cfg(feature = "rekognition")]
mod rekognition;
mod stand_in;
mod support;
mod sync_order;
mod tus;
mod upload;
mod venue;
mod versions;
mod watching;
mod workers;
mod writers;

// Shared with the bench `harness`, which runs them at length.
#[path = "harness/bad_input.rs"]
mod bad_input;
#[path = "harness/bad_pictures.rs"]
mod bad_pictures;
#[path = "harness/crew.rs"]
mod crew;
#[path = "harness/disks.rs"]
mod disks;
#[path = "harness/examine.rs"]
mod examine;
#[allow(dead_code)]
#[path = "harness/figures.rs"]
mod figures;
#[allow(dead_code)]
#[path = "harness/foreign.rs"]
mod foreign;
#[path = "harness/full_disk.rs"]
mod full_disk;
#[path = "harness/ledger.rs"]
mod ledger;
#[path = "harness/listeners.rs"]
mod listeners;
#[path = "harness/manifest_kills.rs"]
mod manifest_kills;
#[path = "harness/power_cuts.rs"]
mod power_cuts;
#[path = "harness/server_kills.rs"]
mod server_kills;
#[path = "harness/shaped.rs"]
mod shaped;

#[path = "harness/wire.rs"]
mod wire;
