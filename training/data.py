"""Files of `coregister patches`, as batches. Their fields are described in the README.md beside them."""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path

import numba
import numpy as np
import torch
from safetensors import safe_open

# Steps of the stored offsets in one radius.
STEPS = 32767.0
# Scenes with fewer pairs at a radius are no good as groups of negatives.
FEWEST_PAIRS = 16
NO_CUT = 9.0
# Side of the box of added clutter, in radii.
CLUTTER_SIDE = 0.3
# Squared length beyond which a point is outside of the patch: where noise, clutter and shifts have put it.
OUTSIDE = 1.002


@dataclass
class Patches:
    """Ragged patches: the points of all, and to which each belongs."""

    points: torch.Tensor  # [P, 3] f32, in patch frames, in radii
    patch: torch.Tensor  # [P] int64
    patches: int

    def to(self, device):
        return Patches(self.points.to(device), self.patch.to(device), self.patches)


@dataclass
class Batch:
    """Pairs of patches of the same places; those of one group are of one scene and one radius."""

    source: Patches
    target: Patches
    azimuth: torch.Tensor  # [N] f32, radians: the target's patch is the source's, turned by this about z
    tilt: torch.Tensor  # [N] f32, radians between the axes of both
    group: torch.Tensor  # [N] int64
    place: torch.Tensor  # [N, 3] f32, centres of the source's patches, in radii

    def to(self, device):
        parts = (self.source, self.target, self.azimuth, self.tilt, self.group, self.place)
        return Batch(*(part.to(device) for part in parts))


def unpack(offsets, counts):
    """Ragged patches of stored offsets [P, 3] i16 and counts [N]."""
    points = torch.from_numpy(offsets.astype(np.float32) / np.float32(STEPS))
    patch = torch.repeat_interleave(torch.arange(len(counts)), torch.from_numpy(counts.astype(np.int64)))
    return Patches(points, patch, len(counts))


class Pairs:
    """The groups of pairs in a folder. Only their columns are kept in memory; patches are read when they are drawn."""

    COLUMNS = ("source_count", "target_count", "azimuth", "tilt", "keypoint", "group", "radius")

    def __init__(self, folder):
        self.folder = Path(folder)
        self.files = []
        self.groups = []  # (number of file, first pair, pair after the last)
        self.known = set()
        self.refresh()

    def refresh(self):
        """Takes in scenes that have been written since."""
        for path in sorted(self.folder.glob("scene-*.safetensors")):
            if path in self.known:
                continue
            self.known.add(path)
            with safe_open(path, "np") as file:
                columns = {name: file.get_tensor(name) for name in self.COLUMNS}
            for side in ("source", "target"):
                columns[f"{side}_start"] = np.concatenate([[0], np.cumsum(columns[f"{side}_count"])])
            edges = np.searchsorted(columns["group"], np.arange(len(columns["radius"]) + 1))
            for first, last in zip(edges[:-1], edges[1:]):
                if last - first >= FEWEST_PAIRS:
                    self.groups.append((len(self.files), int(first), int(last)))
            self.files.append((path, columns))

    def __len__(self):
        return sum(last - first for _, first, last in self.groups)

    def draw(self, random, pairs, pairs_per_group):
        """A batch of `pairs` pairs, at most `pairs_per_group` of each group, drawn by a numpy generator."""
        parts, total = [], 0
        while total < pairs:
            number, first, last = self.groups[random.integers(len(self.groups))]
            rows = first + np.sort(random.permutation(last - first)[: min(pairs_per_group, pairs - total)])
            parts.append((number, rows))
            total += len(rows)
        return self.read(parts)

    def read(self, parts):
        """The batch of these rows of these files: [(number of file, rows)], a group each."""
        columns = {name: [] for name in ("azimuth", "tilt", "place", "group")}
        sides = {"source": [], "target": []}
        for group, (number, rows) in enumerate(parts):
            path, file_columns = self.files[number]
            radius = file_columns["radius"][file_columns["group"][rows[0]]]
            columns["azimuth"].append(file_columns["azimuth"][rows])
            columns["tilt"].append(file_columns["tilt"][rows])
            columns["place"].append(file_columns["keypoint"][rows] / radius)
            columns["group"].append(np.full(len(rows), group))
            with safe_open(path, "np") as file:
                for side, taken in sides.items():
                    start = file_columns[f"{side}_start"]
                    base = start[rows[0]]
                    block = file.get_slice(f"{side}_offsets")[int(base) : int(start[rows[-1] + 1])]
                    taken += [block[start[row] - base : start[row + 1] - base] for row in rows]
        source, target = (
            unpack(np.concatenate(taken), np.array([len(offsets) for offsets in taken])) for taken in sides.values()
        )
        joined = {name: torch.from_numpy(np.concatenate(values)) for name, values in columns.items()}
        return Batch(source, target, joined["azimuth"], joined["tilt"], joined["group"], joined["place"])


