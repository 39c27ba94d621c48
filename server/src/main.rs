//! `findme-server`: see the library.

fn main() {}
