"""Point-cloud registration without an initial guess.

Two overlapping scans in, one verified rigid transform out::

    import coregister

    answer = coregister.register(source=source, target=target)
    if answer.accepted:
        T = answer.T_target_source

``source`` and ``target`` are arrays of points, N×3 or N×4 (x, y, z in any unit; a fourth column is ignored), in
float32 or float64. ``T_target_source`` is 4×4 in float64 and maps source coordinates to target coordinates:
``p_target = T_target_source @ p_source``, in the unit of the clouds.

For many pairs, make a :class:`Registrar` once; for many machines or devices, see :mod:`coregister.ray`.
"""

from ._config import Config, Settings
from ._core import VERSION as __version__
from ._errors import CloudError, ConfigError, DeviceError, Error, FileError
from ._files import read_cloud
from ._registrar import PreparedCloud, Registrar, register
from ._registration import Registration

__all__ = [
    "CloudError",
    "Config",
    "ConfigError",
    "DeviceError",
    "Error",
    "FileError",
    "PreparedCloud",
    "Registrar",
    "Registration",
    "Settings",
    "__version__",
    "read_cloud",
    "register",
]
