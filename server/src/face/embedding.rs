//! Embeddings: points on the unit sphere whose closeness is the likeness of two faces.
//!
//! Invariant: an [`Embedding`] has length 1 (within rounding), so that a dot product is the cosine.

/// Values of an embedding, usually. A network with fewer is padded with zeros, which changes no cosine.
pub const DIMENSIONS: usize = 256;

/// Values of an embedding of a network that gives more than [`DIMENSIONS`].
pub const WIDE: usize = 512;

/// Bytes of a stored embedding, usually; twice as many where it has [`WIDE`] values.
pub const STORED_BYTES: usize = DIMENSIONS * 2;

/// Cosine of two embeddings, −1 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Similarity(f32);

impl Similarity {
    /// A cosine; what rounding pushed outside −1 to 1 is put back, and what is no number is the least similar.
    pub fn new(cosine: f32) -> Self {
        Self(if cosine.is_nan() { -1.0 } else { cosine.clamp(-1.0, 1.0) })
    }

    /// The cosine.
    pub const fn get(self) -> f32 {
        self.0
    }
}

/// One face as a unit vector.
#[derive(Clone, PartialEq)]
pub struct Embedding(Box<[f32]>);

impl Embedding {
    /// Brings values to length 1; `None` when there are none or too many of them, or when they have no direction.
    pub fn new(values: &[f32]) -> Option<Self> {
        let length = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        if values.len() > WIDE || !length.is_finite() || length < 1e-6 {
            return None;
        }
        let wide = if values.len() > DIMENSIONS { WIDE } else { DIMENSIONS };
        let mut unit = vec![0.0; wide].into_boxed_slice();
        for (slot, &value) in unit.iter_mut().zip(values) {
            *slot = (f64::from(value) / length) as f32;
        }
        Some(Self(unit))
    }

    /// The values: [`DIMENSIONS`], or [`WIDE`].
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Cosine with another one.
    pub fn similarity(&self, other: &Self) -> Similarity {
        Similarity::new(self.0.iter().zip(other.0.iter()).map(|(a, b)| a * b).sum())
    }

    /// For storage: [`STORED_BYTES`] bytes, each value a little-endian `i16` in units of 1/32767.
    ///
    /// No value of a unit vector exceeds 1, so fixed point is more exact here than a 16-bit float: a value is off by at
    /// most 1.6e-5, a cosine by 1e-5 in the mean square and less than 3e-4 at worst.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|value| ((value * 32767.0).round() as i16).to_le_bytes()).collect()
    }

    /// From storage; `None` when the bytes are no embedding's.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if ![STORED_BYTES, 2 * WIDE].contains(&bytes.len()) {
            return None;
        }
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&pair| f32::from(i16::from_le_bytes(pair))).collect();
        Self::new(&values)
    }
}

impl std::fmt::Debug for Embedding {
    /// Biometric data has no place in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Embedding(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_without_a_direction_are_no_embedding() {
        assert!(Embedding::new(&[]).is_none());
        assert!(Embedding::new(&[0.0; DIMENSIONS]).is_none());
        assert!(Embedding::new(&[f32::NAN; DIMENSIONS]).is_none());
        assert!(Embedding::new(&[1.0; WIDE + 1]).is_none());
        assert!(Embedding::from_bytes(&[0; STORED_BYTES]).is_none());
        assert!(Embedding::from_bytes(&[1; STORED_BYTES - 1]).is_none());
    }

    #[test]
    fn debugging_shows_no_values() {
        assert_eq!(format!("{:?}", Embedding::new(&[1.0, 2.0]).unwrap()), "Embedding(…)");
    }

    proptest! {
        #[test]
        fn unit_length_and_storage_within_the_stated_error(
            a in proptest::collection::vec(-1.0_f32..1.0, DIMENSIONS),
            b in proptest::collection::vec(-1.0_f32..1.0, DIMENSIONS),
        ) {
            let (a, b) = (Embedding::new(&a).unwrap(), Embedding::new(&b).unwrap());
            prop_assert!((a.similarity(&a).get() - 1.0).abs() < 1e-5);
            let stored = Embedding::from_bytes(&a.to_bytes()).unwrap();
            prop_assert!((stored.similarity(&b).get() - a.similarity(&b).get()).abs() < 3e-4);
            prop_assert!(stored.similarity(&a).get() > 0.999_99);
        }
    }
}
