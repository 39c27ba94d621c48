//! Faces: time of each stage beside the reference pipeline, time of a search beside faiss, error rates on labelled photos.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use findme_common::PhotoId;
use findme_server::face::{Embedding, Engine, Purpose, Threshold, Timings, default_pack};
use findme_server::gallery::Gallery;
use findme_server::picture::{self, Limits};
use serde_json::Value;

use crate::disks::shell;
use crate::foreign::{self, Foreign};
use crate::support::{Random, asset, peak_memory, say, workspace};

/// Searches in each gallery.
const PROBES: usize = 41;

/// Processor time of this process so far, on all its threads.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // User and system time are the 14th and 15th field, in hundredths of a second; the 2nd ends with a parenthesis.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    Duration::from_millis(fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * 10)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A made event of camera pictures.
pub(crate) fn make_event(out: &Path, photos: u64, guests: u64, megapixels: u64, seed: u64) -> bool {
    asset("photos/lfw/identities").is_some_and(|people| event_of(&people, out, photos, guests, megapixels, seed))
}

/// The same of these people, one folder each.
fn event_of(people: &Path, out: &Path, photos: u64, guests: u64, megapixels: u64, seed: u64) -> bool {
    let Some(tools) = asset("tools/make_event.py") else { return false };
    let numbers = [photos, guests, megapixels, seed].map(|number| number.to_string());
    let [photos, guests, megapixels, seed] = numbers.each_ref();
    let (tools, people, out) = (tools.to_str().unwrap(), people.to_str().unwrap(), out.to_str().unwrap());
    let arguments = ["--people", people, "--out", out, "--photos", photos, "--guests", guests, "--rotate"];
    shell("python3", &[&[tools][..], &arguments, &["--megapixels", megapixels, "--seed", seed]].concat());
    true
}

/// Photos a second and core, stage by stage, beside the reference on the same files.
pub(crate) async fn speed(photos: u64, megapixels: u64) {
    let (Some(models), Some(tools)) = (asset("models"), asset("tools")) else { return };
    let folder = tempfile::tempdir().unwrap();
    if !make_event(folder.path(), photos, 6, megapixels, 3) {
        return;
    }
    let files = foreign::files_in(&folder.path().join("photos"));
    let python = Foreign::python(&["onnxruntime", "opencv-python-headless", "numpy", "Pillow"]);
    let mut command = python.driver("faces_reference.py");
    command.arg(tools).args(&files).env("FINDME_MODELS_FROM", &models).env("OMP_NUM_THREADS", "1");
    let theirs = foreign::output(command).await;
    let reference = theirs["cpu_ms"].as_f64().unwrap();
    say(&format!("reference (onnxruntime, OpenCV): {reference:.0} ms of processor time a photo: {theirs}"));
    let library = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    for library in [None, library].into_iter().enumerate().filter(|(n, library)| *n == 0 || library.is_some()) {
        let engine = match Engine::open_on(&models, default_pack(), library.1.as_deref()) {
            Ok(engine) => engine,
            Err(error) => {
                say(&format!("not measured: {error}"));
                continue;
            }
        };
        ours(&engine, &files, reference);
    }
}

fn ours(engine: &Engine, files: &[PathBuf], reference: f64) {
    // From here on its most memory counts anew; where the system cannot do that, the figure is that of all before, too.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (mut stages, mut faces) = ([Duration::ZERO; 4], 0);
    // The first run loads and plans.
    for (number, path) in files.iter().take(1).chain(files).enumerate() {
        let mut marks = vec![cpu()];
        let picture = picture::open(path, &Limits::default()).unwrap();
        marks.push(cpu());
        picture::derivatives(&picture.pixels).unwrap();
        marks.push(cpu());
        let mut timings = Timings::default();
        let found = engine.faces_timed(&picture.pixels, Purpose::Photo, &mut timings).unwrap();
        let both = cpu() - marks[2];
        let part = timings.detect.as_secs_f64() / (timings.detect + timings.embed).as_secs_f64().max(1e-9);
        if number > 0 {
            faces += found.len();
            let spent = [marks[1] - marks[0], marks[2] - marks[1], both.mul_f64(part), both.mul_f64(1.0 - part)];
            stages.iter_mut().zip(spent).for_each(|(sum, time)| *sum += time);
        }
    }
    let mean = stages.map(|time| ms(time) / files.len() as f64);
    let all: f64 = mean.iter().sum();
    say(&format!(
        "{}: {all:.0} ms of processor time a photo (decode {:.0}, thumbnails {:.0}, detect {:.0}, embed {:.0}; {faces} faces \
         in {} photos), {:.2} photos/s a core, {:.2} × the reference, peak {} MB",
        engine.runtime(),
        mean[0],
        mean[1],
        mean[2],
        mean[3],
        files.len(),
        1e3 / all,
        reference / all,
        peak_memory(std::process::id()).unwrap_or_default() / 1_000_000,
    ));
}

