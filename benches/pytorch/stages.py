"""The compute stages as one would write them in PyTorch, timed on a CUDA device, to hold the kernels against.

    python benches/pytorch/stages.py [--weights data/weights/WEIGHTS.safetensors] [--repeat 20]

Prints a table: the stage, its size and the median time in milliseconds, from events on the stream. Needs PyTorch and
safetensors. `cargo bench` on the same machine times the kernels on the same sizes.
"""

import argparse
import statistics
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "training"))
from export import load  # noqa: E402
from features import cell_features  # noqa: E402
from model import AZIMUTHS, CHANNELS, azimuth  # noqa: E402

# Of the published network: shells, elevations, samples of a cell, channels.
SHELLS, ELEVATIONS, SAMPLES = 3, 7, 10
PUBLISHED_CHANNELS = [48, 64, 64, 128, 128, 64, 64, 32, 32]
PATCHES, PATCH_POINTS = 1500, 512


def milliseconds(work, repeat):
    """Median time of `work` on the device, after three calls that are not timed."""
    for _ in range(3):
        work()
    times = []
    for _ in range(repeat):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def mutual_by_distance(source, target):
    """Rows of `source` and `target` that are each other's nearest, by all distances."""
    distances = torch.cdist(source, target)
    forward, backward = distances.argmin(1), distances.argmin(0)
    rows = torch.arange(len(source), device=source.device)
    mutual = backward[forward] == rows
    return rows[mutual], forward[mutual]


def mutual_by_product(source, target):
    """The same for rows of norm one, by all products."""
    products = source @ target.T
    forward, backward = products.argmax(1), products.argmax(0)
    rows = torch.arange(len(source), device=source.device)
    mutual = backward[forward] == rows
    return rows[mutual], forward[mutual]


def sample_farthest(points, count):
    """Indices [clouds, count] of furthest points of clouds [clouds, points, 3], one after another."""
    nearest = torch.full(points.shape[:2], torch.inf, device=points.device)
    clouds = torch.arange(len(points), device=points.device)
    latest = torch.zeros(len(points), dtype=torch.long, device=points.device)
    chosen = torch.empty(len(points), count, dtype=torch.long, device=points.device)
    for i in range(count):
        chosen[:, i] = latest
        distance = ((points - points[clouds, latest][:, None]) ** 2).sum(2)
        nearest = torch.minimum(nearest, distance)
        latest = nearest.argmax(1)
    return chosen


def score_hypotheses(rotations, translations, anchors, source, target, base=0.06, slope=0.06):
    """Support [hypotheses] of each pose among all matches."""
    moved = torch.einsum("hij,mj->hmi", rotations, source) + translations[:, None]
    residual = (moved - target).square().sum(2)
    tolerance = (base + slope * torch.cdist(anchors, source)).square()
    return torch.where(residual < tolerance, 1 - residual / tolerance, 0.0).sum(1)


class Published(nn.Module):
    """MiniSpinNet's layers with random weights, batch norms folded: [N, cells, SAMPLES, 3] -> descriptors and maps."""

    def __init__(self):
        super().__init__()
        self.points = nn.Linear(3, 16)
        pairs = zip(PUBLISHED_CHANNELS, PUBLISHED_CHANNELS[1:])
        self.convolutions = nn.ModuleList([nn.Conv2d(i, o, 3, padding=(1, 0)) for i, o in pairs])
        self.attention = nn.Sequential(nn.Conv2d(32, 16, 1), nn.ReLU(), nn.Conv2d(16, 1, 1), nn.ReLU())

    def forward(self, samples):
        x = F.relu(self.points(samples)).amax(2)
        x = x.view(-1, SHELLS, ELEVATIONS, AZIMUTHS, 16).permute(0, 1, 4, 2, 3).flatten(1, 2)
        x = x.contiguous(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            x = F.relu(convolution(F.pad(x, (1, 1, 0, 0), mode="circular")))
        return F.normalize((x * self.attention(x)).mean((2, 3)), dim=1), F.normalize(x, dim=1)


def unit_rows(count, width):
    return F.normalize(torch.randn(count, width, device="cuda"), dim=1)


def stages(weights):
    """Name, size and work of each stage."""
    for count, width in [(1500, 168), (5000, 32)]:
        rows = unit_rows(count, width), unit_rows(count, width)
        size = f"{count} × {count} of {width}"
        yield "matching, cdist + argmin", size, lambda rows=rows: mutual_by_distance(*rows)
        yield "matching, product + argmax", size, lambda rows=rows: mutual_by_product(*rows)
    for clouds, points in [(1, 15_000), (1, 30_000), (64, 15_000), (128, 30_000)]:
        scans = torch.rand(clouds, points, 3, device="cuda")
        yield "sample, plain loop", f"1500 of {clouds} × {points}", lambda scans=scans: sample_farthest(scans, 1500)
    for count in (1300, 3000):
        rotations = torch.linalg.qr(torch.randn(count, 3, 3, device="cuda")).Q
        rest = [torch.randn(count, 3, device="cuda") for _ in range(4)]
        size = f"{count} × {count}"
        yield "consensus", size, lambda r=rotations, rest=rest: score_hypotheses(r, *rest)
        compiled = torch.compile(score_hypotheses)
        yield "consensus, torch.compile", size, lambda r=rotations, rest=rest, f=compiled: f(r, *rest)
    maps = [torch.randn(1000, 32, AZIMUTHS, device="cuda") for _ in range(2)]
    yield "azimuth", "1000 matches", lambda: azimuth(*maps)
    points = torch.rand(PATCHES * PATCH_POINTS, 3, device="cuda") - 0.5
    patch = torch.arange(PATCHES, device="cuda").repeat_interleave(PATCH_POINTS)
    yield "cell features", f"{PATCHES} patches", lambda: cell_features(points, patch, PATCHES)
    features = torch.rand(PATCHES, AZIMUTHS, CHANNELS, device="cuda")
    samples = torch.rand(PATCHES, SHELLS * ELEVATIONS * AZIMUTHS, SAMPLES, 3, device="cuda")
    networks = [("learned network", load(weights).cuda(), features), ("published network", Published().cuda(), samples)]
    for name, network, values in networks:
        network = network.eval().requires_grad_(False)
        size = f"{PATCHES} patches"
        for precision in ("highest", "high"):
            kind = "f32" if precision == "highest" else "TF32"

            def run(network=network, values=values, precision=precision):
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "high"
                return network(values)

            yield f"{name}, {kind}", size, run
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        compiled = torch.compile(network)
        yield f"{name}, TF32, torch.compile", size, lambda c=compiled, values=values: c(values)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    built_in = next((ROOT / "data" / "weights").glob("*.safetensors"), None)
    arguments.add_argument("--weights", default=built_in, help="of the learned descriptor")
    arguments.add_argument("--repeat", type=int, default=20, help="timed calls of each stage")
    chosen = arguments.parse_args()
    torch.backends.cudnn.benchmark = True
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    with torch.inference_mode():
        for name, size, work in stages(chosen.weights):
            print(f"{name:40} {size:24} {milliseconds(work, chosen.repeat):10.4f} ms", flush=True)


if __name__ == "__main__":
    main()
