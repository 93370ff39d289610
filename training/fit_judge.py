"""Fits the weights and the calibration in src/stages/verify/judge.rs to candidates of simulated pairs.

    coregister simulate -o scans --pairs 450 --none-share 0.15 --overlap 0.05..0.7 --seed 4242
    coregister simulate -o little --pairs 150 --overlap 0.06..0.3 --seed 9090
    coregister simulate -o less --pairs 320 --none-share 0.12 --overlap 0.05..0.3 --seed 5151
    coregister simulate -o none --pairs 150 --none-share 1 --seed 8888
    for pairs in scans little less none; do
        cargo run --release --example candidates -- $pairs/pairs.csv > $pairs.csv
    done
    python training/fit_judge.py scans.csv little.csv less.csv none.csv [--test OTHER.csv ...]

The log-odds of a candidate are linear in the logarithms of its hold, which counts as far as nothing is in front, its share
in front of what the other scan saw and its support beyond chance, which is bounded. Together they say how likely each
candidate of a pair is the right one, and that none is: the candidates' odds stand against each other and against one. The
weights are those under which what is the case is likeliest. A logistic function of the best one's log-odds against all that
differ from it, all of them bounded by what looks right and is not, is the confidence.

Needs numpy and scipy.
"""

import argparse
import csv
from collections import defaultdict

import numpy as np
from scipy.optimize import minimize

LEAST_IN_FRONT = 0.0075
LEAST_SUPPORT = 0.5
MOST_SUPPORT = 100.0
"""As in judge.rs: what share in front and support are compared with, and what bounds support."""

NAMES = ["hold", "in front", "support", "bias"]
CURRENT = np.array([1.7, -0.95, 2.6, -8.1])
CURRENT_CALIBRATION = np.array([1.2, 0.5])
"""The constants of judge.rs, the weights in the order of the names, slope and bias of the calibration."""

LOOKALIKES = 0.0025
"""Share of things that look like the right candidate and are not, which bounds the odds of the confidence."""

LEAST_UNCOVERED = 0.02
UNCOVERED_BY_LIKES = 4.0
UNCOVERED_WEIGHT = 2.0
"""What counts against rivals that leave much uncovered of clouds that the best candidate lays on each other as a whole."""

NOTHING = -1e9
"""Log-odds of a place without a candidate."""
MOST = 60.0
"""Log-odds beyond this are as good as certain."""
LEAST = -700.0
"""The exponential of less is zero in f64, and that of its negative infinite."""
RIDGE = 0.5
"""Keeps weights that the data leave open from growing: its square counts as much as so many pairs' losses."""


class Pairs:
    """Witnesses of all candidates and a one, [pairs, candidates, 4]; whether each is there, is distinct from better ones,
    and is right, [pairs, candidates]."""

    def __init__(self, paths):
        pairs = defaultdict(list)
        for path in paths:
            with open(path, newline="") as file:
                for row in csv.DictReader(file):
                    pairs[path, row["set"], row["name"]].append(row)
        most = max(len(candidates) for candidates in pairs.values())
        self.found = np.zeros((len(pairs), most, len(NAMES)))
        self.uncovered = np.zeros((len(pairs), most))
        self.there, self.distinct, self.right = np.zeros((3, len(pairs), most), dtype=bool)
        for i, candidates in enumerate(pairs.values()):
            for j, candidate in enumerate(candidates):
                self.found[i, j] = witnesses(candidate)
                overlap = np.sqrt(float(candidate["source_overlap"]) * float(candidate["target_overlap"]))
                self.uncovered[i, j] = 1 - overlap + LEAST_UNCOVERED
                self.there[i, j] = True
                self.distinct[i, j] = candidate["distinct"] == "1"
                self.right[i, j] = candidate["right"] == "1"

    def log_odds(self, weights):
        return np.where(self.there, np.clip(self.found @ weights, -MOST, MOST), NOTHING)


def witnesses(candidate):
    """The numbers that the log-odds are linear in."""
    value = {name: float(text) for name, text in candidate.items() if name not in ("set", "name")}
    hold = np.sqrt(value["source_hold"] * value["target_hold"])
    by_target = value["target_reliance"] * value["source_in_front"]
    by_source = value["source_reliance"] * value["target_in_front"]
    in_front = (by_target + by_source) / 2 / LEAST_IN_FRONT
    beyond_chance = max(value["support"] - value["chance"], 0.0) / (LEAST_SUPPORT + value["chance"])
    supported = beyond_chance / (1 + beyond_chance / MOST_SUPPORT)
    held = np.log1p(hold / value["hold_of_one"]) / (1 + in_front)
    return [held, np.log1p(in_front), np.log1p(supported), 1.0]


