//! An ideal scanner: rays from an eye to the first surface of a made-up scene.

use coregister::cloud::Point;
use coregister::geometry::{distance, dot, normalised, subtract};
use rand::RngExt;

/// What rays meet.
pub enum Shape {
    /// Lowest and highest corner; seen from outside and from inside.
    Box(Point, Point),
    /// Centre and radius.
    Sphere(Point, f32),
}

impl Shape {
    /// How far along the unit direction a ray from `eye` meets the shape.
    fn hit(&self, eye: &Point, direction: &Point) -> Option<f32> {
        let (near, far) = match self {
            Self::Box(low, high) => {
                let (mut near, mut far) = (f32::NEG_INFINITY, f32::INFINITY);
                for k in 0..3 {
                    let [a, b] = [low[k], high[k]].map(|x| (x - eye[k]) / direction[k]);
                    (near, far) = (near.max(a.min(b)), far.min(a.max(b)));
                }
                (near, far)
            }
            Self::Sphere(centre, radius) => {
                let towards = subtract(centre, eye);
                let middle = dot(&towards, direction);
                let half = (radius * radius - dot(&towards, &towards) + middle * middle).sqrt();
                (middle - half, middle + half)
            }
        };
        let first = if near > 0.0 { near } else { far };
        (near <= far && first > 0.0).then_some(first)
    }
}

/// A room of 6 × 4 × 2.5 with a table, a cupboard and a ball.
pub fn furnished_room() -> Vec<Shape> {
    vec![
        Shape::Box([0.0; 3], [6.0, 4.0, 2.5]),
        Shape::Box([3.6, 1.0, 0.0], [4.6, 2.2, 0.75]),
        Shape::Box([4.9, 2.9, 0.0], [6.0, 4.0, 1.9]),
        Shape::Sphere([4.0, 3.1, 0.4], 0.4),
    ]
}

/// The same with two dozen balls and boxes in its far part.
pub fn cluttered_room() -> Vec<Shape> {
    let mut random = super::random(9);
    let mut thing = |i: usize| {
        let centre = [2.0..5.8, 0.2..3.8, 0.1..2.4f32].map(|range| random.random_range(range));
        let size: f32 = random.random_range(0.1..0.4);
        let corners = [-size, size].map(|x| centre.map(|c| c + x));
        if i.is_multiple_of(2) { Shape::Sphere(centre, size) } else { Shape::Box(corners[0], corners[1]) }
    };
    furnished_room().into_iter().chain((0..24).map(&mut thing)).collect()
}

/// A yard of 60 × 60 between high walls, with sheds, cars and a tree.
pub fn yard() -> Vec<Shape> {
    vec![
        Shape::Box([-30.0, -30.0, 0.0], [30.0, 30.0, 60.0]),
        Shape::Box([6.0, 4.0, 0.0], [16.0, 12.0, 6.0]),
        Shape::Box([-14.0, -20.0, 0.0], [-8.0, -2.0, 5.0]),
        Shape::Box([2.0, -7.0, 0.0], [6.5, -5.2, 1.6]),
        Shape::Box([-6.0, 6.0, 0.0], [-4.2, 10.5, 1.5]),
        Shape::Sphere([8.0, -12.0, 3.0], 2.5),
    ]
}

/// Where the rays from `eye` end.
pub fn scan(scene: &[Shape], eye: Point, directions: &[Point]) -> Vec<Point> {
    let end = |direction: &Point| {
        let range = scene.iter().filter_map(|shape| shape.hit(&eye, direction)).reduce(f32::min)?;
        Some([0, 1, 2].map(|k| eye[k] + range * direction[k]))
    };
    directions.iter().filter_map(end).collect()
}

/// The rays of a camera of 160 × 120 pixels that looks along the x axis, 60° wide.
pub fn pinhole() -> Vec<Point> {
    let pixel = |i: usize| {
        let (column, row) = ((i % 160) as f32 - 79.5, (i / 160) as f32 - 59.5);
        normalised(&[1.0, column / 138.0, row / 138.0])
    };
    (0..160 * 120).map(pixel).collect()
}

/// The rays of a LiDAR that turns about the z axis: 48 rings, 400 rays each, from 30° below to 30° above.
pub fn rings() -> Vec<Point> {
    let ray = |i: usize| {
        let azimuth = (i % 400) as f32 / 400.0 * std::f32::consts::TAU;
        let (up, level) = ((i / 400) as f32 / 47.0 * 60.0 - 30.0).to_radians().sin_cos();
        [level * azimuth.cos(), level * azimuth.sin(), up]
    };
    (0..48 * 400).map(ray).collect()
}

/// Mean distance of the points from the eye.
pub fn mean_range(points: &[Point], eye: &Point) -> f32 {
    points.iter().map(|p| distance(p, eye)).sum::<f32>() / points.len() as f32
}
