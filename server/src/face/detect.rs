//! Where the faces are: YuNet (facts of the network: <https://github.com/ShiqiYu/libfacedetection.train>), or SCRFD, see
//! [`super::scrfd`].

use rten_simd::{Isa, SimdOp};

use crate::picture::{Pixels, shrink};

use super::network::{Network, Planes, Runtime};
use super::pack::{DetectorKind, DetectorSpec, ModelError};
use super::scrfd;

/// Rows and columns that one cell of each output grid stands for.
pub(super) const STRIDES: [usize; 3] = [8, 16, 32];
/// What the network gives per stride, in the order in which the outputs are asked for.
pub(super) const OUTPUTS: [&str; 12] = [
    "cls_8", "obj_8", "bbox_8", "kps_8", "cls_16", "obj_16", "bbox_16", "kps_16", "cls_32", "obj_32", "bbox_32",
    "kps_32",
];
/// Sides of the input are multiples of this, the largest stride.
const ALIGNED_TO: usize = 32;
/// The overlap test compares all with all; a picture made to trouble it gets no more than this many boxes into it.
const MAX_CANDIDATES: usize = 4096;

/// An upright rectangle in pixels; may reach beyond the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl Rect {
    /// Shared area over joint area, 0 to 1.
    pub fn overlap(&self, other: &Self) -> f32 {
        let side = |a: f32, a_len: f32, b: f32, b_len: f32| ((a + a_len).min(b + b_len) - a.max(b)).max(0.0);
        let shared = side(self.x, self.width, other.x, other.width) * side(self.y, self.height, other.y, other.height);
        shared / (self.width * self.height + other.width * other.height - shared)
    }

    /// The share of the smaller one of both that lies inside the other, 0 to 1.
    pub fn covers(&self, other: &Self) -> f32 {
        let side = |a: f32, a_len: f32, b: f32, b_len: f32| ((a + a_len).min(b + b_len) - a.max(b)).max(0.0);
        let shared = side(self.x, self.width, other.x, other.width) * side(self.y, self.height, other.y, other.height);
        shared / (self.width * self.height).min(other.width * other.height)
    }
}

/// A face that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Around the face, forehead to chin.
    pub rect: Rect,
    /// How sure the detector is, 0 to 1.
    pub score: f32,
    /// Eyes, nose, mouth corners, each pair from the left of the picture; `[x, y]`.
    pub landmarks: [[f32; 2]; 5],
}

/// How a picture is laid before the network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Layout {
    /// Shrunk until the longer side is at most this.
    Whole(u32),
    /// The same, in the middle of a black frame as wide on each side as the picture is long: a face that fills the
    /// picture then fills a third of the input, a size the network knows.
    Framed(u32),
}

#[derive(Debug)]
pub(super) struct Detector {
    network: Box<dyn Network>,
    kind: DetectorKind,
    score: f32,
    /// Overlap from which two boxes are one face.
    pub(super) nms: f32,
}

impl Detector {
    pub(super) fn load(runtime: &Runtime, bytes: Vec<u8>, spec: &DetectorSpec) -> Result<Self, ModelError> {
        // Exports of SCRFD name their outputs as they like.
        let outputs: &[&str] = if spec.kind == DetectorKind::Yunet { &OUTPUTS } else { &[] };
        let network = runtime
            .load(bytes, outputs)
            .map_err(|problem| ModelError::Unusable { file: spec.model.file.clone(), problem })?;
        Ok(Self { network, kind: spec.kind, score: spec.score, nms: spec.nms })
    }

