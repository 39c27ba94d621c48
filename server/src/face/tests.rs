//! The shipped models against the reference values, and on real photos. Needs the shared photos and models.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::picture::tests::shared;
use crate::picture::{self, Limits, Orientation, Pixels};

use super::*;

#[derive(Deserialize)]
struct Golden {
    size_after_exif: [u32; 2],
    faces: Vec<GoldenFace>,
}

#[derive(Deserialize)]
struct GoldenFace {
    box_xyxy: [f32; 4],
    emb_omz: Vec<f32>,
}

impl GoldenFace {
    fn rect(&self) -> Rect {
        let [x, y, right, bottom] = self.box_xyxy;
        Rect { x, y, width: right - x, height: bottom - y }
    }
}

fn engine(shared: &Path) -> Engine {
    Engine::open(&shared.join("models"), default_pack()).unwrap()
}

/// One engine on each runtime that there is: what follows must hold for all of them.
fn engines(shared: &Path) -> Vec<Engine> {
    #[cfg_attr(not(feature = "ort"), expect(unused_mut, reason = "there is one"))]
    let mut engines = vec![engine(shared)];
    #[cfg(feature = "ort")]
    match std::env::var_os("ORT_DYLIB_PATH") {
        Some(library) => {
            let library = Some(Path::new(&library));
            engines.push(Engine::open_on(&shared.join("models"), default_pack(), library).unwrap());
        }
        None => eprintln!("NOT TESTED: onnxruntime, whose library ORT_DYLIB_PATH would name"),
    }
    if cfg!(not(feature = "ort")) {
        let refused = Engine::open_on(&shared.join("models"), default_pack(), Some(Path::new("library"))).unwrap_err();
        assert!(matches!(refused, ModelError::Runtime { .. }), "{refused}");
    }
    engines
}

#[test]
fn all_runtimes_give_the_same_values() {
    let Some(shared) = shared() else { return };
    let engines = engines(&shared);
    let photo = pixels(&shared.join("photos/groups/dlib_2008_001322.jpg"));
    let expected = engines[0].faces(&photo, Purpose::Photo).unwrap();
    for engine in &engines[1..] {
        let found = engine.faces(&photo, Purpose::Photo).unwrap();
        assert_eq!(found.len(), expected.len(), "{}", engine.runtime());
        for (a, b) in expected.iter().zip(&found) {
            let values = a.embedding.values().iter().zip(b.embedding.values());
            let worst = values.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            println!(
                "{}: embedding within {worst:.1e}, score within {:.1e}",
                engine.runtime(),
                (a.detection.score - b.detection.score).abs()
            );
            assert!(worst < 1e-4 && (a.detection.score - b.detection.score).abs() < 1e-4);
            assert!(edge_distance(&a.detection.rect, &b.detection.rect) < 0.01);
        }
    }
}

fn pixels(path: &Path) -> Pixels {
    picture::open(path, &Limits::default()).unwrap().pixels
}

