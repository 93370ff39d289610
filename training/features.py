"""From a patch to the network's input: statistics of its points in cells of the unit ball.

The ball is cut into RADII shells x ELEVATIONS bands (uniform in the sine of the elevation, so of equal solid angle) x
AZIMUTHS sectors. Each point is spread over the eight nearest cells by trilinear weights; every cell collects the
weights, and the first and second moments of the offsets from its centre, in its own radial, tangential and vertical
directions. So a turn about z by one sector shifts the cells by one.

Patches come ragged: `points` holds those of all patches, and `patch` the number of the patch that each belongs to.
There are two ways to the same features: loops for the CPU, `..._numba`, and operations of torch for any device.
"""

import math

import numba
import numpy as np
import torch

RADII, ELEVATIONS, AZIMUTHS = 4, 7, 20
RINGS = RADII * ELEVATIONS
# Weight; offset x, y, z; their products xx, yy, zz, xy, xz, yz.
SUMS = 10
# The same as means, and the logarithm of the density.
CELL_FEATURES = SUMS + 1
# Network inputs of one azimuth; channel = ring * CELL_FEATURES + feature, ring = shell * ELEVATIONS + band.
CHANNELS = RINGS * CELL_FEATURES

# Points nearer to the keypoint than this share of the radius have no direction.
NEAREST = 1e-4
# Offsets in a cell are measured in this length: the depth of a shell.
CELL_DEPTH = 1.0 / RADII
# The run-time patch size, to which densities refer.
FULL_PATCH = 511.0


def cell_features(points, patch, patches):
    """Features [patches, AZIMUTHS, CHANNELS] f32 of ragged patches.

    points: [P, 3] f32 offsets in patch frames, in units of the radius.
    patch: [P] int64, the patch of each point.
    """
    sums = cell_sums(points, patch, patches)
    counts = torch.bincount(patch, minlength=patches)
    if points.device.type != "cpu":
        return features_of_sums(sums, counts)
    features = np.empty((patches, AZIMUTHS, RINGS, CELL_FEATURES), np.float32)
    features_of_sums_numba(sums.numpy(), counts.numpy(), features)
    return torch.from_numpy(features).flatten(2)


def cell_sums(points, patch, patches):
    """Sums [patches, AZIMUTHS, RINGS, SUMS] f32, by whichever way suits the device."""
    if points.device.type != "cpu":
        return cell_sums_torch(points, patch, patches)
    sums = np.zeros((patches, AZIMUTHS, RADII, ELEVATIONS, SUMS), np.float32)
    cell_sums_numba(points.numpy(), patch.numpy(), sums)
    return torch.from_numpy(sums).view(patches, AZIMUTHS, RINGS, SUMS)


def features_of_sums(sums, counts):
    """Features of sums; counts: [patches] points of each patch, those without a direction included.

    Moments are divided by the weight plus one, which shrinks those of cells with little in them.
    """
    weight = sums[..., :1]
    shrink = 1.0 / (weight + 1.0)
    density = FULL_PATCH / counts.clamp_min(1).to(sums.dtype)
    parts = [
        weight * shrink,
        sums[..., 1:4] * (shrink / CELL_DEPTH),
        sums[..., 4:] * (shrink / CELL_DEPTH**2),
        torch.log1p(weight * density[:, None, None, None]) / 3.0,
    ]
    return torch.cat(parts, -1).flatten(2)


@numba.njit(nogil=True, fastmath=True, cache=True)
def features_of_sums_numba(sums, counts, features):
    """As `features_of_sums`, in one pass."""
    depth, one, third = np.float32(1 / CELL_DEPTH), np.float32(1), np.float32(1 / 3)
    for n in range(len(counts)):
        density = np.float32(FULL_PATCH / max(counts[n], 1))
        for k in range(AZIMUTHS):
            for c in range(RINGS):
                cell, feature = sums[n, k, c], features[n, k, c]
                shrink = one / (cell[0] + one)
                feature[0] = cell[0] * shrink
                for d in range(1, 4):
                    feature[d] = cell[d] * shrink * depth
                for d in range(4, SUMS):
                    feature[d] = cell[d] * shrink * depth * depth
                feature[SUMS] = math.log1p(cell[0] * density) * third if cell[0] > 0 else np.float32(0)


