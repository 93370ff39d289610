"""`coregister register` and KISS-Matcher on the same pairs, one after the other on each, as a Markdown table.

    python3 -m venv venv && venv/bin/pip install -r benches/kiss_matcher/requirements.txt
    cargo build --release && venv/bin/python benches/kiss_matcher/compare.py PAIRS.csv

PAIRS.csv is a list of pairs as `coregister evaluate` takes it, of clouds in PLY files. The time of coregister is that of
the whole command, start and reading included; that of KISS-Matcher is of the library call alone. KISS-Matcher has to be
told the voxel size of every set; `--voxel` gives those of sets that VOXEL does not name.
"""

import argparse
import csv
import json
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import kiss_matcher
import numpy as np
from plyfile import PlyData

# By the first part of a set's name: voxel size for KISS-Matcher in the clouds' unit, and what lengths are multiplied with
# first, since its own settings are in metres and a scanned object would be too small for them.
VOXEL = {"indoor": (0.05, 1), "frame": (0.05, 1), "fragment": (0.05, 1), "bunny": (0.0025, 120), "lidar": (0.3, 1)}


@dataclass
class Outcome:
    """What became of one pair."""

    ours_right: bool
    theirs_right: bool
    ours_seconds: float
    theirs_seconds: float


def points(path, scale):
    vertices = PlyData.read(path)["vertex"]
    return np.column_stack([vertices[axis] for axis in "xyz"]).astype(np.float32) * np.float32(scale)


def matched(source, target, voxel, scale):
    """Transform by KISS-Matcher, and the seconds of its call."""
    source, target = points(source, scale), points(target, scale)
    start = time.perf_counter()
    found = kiss_matcher.KISSMatcher(kiss_matcher.KISSMatcherConfig(voxel * scale)).estimate(source, target)
    seconds = time.perf_counter() - start
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = found.rotation, np.ravel(found.translation) / scale
    return transform, seconds


def registered(command, source, target):
    """Transform by the command, and the seconds that all of it took."""
    start = time.perf_counter()
    run = subprocess.run([command, "register", source, target, "--json", "-"], stdout=subprocess.PIPE)
    seconds = time.perf_counter() - start
    # 1 says that the answer was rejected; it counts here nevertheless.
    if run.returncode not in (0, 1):
        raise SystemExit(f"{command} failed on {source} and {target}")
    return np.array(json.loads(run.stdout)["T_target_source"]), seconds


def is_right(answer, truth, bounds):
    cosine = (np.trace(truth[:3, :3].T @ answer[:3, :3]) - 1) / 2
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return bool(angle < bounds["angle"] and np.linalg.norm(answer[:3, 3] - truth[:3, 3]) < bounds["distance"])


def thresholds(command, pairs):
    """What `evaluate` calls right, by set and name of the pair."""
    run = subprocess.run([command, "evaluate", pairs, "--json", "-"], stdout=subprocess.PIPE)
    rows = json.loads(run.stdout)["rows"]
    return {(row["set"], row["name"]): row["thresholds"]["right"] for row in rows if row["thresholds"]}


def print_set(name, outcomes):
    def share(right):
        return f"{100 * statistics.mean(getattr(outcome, right) for outcome in outcomes):.1f}"

    def median(seconds):
        return f"{statistics.median(getattr(outcome, seconds) for outcome in outcomes):.3f}"

    ratio = statistics.median(outcome.ours_seconds / outcome.theirs_seconds for outcome in outcomes)
    cells = [name, str(len(outcomes)), share("ours_right"), share("theirs_right")]
    cells += [median("ours_seconds"), median("theirs_seconds"), f"{ratio:.2f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path, help="list of pairs, as for `coregister evaluate`")
    parser.add_argument("--command", default="target/release/coregister", help="the program")
    parser.add_argument("--voxel", nargs=2, action="append", default=[], metavar=("SET", "SIZE"), help="for KISS-Matcher")
    arguments = parser.parse_args()
    voxels = VOXEL | {name: (float(size), 1) for name, size in arguments.voxel}
    bounds = thresholds(arguments.command, arguments.pairs)
    print("| set | pairs | recall % | recall %, KISS-Matcher | time s | time s, KISS-Matcher | median ratio |")
    print("|---|---|---|---|---|---|---|")
    outcomes = {}
    with arguments.pairs.open(newline="") as file:
        has_answer = lambda row: row["T"] and not row["set"].endswith("-none")
        rows = [row for row in csv.DictReader(file) if has_answer(row)]
    for row in rows:
        source, target = (arguments.pairs.parent / row[side] for side in ("src", "tgt"))
        truth = np.array(row["T"].split(), float).reshape(4, 4)
        ours, ours_seconds = registered(arguments.command, source, target)
        theirs, theirs_seconds = matched(source, target, *voxels[row["set"].split("-")[0]])
        right = [is_right(answer, truth, bounds[row["set"], row["name"]]) for answer in (ours, theirs)]
        outcomes.setdefault(row["set"], []).append(Outcome(*right, ours_seconds, theirs_seconds))
    for name, of_set in outcomes.items():
        print_set(name, of_set)


main()