    /// Faces by falling score, in the coordinates of `pixels`.
    pub(super) fn detect(&self, pixels: &Pixels, layout: Layout) -> Result<Vec<Detection>, String> {
        let (mut planes, placed) = prepare(pixels, layout);
        let (width, height) = (planes.width, planes.height);
        let mut found = Vec::new();
        match self.kind {
            DetectorKind::Yunet => {
                let outputs = self.network.run(planes)?;
                for (stride, output) in STRIDES.into_iter().zip(outputs.as_chunks::<4>().0) {
                    read_grid(output, stride, (width / stride, height / stride), self.score, &mut found)?;
                }
            }
            DetectorKind::Scrfd => {
                scrfd::normalise(&mut planes);
                scrfd::read(&self.network.run(planes)?, (width, height), self.score, &mut found)?;
            }
        }
        let mut faces = suppress(found, self.nms);
        for face in &mut faces {
            placed.undo(face);
        }
        Ok(faces)
    }
}

/// Where the shrunk picture lies in the network's input.
struct Placed {
    scale: f32,
    offset: f32,
}

impl Placed {
    fn undo(&self, face: &mut Detection) {
        let back = |value: f32| (value - self.offset) / self.scale;
        let Rect { x, y, width, height } = face.rect;
        face.rect = Rect { x: back(x), y: back(y), width: width / self.scale, height: height / self.scale };
        face.landmarks = face.landmarks.map(|point| point.map(back));
    }
}

/// Shrinks by area to 8 bits, as the reference does, and lays blue, green and red out as planes.
fn prepare(pixels: &Pixels, layout: Layout) -> (Planes, Placed) {
    let (side, framed) = match layout {
        Layout::Whole(side) => (side, false),
        Layout::Framed(side) => (side, true),
    };
    let scale = (f64::from(side) / f64::from(pixels.long_side())).min(1.0);
    let fit = |length: u32| ((f64::from(length) * scale).round_ties_even() as u32).max(1);
    let (width, height) = (fit(pixels.width()), fit(pixels.height()));
    let offset = if framed { width.max(height) as usize } else { 0 };
    let aligned = |length: u32| (length as usize + 2 * offset).next_multiple_of(ALIGNED_TO);
    let mut planes = Planes::black(aligned(width), aligned(height));
    let stride = planes.width;
    let [blue, green, red] = planes.split();
    let from = (pixels.width(), pixels.height());
    shrink::by_area(pixels.rgb(), from, (width, height), |y, row| {
        let start = (y + offset) * stride + offset;
        let line = start..start + width as usize;
        let planes = [&mut red[line.clone()], &mut green[line.clone()], &mut blue[line]];
        SplitRow { row: row.as_chunks().0, planes }.dispatch();
    });
    (planes, Placed { scale: scale as f32, offset: offset as f32 })
}

/// Takes a row's pixels apart, rounded to whole numbers as an 8-bit picture has them; the values are 0 to 255.
struct SplitRow<'a> {
    row: &'a [[f32; 3]],
    planes: [&'a mut [f32]; 3],
}

impl SimdOp for SplitRow<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _: I) {
        for (channel, plane) in self.planes.into_iter().enumerate() {
            for (value, pixel) in plane.iter_mut().zip(self.row) {
                *value = (pixel[channel] + 0.5).floor();
            }
        }
    }
}

/// Reads the cells of one stride: class and object score, box and landmarks, one candidate per cell.
fn read_grid(
    [class, object, boxes, points]: &[Vec<f32>; 4],
    stride: usize,
    (columns, rows): (usize, usize),
    least: f32,
    found: &mut Vec<Detection>,
) -> Result<(), String> {
    let cells = columns * rows;
    if [class.len(), object.len(), boxes.len(), points.len()] != [cells, cells, cells * 4, cells * 10] {
        return Err(format!("the detector's outputs for stride {stride} have not the expected size"));
    }
    let size = stride as f32;
    for (cell, (class, object)) in class.iter().zip(object).enumerate() {
        let score = (class.clamp(0.0, 1.0) * object.clamp(0.0, 1.0)).sqrt();
        if score < least {
            continue;
        }
        let (column, row) = ((cell % columns) as f32, (cell / columns) as f32);
        let (at, points) = (&boxes[cell * 4..][..4], &points[cell * 10..][..10]);
        let (width, height) = (at[2].exp() * size, at[3].exp() * size);
        let (x, y) = ((column + at[0]) * size - width / 2.0, (row + at[1]) * size - height / 2.0);
        let mut landmarks = [[0.0; 2]; 5];
        for (landmark, point) in landmarks.iter_mut().zip(points.as_chunks::<2>().0) {
            *landmark = [(point[0] + column) * size, (point[1] + row) * size];
        }
        let numbers = [x, y, width, height, score];
        if numbers.iter().chain(landmarks.iter().flatten()).all(|number| number.is_finite()) {
            found.push(Detection { rect: Rect { x, y, width, height }, score, landmarks });
        }
    }
    Ok(())
}

