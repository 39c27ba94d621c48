//! SCRFD, a detector that operators may bring: how it is fed and read. Nine outputs in the order of the published files:
//! scores, distances and landmarks, each for the strides 8, 16 and 32, with two anchors a cell.
//!
//! Written from the description of the network; no file of it was there to run.

use super::detect::{Detection, Rect, STRIDES};
use super::network::Planes;

/// Anchors of a cell, one behind the other in the outputs.
const ANCHORS: usize = 2;

/// From blue, green and red of 0 to 255 to what the network was trained with.
pub(super) fn normalise(planes: &mut Planes) {
    let [blue, _, red] = planes.split();
    blue.swap_with_slice(red);
    planes.values.iter_mut().for_each(|value| *value = (*value - 127.5) / 128.0);
}

/// Candidates of all strides, in pixels of the input.
pub(super) fn read(
    outputs: &[Vec<f32>],
    (width, height): (usize, usize),
    least: f32,
    found: &mut Vec<Detection>,
) -> Result<(), String> {
    let [scores, boxes, points] = outputs.as_chunks::<3>().0 else {
        return Err(format!("the detector has {} outputs, not nine", outputs.len()));
    };
    for (n, stride) in STRIDES.into_iter().enumerate() {
        let (columns, size) = (width / stride, stride as f32);
        let anchors = columns * (height / stride) * ANCHORS;
        if [scores[n].len(), boxes[n].len(), points[n].len()] != [anchors, anchors * 4, anchors * 10] {
            return Err(format!("the detector's outputs for stride {stride} have not the expected size"));
        }
        for (anchor, score) in scores[n].iter().copied().enumerate().filter(|(_, score)| *score >= least) {
            let cell = anchor / ANCHORS;
            let (x, y) = ((cell % columns) as f32 * size, (cell / columns) as f32 * size);
            let [left, top, right, bottom] = [0, 1, 2, 3].map(|side| boxes[n][anchor * 4 + side] * size);
            let rect = Rect { x: x - left, y: y - top, width: left + right, height: top + bottom };
            let offsets = points[n][anchor * 10..][..10].as_chunks::<2>().0;
            let mut landmarks = [[0.0; 2]; 5];
            for (landmark, [dx, dy]) in landmarks.iter_mut().zip(offsets) {
                *landmark = [x + dx * size, y + dy * size];
            }
            let numbers = [rect.x, rect.y, rect.width, rect.height, score];
            if numbers.iter().chain(landmarks.iter().flatten()).all(|number| number.is_finite()) {
                found.push(Detection { rect, score, landmarks });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_and_landmarks_are_counted_from_their_cell() {
        let (width, height) = (64, 32);
        let anchors = STRIDES.map(|stride| width / stride * (height / stride) * ANCHORS);
        let mut outputs: Vec<Vec<f32>> = Vec::new();
        for values in [1, 4, 10] {
            outputs.extend(anchors.map(|anchors| vec![0.0; anchors * values]));
        }
        // Stride 16, column 1, row 1, the second anchor.
        let anchor = (width / 16 + 1) * ANCHORS + 1;
        outputs[1][anchor] = 0.9;
        outputs[4][anchor * 4..][..4].copy_from_slice(&[0.5, 1.0, 1.5, 0.25]);
        outputs[7][anchor * 10..][..2].copy_from_slice(&[-0.25, 0.5]);
        let mut found = Vec::new();
        read(&outputs, (width, height), 0.5, &mut found).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].rect, Rect { x: 8.0, y: 0.0, width: 32.0, height: 20.0 });
        assert_eq!((found[0].landmarks[0], found[0].landmarks[1]), ([12.0, 24.0], [16.0, 16.0]));
        assert!(read(&outputs[..6], (width, height), 0.5, &mut found).is_err());
        assert!(read(&outputs, (32, 32), 0.5, &mut found).is_err());
    }

    #[test]
    fn values_are_red_first_and_around_zero() {
        let mut planes = Planes::black(1, 1);
        planes.values.copy_from_slice(&[255.0, 127.5, 0.0]);
        normalise(&mut planes);
        assert_eq!(planes.values, [-127.5 / 128.0, 0.0, 127.5 / 128.0]);
    }
}
