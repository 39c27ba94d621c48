//! `findme-watch`: see the library.

fn main() {}
