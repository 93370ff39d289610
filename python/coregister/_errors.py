"""What can go wrong. Every message names the input, the number and the remedy."""


class Error(Exception):
    """Base of all errors of this package."""


class CloudError(Error, ValueError):
    """A cloud cannot be registered: its array has the wrong shape, too few points, no extent, and the like."""


class ConfigError(Error, ValueError):
    """A setting is out of its range, or two of them do not go together."""


class DeviceError(Error, RuntimeError):
    """The asked-for device is missing or failed, or was lost in a fork."""


class FileError(Error, OSError):
    """A file cannot be read or is not what its name promises."""
