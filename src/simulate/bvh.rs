//! A bounding volume hierarchy over triangles: the first hit of a ray.
//!
//! Built by binned surface-area heuristic, eight children a node and eight triangles a leaf, laid out so that
//! the eight box tests and the eight triangle tests of a step become vector instructions.

// One lane is an index into several arrays at once.
#![allow(clippy::needless_range_loop)]

use nalgebra::Vector3;

use super::mesh::Mesh;

const LANES: usize = 8;
const BINS: usize = 16;
/// Marks a child as an index into the packets.
const LEAF: u32 = 1 << 31;
/// Deeper than any tree of 2³¹ triangles that halves at least every third level.
const STACK: usize = 256;

type Lanes = [f32; LANES];

/// Where a ray meets the soup first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Distance along the ray in units of the direction's length.
    pub distance: f32,
    /// Index of the triangle in the mesh.
    pub face: u32,
}

/// Eight boxes and what they hold.
#[derive(Debug, Clone)]
struct Node {
    low: [Lanes; 3],
    high: [Lanes; 3],
    /// A node, or a packet when [`LEAF`] is set. Empty lanes have boxes that no ray enters.
    child: [u32; LANES],
}

/// Eight triangles as corner and edges. Empty lanes are degenerate.
#[derive(Debug, Clone)]
struct Packet {
    corner: [Lanes; 3],
    edge1: [Lanes; 3],
    edge2: [Lanes; 3],
    face: [u32; LANES],
}

/// The hierarchy; keeps its own copy of the triangles.
#[derive(Debug, Clone)]
pub struct Bvh {
    nodes: Vec<Node>,
    packets: Vec<Packet>,
}

impl Bvh {
    /// Builds the hierarchy over all triangles of a mesh.
    pub fn new(mesh: &Mesh) -> Self {
        let mut items: Vec<Item> = (0..mesh.faces.len()).map(|face| Item::new(mesh, face)).collect();
        let mut bvh = Self { nodes: Vec::with_capacity(items.len() / 12 + 1), packets: Vec::new() };
        bvh.build(mesh, &mut items);
        bvh
    }

    /// The nearest hit with `near < distance < far`, seen from either side of the triangles.
    /// Of equally near ones the first visited wins, which depends on the soup alone.
    pub fn cast(&self, origin: &Vector3<f32>, direction: &Vector3<f32>, near: f32, far: f32) -> Option<Hit> {
        let ray = Ray::new(origin, direction, near);
        let hit = traverse(&self.nodes, &self.packets, &ray, far);
        (hit.face != u32::MAX).then_some(hit)
    }

    /// Makes the node over `items` and everything below it; returns its index.
    fn build(&mut self, mesh: &Mesh, items: &mut [Item]) -> u32 {
        let index = self.nodes.len() as u32;
        self.nodes.push(Node::empty());
        for (lane, group) in split_in_groups(items).into_iter().enumerate() {
            if group.is_empty() {
                continue;
            }
            let bounds = Bounds::of(group);
            let child = if group.len() <= LANES { self.leaf(mesh, group) } else { self.build(mesh, group) };
            self.nodes[index as usize].set(lane, &bounds, child);
        }
        index
    }

    fn leaf(&mut self, mesh: &Mesh, items: &[Item]) -> u32 {
        self.packets.push(Packet::new(mesh, items));
        (self.packets.len() - 1) as u32 | LEAF
    }
}

/// Depth first, the nearest child first. Compiled for wider vectors as well; without fused multiply-add, so
/// that every version gives the same bits.
#[multiversion::multiversion(targets("x86_64+avx2", "x86_64+avx512f+avx512vl+avx512dq"))]
fn traverse(nodes: &[Node], packets: &[Packet], ray: &Ray, far: f32) -> Hit {
    let mut best = Hit { distance: far, face: u32::MAX };
    let mut stack = [(0u32, 0f32); STACK];
    let mut depth = 1;
    while depth > 0 {
        depth -= 1;
        let (child, entry) = stack[depth];
        if entry >= best.distance {
            continue;
        }
        if child & LEAF != 0 {
            packets[(child & !LEAF) as usize].intersect(ray, &mut best);
        } else {
            depth = push_children(&nodes[child as usize], ray, best.distance, &mut stack, depth);
        }
    }
    best
}

/// Pushes the children that the ray enters before `far`, the nearest last, so that it is popped first.
#[inline(always)]
fn push_children(
    node: &Node,
    ray: &Ray,
    far: f32,
    stack: &mut [(u32, f32); STACK],
    mut depth: usize,
) -> usize {
    let entry = node.entry(ray, far);
    let first = depth;
    for lane in 0..LANES {
        if entry[lane] == f32::INFINITY {
            continue;
        }
        let mut slot = depth;
        while slot > first && stack[slot - 1].1 < entry[lane] {
            stack[slot] = stack[slot - 1];
            slot -= 1;
        }
        stack[slot] = (node.child[lane], entry[lane]);
        depth += 1;
    }
    depth
}

