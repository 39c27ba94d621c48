//! Of each shot guests see one version, at every moment and whatever happened in which order.

use std::collections::{BTreeMap, BTreeSet};

use findme_common::protocol::{LiveKind, Visibility};
use proptest::prelude::*;

use super::*;
use crate::catalog::{Audience, Decision, Recogniser};

impl World {
    async fn decide(&self, photo: PhotoId, decision: Decision) {
        let find = |_: &[_], _: &[_]| Vec::new();
        let nobody = Recogniser { pack: "pack", find: &find };
        self.catalog.decide(self.event, &[photo], decision, &nobody).await.unwrap();
    }

    async fn replaced_by(&self, photo: PhotoId) -> Option<PhotoId> {
        let page = self.catalog.photos(self.event, PhotoFilter::All, None, 1000).await.unwrap();
        page.photos.into_iter().find(|item| item.id == photo).unwrap().replaced_by
    }

    fn named(&self, name: &str) -> PhotoId {
        PhotoId::of(self.event, &Digest::of(name.as_bytes()))
    }

    /// What guests were told last about each photo: `true`, it is there.
    async fn told(&self) -> BTreeMap<PhotoId, bool> {
        let mut told = BTreeMap::new();
        for entry in self.catalog.live_after(0, 10_000).await.unwrap() {
            match (entry.audience, entry.kind) {
                (Audience::Everyone, LiveKind::Indexed) => drop(told.insert(entry.photo, true)),
                (Audience::Everyone, LiveKind::Removed) => drop(told.insert(entry.photo, false)),
                _ => {}
            }
        }
        told
    }
}

#[tokio::test]
async fn an_edit_takes_the_place_of_its_original_when_it_can_be_found_and_not_before() {
    let world = World::new().await;
    let original = world.receive("original", None).await;
    world.index_all().await;
    let edit = world.receive("edit", Some(original)).await;
    assert_eq!(world.shown().await, [original], "the edit is not indexed yet");
    let claim = world.claim().await.unwrap();
    world.complete(&claim, &JobOutcome::WaitsForModels(indexed())).await.unwrap();
    assert_eq!(world.shown().await, [original], "nobody can be found in the edit yet");
    world.catalog.wake_waiting_jobs().await.unwrap();
    world.index_all().await;
    assert_eq!(world.shown().await, [edit]);
    assert_eq!((world.replaced_by(original).await, world.replaced_by(edit).await), (Some(edit), None));
    let log = world.catalog.live_after(0, 100).await.unwrap();
    let last: Vec<_> = log.iter().rev().take(2).map(|entry| (entry.kind, entry.photo)).collect();
    assert_eq!(last, [(LiveKind::Removed, original), (LiveKind::Indexed, edit)], "what comes is told before what goes");
}

#[tokio::test]
async fn an_undone_edit_is_hidden_and_a_redone_one_is_back() {
    let world = World::new().await;
    let original = world.receive("original", None).await;
    let edit = world.receive("edit", Some(original)).await;
    world.index_all().await;
    assert_eq!(world.shown().await, [edit]);
    for (newest, other, name) in [(original, edit, "original"), (edit, original, "edit"), (original, edit, "original")]
    {
        let version = world.catalog.version(world.event).await.unwrap();
        assert_eq!(world.receive(name, Some(other)).await, newest, "creating what exists");
        assert_eq!(world.shown().await, [newest]);
        assert!(world.catalog.version(world.event).await.unwrap() > version);
        let version = world.catalog.version(world.event).await.unwrap();
        world.receive(name, Some(other)).await;
        assert_eq!(world.catalog.version(world.event).await.unwrap(), version, "nothing new was said");
        assert_eq!(world.told().await, BTreeMap::from([(newest, true), (other, false)]));
        world.index_all().await;
        assert_eq!(world.shown().await, [newest]);
    }
    // It stands for itself: both are photos of their own.
    world.receive("original", Some(original)).await;
    assert_eq!(world.shown().await.len(), 2);
}

#[tokio::test]
async fn while_a_guest_wants_a_shot_taken_down_no_version_of_it_is_shown() {
    for decision in [Decision::Hide, Decision::Show] {
        let world = World::new().await;
        let guest = guest(&world).await;
        let original = world.receive("original", None).await;
        world.index_all().await;
        let edit = world.receive("edit", Some(original)).await;
        world.index_all().await;
        world.catalog.report(world.event, edit, guest, 30).await.unwrap();
        assert!(world.shown().await.is_empty(), "the original shows the same people");
        // Nor does a further version bring it back.
        let third = world.receive("third", Some(edit)).await;
        world.index_all().await;
        assert!(world.shown().await.is_empty());
        world.decide(edit, decision).await;
        let expected = if decision == Decision::Show { vec![third] } else { vec![] };
        assert_eq!(world.shown().await, expected, "{decision:?}");
    }
}

