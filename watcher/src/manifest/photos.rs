//! The contents that a manifest knows, in little memory: there may be hundreds of thousands. None is ever removed, so that
//! a number stands for one as long as the program runs.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

use findme_common::manifest::{self as published, ImageKey, Look, PhotoState, PreviewState, Replaces, Shot, ShotKey};
use findme_common::{Digest, PhotoId};
use hashbrown::HashTable;
use indexmap::IndexMap;

/// How far one content has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PhotoRecord {
    pub(crate) bytes: u64,
    pub(crate) image: Option<ImageKey>,
    pub(crate) shot: Option<Box<Shot>>,
    pub(crate) replaces: Option<Replaces>,
    pub(crate) preview: Option<PreviewState>,
    pub(crate) look: Option<Look>,
    pub(crate) state: PhotoState,
}

impl PhotoRecord {
    /// A content that is to be sent, of which nothing else is known.
    pub(crate) const fn announced(bytes: u64) -> Self {
        let state = PhotoState::Announced { upload: None };
        Self { bytes, image: None, shot: None, replaces: None, preview: None, look: None, state }
    }

    /// Whether the server has the photo, but not the word which other one it replaces.
    pub(crate) fn is_untold(&self) -> bool {
        let there = matches!(self.state, PhotoState::Received { .. } | PhotoState::PreviewOnly { .. });
        there && self.replaces.is_some_and(|of| !of.told)
    }

    /// Whether it is a camera's RAW file.
    pub(crate) fn is_raw(&self) -> bool {
        self.shot.as_ref().is_some_and(|shot| shot.raw)
    }

    /// The published form.
    pub(crate) fn published(self, digest: Digest) -> published::Photo {
        let Self { bytes, image, shot, replaces, preview, look, state } = self;
        published::Photo { digest, bytes, image, shot: shot.map(|shot| *shot), replaces, preview, look, state }
    }
}

/// A [`PhotoRecord`] as it is kept: of a hundred thousand photos most have nothing but their receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    image: Option<ImageKey>,
    state: PhotoState,
    bytes: u64,
    shot: Option<PackedShot>,
    rare: Option<Box<Rare>>,
}

/// What is known of few photos.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rare {
    replaces: Option<Replaces>,
    preview: Option<PreviewState>,
    look: Option<Look>,
}

impl From<PhotoRecord> for Kept {
    fn from(record: PhotoRecord) -> Self {
        let PhotoRecord { bytes, image, shot, replaces, preview, look, state } = record;
        let rare = Rare { replaces, preview, look };
        let is_any = rare.replaces.is_some() || rare.preview.is_some() || rare.look.is_some();
        let shot = shot.map(|shot| PackedShot::of(&shot));
        Self { image, state, bytes, shot, rare: is_any.then(|| Box::new(rare)) }
    }
}

impl Kept {
    /// A content that the server has and of which nothing rare is known.
    pub(crate) fn received(
        bytes: u64,
        image: Option<ImageKey>,
        shot: Option<PackedShot>,
        photo: PhotoId,
        at_ms: u64,
    ) -> Self {
        Self { image, state: PhotoState::Received { photo, at_ms }, bytes, shot, rare: None }
    }

    /// As it was put in.
    pub(crate) fn record(&self) -> PhotoRecord {
        let Self { image, state, bytes, shot, rare } = self;
        let rare = rare.as_deref();
        PhotoRecord {
            bytes: *bytes,
            image: *image,
            shot: shot.as_ref().map(|shot| Box::new(shot.unpacked())),
            replaces: rare.and_then(|rare| rare.replaces),
            preview: rare.and_then(|rare| rare.preview.clone()),
            look: rare.and_then(|rare| rare.look),
            state: state.clone(),
        }
    }

    /// How far it has come.
    pub(crate) fn state(&self) -> &PhotoState {
        &self.state
    }

    /// What it looks like, where that is known.
    pub(crate) fn look(&self) -> Option<Look> {
        self.rare.as_ref().and_then(|rare| rare.look)
    }

    /// See [`PhotoRecord::is_untold`].
    pub(crate) fn is_untold(&self) -> bool {
        self.rare.is_some() && self.record().is_untold()
    }

    /// The picture that the server has, or had until it was deleted.
    fn image_there(&self) -> Option<ImageKey> {
        self.image.filter(|_| matches!(self.state, PhotoState::Received { .. } | PhotoState::Deleted))
    }

    fn shot_key(&self) -> Option<ShotKey> {
        self.shot.as_ref().map(PackedShot::key)
    }
}

