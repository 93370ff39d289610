"""Registering pairs of clouds."""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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

PAIRS_AT_ONCE = 2
"""So many pairs of a batch are worked on side by side: what one computes on a single thread leaves others idle."""


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

    Nothing is started before the first use: no threads, no CUDA. Pickled, it is its settings. After a fork a
    Registrar on the CPU starts anew in the child; one on a CUDA device raises :class:`DeviceError` there.

    Raises:
        ConfigError: A setting is out of its range.
    """

    def __init__(self, **settings: Unpack[Settings]) -> None:
        self.config = Config(**settings)
        """The settings."""
        self._engine: _core.Engine | None = None
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
        fields = engine.register(as_points(source, "source"), as_points(target, "target"))
        return Registration(**fields)

    @overload
    def register_batch(
        self, pairs: Iterable[tuple[Cloud, Cloud]], on_error: Literal["return"] = "return"
    ) -> list[Registration | Error]: ...

    @overload
    def register_batch(
        self, pairs: Iterable[tuple[Cloud, Cloud]], on_error: Literal["raise"]
    ) -> list[Registration]: ...

    def register_batch(
        self, pairs: Iterable[tuple[Cloud, Cloud]], on_error: Literal["return", "raise"] = "return"
    ) -> list[Registration | Error] | list[Registration]:
        """Register many pairs.

        Args:
            pairs: (source, target) each, arrays or prepared clouds. Drawn when there is room for the next; an
                iterator may fill the same array again for every pair. In a list, arrays that occur in several pairs
                are prepared once.
            on_error: "return" puts the :class:`Error` of a pair that cannot be registered in its place and goes on;
                "raise" stops at the first.

        Returns:
            One answer or error per pair, in their order. No answer depends on the other pairs.

        Can be interrupted (Ctrl-C) at any time: it ends when the pairs at work are done.
        """
        if on_error not in ("return", "raise"):
            raise ValueError(f'on_error must be "return" or "raise", not {on_error!r}')
        rows = []
        for row in self._rows(pairs):
            if on_error == "raise" and isinstance(row, Error):
                raise row
            rows.append(row)
        return rows

    def _rows(self, pairs: Iterable[tuple[Cloud, Cloud]]) -> Iterator[Registration | Error]:
        """The answers, one at a time; as many pairs are at work or waiting as keep the threads busy."""
        shared = _SharedClouds(self, pairs)
        self._open()
        executor = ThreadPoolExecutor(PAIRS_AT_ONCE, thread_name_prefix="coregister")
        waiting: deque[Future[Registration | Error]] = deque()
        try:
            for source, target in pairs:
                waiting.append(self._submit(executor, shared, source, target))
                if len(waiting) > PAIRS_AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            executor.shutdown(cancel_futures=True)

    def _submit(
        self, executor: ThreadPoolExecutor, shared: _SharedClouds, source: Cloud, target: Cloud
    ) -> Future[Registration | Error]:
        try:
            # Here and not on the other thread: the array may hold other points when that comes to it.
            prepared = shared.take(source, "source"), shared.take(target, "target")
        except Error as error:
            failed: Future[Registration | Error] = Future()
            failed.set_result(error)
            return failed
        return executor.submit(self._row, *prepared)

    def _row(self, source: PreparedCloud, target: PreparedCloud) -> Registration | Error:
        try:
            return self._register_prepared(source, target)
        except Error as error:
            return error

    def _register_prepared(self, source: PreparedCloud, target: PreparedCloud) -> Registration:
        engine = self._open()
        fields = engine.register_prepared(source._on(engine, "source"), target._on(engine, "target"))
        return Registration(**fields)

    def _prepared(self, cloud: Cloud, role: str) -> PreparedCloud:
        prepared = cloud if isinstance(cloud, PreparedCloud) else PreparedCloud(cloud, role=role)
        prepared._on(self._open(), role)
        return prepared

    def _open(self) -> _core.Engine:
        """The engine, which the first use starts."""
        with self._lock:
            if self._closed:
                raise Error("this Registrar is closed; make another one")
            if self._engine is None:
                self._engine = _core.Engine(self.config)
            return self._engine

    def _after_fork(self) -> None:
        # Another thread of the parent may have held the lock, and nobody is left to open it.
        self._lock = threading.Lock()
        if self._engine is not None and self._engine.device == "cpu":
            self._engine = None


class _SharedClouds:
    """The clouds of a batch: one that occurs in several pairs of a list is prepared once and dropped after the last."""

    def __init__(self, registrar: Registrar, pairs: Iterable[tuple[Cloud, Cloud]]) -> None:
        self._registrar = registrar
        self._prepared: dict[int, PreparedCloud] = {}
        # Only a list keeps all its arrays: an iterator may make the next array where the last one was.
        listed = pairs if isinstance(pairs, list | tuple) else ()
        self._uses = Counter(id(cloud) for pair in listed for cloud in pair)

    def take(self, cloud: Cloud, role: str) -> PreparedCloud:
        """The cloud, prepared."""
        key = id(cloud)
        if key not in self._uses:
            return self._registrar._prepared(cloud, role)
        prepared = self._prepared.pop(key, None) or self._registrar._prepared(cloud, role)
        self._uses[key] -= 1
        if self._uses[key] > 0:
            self._prepared[key] = prepared
        return prepared


_registrars: weakref.WeakSet[Registrar] = weakref.WeakSet()


def _after_fork() -> None:
    for registrar in _registrars:
        registrar._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