#[tokio::test]
async fn a_preview_and_its_original_are_told_of_once() {
    let world = World::new().await;
    let photo = world.named("original");
    world.finish(photo, Kind::Preview, "preview", None).await;
    world.index_all().await;
    assert_eq!(world.shown().await, [photo]);
    world.finish(photo, Kind::Original, "original", None).await;
    assert_eq!(world.shown().await, [photo], "no flicker");
    world.index_all().await;
    assert_eq!(world.shown().await, [photo]);
    let log = world.catalog.live_after(0, 100).await.unwrap();
    let kinds: Vec<_> = log.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [LiveKind::Received, LiveKind::Indexed]);
}

#[tokio::test]
async fn what_an_earlier_program_wrote_is_kept() {
    if support::needs_a_file() {
        return;
    }
    let world = World::new().await;
    for name in ["a", "b", "c", "x"] {
        world.receive(name, None).await;
    }
    world.index_all().await;
    // As schema 2 had it: b for a, c for b, and two that replaced each other.
    world.sql("DROP TABLE versions").await;
    world.sql("DELETE FROM _sqlx_migrations WHERE version = 4").await;
    world.sql("CREATE TABLE replacements (event BLOB, old BLOB, new BLOB, PRIMARY KEY (event, old, new)) STRICT, WITHOUT ROWID").await;
    for (new, old) in [("b", "a"), ("c", "b"), ("x", "gone"), ("gone", "x")] {
        query("INSERT INTO replacements (event, old, new) VALUES (?, ?, ?)")
            .bind(world.event.as_bytes().as_slice())
            .bind(world.named(old).as_bytes().as_slice())
            .bind(world.named(new).as_bytes().as_slice())
            .execute(&world.catalog.writer)
            .await
            .unwrap();
    }
    world.catalog.close().await;
    let catalog = Catalog::open(&world.dir.path().join("findme.sqlite")).await.unwrap();
    let page = catalog.photos(world.event, PhotoFilter::Shown, None, 10).await.unwrap();
    let shown: Vec<_> = page.photos.into_iter().map(|item| item.name).collect();
    assert_eq!(shown, ["x", "c"], "what never arrived replaces nothing");
}

/// What can happen to the versions of two shots.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// Bytes arrive, or are sent again.
    Receive {
        photo: u8,
        replaces: Option<u8>,
    },
    /// A worker takes the next photo.
    Index,
    /// It cannot be read.
    Fail,
    Hide {
        photo: u8,
    },
    Show {
        photo: u8,
    },
    Delete {
        photo: u8,
    },
}

const PHOTOS: u8 = 5;

fn happening() -> impl Strategy<Value = Happening> {
    let photo = 0..PHOTOS;
    prop_oneof![
        4 => (photo.clone(), proptest::option::of(photo.clone()))
            .prop_map(|(photo, replaces)| Happening::Receive { photo, replaces }),
        5 => Just(Happening::Index),
        1 => Just(Happening::Fail),
        1 => photo.clone().prop_map(|photo| Happening::Hide { photo }),
        1 => photo.clone().prop_map(|photo| Happening::Show { photo }),
        1 => photo.prop_map(|photo| Happening::Delete { photo }),
    ]
}

/// The same in the simplest words: shots are lists, newest version last.
#[derive(Debug, Default)]
struct Model {
    shots: Vec<Vec<u8>>,
    /// Photos that arrived: (indexed, has pictures, hidden).
    photos: BTreeMap<u8, (bool, bool, bool)>,
    /// Waiting for a worker, newest last.
    replaces: BTreeMap<u8, u8>,
    deleted: BTreeSet<u8>,
}

impl Model {
    fn declare(&mut self, new: u8, old: u8) {
        let of = |model: &Self, photo: u8| model.shots.iter().position(|shot| shot.contains(&photo));
        if new == old {
            self.shots.iter_mut().for_each(|shot| shot.retain(|photo| *photo != new));
            return;
        }
        let older = of(self, old).unwrap_or_else(|| {
            self.shots.push(vec![old]);
            self.shots.len() - 1
        });
        match of(self, new) {
            Some(newer) if newer == older => {
                let at = |photo: u8| self.shots[older].iter().position(|of| *of == photo);
                if at(new) < at(old) {
                    self.shots[older].retain(|photo| *photo != new);
                    let after = self.shots[older].iter().position(|photo| *photo == old).unwrap() + 1;
                    self.shots[older].insert(after, new);
                }
            }
            Some(newer) => {
                let moving = std::mem::take(&mut self.shots[newer]);
                self.shots[older].extend(moving);
            }
            None => self.shots[older].push(new),
        }
    }

