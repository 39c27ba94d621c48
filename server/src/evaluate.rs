//! `findme-server evaluate`: how often the shipped pipeline is right, measured on photos whose people are known, through
//! the real indexer and the real selfie endpoint of a server that exists only for this.
//!
//! Invariant: similarities come from the running server, thresholds are applied here, so that one run gives every curve.

mod bench;
mod degrade;
mod plan;
mod plot;
mod report;
mod score;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use findme_common::PhotoId;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::face::{Pack, Quality, Rect, Threshold, Thresholds};
use crate::picture;
use bench::{Bench, Found, Refused, Shared, middle};
use degrade::Harm;
pub(crate) use plan::{Labels, Plan};
use plan::{Probe, Shot};
pub(crate) use report::Figures;
#[cfg(test)]
pub(crate) use report::tests::figures as sample_figures;
use report::{Part, Row};
use score::{Hit, Search};

/// Similarities below this are not asked for.
const FLOOR: f32 = 0.15;
/// Requests at a time.
const AT_ONCE: usize = 4;
/// Sizes of galleries that are measured apart, in photos.
const GALLERIES: [usize; 3] = [100, 320, 1000];
/// Strangers who search in spoilt photos.
const STRANGERS: usize = 60;

/// What to measure, and with what.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) models: PathBuf,
    pub(crate) pack: &'static Pack,
    pub(crate) workers: Option<usize>,
    /// See [`crate::Config::onnxruntime`].
    pub(crate) onnxruntime: Option<PathBuf>,
    /// Photos that are spoilt in every way; 0: none.
    pub(crate) degraded: usize,
}

/// One event that was filled and searched.
struct Measured {
    searches: Vec<Search>,
    refused: BTreeMap<String, usize>,
    failed: u64,
    /// By photo of the plan.
    faces: Vec<Vec<(findme_common::protocol::FaceBox, Option<Quality>)>>,
}

impl Measured {
    fn count_faces(&self) -> usize {
        self.faces.iter().map(Vec::len).sum()
    }
}

/// Measures. `step` is told what is going on, how much of it is done, and how much there is.
///
/// # Errors
/// When there are no models, a photo cannot be read, or the server fails.
pub(crate) async fn evaluate(
    plan: &Plan,
    options: &Options,
    step: impl Fn(&str, usize, usize) + Sync,
) -> anyhow::Result<Figures> {
    let pack = options.pack;
    let bench = Arc::new(Bench::start(options, wide_open(pack)).await?);
    let measured = measure(&bench, plan, &|number| std::fs::read(&plan.photos[number].path).ok(), &step).await?;
    let mut figures = Figures::of(plan, &measured, pack, bench.runtime());
    figures.by_gallery = by_gallery(plan, &measured, pack);
    let (heights, poses) = by_quality(plan, &measured, pack);
    (figures.by_height, figures.by_pose) = (heights, poses);
    if options.degraded > 0 {
        figures.degraded = degraded(&bench, plan, &measured, (options.degraded, pack), &step).await?;
    }
    let bench = Arc::try_unwrap(bench).map_err(|_| anyhow::anyhow!("the server is still in use"))?;
    bench.end().await?;
    Ok(figures)
}

/// The pack with thresholds that show everything down to [`FLOOR`].
fn wide_open(pack: &Pack) -> &'static Pack {
    let impostor = |similarity, rate| crate::face::Impostors { similarity, rate };
    let thresholds = Thresholds {
        maybe_floor: Threshold::new(FLOOR),
        // So rare that no event has faces enough to raise the floor.
        impostors: vec![impostor(0.0, 1e-12), impostor(FLOOR, 1e-13)],
        ..pack.thresholds.clone()
    };
    // Once in a run of the program.
    Box::leak(Box::new(Pack { thresholds, ..pack.clone() }))
}

