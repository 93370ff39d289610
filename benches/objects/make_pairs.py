"""Pairs of views of meshes, and of a view and the whole surface, with their transforms.

    apt-get download libcgal-demo && dpkg-deb -x libcgal-demo_*.deb cgal
    tar xzf cgal/usr/share/doc/libcgal-dev/data.tar.gz -C cgal
    python3 -m venv venv && venv/bin/pip install -r benches/objects/requirements.txt
    venv/bin/python benches/objects/make_pairs.py cgal/data/meshes objects
    coregister evaluate objects/views/pairs.csv
    coregister evaluate objects/wholes/pairs.csv

The meshes are those of CGAL 5.5.1, scaled to radius one. Some look the same when they are turned (`SYMMETRIC`); a pair of
these counts as right in one pose only.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import trimesh
from scipy.spatial import cKDTree

sys.path.append(str(Path(__file__).parents[1]))
from pairs import Pairs  # noqa: E402

MESHES = """
    refined_elephant bunny00 diplodocus armadillo man bear pig mannequin-devil ChineseDragon-10kv camel lion-head lion bull
    dino homer femur cow triceratops turbine blade mech-holes-shark knot2 retinal rotor_small elephant-with-holes pinion eight
    fandisk_large cheese b9_mesh
""".split()
SYMMETRIC = "turbine knot2 rotor_small pinion eight cheese".split()

SEED = 11
DISTANCE = 5.0
FIELD_OF_VIEW = np.radians(26)
PIXELS = 260
RANGE_NOISE = 0.0015
FEWEST_POINTS = 1_500
VIEWS, ATTEMPTS, WHOLES = 6, 40, 4
TURNS = (20, 110)
"""Least and greatest angle between two views, in degrees."""
OVERLAPS = (0.15, 0.9)
REACH = 0.015
"""Points of two views overlap when they are as near as this."""
POINTS_OF_WHOLE = 30_000


def load(folder, name):
    """The mesh, about the origin and of radius one."""
    path = next(path for path in (folder / f"{name}.off", folder / f"{name}.stl") if path.exists())
    mesh = trimesh.load(path, force="mesh", process=False)
    mesh.apply_translation(-mesh.bounds.mean(0))
    mesh.apply_scale(1 / np.linalg.norm(mesh.vertices, axis=1).max())
    return mesh


def unit(vector):
    return vector / np.linalg.norm(vector)


def view(mesh, eye, random):
    """What a range camera sees of the mesh from `eye`, turned about its axis at random."""
    ahead = -unit(eye)
    across = unit(np.cross(random.normal(size=3), ahead))
    up = np.cross(ahead, across)
    pixels = (np.arange(PIXELS) + 0.5) / PIXELS * 2 - 1
    u, v = np.meshgrid(pixels, pixels)
    rays = (u.ravel()[:, None] * across + v.ravel()[:, None] * up) * np.tan(FIELD_OF_VIEW / 2) + ahead
    rays /= np.linalg.norm(rays, axis=1)[:, None]
    hits, of_ray, _ = mesh.ray.intersects_location(np.broadcast_to(eye, rays.shape), rays, multiple_hits=False)
    ranges = np.linalg.norm(hits - eye, axis=1)
    ranges = ranges + random.normal(size=len(ranges)) * RANGE_NOISE
    return eye + rays[of_ray] * ranges[:, None]


def moved(cloud, random):
    """The cloud in another frame, and the transform back."""
    transform = trimesh.transformations.random_rotation_matrix(random.random(3))
    transform[:3, 3] = random.normal(size=3)
    return (cloud - transform[:3, 3]) @ transform[:3, :3], transform


def add_views(pairs, name, mesh, random):
    """Pairs of views whose directions are not too near and not too far from each other."""
    found = 0
    for _ in range(ATTEMPTS):
        if found == VIEWS:
            break
        first = unit(random.normal(size=3))
        angle = np.radians(random.uniform(*TURNS))
        aside = random.normal(size=3)
        aside = unit(aside - first * (first @ aside))
        second = np.cos(angle) * first + np.sin(angle) * aside
        source, target = (view(mesh, DISTANCE * direction, random) for direction in (first, second))
        if min(len(source), len(target)) < FEWEST_POINTS:
            continue
        overlap = (cKDTree(target).query(source)[0] < REACH).mean()
        if OVERLAPS[0] < overlap < OVERLAPS[1]:
            source, transform = moved(source, random)
            kind = "views-hi" if overlap > 0.4 else "views-lo"
            pairs.add(kind, f"{name}-{found}", source, target, round(float(overlap), 3), transform)
            found += 1


def add_wholes(pairs, name, mesh, random):
    """Pairs of a view and points all over the surface, either of them the source."""
    for number in range(WHOLES):
        source = view(mesh, DISTANCE * unit(random.normal(size=3)), random)
        if len(source) < FEWEST_POINTS:
            continue
        target = np.asarray(trimesh.sample.sample_surface(mesh, POINTS_OF_WHOLE, seed=int(random.integers(1e9)))[0])
        source, transform = moved(source, random)
        kind = "view-on-whole"
        if number % 2 == 1:
            kind, source, target, transform = "whole-on-view", target, source, np.linalg.inv(transform)
        pairs.add(kind, f"{name}-{number}", source, target, 0.5, transform)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("meshes", type=Path, help="folder with the meshes")
    parser.add_argument("folder", type=Path, help="folder to make, for the pairs")
    arguments = parser.parse_args()
    for kind, add in [("views", add_views), ("wholes", add_wholes)]:
        pairs, random = Pairs(arguments.folder / kind), np.random.default_rng(SEED)
        for name in MESHES:
            add(pairs, name, load(arguments.meshes, name), random)
        pairs.finish()


if __name__ == "__main__":
    main()
