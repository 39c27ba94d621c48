//! `findme-server`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    findme_server::main()
}
