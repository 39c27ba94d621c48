//! Measures the face pipeline on photos: time per stage and memory, selfie search over a made event, false matches.
//!
//! ```text
//! stages time      MODELS WORKERS PHOTO...   time per photo and stage, peak memory
//! stages event     MODELS WORKERS DIR        DIR has photos/, selfies/ and truth.json: precision and recall per band
//! stages impostors MODELS WORKERS DIR        DIR has one folder of photos per person: how alike different people are
//! stages search    MODELS WORKERS N          time of a search over N made-up faces, one core
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use findme_common::PhotoId;
use findme_common::protocol::Band;
use findme_server::face::{Embedding, Engine, Face, Purpose, Threshold, Timings, default_pack};
use findme_server::gallery::Gallery;
use findme_server::picture::{self, Limits};
use serde::Deserialize;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, models, workers, paths @ ..] = arguments.as_slice() else {
        bail!("stages time|event|impostors|search MODELS WORKERS PATH...");
    };
    let engine = Engine::open(Path::new(models), default_pack())?;
    let workers: usize = workers.parse().context("WORKERS is a number")?;
    let first = paths.first().context("a path is missing")?;
    match mode.as_str() {
        "time" => index(&engine, workers, paths.iter().map(PathBuf::from).collect()).map(|_| ()),
        "event" => event(&engine, workers, Path::new(first)),
        "impostors" => impostors(&engine, workers, Path::new(first)),
        "search" => search(first.parse().context("N is a number")?),
        _ => bail!("unknown mode {mode}"),
    }
}

/// Sums over photos; processor time of the whole process, because decoding and inference run on threads of their own.
#[derive(Default)]
struct Sums {
    photos: u32,
    faces: usize,
    decode: Duration,
    derivatives: Duration,
    inference: Timings,
}

/// A photo with what was found in it.
struct Indexed {
    path: PathBuf,
    /// Columns and rows of the pixels in which the faces are.
    size: (u32, u32),
    faces: Vec<Face>,
}

/// Runs every photo through all stages and prints what that cost.
fn index(engine: &Engine, workers: usize, photos: Vec<PathBuf>) -> Result<Vec<Indexed>> {
    let (next, sums, results) = (AtomicUsize::new(0), Mutex::new(Sums::default()), Mutex::new(Vec::new()));
    let (start, cpu) = (Instant::now(), cpu_seconds());
    std::thread::scope(|scope| -> Result<()> {
        let work = || -> Result<()> {
            while let Some(path) = photos.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut timings = Timings::default();
                let (begin, picture) = (Instant::now(), picture::open(path, &Limits::default()));
                let decode = begin.elapsed();
                let Ok(picture) = picture.inspect_err(|e| eprintln!("{}: {e}", path.display())) else { continue };
                let begin = Instant::now();
                picture::derivatives(&picture.pixels)?;
                let derivatives = begin.elapsed();
                let faces = engine.faces_timed(&picture.pixels, Purpose::Photo, &mut timings)?;
                let mut sums = sums.lock().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
                sums.photos += 1;
                sums.faces += faces.len();
                sums.decode += decode;
                sums.derivatives += derivatives;
                sums.inference.detect += timings.detect;
                sums.inference.embed += timings.embed;
                drop(sums);
                results.lock().map_err(|_| anyhow::anyhow!("a worker panicked"))?.push(Indexed {
                    path: path.clone(),
                    size: (picture.pixels.width(), picture.pixels.height()),
                    faces,
                });
            }
            Ok(())
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?)
    })?;
    let (wall, sums) = (start.elapsed(), sums.into_inner()?);
    let mean = |time: Duration| time.as_secs_f64() * 1000.0 / f64::from(sums.photos.max(1));
    println!(
        "{} photos, {} faces, {workers} workers: {:.1} s, {:.2} photos/s, {:.3} CPU-s a photo, peak {} MB",
        sums.photos,
        sums.faces,
        wall.as_secs_f64(),
        f64::from(sums.photos) / wall.as_secs_f64(),
        (cpu_seconds() - cpu) / f64::from(sums.photos.max(1)),
        peak_memory_mb(),
    );
    println!(
        "ms a photo (on the clock): decode {:.0}, derivatives {:.0}, detect {:.0}, embed {:.0} ({:.1} a face)",
        mean(sums.decode),
        mean(sums.derivatives),
        mean(sums.inference.detect),
        mean(sums.inference.embed),
        mean(sums.inference.embed) * f64::from(sums.photos) / sums.faces.max(1) as f64,
    );
    Ok(results.into_inner()?)
}

#[derive(Deserialize)]
struct Truth {
    photos: BTreeMap<String, BTreeSet<String>>,
    guests: Vec<String>,
}