    fn visible(&self) -> BTreeSet<u8> {
        let can = |photo: &&u8| self.photos.get(photo).is_some_and(|(_, pictures, hidden)| *pictures && !hidden);
        let mut visible = BTreeSet::new();
        let mut in_shots: BTreeSet<u8> = BTreeSet::new();
        for shot in &self.shots {
            in_shots.extend(shot);
            let indexed = shot.iter().rev().filter(can).find(|photo| self.photos[photo].0);
            visible.extend(indexed.or_else(|| shot.iter().rev().find(can)));
        }
        visible.extend(self.photos.keys().filter(|photo| !in_shots.contains(photo)).filter(can));
        visible
    }
}

async fn run(happenings: &[Happening]) {
    let world = World::new().await;
    let mut model = Model::default();
    let name = |photo: u8| format!("photo {photo}");
    let id = |photo: u8| world.named(&name(photo));
    for (step, happening) in happenings.iter().enumerate() {
        match *happening {
            Happening::Receive { photo, .. } if model.deleted.contains(&photo) => {}
            Happening::Receive { photo, replaces } => {
                world.receive(&name(photo), replaces.map(id)).await;
                let new = !model.photos.contains_key(&photo);
                model.photos.entry(photo).or_insert((false, false, false));
                if let Some(old) = replaces {
                    model.declare(photo, old);
                    model.replaces.insert(photo, old);
                } else if let Some(old) = model.replaces.get(&photo).copied().filter(|_| new) {
                    model.declare(photo, old);
                }
            }
            Happening::Index | Happening::Fail => {
                let Some(claim) = world.claim().await else { continue };
                let photo = (0..PHOTOS).find(|photo| id(*photo) == claim.photo).unwrap();
                let entry = model.photos.get_mut(&photo).unwrap();
                let outcome = if matches!(happening, Happening::Index) {
                    (entry.0, entry.1) = (true, true);
                    JobOutcome::Indexed(indexed(), vec![])
                } else {
                    entry.0 = false;
                    JobOutcome::Failed("not-a-photo")
                };
                assert!(world.complete(&claim, &outcome).await.unwrap());
            }
            Happening::Hide { photo } | Happening::Show { photo } => {
                let hide = matches!(happening, Happening::Hide { .. });
                world.decide(id(photo), if hide { Decision::Hide } else { Decision::Show }).await;
                model.photos.entry(photo).and_modify(|(.., hidden)| *hidden = hide);
            }
            Happening::Delete { photo } => {
                let was_there = world.catalog.delete_photo(world.event, id(photo)).await.unwrap();
                assert_eq!(was_there, model.photos.remove(&photo).is_some());
                if was_there {
                    model.deleted.insert(photo);
                }
            }
        }
        let visible: BTreeSet<_> = model.visible().into_iter().map(id).collect();
        let context = format!("after step {step} of {happenings:?}: {model:?}");
        assert_eq!(world.shown().await.into_iter().collect::<BTreeSet<_>>(), visible, "{context}");
        // Whoever only listens knows the same.
        let told = world.told().await.into_iter().filter_map(|(photo, there)| there.then_some(photo));
        assert_eq!(told.collect::<BTreeSet<_>>(), visible, "told, {context}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM photos").await as usize, model.photos.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 400, ..ProptestConfig::default() })]
    #[test]
    fn guests_see_exactly_the_latest_version_of_each_shot(
        happenings in proptest::collection::vec(happening(), 1..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&happenings));
    }
}

#[tokio::test]
async fn held_photos_replace_nothing_until_they_are_released() {
    let world = World::new().await;
    let original = world.receive("original", None).await;
    let edit = world.receive("edit", Some(original)).await;
    world.catalog.force_visibility(edit, Visibility::Held).await.unwrap();
    world.index_all().await;
    assert_eq!(world.shown().await, [original]);
    world.decide(edit, Decision::Release).await;
    assert_eq!(world.shown().await, [edit]);
    assert_eq!(world.told().await, BTreeMap::from([(original, false), (edit, true)]));
}
