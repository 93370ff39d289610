//! Seeded randomness: everything that the simulator draws comes from here.

use nalgebra::{Quaternion, Rotation3, UnitQuaternion, Vector3};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of random numbers that is the same on every machine and thread count.
#[derive(Debug, Clone)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// One of many independent streams of `seed`, so that rows and views can be drawn in any order.
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// A seed for something that draws for itself.
    pub fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..1`.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in its logarithm; both ends positive.
    pub fn log_between(&mut self, low: f32, high: f32) -> f32 {
        self.between(low.ln(), high.ln()).exp()
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// One of `0..n`; `n` is small beside 2³², so the modulo's bias does not show.
    pub fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }

    /// One of `low..=high`.
    pub fn count(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// One of the choices.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// −1 or +1.
    pub fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    /// Any angle, radians.
    pub fn turn(&mut self) -> f32 {
        self.between(0.0, std::f32::consts::TAU)
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * self.turn().cos()
    }

    /// Three independent standard normals.
    pub fn normal3(&mut self) -> Vector3<f32> {
        Vector3::new(self.normal(), self.normal(), self.normal())
    }

    /// Three independent uniform numbers.
    pub fn between3(&mut self, low: f32, high: f32) -> Vector3<f32> {
        Vector3::new(self.between(low, high), self.between(low, high), self.between(low, high))
    }

    /// Uniform on the sphere.
    pub fn direction(&mut self) -> Vector3<f32> {
        let z = self.between(-1.0, 1.0);
        let (sin, cos) = self.turn().sin_cos();
        let radius = (1.0 - z * z).max(0.0).sqrt();
        Vector3::new(radius * cos, radius * sin, z)
    }

    /// Uniform over all rotations: a normal quaternion, made unit.
    pub fn rotation(&mut self) -> Rotation3<f32> {
        let mut q = || self.normal();
        let quaternion = Quaternion::new(q(), q(), q(), q());
        UnitQuaternion::from_quaternion(quaternion).to_rotation_matrix()
    }

    /// A rotation about a random axis by |N(0, `sigma`)| radians per axis.
    pub fn tilt(&mut self, sigma: f32) -> Rotation3<f32> {
        Rotation3::new(self.normal3() * sigma)
    }
}

/// The seed of item `index` under `seed`: both pass through SplitMix64's finaliser, so that neighbours share
/// nothing and any item can be made alone.
pub fn derive_seed(seed: u64, index: u64) -> u64 {
    mix(mix(seed).wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