/// Vectors in clusters, as faces are: who is there stands around a centre of theirs.
fn made_up(count: usize, random: &mut Random) -> Vec<Embedding> {
    let mut value = || random.between(0, 20_001) as f32 / 10_000.0 - 1.0;
    let mut centre = [0.0; 256];
    (0..count)
        .map(|number| {
            if number % 8 == 0 {
                centre = std::array::from_fn(|_| value());
            }
            let values: [f32; 256] = std::array::from_fn(|axis| centre[axis] + 0.8 * value());
            Embedding::new(&values).unwrap()
        })
        .collect()
}

fn write(vectors: &[Embedding], path: &Path) {
    let bytes: Vec<u8> =
        vectors.iter().flat_map(|vector| vector.values().iter().flat_map(|v| v.to_le_bytes())).collect();
    std::fs::write(path, bytes).unwrap();
}

/// A search beside faiss over the same vectors, and how many of the true first ten each finds.
pub(crate) async fn search(most: u64, mut random: Random) {
    let python = Foreign::python(&["faiss-cpu", "numpy"]);
    for count in [10_000, 100_000, 1_000_000].into_iter().filter(|count| *count <= most as usize) {
        let vectors = made_up(count, &mut random);
        let probes: Vec<Embedding> = (0..PROBES).map(|n| vectors[n * (count / PROBES)].clone()).collect();
        let folder = tempfile::tempdir().unwrap();
        write(&vectors, &folder.path().join("vectors"));
        write(&probes, &folder.path().join("probes"));
        let mut command = python.driver("faiss_search.py");
        command.arg(folder.path().join("vectors")).arg(folder.path().join("probes")).env("OMP_NUM_THREADS", "1");
        let theirs = foreign::output(command).await;
        let mut gallery = Gallery::new();
        for (number, vector) in vectors.iter().enumerate() {
            gallery.insert(PhotoId::from_bytes((number as u128).to_be_bytes()), number as i64, vector, false);
        }
        let search = |probe| gallery.search(std::slice::from_ref(probe), Threshold::new(0.36));
        // So many that the clock's steps of some milliseconds do not count.
        let rounds = 2_000_000 / count;
        let begin = cpu_of_thread();
        for probe in probes.iter().cycle().take(PROBES * rounds) {
            std::hint::black_box(search(probe));
        }
        let mean = ms(cpu_of_thread() - begin) / (PROBES * rounds) as f64;
        let (mut right, mut theirs_right) = (0, 0);
        for (number, probe) in probes.iter().enumerate() {
            let found = search(probe);
            let mut truth: Vec<(f32, i64)> =
                vectors.iter().zip(0..).map(|(vector, n)| (-probe.similarity(vector).get(), n)).collect();
            truth.select_nth_unstable_by(10, |a, b| a.0.total_cmp(&b.0));
            // Those that a search shows at all.
            let truth: Vec<i64> = truth[..10].iter().filter(|(cosine, _)| -cosine >= 0.37).map(|(_, n)| *n).collect();
            right += truth.iter().filter(|n| found.iter().take(10).any(|found| found.face == **n)).count();
            let listed = theirs["found"][number].as_array().unwrap();
            theirs_right += truth.iter().filter(|n| listed.iter().any(|found| found.as_i64() == Some(**n))).count();
        }
        let peer = theirs["cpu_ms"].as_f64().unwrap();
        say(&format!(
            "{count} faces: ours {mean:.3} ms, faiss {peer:.3} ms, {:.2} × as fast; of the true first ten shown we find \
             {right}, faiss {theirs_right}; peak {} MB",
            peer / mean,
            peak_memory(std::process::id()).unwrap_or_default() / 1_000_000
        ));
    }
}

