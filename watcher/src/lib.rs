//! The watcher: sends each finished photo of some folders to a FindMe server, and nothing twice.
