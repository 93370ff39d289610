"""The extension module, written in Rust. Use what the package exports instead."""

import os
from collections.abc import Callable
from typing import Literal, TypedDict, final

import numpy as np
from numpy.typing import NDArray

from ._config import Config
from ._errors import Error
from ._points import Points

VERSION: str

class RegistrationFields(TypedDict):
    """Keyword arguments of Registration."""

    T_target_source: NDArray[np.float64]
    status: Literal["accepted", "rejected"]
    reason: str
    confidence: float
    overlap: float
    inliers: int
    inlier_rmse: float
    information: NDArray[np.float64]
    information_centre: NDArray[np.float64]
    unobserved: list[str]
    warnings: list[str]
    timings_ms: dict[str, float]
    device: str
    seed: int

def check_config(config: Config) -> None: ...
def read_cloud(path: str | os.PathLike[str]) -> Points: ...

@final
class Engine:
    """A device that is ready to register pairs; any number of threads may use it at once."""

    def __new__(cls, config: Config) -> Engine: ...
    def register(
        self,
        source: Points,
        target: Points,
    ) -> RegistrationFields: ...
    def prepare(self, cloud: Points, role: str) -> PreparedCloud: ...
    def register_prepared(self, source: PreparedCloud, target: PreparedCloud) -> RegistrationFields: ...

@final
class PreparedCloud:
    """A cloud and what an engine has computed of it."""

@final
class Batch:
    """Devices that are ready to share out pairs."""

    def __new__(cls, config: Config, cloud_memory: int | None) -> Batch: ...
    def run(
        self,
        clouds: list[Points | PreparedCloud],
        pairs: list[tuple[int, int]],
        take: Callable[[int, RegistrationFields | Error], object],
        names: list[str] | None,
    ) -> None: ...
