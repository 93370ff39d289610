"""Tests: `python -m pytest training`. They need no data and take seconds."""

import math

import numpy as np
import pytest
import torch

from data import Batch, Changes, Patches, augment, change, change_torch, turn_about_z
from export import deepen, folded_tensors, load, save, unfold
from features import AZIMUTHS, CHANNELS, ELEVATIONS, RADII, cell_features, cell_sums, cell_sums_torch, features_of_sums
from model import SMALL, Compact, azimuth
from train import Run, Trainer

COUNTS = [300, 0, 1, 40, 512]


def ragged_patches(seed=0, counts=COUNTS):
    """Points in the unit ball; every patch but empty ones has its keypoint, which has no direction."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(sum(counts), 3)) * 0.4
    points /= np.maximum(1.0, np.linalg.norm(points, axis=1, keepdims=True))
    patch = np.repeat(np.arange(len(counts)), counts)
    points[np.unique(patch, return_index=True)[1]] = 0
    return Patches(torch.from_numpy(points.astype(np.float32)), torch.from_numpy(patch), len(counts))


def slow_features(points):
    """The features of one patch, straight from their definition, in f64: [AZIMUTHS, CHANNELS]."""
    features = np.zeros((AZIMUTHS, RADII, ELEVATIONS, 11))
    for k in range(AZIMUTHS):
        angle = 2 * math.pi * k / AZIMUTHS
        for i in range(RADII):
            for j in range(ELEVATIONS):
                r, s = (i + 0.5) / RADII, (j + 0.5) / ELEVATIONS * 2 - 1
                weights, offsets = [], []
                for x, y, z in points:
                    norm = math.sqrt(x * x + y * y + z * z)
                    if norm <= 1e-4:
                        continue
                    u = min(max(norm * RADII - 0.5, 0), RADII - 1)
                    v = min(max((z / norm + 1) / 2 * ELEVATIONS - 0.5, 0), ELEVATIONS - 1)
                    a = math.atan2(y, x) * AZIMUTHS / (2 * math.pi)
                    away = abs((a - k + AZIMUTHS / 2) % AZIMUTHS - AZIMUTHS / 2)
                    weights.append(max(0, 1 - abs(u - i)) * max(0, 1 - abs(v - j)) * max(0, 1 - away))
                    along = math.cos(angle) * x + math.sin(angle) * y - r * math.sqrt(1 - s * s)
                    across = -math.sin(angle) * x + math.cos(angle) * y
                    offsets.append((along, across, z - r * s))
                w, d = np.array(weights), np.array(offsets).reshape(-1, 3)
                x, y, z = d.T
                products = np.stack([x * x, y * y, z * z, x * y, x * z, y * z], 1)
                shrink = 1 / (w.sum() + 1)
                density = math.log1p(w.sum() * 511 / max(len(points), 1)) / 3
                means = [w.sum() * shrink, *(w @ d * shrink * RADII), *(w @ products * shrink * RADII**2)]
                features[k, i, j] = [*means, density]
    return features.reshape(AZIMUTHS, CHANNELS)


def test_features_are_those_of_the_definition():
    patches = ragged_patches(counts=[60, 0, 1, 25])
    fast = cell_features(patches.points, patches.patch, patches.patches)
    for i in range(patches.patches):
        slow = slow_features(patches.points[patches.patch == i].double().numpy())
        np.testing.assert_allclose(fast[i].numpy(), slow, atol=2e-5)


def test_both_ways_to_the_sums_agree():
    patches = ragged_patches()
    arguments = patches.points, patches.patch, patches.patches
    assert torch.allclose(cell_sums(*arguments), cell_sums_torch(*arguments), atol=2e-4)


def test_both_ways_from_sums_to_features_agree():
    patches = ragged_patches()
    sums = cell_sums(patches.points, patches.patch, patches.patches)
    counts = torch.bincount(patches.patch, minlength=patches.patches)
    expected = features_of_sums(sums, counts)
    assert torch.allclose(cell_features(patches.points, patches.patch, patches.patches), expected, atol=1e-5)


def test_order_and_company_of_points_do_not_matter():
    patches = ragged_patches()
    order = torch.randperm(len(patches.points), generator=torch.Generator().manual_seed(1))
    shuffled = cell_features(patches.points[order], patches.patch[order], patches.patches)
    assert torch.allclose(shuffled, cell_features(patches.points, patches.patch, patches.patches), atol=1e-4)
    own = patches.points[patches.patch == 3]
    alone = cell_features(own, torch.zeros(len(own), dtype=torch.int64), 1)
    assert torch.allclose(alone[0], shuffled[3], atol=1e-4)


def test_a_turn_by_sectors_shifts_the_features_and_the_map_but_not_the_descriptor():
    patches = ragged_patches()
    turn = turn_about_z(torch.tensor([2 * math.pi * 3 / AZIMUTHS]))[0]
    features = cell_features(patches.points, patches.patch, patches.patches)
    turned = cell_features(patches.points @ turn.T, patches.patch, patches.patches)
    assert torch.allclose(torch.roll(features, 3, 1), turned, atol=1e-3)
    model = small_model()
    (desc, equi), (desc_turned, equi_turned) = model(features), model(turned)
    assert torch.allclose(desc, desc_turned, atol=1e-3)
    angles = azimuth(equi, equi_turned)[[0, 3, 4]]
    assert torch.allclose(angles, torch.full_like(angles, 3.0), atol=0.05)


def small_model(seed=0):
    """A small network whose batch norms have seen something."""
    torch.manual_seed(seed)
    model = Compact(**SMALL)
    patches = ragged_patches(seed=5, counts=[100] * 32)
    for _ in range(30):
        model(cell_features(patches.points, patches.patch, patches.patches))
    return model.eval().requires_grad_(False)


def test_exported_weights_compute_the_same(tmp_path):
    model = small_model()
    patches = ragged_patches()
    features = cell_features(patches.points, patches.patch, patches.patches)
    for dtype, tolerance in [(torch.float32, 1e-5), (torch.float16, 5e-3)]:
        save(model, tmp_path / "weights.safetensors", dtype)
        loaded = load(tmp_path / "weights.safetensors")
        assert loaded.config == model.config
        for mine, theirs in zip(model(features), loaded(features)):
            assert torch.allclose(mine, theirs, atol=tolerance)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    model = small_model()
    model.h2.w[0, 0] = 1e6
    with pytest.raises(ValueError, match="h2.w"):
        save(model, tmp_path / "weights.safetensors")


def test_unfolded_weights_compute_the_same_and_fold_back(tmp_path):
    save(small_model(), tmp_path / "weights.safetensors", torch.float32)
    folded = load(tmp_path / "weights.safetensors")
    patches = ragged_patches(counts=[200] * 64)
    features = cell_features(patches.points, patches.patch, patches.patches)
    model = unfold(folded, features)
    for mine, theirs in zip(model(features), folded(features)):
        assert torch.allclose(mine, theirs, atol=1e-4)
    # Statistics of a batch, as training takes them, are those of the batch that set them.
    for mine, theirs in zip(model.train()(features), folded(features)):
        assert torch.allclose(mine, theirs, atol=1e-2)
    for name, tensor in folded_tensors(model).items():
        if name not in ("pg", "pb") and not name.startswith(("h1", "skip")):
            assert torch.allclose(tensor, folded.state_dict()[name], atol=1e-4), name


def test_a_deeper_network_begins_where_the_other_is():
    patches = ragged_patches(counts=[200] * 64)
    features = cell_features(patches.points, patches.patch, patches.patches)
    model = small_model()
    deeper = deepen(model, [*SMALL["dils"], 1]).eval()
    assert len(deeper.conv) == len(model.conv) + 1
    for mine, theirs in zip(deeper(features), model(features)):
        similarity = torch.cosine_similarity(mine.flatten(1), theirs.flatten(1))
        assert 0.98 < similarity.min() and similarity.max() < 1
    with pytest.raises(ValueError, match="must begin alike"):
        deepen(model, [1, 1, 2, 4, 1])


def pairs_of_turned_patches(turn):
    source = ragged_patches(counts=[400] * 24)
    target = Patches(source.points @ turn_about_z(torch.tensor([turn]))[0].T, source.patch, source.patches)
    n = source.patches
    places = torch.arange(n)[:, None] * torch.ones(3)
    return Batch(source, target, torch.full((n,), turn), torch.zeros(n), torch.zeros(n, dtype=torch.int64), places)


def test_augmentation_keeps_track_of_the_azimuth():
    batch = augment(pairs_of_turned_patches(0.7), torch.Generator().manual_seed(0))
    assert batch.source.patches == 24 and batch.source.points.norm(dim=1).max() <= 1.01
    back = turn_about_z(batch.azimuth)
    turned = (back[batch.source.patch] @ batch.source.points[:, :, None])[:, :, 0]
    # Turned by the azimuth, most points of the source lie at some point of the target, despite noise and losses.
    gaps = []
    for i in range(batch.source.patches):
        mine, theirs = turned[batch.source.patch == i], batch.target.points[batch.target.patch == i]
        gaps.append(torch.cdist(mine, theirs).min(1).values.median())
    wrong = batch.source.points[batch.source.patch == 0]
    unturned = torch.cdist(wrong, batch.target.points[batch.target.patch == 0]).min(1).values.median()
    assert torch.stack(gaps).median() < 0.06 < unturned


def test_both_ways_to_change_a_view_agree_but_for_chance():
    view = ragged_patches()
    generator = torch.Generator().manual_seed(3)
    changes = Changes.draw(torch.ones(view.patches), generator)
    changes.keep, changes.edge = torch.ones(view.patches), torch.full((view.patches,), 0.3)
    changes.sigma, changes.clutter = torch.zeros(view.patches), torch.zeros(view.patches, dtype=torch.int64)
    one, other = change(view, changes, generator), change_torch(view, changes, generator)
    assert 0 < len(one.points) < len(view.points) and torch.equal(one.patch, other.patch)
    assert torch.allclose(one.points, other.points, atol=1e-6)
    # What chance decides is as much, not the same.
    changes.keep, changes.clutter = torch.full((view.patches,), 0.5), torch.full((view.patches,), 200)
    changes.sigma = torch.full((view.patches,), 0.01)
    one, other = change(view, changes, generator), change_torch(view, changes, generator)
    assert abs(len(one.points) - len(other.points)) < 0.15 * len(one.points)


def test_losses_fall():
    batch = pairs_of_turned_patches(0.7)
    torch.manual_seed(0)
    trainer = Trainer(Compact(**SMALL))
    optimizer = torch.optim.AdamW(trainer.parameters(), 2e-3)
    losses = []
    for _ in range(12):
        desc_loss, azimuth_loss, _ = trainer(batch)
        optimizer.zero_grad()
        (desc_loss + azimuth_loss).backward()
        optimizer.step()
        losses.append((desc_loss.item(), azimuth_loss.item()))
    assert losses[-1][0] < 0.5 * losses[0][0] and losses[-1][1] < 0.9 * losses[0][1]


def test_the_curve_of_a_resumed_run_has_every_step_once(tmp_path):
    run = object.__new__(Run)
    run.folder, run.step = tmp_path, 20
    (tmp_path / "curve.csv").write_text("step,rate\n10,1\n20,1\n30,1\n")
    run.forget_later_rows()
    assert (tmp_path / "curve.csv").read_text() == "step,rate\n10,1\n20,1\n"
