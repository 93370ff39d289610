"""Fits the weights and the calibration in src/stages/verify/judge.rs to candidates of simulated pairs.

    coregister simulate -o scans --pairs 500 --none-share 0.15 --seed 4242
    cargo run --release --example candidates -- scans/pairs.csv > candidates.csv
    python training/fit_judge.py candidates.csv

The log-odds of a candidate are linear in its overlap, its share in front of what the other scan saw, and the logarithm
of its support; each pair's right candidates weigh as much together as its wrong ones. The confidence is a logistic
function of the best candidate's log-odds against all that differ from it and against none being right. Since the
weights decide what is best and what is refined, dump the candidates anew after changing them and fit the calibration
to that (the last line of the output holds for the weights that the candidates were ranked by).
"""

import csv
import sys
from collections import defaultdict

import numpy as np

MOST_IN_FRONT = 0.15
"""As in judge.rs: how much of the share in front counts."""

RIDGE = 1e-3
"""Keeps the weights finite where right and wrong separate."""


def logistic(features, right, weight):
    """Weights and bias (last) of a weighted logistic regression, by Newton's method."""
    x = np.hstack([features, np.ones((len(features), 1))])
    solution = np.zeros(x.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-x @ solution))
        gradient = x.T @ (weight * (right - p)) - RIDGE * solution
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(x.shape[1])
        step = np.linalg.solve(hessian, gradient)
        solution += step
        if np.abs(step).max() < 1e-9:
            break
    return solution


def read(paths):
    """Candidates by pair, in their order."""
    pairs = defaultdict(list)
    for path in paths:
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                numbers = {key: float(value) for key, value in row.items() if key not in ("set", "name")}
                pairs[path, row["set"], row["name"]].append(numbers)
    return list(pairs.values())


def witnesses(candidate):
    """The three numbers that the log-odds are linear in."""
    overlap = (candidate["source_overlap"] + candidate["target_overlap"]) / 2
    in_front = (candidate["source_in_front"] + candidate["target_in_front"]) / 2
    return [overlap, min(in_front, MOST_IN_FRONT), np.log1p(candidate["support"])]


def fit_weights(pairs):
    """Weights of overlap, share in front, support; bias."""
    features, right, weight = [], [], []
    for pair in pairs:
        is_right = np.array([candidate["right"] for candidate in pair])
        for candidate, label in zip(pair, is_right):
            features.append(witnesses(candidate))
            right.append(label)
            weight.append(1 / (is_right == label).sum())
    return logistic(np.array(features), np.array(right), np.array(weight))


def chosen_log_odds(pair):
    """Log-odds of the first candidate against its distinct rivals and against none, as in judge.rs; whether it is right."""
    rivals = sum(np.exp(candidate["log_odds"]) for candidate in pair[1:] if candidate["distinct"])
    return pair[0]["log_odds"] - np.log(1 + rivals), pair[0]["right"]


def fit_calibration(pairs):
    """Slope and bias of the confidence; its mean negative log-likelihood."""
    chosen, right = map(np.array, zip(*(chosen_log_odds(pair) for pair in pairs)))
    slope, bias = logistic(chosen[:, None], right, np.ones(len(right)))
    confidence = np.clip(1 / (1 + np.exp(-slope * chosen - bias)), 1e-9, 1 - 1e-9)
    return slope, bias, -np.mean(np.where(right == 1, np.log(confidence), np.log(1 - confidence)))


def main():
    pairs = read(sys.argv[1:])
    possible = sum(any(candidate["right"] for candidate in pair) for pair in pairs)
    weights = fit_weights(pairs)
    best = [max(pair, key=lambda c: np.dot(weights[:3], witnesses(c))) for pair in pairs]
    print(f"{len(pairs)} pairs, {possible} with a right candidate")
    print(f"chosen right: {sum(pair[0]['right'] for pair in pairs):.0f} as ranked, {sum(c['right'] for c in best):.0f} as fitted")
    print("overlap {:.2f}, in front {:.1f}, support {:.2f}, bias {:.2f}".format(*weights))
    print("calibration slope {:.2f}, bias {:.2f}; negative log-likelihood {:.4f}".format(*fit_calibration(pairs)))


if __name__ == "__main__":
    main()