/// Fills an event with the photos that `bytes` gives, and searches it with every selfie of the plan.
async fn measure(
    bench: &Shared,
    plan: &Plan,
    bytes: &(dyn Fn(usize) -> Option<Vec<u8>> + Sync),
    step: &(impl Fn(&str, usize, usize) + Sync),
) -> anyhow::Result<Measured> {
    let event = bench.event(&plan.name).await?;
    let (mut numbers, all): (HashMap<PhotoId, usize>, _) = (HashMap::new(), plan.photos.len());
    let mut uploads = stream::iter(0..all)
        .map(|number| async move { (number, bytes(number)) })
        .buffered(1)
        .filter_map(|(number, bytes)| async move { bytes.map(|bytes| (number, bytes)) })
        .map(|(number, bytes)| {
            let event = &event;
            async move { bench.upload(event, bytes).await.map(|id| (id, number)) }
        })
        .buffer_unordered(AT_ONCE)
        .boxed();
    while let Some((id, number)) = uploads.try_next().await? {
        numbers.entry(id).or_insert(number);
        step("photos", numbers.len(), all);
    }
    drop(uploads);
    anyhow::ensure!(!numbers.is_empty(), "no photo of {} could be read", plan.name);
    let failed = bench.indexed(event.id).await?;
    let mut faces = vec![Vec::new(); all];
    for (photo, area, quality) in bench.faces(event.id).await? as Vec<Found> {
        faces[numbers[&photo]].push((area, quality));
    }
    let answers: Vec<_> = stream::iter(plan.probes.iter().enumerate())
        .map(|(number, probe)| {
            let event = &event;
            async move {
                let picture = tokio::fs::read(&probe.path).await;
                let picture = picture.with_context(|| format!("cannot read {}", probe.path.display()))?;
                step("selfies", number, plan.probes.len());
                anyhow::Ok((probe, bench.search(event, &picture).await?))
            }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let (mut searches, mut refused) = (Vec::new(), BTreeMap::new());
    for (probe, answer) in answers {
        let mates = probe.person.map(|person| plan.photos_of(person)).unwrap_or_default();
        let found = answer.unwrap_or_else(|Refused(code)| {
            *refused.entry(code).or_default() += 1;
            findme_common::protocol::SelfieResult::default()
        });
        let of = |you| move |hit: findme_common::protocol::Match| (hit.photo, hit.similarity, you);
        let hits = found.you.into_iter().map(of(true)).chain(found.maybe.into_iter().map(of(false)));
        let hits =
            hits.filter_map(|(photo, similarity, you)| Some(Hit { photo: *numbers.get(&photo)?, similarity, you }));
        searches.push(Search { mates, hits: hits.collect() });
    }
    Ok(Measured { searches, refused, failed, faces })
}

/// Rates in parts of the gallery, and in all of it.
fn by_gallery(plan: &Plan, measured: &Measured, pack: &Pack) -> Vec<Row> {
    let mut rows = Vec::new();
    for size in GALLERIES.into_iter().filter(|&size| size < plan.photos.len()) {
        let (mut galleries, mut faces) = (Vec::new(), 0);
        for part in plan.parts(size) {
            faces += part
                .iter()
                .zip(&measured.faces)
                .filter(|(kept, _)| **kept)
                .map(|(_, faces)| faces.len())
                .sum::<usize>();
            let photos = part.iter().filter(|kept| **kept).count();
            // Who is in another part is no stranger of this one: their photos may hold whoever stood beside them.
            let searches =
                measured.searches.iter().zip(&plan.probes).map(|(search, probe)| (search.within(&part), probe));
            let searches = searches.filter(|(search, probe)| probe.person.is_none() || !search.mates.is_empty());
            galleries.push((searches.map(|(search, _)| search).collect(), photos));
        }
        if !galleries.is_empty() {
            let bands = pack.thresholds.bands(faces / galleries.len());
            rows.push(Row::of(format!("{size} photos, {} times", galleries.len()), &galleries, bands));
        }
    }
    let bands = pack.thresholds.bands(measured.count_faces());
    let all = [(measured.searches.clone(), plan.photos.len())];
    rows.push(Row::of(format!("{} photos", plan.photos.len()), &all, bands));
    rows
}

/// The face that a photo is filed under.
fn filed<'a>(
    shot: &Shot,
    faces: &'a [(findme_common::protocol::FaceBox, Option<Quality>)],
) -> Option<&'a (findme_common::protocol::FaceBox, Option<Quality>)> {
    let areas: Vec<_> = faces.iter().map(|(area, _)| *area).collect();
    if shot.portrait { faces.get(middle(&areas)?) } else { None }
}

