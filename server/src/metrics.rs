//! What the process counts: requests, uploads, stages of indexing, searches. One set for the process, so that whoever does
//! something heavy can say so in one line; what only exists at a moment (queue, disk, memory) is read when asked.
//!
//! Labels are words of the program's own: never a name, an id, an address or a code.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Media type of [`Metrics::render`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Words of the program's own.
type Labels<const N: usize> = [(&'static str, &'static str); N];
type Timings<L> = Family<L, Histogram, fn() -> Histogram>;

/// What is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Timings<[(&'static str, String); 3]>,
    upload_bytes: Counter,
    uploads_created: Counter,
    uploads_finished: Counter,
    uploads_terminated: Counter,
    uploads_failed: Family<Labels<1>, Counter>,
    stages: Timings<Labels<2>>,
    faces: Family<Labels<1>, Counter>,
    searches: Timings<Labels<1>>,
    close_to_push: Histogram,
    remote_calls: Timings<Labels<2>>,
    throttles: Counter,
    remote_cost: Counter<f64, AtomicU64>,
    selfies: Family<Labels<1>, Counter>,
    rate_limited: Family<Labels<1>, Counter>,
    listeners: Gauge,
    connections: Gauge,
    registry: Registry,
}

/// What only exists at the moment of asking.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moment {
    /// Jobs that wait or run, and those of them that wait for models.
    pub(crate) queue: i64,
    pub(crate) waiting_for_models: i64,
    /// Age of the oldest job that is not done, in seconds.
    pub(crate) oldest_job: Option<f64>,
    /// Bytes that are free where photos are stored.
    pub(crate) disk_free: Option<u64>,
    /// Erasures that are due and not done.
    pub(crate) erasures_pending: Option<u64>,
}

/// The process's metrics.
pub(crate) fn get() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
    &METRICS
}

/// 1 ms to 65 s.
fn timing() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

impl Metrics {
    fn new() -> Self {
        let mut this = Self {
            requests: Family::new_with_constructor(timing),
            upload_bytes: Counter::default(),
            uploads_created: Counter::default(),
            uploads_finished: Counter::default(),
            uploads_terminated: Counter::default(),
            uploads_failed: Family::default(),
            stages: Family::new_with_constructor(timing),
            faces: Family::default(),
            searches: Family::new_with_constructor(timing),
            close_to_push: timing(),
            remote_calls: Family::new_with_constructor(timing),
            throttles: Counter::default(),
            remote_cost: Counter::default(),
            selfies: Family::default(),
            rate_limited: Family::default(),
            listeners: Gauge::default(),
            connections: Gauge::default(),
            registry: Registry::default(),
        };
        let all = &mut this.registry;
        let requests = "Requests by route, method and class of status, to the head of the answer";
        all.register("http_server_request_duration_seconds", requests, this.requests.clone());
        all.register("findme_upload_bytes", "Bytes of photos that arrived", this.upload_bytes.clone());
        all.register("findme_uploads_created", "Uploads that were asked for", this.uploads_created.clone());
        all.register("findme_uploads_finished", "Uploads that became photos", this.uploads_finished.clone());
        all.register("findme_uploads_terminated", "Uploads that were freed", this.uploads_terminated.clone());
        all.register("findme_uploads_failed", "Upload requests that failed, by code", this.uploads_failed.clone());
        all.register("findme_stage_duration_seconds", "Stages of indexing", this.stages.clone());
        all.register("findme_faces", "Faces by what became of them", this.faces.clone());
        all.register("findme_search_seconds", "Searches of an event's faces", this.searches.clone());
        let close_to_push =
            "From the beginning of a photo's upload, which follows the close of its file, to its live event";
        all.register("findme_close_to_push_seconds", close_to_push, this.close_to_push.clone());
        let calls = "Calls to Rekognition, without the waiting for a turn";
        all.register("findme_rekognition_seconds", calls, this.remote_calls.clone());
        let throttles = "Calls that Rekognition was too busy for; each was tried again";
        all.register("findme_rekognition_throttles", throttles, this.throttles.clone());
        let cost = "What this process's calls to Rekognition cost, by the list price";
        all.register("findme_rekognition_cost_dollars", cost, this.remote_cost.clone());
        all.register("findme_selfies", "Selfies by outcome", this.selfies.clone());
        all.register("findme_rate_limited", "Requests that came too soon, by policy", this.rate_limited.clone());
        all.register("findme_sse_connections", "Open live listeners", this.listeners.clone());
        all.register("findme_connections", "Open connections", this.connections.clone());
        this
    }

