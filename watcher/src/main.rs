//! `findme-watch`: see the library.

fn main() -> std::process::ExitCode {
    findme_watch::main()
}
