"""Trains the compact network on pairs of patches of simulated scans.

    python training/train.py --scenes SCENES --validation WHOLE_SCENES --output RUN

A run that was stopped, however roughly, goes on from its last checkpoint when it is started again with the same
arguments. RUN then holds `checkpoint.pt` (everything to go on from), `best.pt` (the averaged network with the highest
share of right matches on the validation scenes; see export.py) and `curve.csv`.
"""

import argparse
import csv
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from data import Pairs, augment
from export import deepen, load, unfold
from features import AZIMUTHS, cell_features
from model import LARGE, SMALL, Compact, correlation
from validate import evaluate, summary, views

# Keypoints of one scene nearer than this share of the radius are not each other's negatives.
NEAR = 0.3
# The azimuth is not learned from patches whose axes differ by more radians.
MOST_TILT = 0.45
# Weight of the azimuth's loss beside the descriptor's.
AZIMUTH_WEIGHT = 0.5
# Temperatures: the logarithms of the softmax scales are learned, up to this scale.
FIRST_SCALE, LARGEST_SCALE = 10.0, 40.0
WARM_UP_STEPS = 100
LAST_RATE_SHARE = 0.02
AVERAGING = 0.995
CURVE = ["step", "pairs", "minutes", "rate", "loss_desc", "loss_azimuth", "accuracy"]
CURVE += ["inlier_ratio", "right", "azimuth_error"]


class Trainer(torch.nn.Module):
    """The network and the scales of its two softmaxes."""

    def __init__(self, model, fast=False):
        super().__init__()
        self.model = model
        self.fast = fast
        # A function, since a module would be saved as a second network.
        describe = lambda inputs: model(inputs)
        self.describe = torch.compile(describe) if fast else describe
        self.log_scale_desc = torch.nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))
        self.log_scale_azimuth = torch.nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    def forward(self, batch):
        """Losses of descriptors and azimuths, and the share of pairs that find each other."""
        n = batch.source.patches
        inputs = torch.cat([features(batch.source), features(batch.target)])
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.fast):
            desc, equi = self.describe(inputs)
        desc, equi = desc.float(), equi.float()
        desc_loss, accuracy = self.contrast(desc[:n], desc[n:], batch)
        return desc_loss, self.azimuth_loss(equi[:n], equi[n:], batch), accuracy

    def contrast(self, source, target, batch):
        """InfoNCE both ways: every patch has to find its partner among those of the batch."""
        similarity = source @ target.T * self.log_scale_desc.exp()
        same_group = batch.group[:, None] == batch.group[None]
        near = same_group & (torch.cdist(batch.place, batch.place) < NEAR)
        near.fill_diagonal_(False)
        similarity = similarity.masked_fill(near, -1e4)
        partner = torch.arange(len(source), device=source.device)
        loss = 0.5 * (F.cross_entropy(similarity, partner) + F.cross_entropy(similarity.T, partner))
        return loss, (similarity.argmax(1) == partner).float().mean()

    def azimuth_loss(self, source, target, batch):
        """Cross-entropy of the circular correlation against the two sectors next to the true turn."""
        logits = correlation(source, target) * self.log_scale_azimuth.exp()
        sector = (batch.azimuth * (AZIMUTHS / (2 * math.pi))) % AZIMUTHS
        lower, share = sector.long() % AZIMUTHS, sector - sector.floor()
        truth = torch.zeros_like(logits)
        truth.scatter_add_(1, lower[:, None], (1 - share)[:, None])
        truth.scatter_add_(1, ((lower + 1) % AZIMUTHS)[:, None], share[:, None])
        upright = (batch.tilt < MOST_TILT).float()
        return (F.cross_entropy(logits, truth, reduction="none") * upright).sum() / upright.sum().clamp_min(1)

    @torch.no_grad()
    def limit_scales(self):
        for log_scale in (self.log_scale_desc, self.log_scale_azimuth):
            log_scale.clamp_(max=math.log(LARGEST_SCALE))


def features(view):
    return cell_features(view.points, view.patch, view.patches)


class Average:
    """Exponential average of a network's parameters and statistics; short at first."""

    def __init__(self, model):
        self.state = {name: value.clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model, step):
        decay = min(AVERAGING, step / (step + 20))
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


