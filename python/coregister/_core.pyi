"""The extension module, written in Rust. Use what the package exports instead."""

from typing import Literal, TypedDict, final

import numpy as np
from numpy.typing import NDArray

from ._config import Config

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
    unobserved: list[str]
    timings_ms: dict[str, float]
    device: str
    seed: int

def check_config(config: Config) -> None: ...

@final
class Engine:
    """A device that is ready to register pairs; any number of threads may use it at once."""

    def __new__(cls, config: Config) -> Engine: ...
    @property
    def device(self) -> str: ...
    def register(
        self,
        source: NDArray[np.float32] | NDArray[np.float64],
        target: NDArray[np.float32] | NDArray[np.float64],
    ) -> RegistrationFields: ...
    def prepare(self, cloud: NDArray[np.float32] | NDArray[np.float64], role: str) -> PreparedCloud: ...
    def register_prepared(self, source: PreparedCloud, target: PreparedCloud) -> RegistrationFields: ...

@final
class PreparedCloud:
    """A cloud and what an engine has computed of it."""