struct Ray {
    origin: [f32; 3],
    direction: [f32; 3],
    inverse: [f32; 3],
    near: f32,
}

impl Ray {
    fn new(origin: &Vector3<f32>, direction: &Vector3<f32>, near: f32) -> Self {
        // A zero component would turn 0 · ∞ into NaN in the box test; a tiny one has the same effect.
        let steep = |d: f32| if d.abs() < 1e-12 { 1e-12f32.copysign(d) } else { d };
        let direction: [f32; 3] = (*direction).into();
        Self { origin: (*origin).into(), direction, inverse: direction.map(|d| 1.0 / steep(d)), near }
    }
}

impl Node {
    fn empty() -> Self {
        Self { low: [[f32::INFINITY; LANES]; 3], high: [[f32::NEG_INFINITY; LANES]; 3], child: [LEAF; LANES] }
    }

    fn set(&mut self, lane: usize, bounds: &Bounds, child: u32) {
        for k in 0..3 {
            self.low[k][lane] = bounds.low[k];
            self.high[k][lane] = bounds.high[k];
        }
        self.child[lane] = child;
    }

    /// Distance at which the ray enters each box; infinite where it misses or comes too late.
    #[inline(always)]
    fn entry(&self, ray: &Ray, far: f32) -> Lanes {
        let mut enter = [ray.near; LANES];
        let mut leave = [far; LANES];
        for k in 0..3 {
            // The sign of the direction says which face comes first, so empty boxes stay empty.
            let forward = ray.inverse[k] >= 0.0;
            let (first, last) =
                if forward { (&self.low[k], &self.high[k]) } else { (&self.high[k], &self.low[k]) };
            for lane in 0..LANES {
                let a = (first[lane] - ray.origin[k]) * ray.inverse[k];
                let b = (last[lane] - ray.origin[k]) * ray.inverse[k];
                enter[lane] = if a > enter[lane] { a } else { enter[lane] };
                leave[lane] = if b < leave[lane] { b } else { leave[lane] };
            }
        }
        let mut entry = [f32::INFINITY; LANES];
        for lane in 0..LANES {
            // The factor covers the rounding of the two products.
            entry[lane] = if enter[lane] <= leave[lane] * 1.000_001 { enter[lane] } else { f32::INFINITY };
        }
        entry
    }
}

impl Packet {
    fn new(mesh: &Mesh, items: &[Item]) -> Self {
        let zero = [[0.0; LANES]; 3];
        let mut packet = Self { corner: zero, edge1: zero, edge2: zero, face: [u32::MAX; LANES] };
        for (lane, item) in items.iter().enumerate() {
            let [a, b, c] = mesh.triangle(item.face as usize);
            for k in 0..3 {
                packet.corner[k][lane] = a[k];
                packet.edge1[k][lane] = b[k] - a[k];
                packet.edge2[k][lane] = c[k] - a[k];
            }
            packet.face[lane] = item.face;
        }
        packet
    }

    /// Möller and Trumbore's test on eight triangles at once.
    #[inline(always)]
    fn intersect(&self, ray: &Ray, best: &mut Hit) {
        let distance = self.distances(ray);
        for lane in 0..LANES {
            if distance[lane] > ray.near && distance[lane] < best.distance {
                *best = Hit { distance: distance[lane], face: self.face[lane] };
            }
        }
    }

    /// Distances along the ray; infinite for a miss.
    #[inline(always)]
    fn distances(&self, ray: &Ray) -> Lanes {
        /// Rays that pass between two triangles by rounding hit one of them.
        const SLACK: f32 = 1e-6;
        let [dx, dy, dz] = ray.direction;
        let mut distance = [f32::INFINITY; LANES];
        for lane in 0..LANES {
            let e1 = [self.edge1[0][lane], self.edge1[1][lane], self.edge1[2][lane]];
            let e2 = [self.edge2[0][lane], self.edge2[1][lane], self.edge2[2][lane]];
            let p = [dy * e2[2] - dz * e2[1], dz * e2[0] - dx * e2[2], dx * e2[1] - dy * e2[0]];
            let determinant = e1[0] * p[0] + e1[1] * p[1] + e1[2] * p[2];
            let inverse = 1.0 / determinant;
            let s = [0, 1, 2].map(|k| ray.origin[k] - self.corner[k][lane]);
            let u = (s[0] * p[0] + s[1] * p[1] + s[2] * p[2]) * inverse;
            let q = [s[1] * e1[2] - s[2] * e1[1], s[2] * e1[0] - s[0] * e1[2], s[0] * e1[1] - s[1] * e1[0]];
            let v = (dx * q[0] + dy * q[1] + dz * q[2]) * inverse;
            let t = (e2[0] * q[0] + e2[1] * q[1] + e2[2] * q[2]) * inverse;
            // A degenerate triangle makes NaN or infinity here and fails the comparisons.
            let inside = (u >= -SLACK) & (v >= -SLACK) & (u + v <= 1.0 + SLACK);
            distance[lane] = if inside { t } else { f32::INFINITY };
        }
        distance
    }
}

