//! `findme-server support`: facts that help to find a fault, and nothing that tells who was photographed: no names, no
//! digests, no ids, no tokens, no codes, no paths.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::Site;
use crate::clock::{now_ms, rfc3339};
use crate::face::{Engine, default_pack};

/// The facts as one JSON object.
///
/// # Errors
/// When the catalogue cannot be read.
pub(crate) async fn bundle(site: &Site, data: &Path, models: Option<&Path>) -> Result<Value> {
    let (events, reasons) = site.catalog.facts().await?;
    let (jobs, waiting) = site.catalog.queue_depth().await?;
    let (photos, bytes) = site.catalog.totals().await?;
    let events: Vec<Value> =
        (1..).zip(&events).map(|(number, facts): (u32, _)| json!({ "event": number, "counts": facts })).collect();
    let reasons: serde_json::Map<String, Value> = reasons.into_iter().map(|(word, n)| (word, json!(n))).collect();
    let size = |name: &str| std::fs::metadata(data.join(name)).ok().map(|found| found.len());
    Ok(json!({
        "v": 1,
        "made_at": rfc3339(now_ms()),
        "version": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "disk_free_bytes": site.store.free_bytes(),
        "catalogue": {
            "schema": site.catalog.schema().await?,
            "bytes": size("findme.sqlite"),
            "log_bytes": size("findme.sqlite-wal"),
            "damages": site.catalog.damages().await?.len(),
        },
        "photos": { "count": photos, "bytes": bytes, "troubles": reasons },
        "queue": { "jobs": jobs, "waiting_for_models": waiting },
        "events": events,
        "models": models_found(models),
        "limits": {
            "decode": format!("{:?}", crate::picture::Limits::default()),
        },
    }))
}

fn models_found(folder: Option<&Path>) -> Value {
    let pack = default_pack();
    let state = match folder {
        None => "no folder named",
        Some(folder) if Engine::open(folder, pack).is_ok() => "ready",
        Some(_) => "missing or damaged",
    };
    json!({ "pack": pack.name, "state": state })
}