def augment(batch, generator):
    """Both views of every pair, changed independently as two scans of one place may differ; generator: of torch, on the
    batch's device.

    Points are lost, noisy, cut off by a plane or joined by clutter; the centre and the scale are a little off, and the
    axis is tilted. Both views of a pair are mirrored together; each is turned about its axis.
    """
    pairs = batch.source.patches
    device = batch.azimuth.device
    mirror = 1.0 - 2.0 * torch.randint(2, (pairs,), generator=generator, device=device)
    of_source, of_target = Changes.draw(mirror, generator), Changes.draw(mirror, generator)
    source, target = change(batch.source, of_source, generator), change(batch.target, of_target, generator)
    azimuth = batch.azimuth * mirror + of_target.turn - of_source.turn
    return Batch(source, target, azimuth, batch.tilt, batch.group, batch.place)


@dataclass
class Changes:
    """What happens to each of N patches, in this order. All are tensors on one device."""

    keep: torch.Tensor  # [N], share of the points that are left
    sigma: torch.Tensor  # [N], standard deviation of the noise of each coordinate, in radii
    plane: torch.Tensor  # [N, 3], unit normals: points beyond `edge` along them are lost
    edge: torch.Tensor  # [N]
    clutter: torch.Tensor  # [N] int64, points added within a box of CLUTTER_SIDE
    clutter_centre: torch.Tensor  # [N, 3]
    shift: torch.Tensor  # [N, 3], where the centre is put
    frame: torch.Tensor  # [N, 3, 3]: offsets are multiplied from the left by the mirrored, tilted, scaled turn
    turn: torch.Tensor  # [N], the angle about z in it, radians

    @classmethod
    def draw(cls, mirror, generator):
        device, n = mirror.device, len(mirror)

        def uniform(*shape):
            return torch.rand(shape, generator=generator, device=device)

        def normal(*shape):
            return torch.randn(shape, generator=generator, device=device)

        def sometimes(share, values, otherwise):
            """`values` [N, ...] in a share of the patches, else `otherwise`."""
            chosen = (uniform(n) < share).view(-1, *[1] * (values.dim() - 1))
            return torch.where(chosen, values, torch.full_like(values, otherwise))

        turn = 2 * math.pi * uniform(n)
        frame = small_tilt(sometimes(0.3, 0.04 * normal(n, 2), 0.0))
        frame[:, 1] *= mirror[:, None]
        return cls(
            keep=sometimes(0.5, 0.3 + 0.7 * uniform(n), 1.0),
            sigma=sometimes(0.4, 0.015 * uniform(n), 0.0),
            plane=torch.nn.functional.normalize(normal(n, 3), dim=1),
            edge=sometimes(0.25, 0.2 + 0.6 * uniform(n), NO_CUT),
            clutter=sometimes(0.12, 5 + 55 * uniform(n), 0.0).long(),
            clutter_centre=2 * uniform(n, 3) - 1,
            shift=sometimes(0.5, 0.02 * normal(n, 3), 0.0),
            frame=turn_about_z(turn) @ frame * (1 + 0.02 * normal(n))[:, None, None],
            turn=turn,
        )


