"""Arrays of points: what is taken, and what to do with what is not."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._errors import CloudError

Points: TypeAlias = "NDArray[np.float32] | NDArray[np.float64]"


def as_points(cloud: ArrayLike, role: str) -> Points:
    """Check that ``cloud`` is N×3 or N×4 of float32 or float64, one point per row.

    The array itself is given back where its memory can be read as it is, which is wherever its numbers are aligned
    and in this machine's byte order, with whatever strides. ``role`` is what errors call the cloud.
    """
    array = np.asarray(cloud)
    if array.ndim != 2 or array.shape[1] not in (3, 4):
        raise CloudError(f"the {role} cloud has shape {array.shape}, {_remedy(array)}")
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        raise CloudError(
            f"the {role} cloud has dtype {array.dtype}, float32 and float64 are taken; give points.astype(np.float32)"
        )
    return np.require(array, array.dtype.newbyteorder("="), ["ALIGNED"])


def _remedy(array: NDArray[np.generic]) -> str:
    if array.ndim == 2 and array.shape[0] in (3, 4):
        return "one point per column; one per row is taken, give its transpose, points.T"
    if array.dtype.names is not None:
        return "with named fields; give numpy.lib.recfunctions.structured_to_unstructured(points[['x', 'y', 'z']])"
    if array.ndim == 3 and array.shape[2] in (3, 4):
        return f"an image of points; give one point per row, points.reshape(-1, {array.shape[2]})"
    return "N×3 or N×4 is taken, one point per row"
