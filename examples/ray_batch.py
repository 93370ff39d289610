"""Register the pairs of a list over a Ray cluster, and print one row per pair as CSV.

    pip install coregister[ray]
    python examples/ray_batch.py data/demo_pair.csv
    python examples/ray_batch.py scans/pairs.csv --actors 8 --gpus 1

The list has the columns src and tgt: files, relative to it. Every file is read once, on whichever machine, and all
machines must see it.
"""

import argparse
import csv
import sys
from pathlib import Path

import coregister
import ray
from coregister.ray import iterate_pairs


@ray.remote
def read(path):
    """Read a file into the object store."""
    return coregister.read_cloud(path)


def main():
    """Parse, register, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, metavar="PAIRS.csv")
    parser.add_argument("--actors", type=int, help="as many as there is room for if left out")
    parser.add_argument("--cpus", type=float, default=1, help="CPUs of each actor")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each actor")
    arguments = parser.parse_args()

    with open(arguments.pairs, newline="") as file:
        names = [(row["src"], row["tgt"]) for row in csv.DictReader(file)]
    folder = arguments.pairs.resolve().parent
    files = dict.fromkeys(name for pair in names for name in pair)
    clouds = {name: read.remote(folder / name) for name in files}
    pairs = [(clouds[source], clouds[target]) for source, target in names]

    table = csv.writer(sys.stdout)
    table.writerow(["src", "tgt", "status", "confidence", "T_target_source", "error"])
    rows = iterate_pairs(pairs, actors=arguments.actors, num_cpus=arguments.cpus, num_gpus=arguments.gpus)
    for (source, target), row in zip(names, rows, strict=True):
        if isinstance(row, Exception):
            table.writerow([source, target, "error", "", "", row])
        else:
            transform = " ".join(str(number) for number in row.T_target_source.flat)
            table.writerow([source, target, row.status, round(row.confidence, 3), transform, ""])


if __name__ == "__main__":
    main()
