"""What a user may set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, TypedDict

from . import _core


@dataclass(frozen=True)
class Config:
    """Settings of registrations; the defaults are right for almost everybody.

    Checked when made: :class:`ConfigError` tells what is out of range. Can be compared, hashed and pickled.
    """

    device: str = "auto"
    """Where to compute: ``"auto"`` (a CUDA device where there is one that works), ``"cpu"``, ``"cuda"`` or
    ``"cuda:N"``, where N counts the devices that CUDA_VISIBLE_DEVICES lets see."""

    descriptor: Literal["auto", "learned", "classic"] = "auto"
    """What describes the surroundings of a point: ``"classic"`` is made by hand and quick, ``"learned"`` is a small
    network, ``"auto"`` takes the network only where the first leaves a doubt."""

    weights: str | os.PathLike[str] | None = None
    """File with weights of the learned descriptor (.safetensors) in place of the built-in ones."""

    azimuth: Literal["correlation", "cost-volume"] = "correlation"
    """How the angle between two matched patches is found; ``"cost-volume"`` is for weights that have one."""

    voxel: Literal["auto"] | float = "auto"
    """Edge of the voxels that both clouds are thinned to, in the clouds' unit; ``"auto"`` derives it from them."""

    gravity: Literal["auto", "none"] | tuple[float, float, float] = "auto"
    """Up axis that both clouds share, of any length, in the clouds' coordinates. ``"auto"`` looks for one,
    ``"none"`` searches any rotation."""

    seed: int = 0
    """Repeated in the answer. Nothing in the method is random, so it changes nothing."""

    threads: int | None = None
    """Worker threads; one per core if None. Changes the speed, never the answer."""

    refine: bool = True
    """Whether the estimate from matches is refined on the clouds at the end."""

    max_gpu_memory: int | None = None
    """Most memory of a CUDA device that may be taken, in bytes; all of it if None."""

    def __post_init__(self) -> None:
        _core.check_config(self)


class Settings(TypedDict, total=False):
    """The fields of :class:`Config` as keyword arguments."""

    device: str
    descriptor: Literal["auto", "learned", "classic"]
    weights: str | os.PathLike[str] | None
    azimuth: Literal["correlation", "cost-volume"]
    voxel: Literal["auto"] | float
    gravity: Literal["auto", "none"] | tuple[float, float, float]
    seed: int
    threads: int | None
    refine: bool
    max_gpu_memory: int | None
