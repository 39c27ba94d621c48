//! Values that JSON carries as text, read without a copy of the text: a manifest has hundreds of thousands of them.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Reads a text that `read` turns into a value; `wanted` says what it has to be.
///
/// # Errors
/// When it is no text, or `read` does not take it.
pub(crate) fn parsed<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    wanted: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(Reading { wanted, read, value: PhantomData })
}

struct Reading<F, T> {
    wanted: &'static str,
    read: F,
    value: PhantomData<T>,
}

impl<T, F: Fn(&str) -> Option<T>> Visitor<'_> for Reading<F, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wanted)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::custom(self.wanted))
    }
}