/// The largest distance between two edges of the same side.
fn edge_distance(a: &Rect, b: &Rect) -> f32 {
    let edges = |r: &Rect| [r.x, r.y, r.x + r.width, r.y + r.height];
    edges(a).iter().zip(edges(b)).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

#[test]
fn golden_values_are_met() {
    let Some(shared) = shared() else { return };
    for engine in engines(&shared) {
        meets_golden_values(&shared, &engine.with_long_side(640));
    }
}

fn meets_golden_values(shared: &Path, engine: &Engine) {
    let text = std::fs::read(shared.join("photos/golden_yunet_omz.json")).unwrap();
    let golden: BTreeMap<String, Golden> = serde_json::from_slice(&text).unwrap();
    let (mut total, mut placed, mut alike, mut extra) = (0, 0, 0, 0);
    let (mut worst_cosine, mut worst_distance) = (1.0_f32, 0.0_f32);
    for (name, expected) in &golden {
        let pixels = pixels(&shared.join("photos").join(name));
        assert_eq!([pixels.width(), pixels.height()], expected.size_after_exif, "{name}");
        let found = engine.detect_once(&pixels, Purpose::Photo).unwrap();
        extra += found.len().saturating_sub(expected.faces.len());
        for face in &expected.faces {
            total += 1;
            let rect = face.rect();
            let nearest = found.iter().max_by(|a, b| a.rect.overlap(&rect).total_cmp(&b.rect.overlap(&rect)));
            let Some(nearest) = nearest else { continue };
            let distance = edge_distance(&nearest.rect, &rect);
            placed += usize::from(distance <= f32::max(2.0, 0.02 * rect.width.max(rect.height)));
            worst_distance = worst_distance.max(distance);
            let crop = engine.align(&pixels, nearest).unwrap();
            let cosine = engine.embed(&crop).unwrap().unwrap().similarity(&Embedding::new(&face.emb_omz).unwrap());
            alike += usize::from(cosine.get() >= 0.98);
            worst_cosine = worst_cosine.min(cosine.get());
        }
    }
    println!(
        "{total} golden faces: {placed} boxes within 2 px or 2 % (worst {worst_distance:.2} px), \
         {alike} embeddings with cosine ≥ .98 (worst {worst_cosine:.4}), {extra} extra faces"
    );
    assert!(placed * 100 >= total * 95 && alike * 100 >= total * 95 && worst_cosine >= 0.95);
    assert_eq!(extra, 0);
}

#[test]
fn group_photos_have_the_faces_that_the_reference_finds() {
    let Some(shared) = shared() else { return };
    let engine = engine(&shared);
    for (name, least, most) in [
        ("codeland_group.jpg", 12, 12),
        ("solvay_1927.png", 29, 30),
        ("sotm2017_group.jpg", 8, 8),
        ("ageitgey_obama_and_biden.jpg", 3, 3),
        ("ageitgey_two_people.jpg", 2, 2),
        ("dlib_2007_007763.jpg", 7, 7),
        ("dlib_2008_001322.jpg", 3, 3),
        ("dlib_2008_002079.jpg", 6, 6),
        ("dlib_2008_002470.jpg", 6, 6),
        ("dlib_2008_004176.jpg", 8, 8),
        ("sample1.jpg", 3, 4),
        ("sample2.jpg", 3, 3),
        ("sample3.jpg", 3, 3),
    ] {
        let pixels = pixels(&shared.join("photos/groups").join(name));
        let found = engine.detect(&pixels, Purpose::Photo).unwrap().len();
        let faces = engine.faces(&pixels, Purpose::Photo).unwrap();
        println!("{name}: {found} faces, {} of them at least {MIN_FACE} px high", faces.len());
        assert!((least..=most).contains(&found), "{name}: {found} faces");
        assert!(faces.is_sorted_by(|a, b| a.detection.rect.height >= b.detection.rect.height));
        assert!(faces.iter().all(|face| face.detection.rect.height >= MIN_FACE));
    }
}

#[test]
fn one_person_is_known_again_and_another_is_not() {
    let Some(shared) = shared() else { return };
    let engine = engine(&shared);
    let alike = |embeddings: &dyn Fn(&str) -> Vec<Embedding>| {
        let obama = embeddings("people/obama/obama.jpg").remove(0);
        let both = embeddings("groups/ageitgey_two_people.jpg");
        let mut both: Vec<f32> = both.iter().map(|face| face.similarity(&obama).get()).collect();
        both.sort_by(f32::total_cmp);
        both
    };
    let open = |name: &str| pixels(&shared.join("photos").join(name));
    // The reference looks for landmarks once.
    let once = alike(&|name| {
        let photo = open(name);
        let found = engine.detect(&photo, Purpose::Photo).unwrap();
        found.iter().map(|face| engine.embed(&engine.align(&photo, face).unwrap()).unwrap().unwrap()).collect()
    });
    let twice = alike(&|name| {
        let faces = engine.faces(&open(name), Purpose::Photo).unwrap();
        faces.into_iter().map(|face| face.embedding).collect()
    });
    println!("Obama against the two people: {once:?}, looked at twice {twice:?}; the reference has .017 and .784");
    assert!((once[0] - 0.017).abs() < 0.02 && (once[1] - 0.784).abs() < 0.02);
    assert!(twice[0] < 0.02 && twice[1] > 0.764);
}

#[test]
fn a_photo_stored_turned_has_the_same_faces() {
    let Some(shared) = shared() else { return };
    let engine = engine(&shared);
    let faces =
        |name: &str| engine.faces(&pixels(&shared.join("photos/exif_face").join(name)), Purpose::Photo).unwrap();
    let (upright, turned) = (faces("portrait.jpg"), faces("portrait-orientation-6.jpg"));
    assert_eq!((upright.len(), turned.len()), (2, 2));
    for (a, b) in upright.iter().zip(&turned) {
        // The turned file is a grey copy of its own compression, so the values differ a little.
        assert!(edge_distance(&a.detection.rect, &b.detection.rect) < 6.0, "{:?} {:?}", a.detection, b.detection);
        let cosine = a.embedding.similarity(&b.embedding).get();
        println!("stored turned: cosine {cosine:.3}");
        assert!(cosine > 0.8);
    }
}

#[test]
fn a_selfie_that_is_nothing_but_face_has_one() {
    let Some(shared) = shared() else { return };
    let engine = engine(&shared);
    let whole = pixels(&shared.join("photos/people/obama/obama.jpg"));
    let face = engine.faces(&whole, Purpose::Selfie).unwrap().remove(0);
    let Rect { x, y, width, height } = face.detection.rect;
    let close = whole.part(x as u32, y as u32, width as u32, height as u32);
    let faces = engine.faces(&close, Purpose::Selfie).unwrap();
    assert_eq!(faces.len(), 1);
    let cosine = faces[0].embedding.similarity(&face.embedding).get();
    println!("cropped to the face: cosine {cosine:.3}");
    assert!(cosine > 0.7);
}

#[test]
fn a_selfie_has_as_many_faces_as_people() {
    let Some(shared) = shared() else { return };
    let engine = engine(&shared);
    // Without a look at their scores the second has three: two are of the background.
    for (name, people) in [
        ("people/obama/obama.jpg", 1),
        ("people/biden/biden2.jpg", 1),
        ("groups/ageitgey_two_people.jpg", 2),
        ("groups/ageitgey_obama_and_biden.jpg", 3),
    ] {
        let faces = engine.faces(&pixels(&shared.join("photos").join(name)), Purpose::Selfie).unwrap();
        println!(
            "{name}: {:?}",
            faces.iter().map(|face| (face.detection.score, face.detection.rect.height)).collect::<Vec<_>>()
        );
        assert_eq!(faces.len(), people, "{name}");
    }
}

#[test]
fn a_photo_that_lies_on_its_side_without_saying_so_still_has_its_faces() {
    let Some(shared) = shared() else { return };
    let engine = engine(&shared);
    for name in ["obama/obama.jpg", "obama/obama1.jpg", "obama/obama2.jpg", "biden/biden.jpg"] {
        let upright = pixels(&shared.join("photos/people").join(name));
        let known = engine.faces(&upright, Purpose::Photo).unwrap().remove(0).embedding;
        for turn in [6, 8].map(Orientation::from_exif) {
            let faces = engine.faces(&turn.apply(upright.clone()), Purpose::Photo).unwrap();
            let best = faces.iter().map(|face| face.embedding.similarity(&known).get()).fold(-1.0, f32::max);
            println!("{name} {turn:?}: {} faces, cosine {best:.3}", faces.len());
            assert!(best > 0.9, "{name} {turn:?}");
        }
    }
}

#[test]
fn second_looks_see_no_faces_where_there_are_none() {
    let Some(shared) = shared() else { return };
    let engine = engine(&shared);
    for name in [
        "exif_orientation/Landscape_1.jpg",
        "camera/DSCN0010.jpg",
        "camera/HMD_Nokia_8.3_5G.jpg",
        "heic_raw/denali.webp",
    ] {
        let faces = engine.detect(&pixels(&shared.join("photos").join(name)), Purpose::Photo).unwrap();
        assert!(faces.is_empty(), "{name}: {faces:?}");
    }
}

#[test]
fn workers_share_an_engine() {
    let Some(shared) = shared() else { return };
    let engine = engine(&shared);
    let photo = pixels(&shared.join("photos/groups/dlib_2008_001322.jpg"));
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..3).map(|_| scope.spawn(|| engine.faces(&photo, Purpose::Photo).unwrap().len())).collect();
        assert!(runs.into_iter().all(|run| run.join().unwrap() == 3));
    });
}

#[test]
fn nothing_to_see_is_no_error() {
    let Some(shared) = shared() else { return };
    let engine = engine(&shared);
    for (width, height) in [(1, 1), (31, 33), (1, 4000), (640, 480)] {
        let grey = Pixels::new(width, height, vec![128; (width * height * 3) as usize]).unwrap();
        for purpose in [Purpose::Photo, Purpose::Selfie] {
            assert!(engine.faces(&grey, purpose).unwrap().is_empty(), "{width} × {height}");
        }
    }
}
