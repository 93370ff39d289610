"""Registering pairs of clouds."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal, TypeAlias, overload

from . import _core
from ._config import Config, Settings
from ._errors import Error
from ._points import Points, as_points
from ._registration import Registration

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import ArrayLike
    from typing_extensions import Self, Unpack

Cloud: TypeAlias = "ArrayLike | PreparedCloud"

_log = logging.getLogger("coregister")


def register(*, source: Cloud, target: Cloud, **settings: Unpack[Settings]) -> Registration:
    """Find the transform that lays ``source`` onto ``target``.

    Args:
        source: The cloud to move. N×3 or N×4, float32 or float64, one point (x, y, z, ignored) per row, in any unit
            and frame. Points that are NaN or infinite are left out. Never written to.
        target: The cloud that stays where it is, in the same unit.
        **settings: The fields of :class:`Config`.

    Returns:
        The transform ``T_target_source`` with a verdict. A pair without a confident answer is no error: it is
        "rejected".

    Raises:
        CloudError: A cloud has the wrong shape or type, fewer than 50 usable points or no extent.
        ConfigError: A setting is out of its range.
        DeviceError: The device is missing or failed.

    To register many pairs, make one :class:`Registrar`.
    """
    with Registrar(**settings) as registrar:
        return registrar.register(source=source, target=target)


class PreparedCloud:
    """A cloud that takes part in many pairs; made by :meth:`Registrar.prepare`.

    What is computed of it for one pair is kept for the next, on the device of the Registrar, as long as this object
    lives. It keeps the array as well and takes that along when it is pickled (with protocol 5 out of band); the
    Registrar that takes it first there prepares it again. So do not write to the array.
    """

    def __init__(self, points: ArrayLike, *, role: str = "given") -> None:
        self.points: Points = as_points(points, role)
        """The array, N×3 or N×4, float32 or float64."""
        self._prepared: _core.PreparedCloud | None = None
        self._process = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Tell the number of points, usable or not."""
        return len(self.points)

    def __repr__(self) -> str:
        return f"PreparedCloud({len(self)} points)"

    def __reduce__(self) -> tuple[type[PreparedCloud], tuple[Points]]:
        return PreparedCloud, (self.points,)

    def _on(self, engine: _core.Engine, role: str) -> _core.PreparedCloud:
        """Prepare it where this process has not done so."""
        with self._lock:
            if self._prepared is None or self._process != os.getpid():
                self._prepared = engine.prepare(self.points, role)
                self._process = os.getpid()
            return self._prepared


