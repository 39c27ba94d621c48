//! The manifest: what the watcher knows about the photos of one event.
