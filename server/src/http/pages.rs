//! The pages.

use std::sync::Arc;

use axum::Router;

use super::App;

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
}
