//! CPU side: every one of some normals is tried as the vertical by all others.

use rayon::prelude::*;

use super::FindVertical;
use crate::backend::Cpu;
use crate::cloud::Point;
use crate::error::Result;
use crate::geometry::{dot, normalised};
use crate::stages::surface::Surface;

/// Points that vote, and those whose normals are tried.
pub(super) const VOTERS: usize = 2_000;
pub(super) const TRIALS: usize = 300;
/// Cosine of 12°: normals that share a direction.
const ALONG: f32 = 0.978;
/// Cosine of 60°: directions that lie across each other.
const ACROSS: f32 = 0.5;
/// Least share of the votes, and least lead over any direction across.
const LEAST_SHARE: f32 = 0.15;
const LEAST_LEAD: f32 = 1.2;
/// Least share of all else that stands above the lowest fifth of the ground, or hangs below the highest.
const LEAST_ABOVE: f32 = 0.7;

impl FindVertical for Cpu {
    fn find_vertical(&self, surface: &Surface<Self>) -> Result<Option<Point>> {
        Ok(self.run(|| {
            let voters: Vec<(Point, Point)> = surface
                .place
                .iter()
                .map(|&place| (surface.points[place as usize], surface.normals[place as usize]))
                .filter(|(_, normal)| *normal != [0.0; 3])
                .take(VOTERS)
                .collect();
            vertical(&voters)
        }))
    }
}

fn vertical(voters: &[(Point, Point)]) -> Option<Point> {
    let trials = &voters[..voters.len().min(TRIALS)];
    let votes: Vec<usize> = trials
        .par_iter()
        .map(|(_, axis)| voters.iter().filter(|(_, normal)| dot(axis, normal).abs() > ALONG).count())
        .collect();
    let most = (0..votes.len()).reduce(|a, b| if votes[b] > votes[a] { b } else { a })?;
    let axis = mean_direction(voters, &mean_direction(voters, &trials[most].1));
    let across = |i: &usize| dot(&trials[*i].1, &axis).abs() < ACROSS;
    let rival = (0..votes.len()).filter(across).map(|i| votes[i]).max().unwrap_or(0);
    let leads = votes[most] as f32 >= LEAST_LEAD * rival as f32;
    if (votes[most] as f32) < LEAST_SHARE * voters.len() as f32 || !leads {
        return None;
    }
    upwards(voters, &axis)
}

/// Mean of the normals along `axis`, their signs made equal.
fn mean_direction(voters: &[(Point, Point)], axis: &Point) -> Point {
    let sum = voters.iter().fold([0.0; 3], |sum: Point, (_, normal)| {
        let cosine = dot(axis, normal);
        let sign = if cosine.abs() > ALONG { cosine.signum() } else { 0.0 };
        [0, 1, 2].map(|k| sum[k] + sign * normal[k])
    });
    normalised(&sum)
}

/// The sign of `axis` for which what does not face along it stands above what does; `None` where that is not clear,
/// as between a floor and a ceiling.
fn upwards(voters: &[(Point, Point)], axis: &Point) -> Option<Point> {
    let facing = |normal: &Point| dot(axis, normal).abs() > ALONG;
    let heights = |wanted: bool| {
        voters.iter().filter(move |(_, normal)| facing(normal) == wanted).map(|(point, _)| dot(point, axis))
    };
    let mut ground: Vec<f32> = heights(true).collect();
    ground.sort_by(f32::total_cmp);
    let others = heights(false).count().max(1) as f32;
    let share = |which: &dyn Fn(f32) -> bool| heights(false).filter(|h| which(*h)).count() as f32 / others;
    let (low, high) = (*ground.get(ground.len() / 5)?, *ground.get(ground.len() * 4 / 5)?);
    let stands = share(&|height| height > low) >= LEAST_ABOVE;
    let hangs = share(&|height| height < high) >= LEAST_ABOVE;
    match (stands, hangs) {
        (true, false) => Some(*axis),
        (false, true) => Some(axis.map(|x| -x)),
        _ => None,
    }
}
