"""The compact network: an invariant descriptor and an azimuth-equivariant map of a patch.

A stem mixes all shells and bands of an azimuth; residual convolutions along the azimuth, circular, follow. The map is a
linear image of the result. The descriptor is a small perceptron on quantities that no turn changes: mean and maximum
over the azimuth, and the moduli of azimuthal Fourier coefficients, both of the network's channels and of some of the
raw cell features. Batch norms stand after linear layers, so that they fold into them; see export.py.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from features import AZIMUTHS, CELL_FEATURES, CHANNELS, RINGS

# Rough reciprocal standard deviations of the cell features; export folds them into the stem.
FEATURE_SCALE = (2.0, 10.0, 35.0, 7.0, 30.0, 35.0, 12.0, 35.0, 25.0, 35.0, 3.0)
# Cell features whose harmonics enter the descriptor: occupancy (as its root), x, z, xx, zz, log density.
RAW_FEATURES = (0, 1, 3, 4, 6, 10)
# Azimuthal harmonics of the network's channels beyond the mean, and of the raw features with it.
CHANNEL_HARMONICS, RAW_HARMONICS = 3, 7

SMALL = {"C": 64, "dils": [1, 2, 4, 1], "D": 64, "E": 32, "hid": 256}
LARGE = {"C": 128, "dils": [1, 2, 4, 1], "D": 64, "E": 32, "hid": 256}


class Azimuthal(nn.Module):
    """A linear layer over `taps` azimuths, `dilation` apart, as one matrix product.

    [N, A, inputs] -> [N, A, outputs]; circular in the azimuth.
    """

    def __init__(self, inputs, outputs, taps=1, dilation=1, norm=True):
        super().__init__()
        self.taps, self.dilation = taps, dilation
        self.w = nn.Parameter(torch.randn(outputs, taps * inputs) * math.sqrt(2 / (taps * inputs)))
        self.b = nn.Parameter(torch.zeros(outputs))
        self.bn = nn.BatchNorm1d(outputs) if norm else None

    def forward(self, x):
        patches, azimuths, _ = x.shape
        if self.taps > 1:
            # Tap t reads the azimuth t * dilation further on.
            reach = self.taps // 2
            x = torch.cat([torch.roll(x, -t * self.dilation, 1) for t in range(-reach, reach + 1)], 2)
        y = F.linear(x.reshape(patches * azimuths, -1), self.w, self.b)
        if self.bn is not None:
            y = self.bn(y)
        return y.view(patches, azimuths, -1)


class Compact(nn.Module):
    """Features [N, AZIMUTHS, CHANNELS] -> unit descriptors [N, D], maps [N, E, AZIMUTHS] of norm one.

    C: channels; dils: dilation of each residual convolution; D, E: width of descriptor and map; hid: width of the
    descriptor's hidden layer; k: taps; fm, rf: harmonics of channels and of raw features. The short names are those of
    the header of weight files.

    With `folded`, batch norms and the features' scale are part of the weights, as files hold them.
    """

    def __init__(self, C, dils, D, E, hid, nin=CHANNELS, k=3, fm=CHANNEL_HARMONICS, rf=RAW_HARMONICS, folded=False):
        super().__init__()
        self.config = {"C": C, "dils": list(dils), "D": D, "E": E, "hid": hid, "nin": nin, "k": k, "fm": fm, "rf": rf}
        self.folded = folded
        norm = not folded
        self.stem = Azimuthal(nin, C, norm=norm)
        self.conv = nn.ModuleList([Azimuthal(C, C, k, dilation, norm) for dilation in dils])
        self.equi = Azimuthal(C, E, norm=False)
        self.pooled = (2 + fm) * C + rf * len(RAW_FEATURES) * RINGS
        if norm:
            self.pn = nn.BatchNorm1d(self.pooled, affine=False)
        else:
            self.pg, self.pb = nn.Parameter(torch.ones(self.pooled)), nn.Parameter(torch.zeros(self.pooled))
        self.h1 = Azimuthal(self.pooled, hid, norm=norm)
        self.h2 = Azimuthal(hid, D, norm=False)
        self.skip = Azimuthal(self.pooled, D, norm=False)
        angles = torch.arange(AZIMUTHS) * 2 * math.pi / AZIMUTHS
        waves = [wave(angles * q) for q in range(max(fm + 1, rf)) for wave in (torch.cos, torch.sin)]
        self.register_buffer("waves", torch.stack(waves) / AZIMUTHS, persistent=False)
        scale = torch.ones(CELL_FEATURES) if folded else torch.tensor(FEATURE_SCALE)
        self.register_buffer("scale", scale.repeat(nin // CELL_FEATURES), persistent=False)

    def moduli(self, x, first, last):
        """Moduli of the azimuthal harmonics first..last-1 of each channel: [N, A, K] -> [N, (last - first) * K]."""
        coefficients = torch.einsum("qa,nak->nqk", self.waves[2 * first : 2 * last], x)
        return (coefficients[:, 0::2] ** 2 + coefficients[:, 1::2] ** 2 + 1e-8).sqrt().flatten(1)

    def pool(self, features, h):
        """What no turn changes, [N, pooled], from features and channels [N, AZIMUTHS, C]."""
        raw = features.view(len(features), AZIMUTHS, RINGS, CELL_FEATURES)[..., RAW_FEATURES]
        # The root tames dense cells.
        raw = torch.cat([raw[..., :1].clamp_min(0).sqrt(), raw[..., 1:]], -1).flatten(2)
        harmonics = self.moduli(h, 1, 1 + self.config["fm"])
        return torch.cat([h.mean(1), h.amax(1), harmonics, self.moduli(raw, 0, self.config["rf"])], 1)

    def forward(self, features):
        h = F.relu(self.stem(features * self.scale))
        for conv in self.conv:
            h = h + F.relu(conv(h))
        equi = self.equi(h)
        pooled = self.pool(features, h)
        pooled = (pooled * self.pg + self.pb if self.folded else self.pn(pooled))[:, None]
        desc = (self.h2(F.relu(self.h1(pooled))) + self.skip(pooled))[:, 0]
        # The map is normalised as a whole, so that empty sectors weigh little.
        return F.normalize(desc, dim=1), F.normalize(equi.flatten(1), dim=1).view_as(equi).transpose(1, 2)

    def multiply_adds(self):
        """Multiply-adds a patch, without its features."""
        c = self.config
        per_azimuth = c["nin"] * c["C"] + len(c["dils"]) * c["k"] * c["C"] ** 2 + c["C"] * c["E"]
        harmonics = 2 * c["fm"] * c["C"] + (2 * c["rf"] - 1) * len(RAW_FEATURES) * RINGS
        return AZIMUTHS * (per_azimuth + harmonics) + self.pooled * (c["hid"] + c["D"]) + c["hid"] * c["D"]


def correlation(source, target):
    """Circular correlation of maps [M, E, A]: entry [m, s] is large where the source's patch, turned by s sectors about
    z, is the target's."""
    return torch.stack([(torch.roll(source, s, 2) * target).sum((1, 2)) for s in range(source.shape[2])], 1)


def azimuth(source, target):
    """Turn in sectors, real, from the source's maps to the target's: the correlation's peak, refined by a parabola."""
    c = correlation(source, target)
    sectors = c.shape[1]
    peak = c.argmax(1)
    left, top, right = (c.gather(1, ((peak + d) % sectors)[:, None])[:, 0] for d in (-1, 0, 1))
    curvature = left - 2 * top + right
    shift = torch.where(curvature.abs() > 1e-12, 0.5 * (left - right) / curvature, torch.zeros_like(top))
    return (peak + shift.clamp(-0.5, 0.5)) % sectors