class Registrar:
    """Registers pairs; make one, use it for many, from any number of threads.

    Args:
        **settings: The fields of :class:`Config`: ``device="auto"``, ``descriptor``, ``max_gpu_memory``, ``seed``,
            ``threads`` and so on.

    What an answer warns of, such as points that were left out, is in :attr:`Registration.warnings` and goes to the
    logger "coregister".

    Nothing is started before the first use: no threads, no CUDA. Pickled, it is its settings. After a fork it starts
    anew in the child, unless the parent has used CUDA, which raises :class:`DeviceError` there.

    Raises:
        ConfigError: A setting is out of its range.
    """

    def __init__(self, **settings: Unpack[Settings]) -> None:
        self.config = Config(**settings)
        """The settings."""
        self._engine: _core.Engine | None = None
        self._batch: _core.Batch | None = None
        self._cloud_memory: int | None = None
        self._lock = threading.Lock()
        self._closed = False
        _registrars.add(self)

    @classmethod
    def of(cls, config: Config) -> Self:
        """Make one of these settings."""
        return cls(**asdict(config))

    def __reduce__(self) -> tuple[object, tuple[Config]]:
        return type(self).of, (self.config,)

    def __repr__(self) -> str:
        return f"Registrar.of({self.config})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give threads and device memory back, once nothing is at work any more. Using it again is an error."""
        with self._lock:
            self._closed = True
            self._engine = None
            self._batch = None

    def prepare(self, cloud: ArrayLike) -> PreparedCloud:
        """Make a cloud ready to take part in many pairs of this Registrar. Answers stay the same.

        Args:
            cloud: N×3 or N×4, float32 or float64, one point per row. Do not write to it afterwards.

        Raises:
            CloudError: It has the wrong shape or type, fewer than 50 usable points or no extent.
        """
        return self._prepared(cloud, "given")

    def register(self, *, source: Cloud, target: Cloud) -> Registration:
        """Find the transform that lays ``source`` onto ``target``; see :func:`coregister.register`."""
        engine = self._open()
        if isinstance(source, PreparedCloud) or isinstance(target, PreparedCloud):
            return self._register_prepared(self._prepared(source, "source"), self._prepared(target, "target"))
        return _answer(engine.register(as_points(source, "source"), as_points(target, "target")))

    @overload
    def register_batch(
        self,
        pairs: Iterable[tuple[Cloud, Cloud]],
        on_error: Literal["return"] = "return",
        on_result: Callable[[int, Registration | Error], object] | None = None,
    ) -> list[Registration | Error]: ...

    @overload
    def register_batch(
        self,
        pairs: Iterable[tuple[Cloud, Cloud]],
        on_error: Literal["raise"],
        on_result: Callable[[int, Registration | Error], object] | None = None,
    ) -> list[Registration]: ...

    def register_batch(
        self,
        pairs: Iterable[tuple[Cloud, Cloud]],
        on_error: Literal["return", "raise"] = "return",
        on_result: Callable[[int, Registration | Error], object] | None = None,
    ) -> list[Registration | Error] | list[Registration]:
        """Register many pairs, several at a time; of device "auto" on all CUDA devices.

        Args:
            pairs: (source, target) each, as for :func:`coregister.register`. An array that occurs in several pairs is
                prepared once, as long as there is memory; what :meth:`prepare` gave stays prepared for the next batch.
                No array may be written to before this returns.
            on_error: "return" puts the :class:`Error` of a pair that cannot be registered in its place and goes on;
                "raise" stops at the first.
            on_result: Called with the number of a pair and its answer or error, as soon as that is there. What it
                raises ends the batch.

        Returns:
            One answer or error per pair, in their order. No answer depends on the other pairs.

        Can be interrupted (Ctrl-C): it ends when the pairs at work are done.
        """
        if on_error not in ("return", "raise"):
            raise ValueError(f'on_error must be "return" or "raise", not {on_error!r}')
        rows: dict[int, Registration | Error] = {}

        def take(number: int, row: Registration | Error) -> None:
            if on_error == "raise" and isinstance(row, Error):
                raise row
            rows[number] = row
            log_warnings(row, number)
            if on_result is not None:
                on_result(number, row)

        self._run(list(pairs), take)
        return [rows[number] for number in range(len(rows))]

    def _run(
        self,
        pairs: list[tuple[Cloud, Cloud]],
        take: Callable[[int, Registration | Error], object],
        names: dict[int, str] | None = None,
    ) -> None:
        """Register pairs. Of clouds with names, by identity, what is computed is kept for the runs to come."""
        batch = self._open_batch()
        work = _Work(pairs, self._prepared_points)
        for number, error in work.refused:
            take(number, error)
        batch.run(
            work.clouds,
            [numbers for _, numbers in work.pairs],
            lambda place, row: take(work.pairs[place][0], row if isinstance(row, Error) else Registration(**row)),
            None if names is None else [names[identity] for identity in work.numbers],
        )

    def _prepared_points(self, cloud: Cloud, role: str) -> Points | _core.PreparedCloud:
        """What a batch takes of a cloud."""
        return cloud._on(self._open(), role) if isinstance(cloud, PreparedCloud) else as_points(cloud, role)

    def _register_prepared(self, source: PreparedCloud, target: PreparedCloud) -> Registration:
        engine = self._open()
        return _answer(engine.register_prepared(source._on(engine, "source"), target._on(engine, "target")))

    def _prepared(self, cloud: Cloud, role: str) -> PreparedCloud:
        prepared = cloud if isinstance(cloud, PreparedCloud) else PreparedCloud(cloud, role=role)
        prepared._on(self._open(), role)
        return prepared

    def _open(self) -> _core.Engine:
        """The engine, which the first use starts."""
        with self._lock:
            self._check_open()
            if self._engine is None:
                self._engine = _core.Engine(self.config)
            return self._engine

    def _open_batch(self) -> _core.Batch:
        """The lanes, which the first batch starts."""
        with self._lock:
            self._check_open()
            if self._batch is None:
                self._batch = _core.Batch(self.config, self._cloud_memory)
            return self._batch

    def _check_open(self) -> None:
        if self._closed:
            raise Error("this Registrar is closed; make another one")

    def _after_fork(self) -> None:
        # Another thread of the parent may have held the lock, and nobody is left to open it.
        self._lock = threading.Lock()
        self._engine = None
        self._batch = None


class _Work:
    """The pairs of a batch, by the numbers of their clouds."""

    def __init__(
        self,
        pairs: list[tuple[Cloud, Cloud]],
        taken: Callable[[Cloud, str], Points | _core.PreparedCloud],
    ) -> None:
        self.clouds: list[Points | _core.PreparedCloud] = []
        """What is `taken` of all clouds, each once."""
        self.pairs: list[tuple[int, tuple[int, int]]] = []
        """The number of a pair, and those of its source and target."""
        self.refused: list[tuple[int, Error]] = []
        """The number of a pair, and what is wrong with its arrays."""
        self.numbers: dict[int, int] = {}
        """The number of a cloud by its identity."""
        self._taken = taken
        for number, (source, target) in enumerate(pairs):
            try:
                self.pairs.append((number, (self._number(source, "source"), self._number(target, "target"))))
            except Error as error:
                self.refused.append((number, error))

    def _number(self, cloud: Cloud, role: str) -> int:
        # The list of pairs keeps all clouds, so that no two have the same identity.
        number = self.numbers.get(id(cloud))
        if number is None:
            points = self._taken(cloud, role)
            number = self.numbers[id(cloud)] = len(self.clouds)
            self.clouds.append(points)
        return number


def _answer(fields: _core.RegistrationFields) -> Registration:
    answer = Registration(**fields)
    log_warnings(answer)
    return answer


def log_warnings(row: object, pair: int | None = None) -> None:
    """Log what a row warns of, if it is a registration; with the number of the pair where it is one of many."""
    if isinstance(row, Registration):
        for warning in row.warnings:
            _log.warning("%s", warning if pair is None else f"pair {pair}: {warning}")


_registrars: weakref.WeakSet[Registrar] = weakref.WeakSet()


def _after_fork() -> None:
    for registrar in _registrars:
        registrar._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
