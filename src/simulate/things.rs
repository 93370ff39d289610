//! Things that do not stay where they are: what a scene is furnished with, and the same scene later on.

use std::ops::Range;

use nalgebra::{Rotation3, Vector3};

use super::dice::Dice;
use super::mesh::Mesh;

/// Of the things that are no longer where they were, this share has left the scene.
const GONE: f32 = 0.3;

/// How far a thing is from its old place when it is seen again. Standard deviations: metres along x and y, radians about z.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habit {
    along: f32,
    across: f32,
    turn: f32,
}

/// A chair that is pushed, a box that is put down elsewhere.
pub(super) const SHOVED: Habit = Habit { along: 0.6, across: 0.6, turn: 0.5 };
/// A vehicle on or beside a road, which runs along x.
pub(super) const DRIVEN: Habit = Habit { along: 12.0, across: 0.3, turn: 0.05 };
/// A person.
pub(super) const WALKING: Habit = Habit { along: 2.0, across: 2.0, turn: 2.0 };

/// A part of a soup that may move.
#[derive(Debug, Clone)]
struct Thing {
    vertices: Range<usize>,
    /// Where it stands.
    at: [f32; 3],
    habit: Habit,
}

/// A scene's triangles, and which of them are things that may move.
#[derive(Debug, Clone)]
pub(super) struct Furnished {
    pub mesh: Mesh,
    things: Vec<Thing>,
}

impl From<Mesh> for Furnished {
    /// Nothing in it moves.
    fn from(mesh: Mesh) -> Self {
        Self { mesh, things: Vec::new() }
    }
}

impl Furnished {
    /// Takes a thing in as [`Mesh::add_at`] does.
    pub fn put(&mut self, thing: Mesh, at: [f32; 3], yaw: f32, habit: Habit) {
        let start = self.mesh.vertices.len();
        self.mesh.add_at(thing, at, yaw);
        self.things.push(Thing { vertices: start..self.mesh.vertices.len(), at, habit });
    }

    /// The scene after some time: of the things, `share` (0..1) have moved or are gone. What stood on the ground of
    /// `height(x, y)` stands on it again.
    pub fn later(&self, share: f32, height: impl Fn(f32, f32) -> f32, dice: &mut Dice) -> Mesh {
        let mut mesh = self.mesh.clone();
        let mut gone: Vec<Range<usize>> = Vec::new();
        for thing in &self.things {
            let (moves, leaves) = (dice.chance(share), dice.chance(GONE));
            let to = thing.destination(&height, dice);
            let turn = Rotation3::from_axis_angle(&Vector3::z_axis(), thing.habit.turn * dice.normal());
            if moves && leaves {
                gone.push(thing.vertices.clone());
            } else if moves {
                let from = Vector3::from(thing.at);
                for vertex in &mut mesh.vertices[thing.vertices.clone()] {
                    *vertex = (turn * (Vector3::from(*vertex) - from) + to).into();
                }
            }
        }
        let is_gone = |vertex: usize| {
            let after = gone.partition_point(|vertices| vertices.start <= vertex);
            after > 0 && gone[after - 1].contains(&vertex)
        };
        mesh.faces.retain(|face| !is_gone(face[0] as usize));
        mesh
    }
}

impl Thing {
    fn destination(&self, height: impl Fn(f32, f32) -> f32, dice: &mut Dice) -> Vector3<f32> {
        let [x, y, z] = self.at;
        let (new_x, new_y) = (x + self.habit.along * dice.normal(), y + self.habit.across * dice.normal());
        Vector3::new(new_x, new_y, z + height(new_x, new_y) - height(x, y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::primitives::block;

    /// A hundred posts of 0.1 m on a slope, x metres apart, beside one that is no thing.
    fn posts() -> Furnished {
        let post = || block(0.0, 0.0, 0.0, [0.1, 0.1, 1.0]);
        let mut scene = Furnished::from(post());
        for i in 1..=100 {
            scene.put(post(), [i as f32, 0.0, slope(i as f32, 0.0)], 0.0, SHOVED);
        }
        scene
    }

    fn slope(x: f32, _: f32) -> f32 {
        0.1 * x
    }

    #[test]
    fn nothing_moves_without_a_share() {
        let later = posts().later(0.0, slope, &mut Dice::new(1));
        assert_eq!((later.vertices, later.faces), (posts().mesh.vertices, posts().mesh.faces));
    }

    #[test]
    fn things_move_or_leave_and_the_rest_stays() {
        let before = posts().mesh;
        let after = posts().later(0.5, slope, &mut Dice::new(1));
        let (vertices, faces) = (before.vertices.len() / 101, before.faces.len() / 101);
        assert_eq!(after.vertices[..vertices], before.vertices[..vertices]);
        let has_moved = |i: &usize| after.vertices[i * vertices] != before.vertices[i * vertices];
        let moved: Vec<usize> = (0..101).filter(has_moved).collect();
        let gone = 101 - after.faces.len() / faces;
        assert!(
            moved.len() > 20 && moved.len() < 50 && gone > 5 && gone < 30,
            "{} moved, {gone} gone",
            moved.len()
        );
        for i in moved {
            let post = &after.vertices[i * vertices..(i + 1) * vertices];
            let middle = |k: usize| post.iter().map(|v| v[k]).sum::<f32>() / post.len() as f32;
            assert!(
                (middle(2) - 0.5 - slope(middle(0), 0.0)).abs() < 1e-4,
                "post {i} does not stand on the ground"
            );
        }
    }
}
