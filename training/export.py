"""Weight files: batch norms folded, f16, as the run time reads them.

    python training/export.py CHECKPOINT.pt WEIGHTS.safetensors

The header's key `config` holds the architecture. `NAME.w` [outputs, taps * inputs] and `NAME.b` [outputs] are the
linear layers stem, conv.0, conv.1, ..., equi, h1, h2 and skip; `pg` and `pb` scale and shift the pooled quantities.
"""

import argparse
import json

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from model import Compact

# Gain of the batch norm of an added convolution: small beside the channels it is added to, yet enough to learn from.
FIRST_GAIN = 0.05


def folded_tensors(model):
    """The tensors of the folded form of a network in training form, f32."""
    gain = torch.rsqrt(model.pn.running_var + model.pn.eps)
    tensors = {"pg": gain, "pb": -model.pn.running_mean * gain}
    for name, layer in layers(model):
        w, b = layer.w.detach(), layer.b.detach()
        if layer.bn is not None:
            gain = layer.bn.weight.detach() * torch.rsqrt(layer.bn.running_var + layer.bn.eps)
            w, b = w * gain[:, None], (b - layer.bn.running_mean) * gain + layer.bn.bias.detach()
        tensors[f"{name}.w"], tensors[f"{name}.b"] = w, b
    tensors["stem.w"] = tensors["stem.w"] * model.scale
    return tensors


def layers(model):
    """Names and modules of the linear layers."""
    named = [(f"conv.{i}", conv) for i, conv in enumerate(model.conv)]
    return [(name, getattr(model, name)) for name in ("stem", "equi", "h1", "h2", "skip")] + named


def save(model, path, dtype=torch.float16):
    """Writes the weights of a network in training form."""
    tensors = {name: tensor.to("cpu", dtype).contiguous() for name, tensor in folded_tensors(model).items()}
    overflown = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if overflown:
        raise ValueError(f"{', '.join(overflown)} do not fit {dtype}; export in float32")
    save_file(tensors, path, metadata={"config": json.dumps(model.config)})


def load(path):
    """The network of a weight file, folded, in f32."""
    with safe_open(path, "pt") as file:
        model = Compact(**json.loads(file.metadata()["config"]), folded=True)
        model.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})
    return model.eval().requires_grad_(False)


@torch.no_grad()
def unfold(folded, features):
    """A network in training form that computes what a folded one does, to go on training from.

    Each batch norm gets the mean and the deviation of its input over `features` [N, AZIMUTHS, CHANNELS] as its
    statistics, and again as its gain and bias, so that it changes nothing yet.
    """
    model = Compact(**folded.config).eval()
    statistics = {}

    def record(name):
        return lambda _, __, y: statistics.update({name: (y.flatten(0, 1).mean(0), y.flatten(0, 1).var(0))})

    hooks = [layer.register_forward_hook(record(name)) for name, layer in layers(folded)]
    pooled = []
    pool, folded.pool = folded.pool, lambda *inputs: pooled.append(pool(*inputs)) or pooled[0]
    folded(features)
    del folded.pool
    for hook in hooks:
        hook.remove()
    mean, variance = pooled[0].mean(0), pooled[0].var(0)
    model.pn.running_mean.copy_(mean)
    model.pn.running_var.copy_(variance)
    deviation = (variance + model.pn.eps).sqrt()
    for (name, new), (_, old) in zip(layers(model), layers(folded)):
        w, b = old.w.clone(), old.b.clone()
        if name in ("h1", "skip"):
            # Their inputs were pooled * pg + pb, and are now (pooled - mean) / deviation.
            b += w @ (folded.pg * mean + folded.pb)
            w *= folded.pg * deviation
        new.w.copy_(w / model.scale if name == "stem" else w)
        new.b.copy_(b)
        if new.bn is not None:
            mean_of_layer, variance_of_layer = statistics[name]
            new.bn.running_mean.copy_(mean_of_layer)
            new.bn.running_var.copy_(variance_of_layer)
            new.bn.weight.copy_((variance_of_layer + new.bn.eps).sqrt())
            new.bn.bias.copy_(mean_of_layer)
    return model


@torch.no_grad()
def deepen(model, dilations):
    """A network in training form with the convolutions of `model`, and further ones for the rest of `dilations`.

    A convolution is added to what goes into it, so one that gives little changes little: the new network begins about
    where the old one is.
    """
    old = model.config["dils"]
    if list(dilations[: len(old)]) != old:
        raise ValueError(f"a network of dilations {old} cannot become one of {list(dilations)}; they must begin alike")
    deeper = Compact(**model.config | {"dils": dilations})
    deeper.load_state_dict(model.state_dict(), strict=False)
    for conv in deeper.conv[len(old) :]:
        conv.bn.weight.fill_(FIRST_GAIN)
    return deeper


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="best.pt of a training run")
    parser.add_argument("weights", help="file to write, .safetensors")
    parser.add_argument("--dtype", choices=["float16", "float32"], default="float16")
    arguments = parser.parse_args()
    best = torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)
    model = Compact(**best["config"])
    model.load_state_dict(best["model"])
    save(model, arguments.weights, getattr(torch, arguments.dtype))


if __name__ == "__main__":
    main()
