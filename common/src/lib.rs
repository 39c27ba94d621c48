//! What `findme-watch` and `findme-server` agree on, and nothing else: no sockets, no SQL, no async runtime.
//!
//! | word | meaning |
//! |---|---|
//! | event | the occasion: one gallery, one set of keys |
//! | photo | an accepted, immutable upload; an *image* is its decoded pixels |
//! | digest | SHA-256 of the whole file |
//! | upload, offset, length | a resumable transfer, as in tus 1.0 |
//! | manifest, entry | what the watcher knows about the photos of one event |
//! | change | a file-system notification (never called «event») |

pub mod digest;
pub mod id;
pub mod manifest;
pub mod media;
pub mod protocol;
mod text;
pub mod token;

pub use digest::Digest;
pub use id::{EventId, GuestId, PhotoId, UploadId};
pub use token::{JoinCode, OperatorToken, PhotographerToken, Secret};
