"""The answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Registration:
    """What registering a pair gives. Can be pickled, with protocol 5 out of band."""

    T_target_source: NDArray[np.float64]
    """4×4; maps source coordinates to target coordinates, ``p_target = T_target_source @ p_source``. The
    translation is in the clouds' unit."""

    status: Literal["accepted", "rejected"]
    """Whether the answer can be relied on. Of a rejected one the transform is the best guess."""

    reason: str
    """Why it was rejected, one sentence; empty when accepted."""

    confidence: float
    """Probability that the transform is right, 0 to 1, calibrated on simulated pairs."""

    overlap: float
    """Share of the source's surface that lies on the target's, 0 to 1."""

    inliers: int
    """Matches that agree with the transform."""

    inlier_rmse: float
    """Root mean square distance of overlapping surfaces along the target's normal, in the clouds' unit."""

    information: NDArray[np.float64]
    """6×6 Fisher information of (rotation about x, y, z in radians; translation along x, y, z) in target
    coordinates, about `information_centre`. Units: 1/rad² and 1/length²."""

    information_centre: NDArray[np.float64]
    """Centre of the overlap, target coordinates: with (ω, v) the small error that `information` is about, the right
    transform maps p to q + ω × (q − information_centre) + v, where q = T_target_source · p."""

    unobserved: list[str]
    """Motions that the overlap does not determine, in words, such as "translation along (0.00, 1.00, 0.00)"."""

    warnings: list[str]
    """What should be known although there is an answer, a sentence each: points that were left out, a device that
    failed so that the CPU took its place. They go to the logger "coregister" as well."""

    timings_ms: dict[str, float]
    """Milliseconds per stage, in the order of execution."""

    device: str
    """What computed it: "cpu", "cuda:0"."""

    seed: int
    """The seed of the settings."""

    @property
    def accepted(self) -> bool:
        """Whether the status is "accepted"."""
        return self.status == "accepted"
