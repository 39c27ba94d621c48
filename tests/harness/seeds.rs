//! Gives the fuzz targets of pictures and files something to begin with.

use crate::bad_pictures::seeds;
use crate::support::workspace;

/// Writes one good picture of each kind into the corpora, which are not part of the repository.
pub(crate) fn write() {
    for target in ["picture", "file_end"] {
        let folder = workspace().join("tests/fuzz/corpus").join(target);
        std::fs::create_dir_all(&folder).unwrap();
        for (number, bytes) in seeds().into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), bytes).unwrap();
        }
    }
}
