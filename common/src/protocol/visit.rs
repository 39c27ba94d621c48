//! Bodies of what guests do beside being found: come back without a password, hold still for the camera, leaf by time.

use serde::{Deserialize, Serialize};

use super::FaceBox;

/// Answer of `POST /api/me/link`: the guest's way back. Whoever has it is the guest, so it is shown only now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReturnLink {
    /// Opened in any browser; the secret stands behind `#`, which browsers send to nobody.
    pub link: String,
}

/// Body of `POST /api/back`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReturnRequest {
    /// What stands behind `#` in the link.
    pub secret: String,
}

/// Answer of `POST /api/selfie/look`: the faces in a picture that nothing else was done with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Looked {
    /// Largest first; empty where none can be seen.
    pub faces: Vec<FaceBox>,
}

/// One hour in `GET /api/times`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HourCount {
    /// `2026-09-12T18`, as the cameras' clocks showed it; with `:00` and `:60` behind it `from` and `to` of
    /// `GET /api/all-photos`.
    pub hour: String,
    /// Photos taken then that may be seen.
    pub photos: u64,
}
