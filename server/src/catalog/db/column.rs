//! Values on their way out of a row. A comparison is a number in SQLite and a yes or no in PostgreSQL; here it is a `bool`
//! either way.

use sqlx::{ColumnIndex, Row, sqlite::SqliteRow};

/// How a column is named: by its name, or by its place from 0.
pub(in super::super) trait Place: ColumnIndex<SqliteRow> + Copy {}

impl Place for &str {}
impl Place for usize {}

/// A type that a column can be read as.
pub(in super::super) trait Column<'r>: Sized {
    /// Reads it from SQLite's row.
    ///
    /// # Errors
    /// When the column is not there or of another kind.
    fn of_sqlite(row: &'r SqliteRow, at: impl Place) -> sqlx::Result<Self>;
}

/// Types that are read as they are.
macro_rules! column {
    ($($type:ty),+) => {$(
        impl<'r> Column<'r> for $type {
            fn of_sqlite(row: &'r SqliteRow, at: impl Place) -> sqlx::Result<Self> {
                row.try_get(at)
            }
        }

        impl<'r> Column<'r> for Option<$type> {
            fn of_sqlite(row: &'r SqliteRow, at: impl Place) -> sqlx::Result<Self> {
                row.try_get(at)
            }
        }
    )+};
}

column!(i64, u32, u8, bool, f32, f64, String, &'r str, Vec<u8>);
