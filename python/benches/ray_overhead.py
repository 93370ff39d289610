"""What it costs to send a matcher along with every pair, on Ray, against an actor that keeps it.

    coregister simulate -o scans --pairs 100 --seed 5
    python python/benches/ray_overhead.py scans/pairs.csv

The same pairs are registered, with as many CPUs,
  pickled: by a Ray task per pair, which gets the Registrar and both arrays in the call;
  stored:  the same, with arrays by ray.put;
  actors:  by coregister.ray.register_pairs, with arrays by ray.put;
  batch:   by Registrar.register_batch, without Ray.
The ways take turns, so that other work on the machine meets all of them; the table has medians over the rounds.
"""

import argparse
import csv
import statistics
import time
from pathlib import Path

import coregister
import ray
from coregister.ray import register_pairs


@ray.remote(num_cpus=1)
def register(registrar, source, target):
    """One pair, with a Registrar that comes along."""
    return registrar.register(source=source, target=target)


def pickled(config, clouds):
    """Everything in every call."""
    registrar = coregister.Registrar(device=config.device, threads=1)
    return ray.get([register.remote(registrar, source, target) for source, target in clouds])


def stored(config, clouds):
    """Arrays in the object store."""
    registrar = coregister.Registrar(device=config.device, threads=1)
    return ray.get([register.remote(registrar, ray.put(source), ray.put(target)) for source, target in clouds])


def actors(config, clouds):
    """Registrars that stay, and arrays in the object store."""
    return register_pairs([(ray.put(source), ray.put(target)) for source, target in clouds], config)


def batch(config, clouds):
    """No Ray."""
    with coregister.Registrar(device=config.device, threads=config.threads) as registrar:
        return registrar.register_batch(clouds)


def main():
    """Take turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, metavar="PAIRS.csv")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    with open(arguments.pairs, newline="") as file:
        names = [(row["src"], row["tgt"]) for row in csv.DictReader(file)]
    folder = arguments.pairs.parent
    clouds = [tuple(coregister.read_cloud(folder / name) for name in pair) for pair in names]
    points = statistics.mean(len(cloud) for pair in clouds for cloud in pair)
    print(f"{len(clouds)} pairs, {points / 1000:.0f} thousand points a cloud, {arguments.cpus} CPUs")

    ray.init(num_cpus=arguments.cpus, include_dashboard=False, log_to_driver=False)
    ways = [pickled, stored, actors, batch]
    times = {way.__name__: [] for way in ways}
    for way in ways:  # Starts Ray's workers.
        way(coregister.Config(device="cpu"), clouds[:2])
    answers = []
    for _ in range(arguments.rounds):
        for way in ways:
            # The threads are those of the batch: Ray's actors and tasks have one each.
            config = coregister.Config(device="cpu", threads=arguments.cpus if way is batch else None)
            start = time.perf_counter()
            rows = way(config, clouds)
            times[way.__name__].append(time.perf_counter() - start)
            answers.append([row.T_target_source.tolist() for row in rows])
    assert all(answer == answers[0] for answer in answers), "all ways give the same answers"

    print("way      s a pair  ratio to batch")
    fastest = statistics.median(times["batch"])
    for way, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{way:8} {median / len(clouds):8.3f} {median / fastest:15.2f}")


if __name__ == "__main__":
    main()
