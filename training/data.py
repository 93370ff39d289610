"""Files of `coregister patches`, as batches. Their fields are described in the README.md beside them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

# Steps of the stored offsets in one radius.
STEPS = 32767.0
# Scenes with fewer pairs at a radius are no good as groups of negatives.
FEWEST_PAIRS = 16
NO_CUT = 9.0


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
        """A batch of at least `pairs` pairs, at most `pairs_per_group` of each group, drawn by a numpy generator."""
        parts, total = [], 0
        while total < pairs:
            number, first, last = self.groups[random.integers(len(self.groups))]
            rows = first + np.sort(random.permutation(last - first)[:pairs_per_group])
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
    source, source_turn = augment_view(batch.source, mirror, generator)
    target, target_turn = augment_view(batch.target, mirror, generator)
    azimuth = batch.azimuth * mirror + target_turn - source_turn
    return Batch(source, target, azimuth, batch.tilt, batch.group, batch.place)


def augment_view(view, mirror, generator):
    """One view of every pair, and the angle [N] by which each was turned after mirroring."""
    device, n = view.points.device, view.patches

    def uniform(*shape):
        return torch.rand(shape, generator=generator, device=device)

    def normal(*shape):
        return torch.randn(shape, generator=generator, device=device)

    def sometimes(share, values, otherwise):
        """`values` [N, ...] in a share of the patches, else `otherwise`."""
        chosen = (uniform(n) < share).view(-1, *[1] * (values.dim() - 1))
        return torch.where(chosen, values, torch.full_like(values, otherwise))

    points, patch = view.points, view.patch
    keep = sometimes(0.5, 0.3 + 0.7 * uniform(n), 1.0)
    kept = uniform(len(points)) < keep[patch]
    points, patch = points[kept], patch[kept]
    sigma = sometimes(0.4, 0.015 * uniform(n), 0.0)
    points = points + sigma[patch, None] * normal(len(points), 3)
    plane = torch.nn.functional.normalize(normal(n, 3), dim=1)
    edge = sometimes(0.25, 0.2 + 0.6 * uniform(n), NO_CUT)
    kept = (points * plane[patch]).sum(1) < edge[patch]
    points, patch = points[kept], patch[kept]
    # Clutter: some tens of points in a box of 0.3 radii.
    added = sometimes(0.12, 5 + 55 * uniform(n), 0.0).long()
    clutter_patch = torch.repeat_interleave(torch.arange(n, device=device), added)
    centre = 2 * uniform(n, 3) - 1
    clutter = centre[clutter_patch] + 0.3 * (uniform(len(clutter_patch), 3) - 0.5)
    points, patch = torch.cat([points, clutter]), torch.cat([patch, clutter_patch])
    shift = sometimes(0.5, 0.02 * normal(n, 3), 0.0)
    scale = 1 + 0.02 * normal(n)
    turn = 2 * math.pi * uniform(n)
    frame = small_tilt(sometimes(0.3, 0.04 * normal(n, 2), 0.0))
    frame[:, 1] *= mirror[:, None]
    frame = turn_about_z(turn) @ frame * scale[:, None, None]
    points = ((points - shift[patch])[:, None, :] * frame[patch]).sum(2)
    # What noise, clutter and shift have put outside is outside of the patch.
    inside = (points * points).sum(1) <= 1.002
    return Patches(points[inside], patch[inside], n), turn


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
