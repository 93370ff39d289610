"""Fits the weights and the calibration in src/stages/verify/judge.rs to candidates of simulated pairs.

    coregister simulate -o scans --pairs 450 --none-share 0.15 --overlap 0.05..0.7 --seed 4242
    coregister simulate -o little --pairs 150 --overlap 0.06..0.3 --seed 9090
    cargo run --release --example candidates -- scans/pairs.csv > scans.csv
    cargo run --release --example candidates -- little/pairs.csv > little.csv
    python training/fit_judge.py scans.csv little.csv

The log-odds of a candidate are linear in its overlap, its share in front of what the other scan saw, and the logarithm
of its support. The best candidate's stand against those of all that differ from it and against none being right, and
a logistic function of the outcome is the confidence. The six numbers of this model minimise the mean negative
log-likelihood of the confidences: each says how likely the chosen candidate is to be right, and it is or it is not.

Needs numpy and scipy.
"""

import csv
import sys
from collections import defaultdict

import numpy as np
from scipy.optimize import minimize

MOST_IN_FRONT = 0.15
"""As in judge.rs: how much of the share in front counts."""

NAMES = ["overlap", "in front", "support", "bias", "calibration slope", "calibration bias"]
CURRENT = np.array([0.6, -60.0, 1.8, -1.8, 2.9, -0.2])
"""The constants of judge.rs, in the order of the names."""

NOTHING = -1e9
"""Log-odds of a place without a candidate."""


def read(paths):
    """Witnesses [pairs, candidates, 3] of all candidates, whether each is there and distinct from better ones, and
    whether it is right, [pairs, candidates]."""
    pairs = defaultdict(list)
    for path in paths:
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                pairs[path, row["set"], row["name"]].append(row)
    most = max(len(candidates) for candidates in pairs.values())
    found = np.zeros((len(pairs), most, 3))
    there, distinct, right = np.zeros((3, len(pairs), most), dtype=bool)
    for i, candidates in enumerate(pairs.values()):
        for j, candidate in enumerate(candidates):
            found[i, j] = witnesses(candidate)
            there[i, j] = True
            distinct[i, j] = candidate["distinct"] == "1"
            right[i, j] = candidate["right"] == "1"
    return found, there, distinct, right


def witnesses(candidate):
    """The three numbers that the log-odds are linear in."""
    overlap = (float(candidate["source_overlap"]) + float(candidate["target_overlap"])) / 2
    in_front = (float(candidate["source_in_front"]) + float(candidate["target_in_front"])) / 2
    return [overlap, min(in_front, MOST_IN_FRONT), np.log1p(float(candidate["support"]))]


def chosen(model, data):
    """Log-odds of the confidence in the best candidate of each pair, and whether that one is right."""
    found, there, distinct, right = data
    log_odds = np.where(there, found @ model[:3] + model[3], NOTHING)
    pair = np.arange(len(log_odds))
    best = log_odds.argmax(axis=1)
    # The candidates were ranked by the weights of their day, and a cluster of near-equal ones is represented by its
    # first. Where other weights choose another one of a cluster, that one stands for it.
    odds = np.exp(log_odds) * distinct
    represented = distinct[pair, best]
    own = np.where(represented, odds[pair, best], odds[:, 0])
    rivals = 1 + np.maximum(odds.sum(axis=1) - own, 0)
    against_all = log_odds[pair, best] - np.log(rivals)
    return model[4] * against_all + model[5], right[pair, best]


def loss(model, data):
    """Mean negative log-likelihood of the confidences."""
    confidence, right = chosen(model, data)
    return np.logaddexp(0, np.where(right, -confidence, confidence)).mean()


def main():
    data = read(sys.argv[1:])
    options = {"maxiter": 20_000, "maxfev": 20_000, "xatol": 1e-3, "fatol": 1e-7}
    best = minimize(loss, CURRENT, args=(data,), method="Nelder-Mead", options=options)
    calibrated = minimize(
        lambda calibration: loss(np.append(CURRENT[:4], calibration), data), CURRENT[4:], method="Nelder-Mead"
    )
    print(f"{len(data[0])} pairs, {data[3].any(axis=1).sum()} with a right candidate")
    print(f"judge.rs as it is: loss {loss(CURRENT, data):.4f}")
    print(f"its weights, calibrated anew: loss {calibrated.fun:.4f}, slope and bias {calibrated.x.round(2)}")
    print(f"all fitted: loss {best.fun:.4f}, " + ", ".join(f"{name} {x:.2f}" for name, x in zip(NAMES, best.x)))


if __name__ == "__main__":
    main()