class Run:
    """A training run and the folder that it can be resumed from."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.device = torch.device(arguments.device)
        self.folder = Path(arguments.output)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pairs = Pairs(arguments.scenes)
        if not self.pairs.groups:
            raise SystemExit(f"no scenes in {arguments.scenes}; make some with `coregister patches`")
        self.views = views(arguments.validation, self.device)
        self.trainer = Trainer(self.first_model(), arguments.fast).to(self.device)
        self.average = Average(self.trainer.model)
        self.optimizer = torch.optim.AdamW(
            self.trainer.parameters(), arguments.rate, betas=(0.9, 0.98), weight_decay=arguments.decay
        )
        self.step, self.seconds, self.best = 0, 0.0, -1.0
        self.resume()

    def first_model(self):
        if self.arguments.start is None:
            torch.manual_seed(self.arguments.seed)
            config = {"small": SMALL, "large": LARGE}[self.arguments.size]
            changed = {"C": self.arguments.channels, "dils": self.arguments.dilations, "D": self.arguments.width}
            return Compact(**config | {name: value for name, value in changed.items() if value is not None})
        batch = self.batch(0).source
        model = unfold(load(self.arguments.start), features(batch).cpu())
        torch.manual_seed(self.arguments.seed)
        return deepen(model, self.arguments.dilations) if self.arguments.dilations else model

    def batch(self, step):
        """The augmented batch of a step: the same in every run over the same scenes."""
        random = np.random.default_rng([self.arguments.seed, step])
        batch = self.pairs.draw(random, self.arguments.batch, self.arguments.group).to(self.device)
        generator = torch.Generator(self.device).manual_seed(int(random.integers(2**62)))
        return augment(batch, generator)

    def progress(self):
        """How much of the run is done, 0..1."""
        if self.arguments.minutes is not None:
            return self.seconds / (60 * self.arguments.minutes)
        return self.step / self.arguments.steps

    def rate(self):
        """Linear warm-up, then half a cosine."""
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress())))
        share = LAST_RATE_SHARE + (1 - LAST_RATE_SHARE) * cosine
        return self.arguments.rate * share * min(1.0, (self.step + 1) / WARM_UP_STEPS)

    def train(self):
        sums, steps = np.zeros(3), 0
        if self.step == 0:
            self.validate(np.full(3, np.nan))
        while self.progress() < 1:
            start = time.monotonic()
            sums += self.one_step()
            steps += 1
            self.seconds += time.monotonic() - start
            if self.step % self.arguments.every == 0 or self.progress() >= 1:
                self.validate(sums / steps)
                self.save()
                sums, steps = np.zeros(3), 0
                self.pairs.refresh()

    def one_step(self):
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.trainer.train()
        desc_loss, azimuth_loss, accuracy = self.trainer(self.batch(self.step))
        self.optimizer.zero_grad(set_to_none=True)
        (desc_loss + AZIMUTH_WEIGHT * azimuth_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.trainer.parameters(), 2.0)
        self.optimizer.step()
        self.trainer.limit_scales()
        self.step += 1
        self.average.update(self.trainer.model, self.step)
        return np.array([desc_loss.item(), azimuth_loss.item(), accuracy.item()])

    def validate(self, losses):
        """Judges the averaged network, keeps it if it is the best so far, and adds a row to the curve."""
        averaged = Compact(**self.trainer.model.config).to(self.device)
        averaged.load_state_dict(self.average.state)
        result = summary(evaluate(averaged, self.views))
        if result["inlier_ratio"] > self.best:
            self.best = result["inlier_ratio"]
            content = {"config": averaged.config, "model": averaged.state_dict(), "step": self.step} | result
            replace(content, self.folder / "best.pt")
        row = [self.seconds / 60, self.rate(), *losses, *result.values()]
        self.add_to_curve([str(self.step), str(len(self.pairs)), *(f"{value:.5g}" for value in row)])

    def add_to_curve(self, row):
        path = self.folder / "curve.csv"
        is_new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(CURVE)
            writer.writerow(row)
        print("  ".join(f"{name} {value}" for name, value in zip(CURVE, row)), flush=True)

    def save(self):
        content = {
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "trainer": self.trainer.state_dict(),
            "average": self.average.state,
            "optimizer": self.optimizer.state_dict(),
        }
        replace(content, self.folder / "checkpoint.pt")

    def resume(self):
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        content = torch.load(path, map_location=self.device, weights_only=True)
        self.step, self.seconds, self.best = content["step"], content["seconds"], content["best"]
        self.trainer.load_state_dict(content["trainer"])
        self.average.state = content["average"]
        self.optimizer.load_state_dict(content["optimizer"])
        self.forget_later_rows()

    def forget_later_rows(self):
        """Drops the rows of the curve that a run wrote after its last checkpoint."""
        path = self.folder / "curve.csv"
        header, *rows = path.read_text().splitlines()
        kept = [row for row in rows if int(row.split(",")[0]) <= self.step]
        part = path.with_suffix(".part")
        part.write_text("\n".join([header, *kept]) + "\n")
        os.replace(part, path)


def replace(content, path):
    """Writes `content` to `path`, whole or not at all."""
    part = path.with_suffix(".part")
    torch.save(content, part)
    os.replace(part, path)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--scenes", required=True, help="folder of `coregister patches`; may still be growing")
    parser.add_argument("--validation", required=True, help="folder of `coregister patches --whole`, of another seed")
    parser.add_argument("--output", required=True, help="folder of the run; a run in it is resumed")
    parser.add_argument("--size", choices=["small", "large"], default="small", help="2.0 or 5.5 million multiply-adds")
    parser.add_argument("--channels", type=int, help="channels, instead of the size's own")
    parser.add_argument("--dilations", type=lambda text: [int(x) for x in text.split(",")], help="such as 1,2,4; more than those of --start deepen it")
    parser.add_argument("--width", type=int, help="width of the descriptor")
    parser.add_argument("--start", help="weight file to start from, instead of at random")
    parser.add_argument("--steps", type=int, default=20000, help="length of the run")
    parser.add_argument("--minutes", type=float, help="length of the run in training time, instead of steps")
    parser.add_argument("--batch", type=int, default=480, help="pairs a step")
    parser.add_argument("--group", type=int, default=96, help="most pairs of one scene and radius in a batch")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--decay", type=float, default=0.02, help="weight decay")
    parser.add_argument("--every", type=int, default=500, help="steps between validations and checkpoints")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--fast", action="store_true", help="compile the network, and multiply in bf16")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 leaves it to torch")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    run = Run(arguments)
    model = run.trainer.model
    print(
        f"{len(run.pairs)} pairs in {len(run.pairs.groups)} groups; {len(run.views)} validation views; "
        f"{sum(p.numel() for p in model.parameters())} parameters, {model.multiply_adds() / 1e6:.2f} million "
        f"multiply-adds a patch; step {run.step}, {arguments.device}",
        flush=True,
    )
    run.train()


if __name__ == "__main__":
    main()