/// How many of their photos people are shown by the height and by the turn of their face in it.
fn by_quality(plan: &Plan, measured: &Measured, pack: &Pack) -> (Vec<Part>, Vec<Part>) {
    const HEIGHTS: [(f32, &str); 5] = [
        (24.0, "under 24 px"),
        (48.0, "24 to 48 px"),
        (96.0, "48 to 96 px"),
        (192.0, "96 to 192 px"),
        (f32::MAX, "192 px and more"),
    ];
    const POSES: [(f32, &str); 4] =
        [(0.25, "to the camera"), (0.5, "a little aside"), (0.75, "half aside"), (f32::MAX, "from the side")];
    let bands = pack.thresholds.bands(measured.count_faces());
    let (mut heights, mut poses) = (HEIGHTS.map(|(_, what)| Part::new(what)), POSES.map(|(_, what)| Part::new(what)));
    for search in &measured.searches {
        for &photo in &search.mates {
            let Some((_, Some(quality))) = filed(&plan.photos[photo], &measured.faces[photo]) else { continue };
            let hit = search.hits.iter().find(|hit| hit.photo == photo);
            let at = |bounds: &[(f32, &str)], value: f32| bounds.iter().position(|(bound, _)| value < *bound);
            for (parts, number) in
                [(&mut heights[..], at(&HEIGHTS, quality.pixels)), (&mut poses[..], at(&POSES, quality.turned))]
            {
                if let Some(part) = number.and_then(|number| parts.get_mut(number)) {
                    part.count(hit, bands);
                }
            }
        }
    }
    let used = |parts: &[Part]| parts.iter().filter(|part| part.appearances > 0).cloned().collect();
    (used(&heights), used(&poses))
}

/// A part of the gallery spoilt in every way, each way an event of its own, searched with the same selfies.
async fn degraded(
    bench: &Shared,
    plan: &Plan,
    measured: &Measured,
    (size, pack): (usize, &Pack),
    step: &(impl Fn(&str, usize, usize) + Sync),
) -> anyhow::Result<Vec<Row>> {
    let part = if size < plan.photos.len() { plan.parts(size).into_iter().next() } else { None };
    let kept = |number: usize| part.as_ref().is_none_or(|part| part[number]);
    // Only photos whose face is known can be spoilt around it.
    let faces: Vec<_> = (0..plan.photos.len())
        .filter(|&number| kept(number))
        .filter_map(|number| Some((number, filed(&plan.photos[number], &measured.faces[number])?.0)))
        .collect();
    let photos: Vec<Shot> = faces.iter().map(|(number, _)| plan.photos[*number].clone()).collect();
    if photos.is_empty() {
        return Ok(Vec::new());
    }
    let there =
        |probe: &&Probe| probe.person.is_none_or(|person| photos.iter().any(|photo| photo.people.contains(&person)));
    let (mated, strangers): (Vec<_>, Vec<_>) =
        plan.probes.iter().filter(there).cloned().partition(|probe| probe.person.is_some());
    let probes = mated.into_iter().chain(strangers.into_iter().take(STRANGERS)).collect();
    let small = Plan { name: plan.name.clone(), photos, probes, people: plan.people };
    let mut rows = Vec::new();
    for harm in Harm::ALL {
        let spoilt = |number: usize| spoil(&small.photos[number].path, &faces[number].1, harm);
        let name = harm.name();
        let measured =
            measure(bench, &small, &spoilt, &|what, done, all| step(&format!("{what} ({name})"), done, all)).await?;
        let bands = pack.thresholds.bands(measured.count_faces());
        rows.push(Row::of(name, &[(measured.searches, small.photos.len())], bands));
    }
    Ok(rows)
}

/// A spoilt photo as JPEG; `None` where it cannot be spoilt in this way.
fn spoil(path: &Path, area: &findme_common::protocol::FaceBox, harm: Harm) -> Option<Vec<u8>> {
    let pixels = picture::open(path, &picture::Limits::default()).ok()?.pixels;
    let (width, height) = (pixels.width() as f32, pixels.height() as f32);
    let face = Rect { x: area.x * width, y: area.y * height, width: area.width * width, height: area.height * height };
    let spoilt = harm.apply(&pixels, &face)?;
    let mut jpeg = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 92);
    let (width, height) = (u16::try_from(spoilt.width()).ok()?, u16::try_from(spoilt.height()).ok()?);
    encoder.encode(spoilt.rgb(), width, height, jpeg_encoder::ColorType::Rgb).ok()?;
    Some(jpeg)
}