/// Keeps the best of boxes that overlap by more than `most`; by falling score.
fn suppress(mut found: Vec<Detection>, most: f32) -> Vec<Detection> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MAX_CANDIDATES);
    let mut kept: Vec<Detection> = Vec::new();
    for face in found {
        if kept.iter().all(|better| better.rect.overlap(&face.rect) <= most) {
            kept.push(face);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(x: f32, score: f32) -> Detection {
        Detection { rect: Rect { x, y: 0.0, width: 10.0, height: 10.0 }, score, landmarks: [[0.0; 2]; 5] }
    }

    #[test]
    fn the_best_of_overlapping_boxes_stays() {
        let kept = suppress(vec![face(0.0, 0.7), face(1.0, 0.9), face(9.0, 0.8), face(100.0, 0.6)], 0.3);
        assert_eq!(kept.iter().map(|f| f.score).collect::<Vec<_>>(), [0.9, 0.8, 0.6]);
    }

    #[test]
    fn overlap_is_a_share_of_the_joint_area() {
        let rect = |x| Rect { x, y: 0.0, width: 10.0, height: 10.0 };
        assert_eq!(rect(0.0).overlap(&rect(0.0)), 1.0);
        assert!((rect(0.0).overlap(&rect(5.0)) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(rect(0.0).overlap(&rect(20.0)), 0.0);
    }

    #[test]
    fn a_cell_is_read_relative_to_its_place() {
        let (columns, rows) = (2, 1);
        let class = vec![0.0, 1.0];
        let object = vec![1.0, 0.81];
        let boxes = vec![0.0, 0.0, 0.0, 0.0, 0.5, 0.25, 2.0_f32.ln(), 1.0_f32.ln()];
        let points = [vec![0.0; 10], vec![0.5; 10]].concat();
        let mut found = Vec::new();
        read_grid(&[class, object, boxes, points], 16, (columns, rows), 0.6, &mut found).unwrap();
        let [only] = found.as_slice() else { panic!("{found:?}") };
        assert!((only.score - 0.9).abs() < 1e-6);
        let Rect { x, y, width, height } = only.rect;
        assert_eq!((x, y, width.round(), height.round()), (8.0, -4.0, 32.0, 16.0));
        assert_eq!(only.landmarks[4], [24.0, 8.0]);
    }

    #[test]
    fn outputs_of_another_size_are_refused() {
        let outputs = [vec![1.0], vec![1.0], vec![0.0; 4], vec![0.0; 9]];
        assert!(read_grid(&outputs, 8, (1, 1), 0.6, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_frame_is_put_around_and_taken_off_again() {
        let pixels = Pixels::new(64, 32, vec![255; 64 * 32 * 3]).unwrap();
        let (planes, placed) = prepare(&pixels, Layout::Framed(32));
        assert_eq!((planes.width, planes.height), (96, 96));
        let white = |x: usize, y: usize| planes.values[y * 96 + x] == 255.0;
        assert!(white(32, 32) && white(63, 47) && !white(31, 32) && !white(32, 31) && !white(64, 47) && !white(63, 48));
        let mut found = face(32.0, 1.0);
        placed.undo(&mut found);
        assert_eq!((found.rect.x, found.rect.width, found.rect.y), (0.0, 20.0, -64.0));
    }
}
