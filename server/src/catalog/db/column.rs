//! Values on their way out of a row. A comparison is a number in SQLite and a yes or no in PostgreSQL; here it is a `bool`
//! either way.

#[cfg(feature = "postgres")]
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Row};

/// How a column is named: by its name, or by its place from 0.
#[cfg(not(feature = "postgres"))]
pub(in super::super) trait Place: ColumnIndex<SqliteRow> + Copy {}

/// How a column is named: by its name, or by its place from 0.
#[cfg(feature = "postgres")]
pub(in super::super) trait Place: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> + Copy {}

impl Place for &str {}
impl Place for usize {}

/// A type that a column can be read as.
pub(in super::super) trait Column<'r>: Sized {
    /// Reads it from SQLite's row.
    ///
    /// # Errors
    /// When the column is not there or of another kind.
    fn of_sqlite(row: &'r SqliteRow, at: impl Place) -> sqlx::Result<Self>;

    /// Reads it from PostgreSQL's row.
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "postgres")]
    fn of_postgres(row: &'r PgRow, at: impl Place) -> sqlx::Result<Self>;
}

/// Types that are read as they are; what PostgreSQL keeps in another type is read as that and turned by `$from`.
macro_rules! column {
    ($($type:ty $(: $kept:ty, $from:expr)?);+ $(;)?) => {$(
        impl<'r> Column<'r> for $type {
            fn of_sqlite(row: &'r SqliteRow, at: impl Place) -> sqlx::Result<Self> {
                row.try_get(at)
            }

            #[cfg(feature = "postgres")]
            fn of_postgres(row: &'r PgRow, at: impl Place) -> sqlx::Result<Self> {
                column!(one row, at $(, $kept, $from)?)
            }
        }

        impl<'r> Column<'r> for Option<$type> {
            fn of_sqlite(row: &'r SqliteRow, at: impl Place) -> sqlx::Result<Self> {
                row.try_get(at)
            }

            #[cfg(feature = "postgres")]
            fn of_postgres(row: &'r PgRow, at: impl Place) -> sqlx::Result<Self> {
                column!(maybe row, at $(, $kept, $from)?)
            }
        }
    )+};
    (one $row:expr, $at:expr) => { $row.try_get($at) };
    (one $row:expr, $at:expr, $kept:ty, $from:expr) => { $from($row.try_get::<$kept, _>($at)?) };
    (maybe $row:expr, $at:expr) => { $row.try_get($at) };
    (maybe $row:expr, $at:expr, $kept:ty, $from:expr) => {
        $row.try_get::<Option<$kept>, _>($at)?.map($from).transpose()
    };
}

column! {
    i64;
    f64;
    String;
    &'r str;
    Vec<u8>;
    u32: i64, small;
    u8: i64, small;
    f32: f64, |value: f64| Ok(value as f32);
}

/// A number in a smaller type.
#[cfg(feature = "postgres")]
fn small<T: TryFrom<i64, Error: std::error::Error + Send + Sync + 'static>>(value: i64) -> sqlx::Result<T> {
    T::try_from(value).map_err(|error| sqlx::Error::Decode(error.into()))
}

impl<'r> Column<'r> for bool {
    fn of_sqlite(row: &'r SqliteRow, at: impl Place) -> sqlx::Result<Self> {
        row.try_get(at)
    }

    #[cfg(feature = "postgres")]
    fn of_postgres(row: &'r PgRow, at: impl Place) -> sqlx::Result<Self> {
        // Columns keep numbers, comparisons are a yes or a no.
        row.try_get::<bool, _>(at).or_else(|_| row.try_get::<i64, _>(at).map(|number| number != 0))
    }
}

impl<'r> Column<'r> for Option<bool> {
    fn of_sqlite(row: &'r SqliteRow, at: impl Place) -> sqlx::Result<Self> {
        row.try_get(at)
    }

    #[cfg(feature = "postgres")]
    fn of_postgres(row: &'r PgRow, at: impl Place) -> sqlx::Result<Self> {
        let number = || row.try_get::<Option<i64>, _>(at).map(|number| number.map(|number| number != 0));
        row.try_get::<Option<bool>, _>(at).or_else(|_| number())
    }
}
