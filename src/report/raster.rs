//! Points drawn without a GPU: discs with a depth buffer, and shading that shows edges of depth.

use nalgebra::{Matrix3, Vector3};

use super::palette::Colour;
use super::scene::Ball;
use crate::cloud::Point;
use crate::geometry::to_vector;

/// Distance of the eye in radii of the ball it looks at, and the focal length in half heights of the picture that makes
/// the ball fill it.
const EYE: f64 = 3.2;
const FOCAL: f64 = 3.1;
/// How dark edges of depth become, and how far apart (pixels) depths are compared.
const EDGE_STRENGTH: f32 = 260.0;
const EDGE_REACH: isize = 2;

/// A picture, row by row from the top.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<Colour>,
}

impl Picture {
    pub fn new(width: usize, height: usize, colour: Colour) -> Self {
        Self { width, height, pixels: vec![colour; width * height] }
    }

    /// Lays `other` on this one with its corner at `left`, `top`; it must lie within.
    pub fn insert(&mut self, other: &Self, left: usize, top: usize) {
        for (row, pixels) in other.pixels.chunks_exact(other.width).enumerate() {
            let start = (top + row) * self.width + left;
            self.pixels[start..start + other.width].copy_from_slice(pixels);
        }
    }

    /// Every two by two pixels become their mean.
    pub fn halved(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let mean = |x: usize, y: usize, k: usize| {
            let at = |dx: usize, dy: usize| u16::from(self.pixels[(2 * y + dy) * self.width + 2 * x + dx][k]);
            ((at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1) + 2) / 4) as u8
        };
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pixels = places.map(|(x, y)| [0, 1, 2].map(|k| mean(x, y, k))).collect();
        Self { width, height, pixels }
    }
}

/// An eye that looks at the middle of a ball. Angles in radians: the azimuth about z, counted from −y, and the elevation
/// above the xy plane.
#[derive(Debug, Clone, Copy)]
pub struct Camera {
    /// Rows: right, up, and towards the eye.
    axes: Matrix3<f64>,
    ball: Ball,
}

impl Camera {
    pub fn new(azimuth: f64, elevation: f64, ball: Ball) -> Self {
        let (sa, ca) = azimuth.sin_cos();
        let (se, ce) = elevation.sin_cos();
        let back = Vector3::new(sa * ce, -ca * ce, se);
        let right = Vector3::new(ca, sa, 0.0);
        let up = back.cross(&right);
        Self { axes: Matrix3::from_rows(&[right.transpose(), up.transpose(), back.transpose()]), ball }
    }

    /// Right and up in half heights of the picture, and the distance in radii; `None` behind the eye.
    fn project(&self, point: &Point) -> Option<[f64; 3]> {
        let radius = f64::from(self.ball.radius);
        let seen = self.axes * (to_vector(point) - to_vector(&self.ball.centre)) / radius;
        let distance = EYE - seen.z;
        (distance > 0.05).then(|| [FOCAL * seen.x / distance, FOCAL * seen.y / distance, distance])
    }
}

/// Draws discs; the nearest one of each pixel is seen.
pub struct Canvas {
    picture: Picture,
    depth: Vec<f32>,
}

impl Canvas {
    pub fn new(width: usize, height: usize, background: Colour) -> Self {
        let picture = Picture::new(width, height, background);
        Self { picture, depth: vec![f32::INFINITY; width * height] }
    }

    /// Draws points as discs of this radius in pixels.
    pub fn draw(&mut self, camera: &Camera, radius: f64, points: impl Iterator<Item = (Point, Colour)>) {
        let (width, height) = (self.picture.width as f64, self.picture.height as f64);
        for (point, colour) in points {
            let Some([right, up, distance]) = camera.project(&point) else { continue };
            let (x, y) = (0.5 * width + 0.5 * height * right, 0.5 * height - 0.5 * height * up);
            self.disc(x, y, radius, distance as f32, colour);
        }
    }

    fn disc(&mut self, x: f64, y: f64, radius: f64, distance: f32, colour: Colour) {
        let (width, height) = (self.picture.width, self.picture.height);
        // A cast to an unsigned number takes what lies left or above to zero, and NaN as well.
        let columns =
            (x - radius).ceil() as usize..((x + radius).floor() + 1.0).clamp(0.0, width as f64) as usize;
        let rows =
            (y - radius).ceil() as usize..((y + radius).floor() + 1.0).clamp(0.0, height as f64) as usize;
        for row in rows {
            for column in columns.clone() {
                let (dx, dy) = (column as f64 - x, row as f64 - y);
                let at = row * width + column;
                if dx * dx + dy * dy <= radius * radius && distance < self.depth[at] {
                    self.depth[at] = distance;
                    self.picture.pixels[at] = colour;
                }
            }
        }
    }