/// Indexes a made event, searches it with every guest's selfie, and compares with its truth.
fn event(engine: &Engine, workers: usize, folder: &Path) -> Result<()> {
    let truth: Truth = serde_json::from_slice(&std::fs::read(folder.join("truth.json"))?)?;
    let names: Vec<&String> = truth.photos.keys().collect();
    let paths = names.iter().map(|name| folder.join("photos").join(name)).collect();
    let mut gallery = Gallery::new();
    let id = |index: usize| PhotoId::from_bytes((index as u128).to_be_bytes());
    for Indexed { path, faces, .. } in index(engine, workers, paths)? {
        let name = path.file_name().and_then(|name| name.to_str()).context("an event's names are text")?;
        let index = names.iter().position(|known| *known == name).context("every path comes from the truth")?;
        for (number, face) in (0..).zip(&faces) {
            gallery.insert(id(index), number, &face.embedding, face.quality.is_poor());
        }
    }
    let bands = default_pack().thresholds.bands(gallery.len());
    println!("{} faces: you from {:.3}, maybe from {:.3}", gallery.len(), bands.you.get(), bands.maybe.get());
    let (mut right, mut wrong, mut missed, mut appearances) = ([0; 2], [0; 2], 0, 0);
    for guest in &truth.guests {
        let selfie = picture::open(&folder.join("selfies").join(format!("{guest}.jpg")), &Limits::default())?;
        let faces = engine.faces(&selfie.pixels, Purpose::Selfie)?;
        let there = |photo: &PhotoId| (0..names.len()).find(|&index| id(index) == *photo);
        let mut found = 0;
        let probe: Vec<Embedding> = faces.into_iter().take(1).map(|face| face.embedding).collect();
        for candidate in gallery.search(&probe, bands.maybe) {
            let index = there(&candidate.photo).context("the gallery holds the event's photos only")?;
            let band = usize::from(bands.of_face(candidate.similarity, candidate.poor) == Some(Band::Maybe));
            let is_there = truth.photos[names[index]].contains(guest);
            *(if is_there { &mut right[band] } else { &mut wrong[band] }) += 1;
            found += usize::from(is_there);
        }
        let expected = truth.photos.values().filter(|people| people.contains(guest)).count();
        appearances += expected;
        missed += expected - found;
        if probe.is_empty() || found < expected {
            println!("{guest}: {found} of {expected}{}", if probe.is_empty() { ", no face in the selfie" } else { "" });
        }
    }
    let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    println!(
        "you: precision {:.4} ({} right, {} wrong), recall {:.4}",
        share(right[0], right[0] + wrong[0]),
        right[0],
        wrong[0],
        share(right[0], appearances)
    );
    println!(
        "maybe: precision {:.4} ({} right, {} wrong); both: recall {:.4} ({missed} of {appearances} missed)",
        share(right[1], right[1] + wrong[1]),
        right[1],
        wrong[1],
        share(right[0] + right[1], appearances)
    );
    Ok(())
}

/// The middle face of every photo against those of all other people: the share of pairs that reach each similarity.
fn impostors(engine: &Engine, workers: usize, folder: &Path) -> Result<()> {
    let mut photos: Vec<(usize, PathBuf)> = Vec::new();
    for (person, entry) in std::fs::read_dir(folder)?.enumerate() {
        for photo in std::fs::read_dir(entry?.path())? {
            photos.push((person, photo?.path()));
        }
    }
    let person: BTreeMap<&Path, usize> = photos.iter().map(|(person, path)| (path.as_path(), *person)).collect();
    let found = index(engine, workers, photos.iter().map(|(_, path)| path.clone()).collect())?;
    // The face in the middle is the one the photo is filed under.
    let aside = |face: &Face, (width, height): (u32, u32)| {
        let rect = &face.detection.rect;
        (rect.x + rect.width / 2.0 - width as f32 / 2.0).hypot(rect.y + rect.height / 2.0 - height as f32 / 2.0)
    };
    let faces: Vec<(usize, PathBuf, Embedding)> = found
        .into_iter()
        .filter_map(|Indexed { path, size, faces }| {
            let face = faces.into_iter().min_by(|a, b| aside(a, size).total_cmp(&aside(b, size)))?;
            Some((person[path.as_path()], path, face.embedding))
        })
        .collect();
    let (mut different, mut same) = (Vec::new(), Vec::new());
    for (index, (person, path, embedding)) in faces.iter().enumerate() {
        for (other, beside, compared) in &faces[..index] {
            let similarity = embedding.similarity(compared);
            if person == other { &mut same } else { &mut different }.push(similarity);
            if person != other && similarity.get() > 0.5 {
                println!("{:.3} {} {}", similarity.get(), path.display(), beside.display());
            }
        }
    }
    println!("{} faces, {} pairs of different people, {} of the same", faces.len(), different.len(), same.len());
    for step in (20..=60).step_by(2) {
        let threshold = Threshold::new(step as f32 / 100.0);
        let share = |pairs: &[_]| pairs.iter().filter(|s| threshold.admits(**s)).count() as f64 / pairs.len() as f64;
        println!("{:.2}: {:.2e} of strangers, {:.4} of the same", threshold.get(), share(&different), share(&same));
    }
    let mut worst: Vec<f32> = different.iter().map(|s| s.get()).collect();
    worst.sort_by(|a, b| b.total_cmp(a));
    println!("most alike strangers: {:.3?}", &worst[..worst.len().min(12)]);
    Ok(())
}

/// Searches a gallery of made-up faces, four to a photo.
fn search(faces: u32) -> Result<()> {
    // A linear congruential generator is random enough for vectors that only have to be spread out.
    let mut state = 7_u64;
    let mut made_up = || {
        let values: Vec<f32> = (0..256)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        Embedding::new(&values).context("random values have a direction")
    };
    let mut gallery = Gallery::new();
    for face in 0..faces {
        gallery.insert(PhotoId::from_bytes(u128::from(face / 4).to_be_bytes()), face.into(), &made_up()?, false);
    }
    let mut times = Vec::new();
    for _ in 0..51 {
        let probe = [made_up()?];
        let (start, found) = (Instant::now(), gallery.search(&probe, Threshold::new(0.36)));
        times.push((start.elapsed(), found.len()));
    }
    times.sort();
    println!("{faces} faces: p50 {:.2?}, p95 {:.2?}, peak {} MB", times[25].0, times[48].0, peak_memory_mb());
    Ok(())
}

/// Processor time of this process so far, where the system tells it as Linux does.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // User and system time are the 14th and 15th field, in hundredths of a second; the 2nd ends with a parenthesis.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The most memory this process ever had, in megabytes, where the system tells it as Linux does.
fn peak_memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() / 1024
}