@numba.njit(nogil=True, fastmath=True, cache=True)
def cell_sums_numba(points, patch, sums):
    """Adds every point to `sums` [patches, AZIMUTHS, RADII, ELEVATIONS, SUMS]."""
    cosine = np.empty(AZIMUTHS, np.float32)
    sine = np.empty(AZIMUTHS, np.float32)
    for k in range(AZIMUTHS):
        cosine[k] = math.cos(k * 2 * math.pi / AZIMUTHS)
        sine[k] = math.sin(k * 2 * math.pi / AZIMUTHS)
    centre_x = np.empty((RADII, ELEVATIONS), np.float32)
    centre_z = np.empty((RADII, ELEVATIONS), np.float32)
    for i in range(RADII):
        for j in range(ELEVATIONS):
            elevation_sine = (j + 0.5) / ELEVATIONS * 2 - 1
            centre_x[i, j] = (i + 0.5) / RADII * math.sqrt(1 - elevation_sine**2)
            centre_z[i, j] = (i + 0.5) / RADII * elevation_sine
    to_sectors = np.float32(AZIMUTHS / (2 * math.pi))
    half, zero, one = np.float32(0.5), np.float32(0), np.float32(1)
    for p in range(len(points)):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        r = np.float32(math.sqrt(x * x + y * y + z * z))
        if r <= NEAREST:
            continue
        u = min(max(r * np.float32(RADII) - half, zero), np.float32(RADII - 1))
        v = min(max((z / r + one) * half * np.float32(ELEVATIONS) - half, zero), np.float32(ELEVATIONS - 1))
        a = np.float32(math.atan2(y, x)) * to_sectors
        if a < 0:
            a += np.float32(AZIMUTHS)
        i0, j0, k0 = min(int(u), RADII - 2), min(int(v), ELEVATIONS - 2), int(a)
        along, up, around = u - np.float32(i0), v - np.float32(j0), a - np.float32(k0)
        for dk in range(2):
            k = (k0 + dk) % AZIMUTHS
            weight_k = around if dk else one - around
            radial = cosine[k] * x + sine[k] * y
            ty = cosine[k] * y - sine[k] * x
            for di in range(2):
                weight_ik = weight_k * (along if di else one - along)
                for dj in range(2):
                    w = weight_ik * (up if dj else one - up)
                    tx = radial - centre_x[i0 + di, j0 + dj]
                    tz = z - centre_z[i0 + di, j0 + dj]
                    cell = sums[patch[p], k, i0 + di, j0 + dj]
                    wx, wy, wz = w * tx, w * ty, w * tz
                    cell[0] += w
                    cell[1] += wx
                    cell[2] += wy
                    cell[3] += wz
                    cell[4] += wx * tx
                    cell[5] += wy * ty
                    cell[6] += wz * tz
                    cell[7] += wx * ty
                    cell[8] += wx * tz
                    cell[9] += wy * tz


def cell_sums_torch(points, patch, patches):
    """As `cell_sums_numba`, with one scattered addition for each of the eight neighbouring cells."""
    r = points.norm(dim=1)
    usable = r > NEAREST
    points, patch, r = points[usable], patch[usable], r[usable]
    x, y, z = points.unbind(1)
    u = (r * RADII - 0.5).clamp(0, RADII - 1)
    v = ((z / r + 1) * 0.5 * ELEVATIONS - 0.5).clamp(0, ELEVATIONS - 1)
    a = torch.atan2(y, x) * (AZIMUTHS / (2 * math.pi)) % AZIMUTHS
    i0, j0, k0 = u.long().clamp_max(RADII - 2), v.long().clamp_max(ELEVATIONS - 2), a.long()
    along, up, around = u - i0, v - j0, a - k0
    sums = points.new_zeros(patches * AZIMUTHS * RINGS, SUMS)
    for corner in range(8):
        di, dj, dk = corner & 1, corner >> 1 & 1, corner >> 2
        i, j, k = i0 + di, j0 + dj, (k0 + dk) % AZIMUTHS
        weight = (along if di else 1 - along) * (up if dj else 1 - up) * (around if dk else 1 - around)
        angle = k * (2 * math.pi / AZIMUTHS)
        elevation_sine = (j + 0.5) / ELEVATIONS * 2 - 1
        centre = (i + 0.5) / RADII
        tx = angle.cos() * x + angle.sin() * y - centre * (1 - elevation_sine**2).sqrt()
        ty = angle.cos() * y - angle.sin() * x
        tz = z - centre * elevation_sine
        products = [tx * tx, ty * ty, tz * tz, tx * ty, tx * tz, ty * tz]
        moments = torch.stack([torch.ones_like(tx), tx, ty, tz, *products], 1)
        cell = ((patch * AZIMUTHS + k) * RADII + i) * ELEVATIONS + j
        sums.index_add_(0, cell, moments * weight[:, None])
    return sums.view(patches, AZIMUTHS, RINGS, SUMS)
