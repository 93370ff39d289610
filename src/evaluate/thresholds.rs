//! When an answer counts as right.

use serde::Serialize;

use crate::cloud::Cloud;

/// Errors that an answer must stay below.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bounds {
    /// RRE must be below this, in degrees.
    pub angle: f64,
    /// RTE must be below this, in the clouds' unit.
    pub distance: f64,
}

impl Bounds {
    /// Below `angle` degrees and below `distance`.
    pub const fn new(angle: f64, distance: f64) -> Self {
        Self { angle, distance }
    }

    /// Whether both errors are below.
    pub fn hold(&self, rre: f64, rte: f64) -> bool {
        rre < self.angle && rte < self.distance
    }
}

/// When an answer counts as right, and when as strictly right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Thresholds {
    /// For a success.
    pub right: Bounds,
    /// For a strict success, which is a success as well; none where nobody has defined one.
    pub strict: Option<Bounds>,
}

impl Thresholds {
    const fn new(right: Bounds, strict: Bounds) -> Self {
        Self { right, strict: Some(strict) }
    }

    /// Indoor scans in metres: 15° and 0.3 m, as 3DMatch is judged since Deep Global Registration (Choy et al., CVPR
    /// 2020); strictly, by this project's own choice, 5° and 0.1 m.
    pub const INDOOR: Self = Self::new(Bounds::new(15.0, 0.30), Bounds::new(5.0, 0.10));
    /// KITTI odometry: 5° and 2 m (Yew and Lee, 3DFeat-Net, ECCV 2018), strictly 5° and 0.6 m (Bai et al., PointDSC,
    /// CVPR 2021).
    pub const KITTI: Self = Self::new(Bounds::new(5.0, 2.0), Bounds::new(5.0, 0.6));
    /// ETH: 2° and 0.3 m, as in BUFFER (Ao et al., CVPR 2023).
    pub const ETH: Self = Self { right: Bounds::new(2.0, 0.3), strict: None };

    /// The thresholds that the name of a list's set stands for; `None` where they follow from the size of the clouds.
    pub fn of_set(set: &str) -> Option<Self> {
        match set.split('-').next().unwrap_or_default() {
            "indoor" | "frame" | "fragment" => Some(Self::INDOOR),
            "bunny" => Some(Self::new(Bounds::new(5.0, 0.01), Bounds::new(2.0, 0.003))),
            "lidar" => Some(Self::new(Bounds::new(5.0, 2.0), Bounds::new(1.5, 0.6))),
            _ => None,
        }
    }

    /// For single objects and everything else: 5° and 5 % of the extent, strictly 2° and 2 %.
    pub fn of_extent(extent: f64) -> Self {
        Self::new(Bounds::new(5.0, 0.05 * extent), Bounds::new(2.0, 0.02 * extent))
    }
}

/// The diagonal of the box around the finite points; 0 without any.
pub fn extent(cloud: &Cloud) -> f64 {
    let finite = || cloud.points.iter().filter(|point| point.iter().all(|x| x.is_finite()));
    let side = |axis: usize| {
        let values = || finite().map(|point| f64::from(point[axis]));
        (values().fold(f64::MIN, f64::max) - values().fold(f64::MAX, f64::min)).max(0.0)
    };
    [0, 1, 2].map(side).iter().map(|side| side * side).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_set_picks_its_thresholds() {
        assert_eq!(Thresholds::of_set("fragment-lo"), Some(Thresholds::INDOOR));
        assert_eq!(Thresholds::of_set("bunny-hi").unwrap().strict, Some(Bounds::new(2.0, 0.003)));
        assert_eq!(Thresholds::of_set("lidar-so3").unwrap().right.distance, 2.0);
        assert_eq!(Thresholds::of_set("object-hi"), None);
        assert_eq!(Thresholds::of_set("lidarish"), None);
    }

    #[test]
    fn both_errors_must_be_below_and_neither_may_be_unknown() {
        let bounds = Bounds::new(5.0, 0.6);
        assert!(bounds.hold(4.9, 0.59));
        assert!(!bounds.hold(5.0, 0.1) && !bounds.hold(1.0, 0.6) && !bounds.hold(f64::NAN, 0.1));
    }

    #[test]
    fn extent_ignores_points_that_are_not_finite() {
        let cloud =
            Cloud::from_f32(vec![[0.0; 3], [f32::NAN; 3], [3.0, 4.0, 0.0], [f32::INFINITY, 0.0, 0.0]]);
        assert_eq!(extent(&cloud), 5.0);
        assert_eq!(extent(&Cloud::default()), 0.0);
    }
}