def surprise(weights, pairs):
    """Mean negative log-likelihood of which candidate is right, or that none is."""
    odds = np.exp(pairs.log_odds(weights))
    right = (odds * pairs.right).sum(axis=1)
    of_the_case = np.where(pairs.right.any(axis=1), right, 1.0)
    return (np.log(1 + odds.sum(axis=1)) - np.log(of_the_case)).mean()


def penalised(weights, pairs, scale):
    return surprise(weights, pairs) + RIDGE * ((weights * scale)[:-1] ** 2).sum() / len(pairs.found)


def chosen(weights, pairs):
    """Log-odds of the best candidate of each pair against all others, and whether it is right."""
    log_odds = pairs.log_odds(weights)
    pair = np.arange(len(log_odds))
    best = log_odds.argmax(axis=1)
    # The candidates were ranked by the weights of their day, and a cluster of near-equal ones is represented by its
    # first. Where other weights choose another one of a cluster, that one stands for it.
    odds = bounded(log_odds - shortfall(pairs.uncovered, pairs.uncovered[pair, best][:, None])) * pairs.distinct
    represented = pairs.distinct[pair, best]
    own = np.where(represented, odds[pair, best], odds[:, 0])
    rivals = 1 + np.maximum(odds.sum(axis=1) - own, 0)
    return np.log(bounded(log_odds[pair, best]) / rivals), pairs.right[pair, best]


def shortfall(uncovered, by_best):
    """What speaks against rivals of a candidate that lays the clouds on each other as a whole."""
    ratio = np.where(uncovered > 0, uncovered, LEAST_UNCOVERED) / by_best
    return UNCOVERED_WEIGHT * np.maximum(np.log(ratio / UNCOVERED_BY_LIKES), 0)


def bounded(log_odds):
    """Odds as the confidence compares them."""
    return 1 / (np.exp(-np.maximum(log_odds, LEAST)) + LOOKALIKES)


def loss(calibration, against_all, right):
    """Mean negative log-likelihood of the confidences."""
    confidence = calibration[0] * against_all + calibration[1]
    return np.logaddexp(0, np.where(right, -confidence, confidence)).mean()


def calibrated(against_all, right):
    return minimize(loss, CURRENT_CALIBRATION, args=(against_all, right), method="Nelder-Mead").x


def report(name, weights, calibration, pairs):
    against_all, right = chosen(weights, pairs)
    accepted = calibration[0] * against_all + calibration[1] > 0
    print(
        f"{name}: {len(right)} pairs, {pairs.right.any(axis=1).sum()} with a right candidate, chosen for {right.sum()}; "
        f"accepted {(accepted & right).sum()} right, {(accepted & ~right).sum()} wrong; "
        f"surprise {surprise(weights, pairs):.4f}, loss {loss(calibration, against_all, right):.4f}"
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("candidates", nargs="+", help="lists of candidates to fit to")
    parser.add_argument("--test", nargs="*", default=[], help="other lists, to look at the fit")
    arguments = parser.parse_args()
    pairs = Pairs(arguments.candidates)
    scale = pairs.found[pairs.there].std(axis=0)
    weights = minimize(penalised, CURRENT, args=(pairs, scale), method="BFGS").x
    calibration = calibrated(*chosen(weights, pairs))
    print("fitted: " + ", ".join(f"{name} {x:.2f}" for name, x in zip(NAMES, weights)))
    print(f"its calibration: slope {calibration[0]:.2f}, bias {calibration[1]:.2f}")
    again = calibrated(*chosen(CURRENT, pairs))
    print(f"judge.rs, calibrated anew: slope {again[0]:.2f}, bias {again[1]:.2f}")
    for name, lists in [("fitted to", arguments.candidates), *((path, [path]) for path in arguments.test)]:
        looked_at = Pairs(lists)
        report(f"{name}, judge.rs", CURRENT, CURRENT_CALIBRATION, looked_at)
        report(f"{name}, fitted", weights, calibration, looked_at)


if __name__ == "__main__":
    main()
