//! Triangle soups and the few ways of putting them together.

use nalgebra::{Rotation3, Vector3};

/// Triangles that share vertices; no topology is kept.
#[derive(Debug, Clone, Default)]
pub struct Mesh {
    /// Corner coordinates, in the scene's unit (metres).
    pub vertices: Vec<[f32; 3]>,
    /// Indices into `vertices`, three a triangle.
    pub faces: Vec<[u32; 3]>,
}

impl Mesh {
    /// No triangle yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The corners of a triangle.
    pub fn triangle(&self, face: usize) -> [Vector3<f32>; 3] {
        self.faces[face].map(|v| self.vertices[v as usize].into())
    }

    /// Takes another soup in.
    pub fn add(&mut self, part: Mesh) {
        let offset = self.vertices.len() as u32;
        self.vertices.extend(part.vertices);
        self.faces.extend(part.faces.iter().map(|face| face.map(|v| v + offset)));
    }

    /// Takes another soup in, turned about z by `yaw` radians and then moved to `at`.
    pub fn add_at(&mut self, part: Mesh, at: [f32; 3], yaw: f32) {
        self.add(part.yawed(yaw).moved(at));
    }

    /// Shifted.
    pub fn moved(mut self, by: [f32; 3]) -> Self {
        for vertex in &mut self.vertices {
            *vertex = std::array::from_fn(|k| vertex[k] + by[k]);
        }
        self
    }

    /// Turned about the origin.
    pub fn turned(mut self, rotation: &Rotation3<f32>) -> Self {
        for vertex in &mut self.vertices {
            *vertex = (rotation * Vector3::from(*vertex)).into();
        }
        self
    }

    /// Turned about the z axis, radians.
    pub fn yawed(self, angle: f32) -> Self {
        self.turned(&Rotation3::from_axis_angle(&Vector3::z_axis(), angle))
    }

    /// Turned about the x axis, radians.
    pub fn pitched(self, angle: f32) -> Self {
        self.turned(&Rotation3::from_axis_angle(&Vector3::x_axis(), angle))
    }

    /// Turned about the y axis, radians.
    pub fn rolled(self, angle: f32) -> Self {
        self.turned(&Rotation3::from_axis_angle(&Vector3::y_axis(), angle))
    }

    /// Stretched about the origin.
    pub fn scaled(mut self, by: f32) -> Self {
        self.vertices.iter_mut().flatten().for_each(|x| *x *= by);
        self
    }
}
