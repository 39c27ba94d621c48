//! What a network does, as steps over maps.

use super::kernels::{Dense, Filter};

/// Number of a map: the input is none.
pub(super) type Slot = usize;

/// One step. Maps are counted from 0 in the order in which steps make them.
#[derive(Debug)]
pub(super) enum Step {
    /// Each pixel by itself, then each channel by itself.
    Unit {
        /// What it works on; `None`: what [`Plan::stem`] makes of the picture.
        from: Option<Slot>,
        /// Applied first.
        dense: Option<Dense>,
        /// Applied to what that gave: 3 × 3.
        filter: Filter,
        /// Whether only the largest of each four pixels is kept.
        halved: bool,
    },
    /// Each pixel by itself.
    Dense {
        /// What it works on.
        from: Slot,
        /// Applied.
        dense: Dense,
    },
    /// Halves both sides, keeping the largest of four.
    Pool(Slot),
    /// One pixel, the mean of all.
    Mean {
        /// What it works on.
        from: Slot,
        /// Rows and columns that it must have.
        sides: [usize; 2],
    },
    /// One pixel out of all, each channel by itself.
    Whole {
        /// What it works on.
        from: Slot,
        /// Rows and columns that it must have.
        sides: [usize; 2],
        /// Applied, as large as the map.
        filter: Filter,
    },
    /// Multiplies each channel by how far it is let through.
    Gate {
        /// What is multiplied.
        from: Slot,
        /// One pixel; a sigmoid makes it a share.
        gate: Slot,
        /// Added to the result.
        plus: Option<Slot>,
    },
    /// Adds a map of half the size, each of its pixels to four.
    AddDoubled {
        /// The larger.
        large: Slot,
        /// The smaller.
        small: Slot,
    },
}

impl Step {
    /// What it works on.
    pub(super) fn reads(&self) -> impl Iterator<Item = Slot> {
        let maps = match *self {
            Self::Unit { from, .. } => [from, None, None],
            Self::Pool(from) | Self::Dense { from, .. } | Self::Mean { from, .. } | Self::Whole { from, .. } => {
                [Some(from), None, None]
            }
            Self::Gate { from, gate, plus } => [Some(from), Some(gate), plus],
            Self::AddDoubled { large, small } => [Some(large), Some(small), None],
        };
        maps.into_iter().flatten()
    }
}

/// Where an output is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) slot: Slot,
    /// Its channels; the map's others are padding.
    pub(super) channels: usize,
    pub(super) sigmoid: bool,
    /// Whether it was made a list of pixels, which only an output is. Others have one pixel.
    pub(super) listed: bool,
}

/// A network.
#[derive(Debug)]
pub(super) struct Plan {
    /// Rows and columns of the picture, where the file says them.
    pub(super) sides: Option<[usize; 2]>,
    /// What each plane of the picture is multiplied by, and what is added then.
    pub(super) input: [[f32; 2]; 3],
    /// The first look at the picture: squares of 3 × 3 at every second pixel.
    pub(super) stem: Dense,
    pub(super) steps: Vec<Step>,
    pub(super) outputs: Vec<Output>,
}
