"""How well descriptors match whole simulated scenes that no training has seen.

    python training/validate.py SCENES_FOLDER WEIGHTS.safetensors [MORE.safetensors ...]

Keypoints of both clouds are matched by mutual nearest descriptors at three patch radii. A match is right when the true
pose brings its keypoints within four voxels of each other; its azimuth is compared with that of the true pose between
the frames of the patches.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data import read_whole, unpack
from export import load
from features import AZIMUTHS, cell_features
from model import azimuth

# A match is right within this many voxels.
TOLERANCE = 4.0
# Patches that are described at a time.
CHUNK = 1000


@dataclass
class View:
    """Both clouds of a scene at one radius."""

    kind: str
    scale: int  # 0 is the largest radius
    features: tuple  # of source and target: [n, AZIMUTHS, CHANNELS], f16 to save memory
    keypoints: tuple  # [n, 3]
    frames: tuple  # [n, 3, 3]
    rotation: np.ndarray  # [3, 3], target from source
    translation: np.ndarray  # [3]
    tolerance: float


@dataclass
class Result:
    """What matching one view gave."""

    kind: str
    scale: int
    matches: int
    right: int
    azimuth_error: float  # median over the right matches, degrees

    @property
    def inlier_ratio(self):
        return self.right / max(self.matches, 1)


def views(folder, device="cpu"):
    """Every radius of every scene in a folder of `coregister patches --whole`."""
    found = []
    for path in sorted(Path(folder).glob("scene-*.safetensors")):
        fields, scene = read_whole(path)
        pose = fields["target_from_source"]
        sides = {side: by_radius(fields, side, device) for side in ("source", "target")}
        for scale in range(len(fields["radius"])):
            both = [sides[side][scale] for side in ("source", "target")]
            found.append(
                View(
                    kind=scene["kind"],
                    scale=scale,
                    features=tuple(features for features, _ in both),
                    keypoints=(fields["source_keypoint"], fields["target_keypoint"]),
                    frames=tuple(frames for _, frames in both),
                    rotation=pose[:9].reshape(3, 3),
                    translation=pose[9:],
                    tolerance=TOLERANCE * scene["spacing"],
                )
            )
    return found


def by_radius(fields, side, device):
    """Features and frames of one cloud: [(features, frames)], one for each radius."""
    radii, keypoints = len(fields["radius"]), len(fields[f"{side}_keypoint"])
    counts = fields[f"{side}_count"].reshape(radii, keypoints)
    starts = np.concatenate([[0], np.cumsum(counts.sum(1))])
    frames = fields[f"{side}_frame"].reshape(radii, keypoints, 3, 3)
    described = []
    for scale in range(radii):
        patches = unpack(fields[f"{side}_offsets"][starts[scale] : starts[scale + 1]], counts[scale]).to(device)
        features = cell_features(patches.points, patches.patch, patches.patches).half()
        described.append((features, frames[scale]))
    return described


@torch.no_grad()
def describe(model, features):
    """Descriptors [n, D] and maps [n, E, AZIMUTHS]."""
    parts = [model(features[i : i + CHUNK].float()) for i in range(0, len(features), CHUNK)]
    return torch.cat([desc for desc, _ in parts]), torch.cat([equi for _, equi in parts])


def mutual_matches(source, target):
    """Numbers of the keypoints whose descriptors are each other's nearest."""
    similarity = source @ target.T
    forth, back = similarity.argmax(1), similarity.argmax(0)
    numbers = torch.arange(len(source), device=source.device)
    mutual = back[forth] == numbers
    return numbers[mutual], forth[mutual]


def evaluate(model, validation_views):
    """A `Result` for every view; leaves the network in evaluation mode."""
    model.eval()
    return [evaluate_view(model, view) for view in validation_views]


def evaluate_view(model, view):
    (source_desc, source_equi), (target_desc, target_equi) = (describe(model, features) for features in view.features)
    i, j = mutual_matches(source_desc, target_desc)
    turns = azimuth(source_equi[i], target_equi[j]).cpu().numpy() * (2 * math.pi / AZIMUTHS)
    i, j = i.cpu().numpy(), j.cpu().numpy()
    places = view.keypoints[0][i] @ view.rotation.T + view.translation
    right = np.linalg.norm(places - view.keypoints[1][j], axis=1) < view.tolerance
    # M takes the source's patch to the target's: a turn about z, but for the tilt between their axes.
    m = view.frames[1][j].transpose(0, 2, 1) @ view.rotation @ view.frames[0][i]
    true_turns = np.arctan2(m[:, 1, 0] - m[:, 0, 1], m[:, 0, 0] + m[:, 1, 1])
    errors = np.abs(np.angle(np.exp(1j * (turns - true_turns))))[right]
    median = float(np.degrees(np.median(errors))) if right.any() else 180.0
    return Result(view.kind, view.scale, len(right), int(right.sum()), median)


def summary(results):
    """Means over views: of the inlier ratio, of right matches, and of the azimuth error's medians."""
    return {
        "inlier_ratio": float(np.mean([r.inlier_ratio for r in results])),
        "right": float(np.mean([r.right for r in results])),
        "azimuth_error": float(np.median([r.azimuth_error for r in results])),
    }


def report(results):
    """Lines for people: all views, then by scale and by kind."""
    kinds = sorted({r.kind for r in results})
    groups = [("all", results)]
    groups += [(f"scale {s}", [r for r in results if r.scale == s]) for s in sorted({r.scale for r in results})]
    groups += [(kind, [r for r in results if r.kind == kind]) for kind in kinds]
    lines = [f"{'':14}{'views':>6}{'inliers':>9}{'right':>8}{'azimuth':>9}"]
    for name, members in groups:
        s = summary(members)
        lines.append(
            f"{name:14}{len(members):6}{s['inlier_ratio']:9.4f}{s['right']:8.1f}{s['azimuth_error']:8.2f}°"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", help="folder of `coregister patches --whole`")
    parser.add_argument("weights", nargs="+", help="weight files, .safetensors")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 leaves it to torch")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    validation_views = views(arguments.scenes)
    for path in arguments.weights:
        print(f"{path}\n{report(evaluate(load(path), validation_views))}\n")


if __name__ == "__main__":
    main()