def change(view, changes, generator):
    """The patches of a view after `changes`, by whichever way suits the device."""
    if view.points.device.type != "cpu":
        return change_torch(view, changes, generator)
    seed = int(torch.randint(2**32, (1,), generator=generator))
    counts = torch.bincount(view.patch, minlength=view.patches).numpy()
    # All but the turn, which is part of the frame.
    values = [getattr(changes, field.name).numpy() for field in fields(changes)[:-1]]
    points = np.empty((len(view.points) + int(changes.clutter.sum()), 3), np.float32)
    patch = np.empty(len(points), np.int64)
    left = change_numba(view.points.numpy(), counts, *values, seed, points, patch)
    return Patches(torch.from_numpy(points[:left]), torch.from_numpy(patch[:left]), view.patches)


@numba.njit(nogil=True, fastmath=True, cache=True)
def change_numba(
    points, counts, keep, sigma, plane, edge, clutter, clutter_centre, shift, frame, seed, changed, patch
):
    """Writes the changed points to `changed` and their patches to `patch`, and returns their number. The points are in
    the order of their patches, `counts` of each."""
    np.random.seed(seed)
    first, left = 0, 0
    p = np.empty(3, np.float32)
    for n in range(len(counts)):
        for k in range(counts[n] + clutter[n]):
            if k < counts[n]:
                if keep[n] < 1 and np.random.random() >= keep[n]:
                    continue
                for d in range(3):
                    p[d] = points[first + k, d]
                    if sigma[n] > 0:
                        p[d] += sigma[n] * np.float32(np.random.normal())
                if p[0] * plane[n, 0] + p[1] * plane[n, 1] + p[2] * plane[n, 2] >= edge[n]:
                    continue
            else:
                for d in range(3):
                    p[d] = clutter_centre[n, d] + np.float32(CLUTTER_SIDE * (np.random.random() - 0.5))
            for d in range(3):
                p[d] -= shift[n, d]
            length = np.float32(0)
            for d in range(3):
                moved = frame[n, d, 0] * p[0] + frame[n, d, 1] * p[1] + frame[n, d, 2] * p[2]
                changed[left, d] = moved
                length += moved * moved
            patch[left] = n
            if length <= OUTSIDE:
                left += 1
        first += counts[n]
    return left


def change_torch(view, changes, generator):
    """As `change_numba`, in any order of points, with other random numbers."""
    device = view.points.device
    points, patch = view.points, view.patch
    kept = torch.rand(len(points), generator=generator, device=device) < changes.keep[patch]
    points, patch = points[kept], patch[kept]
    noise = torch.randn(points.shape, generator=generator, device=device)
    points = points + changes.sigma[patch, None] * noise
    kept = (points * changes.plane[patch]).sum(1) < changes.edge[patch]
    points, patch = points[kept], patch[kept]
    clutter_patch = torch.repeat_interleave(torch.arange(view.patches, device=device), changes.clutter)
    spread = torch.rand((len(clutter_patch), 3), generator=generator, device=device) - 0.5
    clutter = changes.clutter_centre[clutter_patch] + CLUTTER_SIDE * spread
    points, patch = torch.cat([points, clutter]), torch.cat([patch, clutter_patch])
    points = ((points - changes.shift[patch])[:, None, :] * changes.frame[patch]).sum(2)
    inside = (points * points).sum(1) <= OUTSIDE
    return Patches(points[inside], patch[inside], view.patches)


def small_tilt(angles):
    """Rotations [N, 3, 3] about horizontal axes by small angles [N, 2], to first order."""
    frame = torch.eye(3, device=angles.device).repeat(len(angles), 1, 1)
    frame[:, :2, 2] = angles
    frame[:, 2, :2] = -angles
    return frame


def turn_about_z(angle):
    """Rotations [N, 3, 3] by angles [N]."""
    frame = torch.zeros(len(angle), 3, 3, device=angle.device)
    frame[:, 0, 0] = frame[:, 1, 1] = angle.cos()
    frame[:, 1, 0], frame[:, 0, 1] = angle.sin(), -angle.sin()
    frame[:, 2, 2] = 1
    return frame


def read_whole(path):
    """A file of a whole scene: its fields as arrays and its metadata."""
    with safe_open(path, "np") as file:
        fields = {name: file.get_tensor(name) for name in file.keys()}
        return fields, json.loads(file.metadata()["scene"])
