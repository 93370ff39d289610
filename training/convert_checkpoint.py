"""Converts a checkpoint of BUFFER or BUFFER-X to the safetensors file that `--weights` takes.

    pip install torch safetensors numpy
    python training/convert_checkpoint.py Desc/best.pth weights.safetensors --cost-volume Pose/best.pth
    coregister register SOURCE TARGET --weights weights.safetensors --azimuth cost-volume
    python training/convert_checkpoint.py --check

The originals keep one checkpoint per stage of training, each with the tensors of the whole model: give the one of the
descriptor and, for `--azimuth cost-volume`, the one of the stage called Inlier in BUFFER and Pose in BUFFER-X. Of the
first the tensors `Desc.…` are taken, of the second `Inlier.…` or `Pose.…`, which are both written as `Inlier.…`. A
batch normalisation that follows a convolution is folded into it; checkpoints in which that has been done already, and
safetensors files in place of PyTorch's, are taken as well.

Neither code nor weights of the originals come with this program; mind the licence of those that you convert.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

EPSILON = 1e-5
"""What PyTorch's batch normalisation adds to the variance."""

COST_VOLUME_NAMES = ("Inlier.", "Pose.")


def read(path):
    """The tensors of a file by name, without the prefix that parallel training adds."""
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        tensors = load_file(path)
    else:
        import torch

        tensors = torch.load(path, map_location="cpu", weights_only=True)
        for key in ("state_dict", "model_state_dict", "model"):
            if isinstance(tensors.get(key), dict):
                tensors = tensors[key]
        tensors = {name: value.numpy() for name, value in tensors.items() if hasattr(value, "numpy")}
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def of_module(tensors, prefix, name):
    """The tensors that begin with `prefix`, beginning with `name` instead."""
    return {name + key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def fold(tensors):
    """Weights and biases of the convolutions, with the batch normalisations behind them folded in."""
    folded = {}
    for name in tensors:
        layer, _, kind = name.rpartition(".")
        if kind == "weight" and np.ndim(tensors[name]) > 1:
            folded[name], folded[f"{layer}.bias"] = folded_layer(tensors, layer)
    return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in folded.items()}


def folded_layer(tensors, layer):
    """`(w * x + b - mean) * g + s` as `w' * x + b'`."""
    weight = np.asarray(tensors[f"{layer}.weight"], dtype=np.float64)
    bias = np.asarray(tensors.get(f"{layer}.bias", np.zeros(len(weight))), dtype=np.float64)
    module, _, index = layer.rpartition(".")
    after = f"{module}.{int(index) + 1}"
    if f"{after}.running_var" not in tensors:
        return weight, bias
    mean, variance = (np.asarray(tensors[f"{after}.running_{what}"], dtype=np.float64) for what in ("mean", "var"))
    factor = np.asarray(tensors.get(f"{after}.weight", np.ones(len(weight)))) / np.sqrt(variance + EPSILON)
    summand = np.asarray(tensors.get(f"{after}.bias", np.zeros(len(weight))))
    shape = (-1,) + (1,) * (weight.ndim - 1)
    return weight * factor.reshape(shape), (bias - mean) * factor + summand


def converted(descriptor, cost_volume):
    """The tensors to write, from those of the two stages."""
    tensors = of_module(descriptor, "Desc.", "Desc.")
    if not tensors:
        sys.exit("error: the checkpoint has no tensor `Desc.…`, so it is none of BUFFER or BUFFER-X")
    for prefix in COST_VOLUME_NAMES:
        tensors |= of_module(cost_volume, prefix, "Inlier.")
    return fold(tensors)


def check():
    """Folds a made-up layer with and without factors, and compares it with what it stands for."""
    random = np.random.default_rng(1)
    tensors = {
        "module.Desc.ops.0.weight": random.normal(size=(4, 3, 1, 1)),
        "module.Desc.ops.0.bias": random.normal(size=4),
        "module.Desc.ops.1.running_mean": random.normal(size=4),
        "module.Desc.ops.1.running_var": random.uniform(0.1, 2, 4),
        "module.Desc.ops.1.num_batches_tracked": np.array(7),
        "module.Desc.ops.3.weight": random.normal(size=(2, 4, 1, 1)),
        "module.Pose.ops.0.weight": random.normal(size=(2, 3, 1, 1)),
    }
    tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    affine = {"Desc.ops.1.weight": random.normal(size=4), "Desc.ops.1.bias": random.normal(size=4)}
    x = random.normal(size=3)
    for extra in ({}, affine):
        given = tensors | extra
        found = converted(given, given)
        plain = given["Desc.ops.0.weight"][:, :, 0, 0] @ x + given["Desc.ops.0.bias"]
        expected = (plain - given["Desc.ops.1.running_mean"]) / np.sqrt(given["Desc.ops.1.running_var"] + EPSILON)
        expected = expected * extra.get("Desc.ops.1.weight", 1) + extra.get("Desc.ops.1.bias", 0)
        outcome = found["Desc.ops.0.weight"][:, :, 0, 0] @ x + found["Desc.ops.0.bias"]
        assert np.allclose(outcome, expected, atol=1e-5), (outcome, expected)
        layers = ("Desc.ops.0", "Desc.ops.3", "Inlier.ops.0")
        assert set(found) == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}, set(found)
        assert np.array_equal(found["Desc.ops.3.bias"], np.zeros(2, np.float32))
        again = converted(found, found)
        assert all(np.array_equal(again[name], found[name]) for name in found), "folding twice changes something"
    print("folding is right")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?", help="checkpoint of the descriptor")
    parser.add_argument("output", type=Path, nargs="?", help="the .safetensors file to write")
    parser.add_argument("--cost-volume", type=Path, help="checkpoint of the stage Inlier or Pose, if another")
    parser.add_argument("--check", action="store_true", help="check the folding on made-up layers")
    arguments = parser.parse_args()
    if arguments.check:
        return check()
    if arguments.output is None:
        parser.error("give a checkpoint and the file to write")
    from safetensors.numpy import save_file

    descriptor = read(arguments.checkpoint)
    cost_volume = read(arguments.cost_volume) if arguments.cost_volume else descriptor
    tensors = converted(descriptor, cost_volume)
    save_file(tensors, arguments.output)
    has = "with" if any(name.startswith("Inlier.") for name in tensors) else "without"
    print(f"wrote {len(tensors)} tensors, {has} a cost volume, to {arguments.output}")


if __name__ == "__main__":
    main()