    /// A request was answered; `route` is its template, never its path.
    pub(crate) fn request(&self, route: &str, method: &str, status: u16, took: Duration) {
        let class = format!("{}xx", status / 100);
        let labels = [("route", route.to_owned()), ("method", method.to_owned()), ("status", class)];
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Bytes of a photo arrived.
    pub(crate) fn upload_bytes(&self, bytes: u64) {
        self.upload_bytes.inc_by(bytes);
    }

    /// A request about an upload was answered.
    pub(crate) fn upload(&self, done: UploadDone) {
        match done {
            UploadDone::Created => self.uploads_created.inc(),
            UploadDone::Finished => self.uploads_finished.inc(),
            UploadDone::Terminated => self.uploads_terminated.inc(),
        };
    }

    /// An upload's request failed with this code.
    pub(crate) fn upload_failed(&self, code: &'static str) {
        self.uploads_failed.get_or_create(&[("code", code)]).inc();
    }

    /// A stage of indexing ended.
    pub(crate) fn stage(&self, stage: &'static str, outcome: &'static str, took: Duration) {
        self.stages.get_or_create(&[("stage", stage), ("outcome", outcome)]).observe(took.as_secs_f64());
    }

    /// Faces were found, or dropped.
    pub(crate) fn faces(&self, outcome: &'static str, count: u64) {
        self.faces.get_or_create(&[("outcome", outcome)]).inc_by(count);
    }

    /// A search ended.
    pub(crate) fn search(&self, engine: &'static str, took: Duration) {
        self.searches.get_or_create(&[("engine", engine)]).observe(took.as_secs_f64());
    }

    /// A face service elsewhere has answered; `price` is in millionths of a dollar, of calls that succeed.
    pub(crate) fn remote_call(&self, operation: &'static str, outcome: &'static str, price: i64, took: Duration) {
        let labels = [("operation", operation), ("outcome", outcome)];
        self.remote_calls.get_or_create(&labels).observe(took.as_secs_f64());
        match outcome {
            "done" => drop(self.remote_cost.inc_by(price as f64 / 1e6)),
            "throttled" => drop(self.throttles.inc()),
            _ => {}
        }
    }

    /// A photo is told to its guests, so long after its upload began.
    pub(crate) fn close_to_push(&self, took: Duration) {
        self.close_to_push.observe(took.as_secs_f64());
    }

    /// A selfie was answered.
    pub(crate) fn selfie(&self, outcome: &'static str) {
        self.selfies.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// A request came too soon.
    pub(crate) fn rate_limited(&self, policy: &'static str) {
        self.rate_limited.get_or_create(&[("policy", policy)]).inc();
    }

    /// Counts as open until dropped.
    pub(crate) fn listener(&self) -> Open {
        Open::new(&self.listeners)
    }

    /// Counts as open until dropped.
    pub(crate) fn connection(&self) -> Open {
        Open::new(&self.connections)
    }

    /// Everything in OpenMetrics text.
    pub(crate) fn render(&self, moment: Moment) -> String {
        let mut now = Registry::default();
        let queue = Family::<Labels<1>, Gauge>::default();
        queue.get_or_create(&[("stage", "index")]).set(moment.queue - moment.waiting_for_models);
        queue.get_or_create(&[("stage", "waiting-for-models")]).set(moment.waiting_for_models);
        now.register("findme_queue_depth", "Jobs that are not done", queue);
        let oldest = Family::<Labels<1>, Gauge<f64, AtomicU64>>::default();
        oldest.get_or_create(&[("stage", "index")]).set(moment.oldest_job.unwrap_or_default());
        now.register("findme_queue_oldest_age_seconds", "Age of the oldest job that is not done", oldest);
        for (name, help, value) in [
            ("findme_erasures_pending", "Erasures that are due and not done", moment.erasures_pending),
            ("findme_disk_free_bytes", "Free bytes where photos are stored", moment.disk_free),
            ("process_resident_memory_bytes", "Memory of the process", resident()),
        ] {
            if let Some(value) = value {
                let gauge = Gauge::<i64, AtomicI64>::default();
                gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
                now.register(name, help, gauge);
            }
        }
        let mut out = String::new();
        let written = text::encode_registry(&mut out, &self.registry).and_then(|()| text::encode(&mut out, &now));
        if let Err(error) = written {
            tracing::error!(%error, "metrics cannot be written");
        }
        out
    }
}

/// How an upload went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadDone {
    Created,
    Finished,
    Terminated,
}

/// Something that is open.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Bytes of memory that the process holds now; `None` where the system does not say so in a file.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_dashboards_know() {
        let metrics = Metrics::new();
        metrics.request("/api/photo/{id}", "GET", 206, Duration::from_millis(3));
        metrics.upload_bytes(1000);
        metrics.stage("detect", "done", Duration::from_millis(30));
        metrics.rate_limited("selfies");
        metrics.close_to_push(Duration::from_millis(700));
        let open = metrics.listener();
        let text = metrics.render(Moment {
            queue: 5,
            waiting_for_models: 2,
            oldest_job: Some(1.5),
            disk_free: Some(7),
            erasures_pending: Some(3),
        });
        for line in [
            "http_server_request_duration_seconds_count{route=\"/api/photo/{id}\",method=\"GET\",status=\"2xx\"} 1",
            "findme_upload_bytes_total 1000",
            "findme_stage_duration_seconds_count{stage=\"detect\",outcome=\"done\"} 1",
            "findme_queue_depth{stage=\"index\"} 3",
            "findme_queue_oldest_age_seconds{stage=\"index\"} 1.5",
            "findme_rate_limited_total{policy=\"selfies\"} 1",
            "findme_close_to_push_seconds_count 1",
            "findme_sse_connections 1",
            "findme_disk_free_bytes 7",
            "findme_erasures_pending 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches("# EOF").count(), 1);
        drop(open);
        assert!(metrics.render(Moment::default()).contains("findme_sse_connections 0\n"));
    }
}