/// A triangle while the hierarchy is built.
#[derive(Debug, Clone, Copy)]
struct Item {
    bounds: Bounds,
    centre: [f32; 3],
    face: u32,
}

impl Item {
    fn new(mesh: &Mesh, face: usize) -> Self {
        let mut bounds = Bounds::EMPTY;
        for corner in mesh.triangle(face) {
            bounds.include(&corner.into(), &corner.into());
        }
        let centre = std::array::from_fn(|k| (bounds.low[k] + bounds.high[k]) / 2.0);
        Self { bounds, centre, face: face as u32 }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    low: [f32; 3],
    high: [f32; 3],
}

impl Bounds {
    const EMPTY: Self = Self { low: [f32::INFINITY; 3], high: [f32::NEG_INFINITY; 3] };

    fn of(items: &[Item]) -> Self {
        let mut bounds = Self::EMPTY;
        for item in items {
            bounds.include(&item.bounds.low, &item.bounds.high);
        }
        bounds
    }

    fn of_centres(items: &[Item]) -> Self {
        let mut bounds = Self::EMPTY;
        for item in items {
            bounds.include(&item.centre, &item.centre);
        }
        bounds
    }

    fn include(&mut self, low: &[f32; 3], high: &[f32; 3]) {
        for k in 0..3 {
            self.low[k] = self.low[k].min(low[k]);
            self.high[k] = self.high[k].max(high[k]);
        }
    }

    /// Half the surface; 0 when empty.
    fn area(&self) -> f32 {
        let [x, y, z] = std::array::from_fn(|k| (self.high[k] - self.low[k]).max(0.0));
        x * y + y * z + z * x
    }
}

/// Splits once, then splits the largest splittable part, until there are eight or none is left to split.
fn split_in_groups(items: &mut [Item]) -> Vec<&mut [Item]> {
    let mut groups = vec![items];
    while groups.len() < LANES {
        let cost = |group: &[Item]| Bounds::of(group).area() * group.len() as f32;
        let largest = (0..groups.len())
            .filter(|&i| groups[i].len() > LANES)
            .max_by(|&a, &b| cost(groups[a]).total_cmp(&cost(groups[b])));
        let Some(largest) = largest else { break };
        let (left, right) = split(groups.swap_remove(largest));
        groups.extend([left, right]);
    }
    groups
}

/// Splits where the surface-area heuristic is least; in the middle of the list when all centres coincide.
fn split(items: &mut [Item]) -> (&mut [Item], &mut [Item]) {
    let centres = Bounds::of_centres(items);
    let axis = (0..3)
        .max_by(|&a, &b| (centres.high[a] - centres.low[a]).total_cmp(&(centres.high[b] - centres.low[b])))
        .unwrap_or(0);
    let (low, width) = (centres.low[axis], centres.high[axis] - centres.low[axis]);
    let bin = |item: &Item| (((item.centre[axis] - low) / width * BINS as f32) as usize).min(BINS - 1);
    let middle = if width > 0.0 {
        let cut = best_cut(items, bin);
        partition(items, |item| bin(item) < cut)
    } else {
        0
    };
    let middle = if middle == 0 || middle == items.len() { items.len() / 2 } else { middle };
    items.split_at_mut(middle)
}

/// The bin boundary with the least summed area × count.
fn best_cut(items: &[Item], bin: impl Fn(&Item) -> usize) -> usize {
    let mut bins = [(Bounds::EMPTY, 0usize); BINS];
    for item in items {
        let (bounds, count) = &mut bins[bin(item)];
        bounds.include(&item.bounds.low, &item.bounds.high);
        *count += 1;
    }
    let mut cost = [0.0; BINS];
    let mut sweep = |order: &mut dyn Iterator<Item = usize>, shift: usize| {
        let (mut bounds, mut count) = (Bounds::EMPTY, 0);
        for i in order {
            bounds.include(&bins[i].0.low, &bins[i].0.high);
            count += bins[i].1;
            if let Some(cost) = cost.get_mut(i + shift) {
                *cost += bounds.area() * count as f32;
            }
        }
    };
    // `cost[i]` is that of cutting below bin `i`.
    sweep(&mut (0..BINS), 1);
    sweep(&mut (0..BINS).rev(), 0);
    (1..BINS).min_by(|&a, &b| cost[a].total_cmp(&cost[b])).unwrap_or(1)
}

/// Moves those that satisfy `is_left` to the front; returns how many they are.
fn partition(items: &mut [Item], is_left: impl Fn(&Item) -> bool) -> usize {
    let mut left = 0;
    for i in 0..items.len() {
        if is_left(&items[i]) {
            items.swap(left, i);
            left += 1;
        }
    }
    left
}