/// Time that this thread has run, to the nanosecond where the system tells it as Linux does.
fn cpu_of_thread() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or_default())
}

/// A copy of the folders of people in which another picture of theirs stands in for each that shows somebody else, so that
/// a seed draws the same event; what is wrong with somebody's first picture, their selfie, stays.
fn rightly_named(people: &Path, labels: &Path, copy: &Path) {
    let labels = std::fs::read_to_string(labels).unwrap();
    let words = labels.lines().map(|line| line.split('#').next().unwrap().split_whitespace().collect::<Vec<_>>());
    let wrong: Vec<_> =
        words.filter(|words| words.first() == Some(&"not")).map(|words| format!("{}.jpg", words[1])).collect();
    let is_wrong = |picture: &Path| wrong.iter().any(|name| picture.file_name().unwrap() == name.as_str());
    for person in std::fs::read_dir(people).unwrap().map(|entry| entry.unwrap()) {
        let folder = copy.join(person.file_name());
        std::fs::create_dir_all(&folder).unwrap();
        let pictures = foreign::files_in(&person.path());
        for (number, picture) in pictures.iter().enumerate() {
            let right = pictures.iter().rev().find(|other| !is_wrong(other)).unwrap();
            let from = if number > 0 && is_wrong(picture) { right } else { picture };
            std::fs::copy(from, folder.join(picture.file_name().unwrap())).unwrap();
        }
    }
}

/// `findme-server evaluate` on the labelled faces, and on made events of several seeds with strangers who search.
pub(crate) fn evaluate(first: u64, seeds: u64, megapixels: u64) {
    let (Some(models), Some(lfw)) = (asset("models"), asset("photos/lfw")) else { return };
    let (people, strangers) = (lfw.join("identities"), lfw.join("singletons"));
    let run = |arguments: &[&Path]| -> Value {
        let out = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_e2e-server"));
        command.arg("evaluate").args(arguments).arg("--models").arg(&models).arg("--out").arg(out.path());
        assert!(command.status().unwrap().success(), "evaluate failed");
        serde_json::from_slice(&std::fs::read(out.path().join("evaluation.json")).unwrap()).unwrap()
    };
    run(&["--people".as_ref(), &people, "--people".as_ref(), &strangers]);
    let labels = workspace().join("tests/fixtures/lfw-labels.txt");
    run(&["--people".as_ref(), &people, "--people".as_ref(), &strangers, "--labels".as_ref(), &labels]);
    let named = tempfile::tempdir().unwrap();
    rightly_named(&people, &labels, named.path());
    for (how, people) in [("as they are named", people.as_path()), ("under their right names", named.path())] {
        let mut all = Vec::new();
        for seed in first..first + seeds {
            let folder = tempfile::tempdir().unwrap();
            if !event_of(people, folder.path(), 60, 12, megapixels, seed) {
                return;
            }
            let figures = run(&["--event".as_ref(), folder.path(), "--strangers".as_ref(), &strangers]);
            let bands = &figures["all"]["bands"];
            let rate = |band: &str, name: &str| bands[band][name].as_f64().unwrap_or(1.0);
            let maybe = bands["maybe_precision"].as_f64().unwrap_or(1.0);
            let [you, both, shown] = [rate("you", "precision"), rate("both", "recall"), rate("you", "fpir")];
            say(&format!(
                "seed {seed}, people {how}: precision in «you» {you:.3}, recall {both:.3}, «maybe» right {maybe:.3}, \
                 strangers shown «you» {shown:.3}",
            ));
            all.push([you, both, maybe, shown]);
        }
        let count = |is: fn(&[f64; 4]) -> bool| all.iter().filter(|figures| is(figures)).count();
        say(&format!(
            "of {} events with people {how}: «you» right in .99 of what it shows in {}, recall of .95 in {}, «maybe» \
             right in half of what it shows in {}, at most 1 % of strangers shown anything in «you» in {}",
            all.len(),
            count(|figures| figures[0] >= 0.99),
            count(|figures| figures[1] >= 0.95),
            count(|figures| figures[2] >= 0.5),
            count(|figures| figures[3] <= 0.01),
        ));
    }
}
