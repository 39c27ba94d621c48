//! The installer against real files: an official place that cuts connections, and the reference conversion.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use rten::Model;
use rten_tensor::NdTensor;

use super::*;
use crate::face::default_pack;

/// The official model files; `None`, said loudly, without them.
fn official_models() -> Option<PathBuf> {
    crate::picture::tests::shared().map(|shared| shared.join("models"))
}

#[test]
fn the_import_computes_what_the_reference_computes() {
    let Some(models) = official_models() else { return };
    let file = &default_pack().embedder.model;
    let stem = models.join("face-reidentification-retail-0095");
    let parts = [fs::read(stem.with_extension("xml")).unwrap(), fs::read(stem.with_extension("bin")).unwrap()];
    let ours = import(file, &parts).unwrap();
    let reference = fs::read(stem.with_extension("onnx")).unwrap();
    let run = |bytes: Vec<u8>, seed: u32| -> Vec<f32> {
        let model = Model::load(bytes).unwrap();
        let mut state = seed;
        let values = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as f32
        });
        let input = NdTensor::from_data([1, 3, 128, 128], values.take(3 * 128 * 128).collect::<Vec<_>>());
        let output = model.run_one(input.into(), None).unwrap();
        let tensor: rten_tensor::Tensor<f32> = output.try_into().unwrap();
        let values = tensor.into_data();
        let norm = values.iter().map(|v| v * v).sum::<f32>().sqrt();
        values.into_iter().map(|v| v / norm).collect()
    };
    for seed in [1, 7, 99] {
        let (a, b) = (run(ours.clone(), seed), run(reference.clone(), seed));
        assert_eq!(a.len(), 256);
        let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "an embedding is {worst} away from the reference");
    }
}

/// Serves a folder; the very first answer ends in the middle, later ones honour ranges.
async fn official_place(folder: PathBuf) -> (String, Arc<AtomicU32>) {
    let (asked, resumed) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counter = resumed.clone();
    let answer = move |axum::extract::Path(name): axum::extract::Path<String>, headers: HeaderMap| {
        let (bytes, asked, resumed) = (fs::read(folder.join(&name)), asked.clone(), resumed.clone());
        async move {
            let Ok(bytes) = bytes else { return StatusCode::NOT_FOUND.into_response() };
            let range = headers.get("range").and_then(|range| range.to_str().ok());
            if let Some(first) = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()) {
                resumed.fetch_add(1, SeqCst);
                let whole = bytes.len();
                let first: usize = first;
                let range = format!("bytes {first}-{}/{whole}", whole - 1);
                return (StatusCode::PARTIAL_CONTENT, [("content-range", range)], bytes[first..].to_vec())
                    .into_response();
            }
            if asked.fetch_add(1, SeqCst) == 0 {
                return bytes[..bytes.len() / 2].to_vec().into_response();
            }
            bytes.into_response()
        }
    };
    let router = axum::Router::new().route("/{name}", axum::routing::get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(hyper_util::rt::TokioIo::new(stream), service));
        }
    });
    (url, counter)
}

/// The default pack with other addresses.
fn pack_at(url: &str) -> Pack {
    let mut pack = default_pack().clone();
    for file in [&mut pack.detector.model, &mut pack.embedder.model] {
        for source in &mut file.sources {
            source.url = format!("{url}/{}", name_of(source));
        }
    }
    pack
}

#[tokio::test]
async fn a_cut_download_goes_on_and_the_engine_loads() {
    let Some(models) = official_models() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (url, resumed) = official_place(models).await;
    let mut most = 0;
    install(&pack_at(&url), folder.path(), None, |progress| most = most.max(progress.done)).await.unwrap();
    assert_eq!(resumed.load(SeqCst), 1, "the cut file was not gone on with");
    assert!(most > 2_000_000);
    assert!(is_installed(default_pack(), folder.path()));
    crate::face::Engine::open(folder.path(), default_pack()).unwrap();
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "something is left beside the models: {names:?}");
}

#[tokio::test]
async fn nothing_is_installed_that_the_pack_does_not_name() {
    let (folder, official) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let detector = &default_pack().detector.model;
    fs::write(official.path().join(&detector.file), vec![7; detector.bytes as usize]).unwrap();
    let (url, _) = official_place(official.path().to_owned()).await;
    let wrong = install(&pack_at(&url), folder.path(), None, |_| {}).await.unwrap_err();
    assert!(matches!(wrong, InstallError::Digest { .. }), "{wrong}");
    let wrong = install(default_pack(), folder.path(), Some(official.path()), |_| {}).await.unwrap_err();
    assert!(matches!(wrong, InstallError::Digest { .. }), "{wrong}");
    fs::remove_file(official.path().join(&detector.file)).unwrap();
    let missing = install(default_pack(), folder.path(), Some(official.path()), |_| {}).await.unwrap_err();
    assert!(matches!(missing, InstallError::NotThere { .. }), "{missing}");
    assert!(!is_installed(default_pack(), folder.path()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn the_official_files_of_a_folder_are_enough() {
    let Some(models) = official_models() else { return };
    let (folder, official) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for file in default_pack().files() {
        for source in &file.sources {
            fs::copy(models.join(name_of(source)), official.path().join(name_of(source))).unwrap();
        }
    }
    install(default_pack(), folder.path(), Some(official.path()), |_| {}).await.unwrap();
    crate::face::Engine::open(folder.path(), default_pack()).unwrap();
}