/// A [`Shot`] in one piece of memory: the parts of fixed length as little-endian bytes, then the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackedShot(Box<[u8]>);

impl PackedShot {
    pub(crate) fn of(shot: &Shot) -> Self {
        let Shot { key, long, short, raw, edited, made, name } = shot;
        Self::camera_s_own(*key, *long, *short, *made, name).marked(*raw, *edited)
    }

    /// No RAW file, and no program's work.
    pub(crate) fn camera_s_own(key: ShotKey, long: u32, short: u32, made: i64, name: &str) -> Self {
        let mut packed = Vec::with_capacity(25 + name.len());
        packed.extend_from_slice(&key.to_bytes());
        packed.extend_from_slice(&long.to_le_bytes());
        packed.extend_from_slice(&short.to_le_bytes());
        packed.extend_from_slice(&made.to_le_bytes());
        packed.push(0);
        packed.extend_from_slice(name.as_bytes());
        Self(packed.into_boxed_slice())
    }

    fn marked(mut self, raw: bool, edited: bool) -> Self {
        self.0[24] = u8::from(raw) | u8::from(edited) << 1;
        self
    }

    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|n| self.0[at + n])
    }

    fn key(&self) -> ShotKey {
        ShotKey::from_bytes(self.part(0))
    }

    fn unpacked(&self) -> Shot {
        Shot {
            key: self.key(),
            long: u32::from_le_bytes(self.part(8)),
            short: u32::from_le_bytes(self.part(12)),
            raw: self.0[24] & 1 != 0,
            edited: self.0[24] & 2 != 0,
            made: i64::from_le_bytes(self.part(16)),
            name: String::from_utf8_lossy(&self.0[25..]).into(),
        }
    }
}

/// Hash of what is a digest, or a part of one: its first bytes are as good as any.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OfDigest(u64);

impl Hasher for OfDigest {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    /// The length of the bytes says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

fn hash(key: impl Hash) -> u64 {
    BuildHasherDefault::<OfDigest>::default().hash_one(key)
}

/// Stands for a content of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PhotoNo(u32);

type ByDigest = IndexMap<Digest, Kept, BuildHasherDefault<OfDigest>>;

fn image_hash(all: &ByDigest, no: PhotoNo) -> u64 {
    all[no.0 as usize].image.map_or(0, hash)
}

fn shot_hash(all: &ByDigest, no: PhotoNo) -> u64 {
    all[no.0 as usize].shot_key().map_or(0, hash)
}

/// All contents, in the order in which they became known.
#[derive(Debug, Default)]
pub(crate) struct Photos {
    all: ByDigest,
    /// By the picture that the server has, or had.
    by_image: HashTable<PhotoNo>,
    /// Some of them by the keys of earlier programs.
    earlier_images: bool,
    by_shot: HashTable<PhotoNo>,
    /// Those whose look is known, by the time at which they were made.
    looks: BTreeSet<(i64, PhotoNo)>,
}

impl Photos {
    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, more: usize) {
        let Self { all, by_image, by_shot, .. } = self;
        all.reserve(more);
        by_image.reserve(more, |no| image_hash(all, *no));
        by_shot.reserve(more, |no| shot_hash(all, *no));
    }

