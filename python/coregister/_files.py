"""Files of points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    import os

    from ._points import Points


def read_cloud(path: str | os.PathLike[str]) -> Points:
    """Read a file of points into an N×3 array, in the file's unit and frame.

    Args:
        path: .ply, .pcd, .bin (KITTI), .npy, .xyz, .csv or .txt.

    Returns:
        float32 where that holds the file's coordinates, float64 otherwise.

    Raises:
        FileError: The file cannot be read or is not what its name promises.
    """
    return _core.read_cloud(path)
