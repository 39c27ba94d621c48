//! How fast bytes leave, measured only while there are more of them waiting: an idle line says nothing about its rate.

use std::time::Duration;

use tokio::time::Instant;

/// How long a rate is measured.
pub(crate) const WINDOW: Duration = Duration::from_secs(2);

/// Measures one rate, in one window of time after the other.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// When the present window began, and the bytes that had left by then.
    began: Option<(Instant, u64)>,
}

impl Gauge {
    /// Looks at the clock and at the bytes that have left so far: the bytes a second of a window that is complete now.
    /// `pressed`: more is waiting than may leave; without that the window begins anew.
    pub(crate) fn look(&mut self, now: Instant, gone: u64, pressed: bool) -> Option<f64> {
        if !pressed {
            self.began = None;
            return None;
        }
        let (began, before) = *self.began.get_or_insert((now, gone));
        let took = now - began;
        if took < WINDOW {
            return None;
        }
        self.began = Some((now, gone));
        Some(gone.saturating_sub(before) as f64 / took.as_secs_f64())
    }
}