    /// Adds a content, or says anew what is known of it.
    pub(crate) fn insert(&mut self, digest: Digest, kept: Kept) {
        let Self { all, by_image, earlier_images, by_shot, looks } = self;
        let (image, shot, look) = (kept.image_there(), kept.shot_key(), kept.look());
        let (at, before) = all.insert_full(digest, kept);
        let no = PhotoNo(u32::try_from(at).expect("so many digests do not fit into any memory"));
        if let Some(image) = image.filter(|key| before.as_ref().and_then(Kept::image_there) != Some(*key)) {
            by_image.insert_unique(hash(image), no, |no| image_hash(all, *no));
            *earlier_images |= matches!(image, ImageKey::Sha256(_));
        }
        if let Some(shot) = shot.filter(|key| before.as_ref().and_then(Kept::shot_key) != Some(*key)) {
            by_shot.insert_unique(hash(shot), no, |no| shot_hash(all, *no));
        }
        if let Some(look) = look {
            looks.insert((look.made, no));
        }
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<&Kept> {
        self.all.get(digest)
    }

    pub(crate) fn number_of(&self, digest: &Digest) -> Option<PhotoNo> {
        self.all.get_index_of(digest).and_then(|at| u32::try_from(at).ok()).map(PhotoNo)
    }

    pub(crate) fn at(&self, no: PhotoNo) -> (Digest, &Kept) {
        let (digest, kept) = self.all.get_index(no.0 as usize).expect("numbers are given here alone, and for good");
        (*digest, kept)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Digest, &Kept)> {
        self.all.iter().map(|(digest, kept)| (*digest, kept))
    }

    /// All contents of a shot, by digest.
    pub(crate) fn of_shot(&self, key: ShotKey) -> Vec<(Digest, PhotoRecord)> {
        let all = self.by_shot.iter_hash(hash(key)).map(|no| self.at(*no));
        let of_it = all.filter(|(_, kept)| kept.shot_key() == Some(key));
        let mut found: Vec<_> = of_it.map(|(digest, kept)| (digest, kept.record())).collect();
        found.sort_unstable_by_key(|(digest, _)| *digest);
        found.dedup_by_key(|(digest, _)| *digest);
        found
    }

    /// Contents with this picture that the server has, or had until they were deleted.
    pub(crate) fn with_image(&self, key: ImageKey) -> impl Iterator<Item = (Digest, &Kept)> {
        let all = self.by_image.iter_hash(hash(key)).map(|no| self.at(*no));
        all.filter(move |(_, kept)| kept.image_there() == Some(key))
    }

    /// Whether pictures are known by the keys of earlier programs.
    pub(crate) fn has_earlier_images(&self) -> bool {
        self.earlier_images
    }

    /// Contents whose look is known and that were made at these times (seconds), the earliest first.
    pub(crate) fn made_between(&self, first: i64, last: i64) -> impl Iterator<Item = (Digest, &Kept)> {
        let near = self.looks.range((first, PhotoNo(0))..=(last, PhotoNo(u32::MAX)));
        near.map(|(_, no)| self.at(*no))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn record(bytes: u64, shot: Option<u8>, image: Option<u8>, there: bool, name: &str) -> PhotoRecord {
        let key = |n: u8| ShotKey::from_bytes([n; 8]);
        let shot = shot.map(|n| Shot {
            key: key(n),
            long: u32::MAX - u32::from(n),
            short: n.into(),
            raw: n % 2 == 0,
            edited: n % 3 == 0,
            made: -i64::from(n),
            name: name.into(),
        });
        let image = image.map(|n| if n % 2 == 0 { ImageKey::Sha256([n; 16]) } else { ImageKey::Blake3([n; 16]) });
        let announced = PhotoRecord { image, shot: shot.map(Box::new), ..PhotoRecord::announced(bytes) };
        let received = PhotoState::Received { photo: PhotoId::from_bytes([1; 16]), at_ms: bytes };
        if there { PhotoRecord { state: received, ..announced } } else { announced }
    }

    proptest! {
        /// Beside a plain map that is searched from end to end.
        #[test]
        fn everything_is_found_by_all_its_keys(
            all in prop::collection::vec(
                (0_u8..20, any::<u64>(), prop::option::of(0_u8..4), prop::option::of(0_u8..4), any::<bool>(), "\\PC{0,12}"),
                0..60,
            ),
        ) {
            let (mut photos, mut model) = (Photos::default(), BTreeMap::new());
            for (n, bytes, shot, image, there, name) in all {
                let record = record(bytes, shot, image, there, &name);
                photos.insert(Digest::of(&[n]), record.clone().into());
                if n == 7 {
                    photos.reserve(100);
                }
                model.insert(Digest::of(&[n]), record);
            }
            for (digest, record) in &model {
                let no = photos.number_of(digest).unwrap();
                prop_assert_eq!(photos.at(no).0, *digest);
                prop_assert_eq!(&photos.get(digest).unwrap().record(), record);
            }
            prop_assert_eq!(photos.iter().count(), model.len());
            for n in 0..4 {
                let key = ShotKey::from_bytes([n; 8]);
                let of_it = model.iter().filter(|(_, record)| record.shot.as_ref().is_some_and(|shot| shot.key == key));
                let expected: Vec<_> = of_it.map(|(digest, record)| (*digest, record.clone())).collect();
                prop_assert_eq!(photos.of_shot(key), expected);
                for key in [ImageKey::Sha256([n; 16]), ImageKey::Blake3([n; 16])] {
                    let is_there = |record: &PhotoRecord| matches!(record.state, PhotoState::Received { .. });
                    let with_it = |record: &&PhotoRecord| record.image == Some(key) && is_there(record);
                    let found = photos.with_image(key).next().is_some();
                    prop_assert_eq!(found, model.values().find(with_it).is_some());
                }
            }
        }
    }
}