    /// The picture, darker where something nearer stands beside (eye-dome lighting: Boucheny 2009).
    pub fn shaded(mut self) -> Picture {
        let (width, height) = (self.picture.width as isize, self.picture.height as isize);
        let log_depth: Vec<f32> = self.depth.iter().map(|d| d.log2()).collect();
        let at = |x: isize, y: isize| {
            let inside = (0..width).contains(&x) && (0..height).contains(&y);
            if inside { log_depth[(y * width + x) as usize] } else { f32::INFINITY }
        };
        let around = [(-1, 0), (1, 0), (0, -1), (0, 1)];
        for y in 0..height {
            for x in 0..width {
                let here = at(x, y);
                if here.is_infinite() {
                    continue;
                }
                let nearer = around
                    .map(|(dx, dy)| (here - at(x + EDGE_REACH * dx, y + EDGE_REACH * dy)).max(0.0))
                    .iter()
                    .sum::<f32>();
                let light = (-EDGE_STRENGTH * nearer / around.len() as f32).exp().max(0.25);
                let pixel = &mut self.picture.pixels[(y * width + x) as usize];
                *pixel = pixel.map(|c| (f32::from(c) * light) as u8);
            }
        }
        self.picture
    }

    /// Pixels that are not background.
    #[cfg(test)]
    pub fn covered(&self) -> usize {
        self.depth.iter().filter(|depth| depth.is_finite()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Colour = [255; 3];
    const RED: Colour = [200, 0, 0];
    const BLUE: Colour = [0, 0, 200];

    fn camera() -> Camera {
        Camera::new(0.0, 0.0, Ball { centre: [0.0; 3], radius: 1.0 })
    }

    #[test]
    fn the_nearer_point_is_seen_whatever_the_order() {
        let (near, far) = (([0.0, -0.5, 0.0], RED), ([0.0, 0.5, 0.0], BLUE));
        for points in [[near, far], [far, near]] {
            let mut canvas = Canvas::new(21, 21, WHITE);
            canvas.draw(&camera(), 2.0, points.into_iter());
            assert_eq!(canvas.picture.pixels[10 * 21 + 10], RED);
        }
    }

    #[test]
    fn up_is_up_and_right_is_right() {
        let mut canvas = Canvas::new(40, 40, WHITE);
        canvas.draw(&camera(), 1.5, [([0.0, 0.0, 0.8], RED), ([0.8, 0.0, 0.0], BLUE)].into_iter());
        let place = |colour| {
            let at = canvas.picture.pixels.iter().position(|pixel| *pixel == colour).unwrap();
            (at % 40, at / 40)
        };
        assert!(place(RED).1 < 12 && place(BLUE).0 > 28, "{:?} {:?}", place(RED), place(BLUE));
    }

    #[test]
    fn what_is_outside_behind_or_no_number_is_not_drawn() {
        let mut canvas = Canvas::new(10, 10, WHITE);
        let wild =
            [[0.0, -50.0, 0.0], [1e30, 0.0, 0.0], [f32::NAN; 3], [0.0, 0.0, f32::INFINITY], [0.0, 0.0, 40.0]];
        canvas.draw(&camera(), 2.0, wild.map(|p| (p, RED)).into_iter());
        assert_eq!(canvas.covered(), 0);
    }

    #[test]
    fn edges_of_depth_are_darker_than_planes() {
        let mut canvas = Canvas::new(60, 60, WHITE);
        let plane =
            (0..10_000).map(|i| ([(i % 100) as f32 * 0.02 - 1.0, 0.5, (i / 100) as f32 * 0.02 - 1.0], RED));
        let step =
            (0..10_000).map(|i| ([(i % 100) as f32 * 0.01 - 1.0, -0.5, (i / 100) as f32 * 0.02 - 1.0], RED));
        canvas.draw(&camera(), 1.5, plane.chain(step));
        let shaded = canvas.shaded();
        let row = &shaded.pixels[30 * 60..31 * 60];
        let darkest = row.iter().map(|pixel| pixel[0]).min().unwrap();
        assert!(darkest < 120 && row[50][0] > 180, "{row:?}");
    }

    #[test]
    fn four_pixels_become_their_mean() {
        let picture = Picture { width: 2, height: 2, pixels: vec![[0; 3], [255; 3], [255; 3], [0; 3]] };
        assert_eq!(picture.halved().pixels, [[128; 3]]);
    }
}
