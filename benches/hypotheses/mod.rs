//! Made-up matches and the poses that they suggest.

use coregister::backend::Device;
use coregister::cloud::Point;
use coregister::geometry::{Pose, apply, rotate, subtract};
use coregister::stages::pose::Hypotheses;
use nalgebra::{Rotation3, Vector3};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// `count` matches of which `true_ones` obey one pose, to 0.02 in their places and a few degrees in their rotations;
/// the others connect anything with anything.
pub fn planted<D: Device>(device: &D, count: usize, true_ones: usize) -> Hypotheses<D> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let truth = pose_at(Vector3::new(1.0, -0.5, 2.0), [0.0; 3], [0.3, -0.2, 0.1]);
    let (mut poses, mut sources, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..count {
        let [source, elsewhere, turn]: [Point; 3] =
            [0; 3].map(|_| [0; 3].map(|_| random.random_range(-2.0..2.0)));
        let (target, rotation) = if i < true_ones {
            let noise = elsewhere.map(|x| 0.01 * x);
            let axis = Vector3::new(1.0, -0.5, 2.0) + 0.03 * Vector3::from(turn);
            (subtract(&apply(&truth, &source), &noise), axis)
        } else {
            (elsewhere, 1.5 * Vector3::from(turn))
        };
        poses.push(pose_at(rotation, source, target));
        sources.push(source);
        targets.push(target);
    }
    Hypotheses {
        poses: device.upload(&poses).expect("poses"),
        source: device.upload(&sources).expect("source points"),
        target: device.upload(&targets).expect("target points"),
    }
}

/// The pose with this rotation vector that takes `source` to `target`.
fn pose_at(rotation: Vector3<f32>, source: Point, target: Point) -> Pose {
    let rotation = Rotation3::new(rotation);
    let mut pose: Pose = std::array::from_fn(|i| if i < 9 { rotation[(i / 3, i % 3)] } else { 0.0 });
    let shift = subtract(&target, &rotate(&pose, &source));
    pose[9..].copy_from_slice(&shift);
    pose
}
