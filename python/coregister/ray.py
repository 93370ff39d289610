"""Many pairs over the machines of a Ray cluster.

Clouds are put into Ray's object store once; an actor per GPU, or per share of the CPUs, holds a
:class:`coregister.Registrar` and reads them from there without a copy::

    import coregister.ray
    import ray

    clouds = [ray.put(points) for points in scans]  # arrays, N×3 or N×4, float32 or float64
    pairs = [(clouds[0], clouds[1]), (clouds[1], clouds[2])]
    rows = coregister.ray.register_pairs(pairs, actors=4, num_gpus=1)

Needs Ray: ``pip install coregister[ray]``.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, TypeAlias

import ray

from ._config import Config
from ._errors import Error
from ._registrar import Registrar, log_warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._points import Points
    from ._registration import Registration

PairOfReferences: TypeAlias = "tuple[ray.ObjectRef[Points], ray.ObjectRef[Points]]"
"""Source and target, as ``ray.put`` or a task gives them."""

Row: TypeAlias = "Registration | Exception"
"""What a pair gives."""

TASKS_PER_ACTOR = 2
"""One is worked on, and the clouds of the next one are fetched meanwhile."""

MOST_PAIRS_PER_TASK = 8
"""Enough to keep several streams of a GPU busy, and few enough to spread evenly and to be kept in memory."""

CLOUD_MEMORY = 512 << 20
"""For the clouds that an actor keeps, in bytes."""


class RegistrationActor:
    """Holds a Registrar; what Ray gave the actor is what it computes with.

    With GPUs it computes on the first of those that Ray lets it see (by CUDA_VISIBLE_DEVICES), without on the CPU,
    unless the settings name a device; with as many threads as it was given CPUs, unless the settings say how many.
    Make it a Ray actor with ``ray.remote(RegistrationActor).options(num_cpus=…, num_gpus=…).remote(config)``, or have
    :func:`register_pairs` do so.
    """

    def __init__(self, config: Config | None = None, cloud_memory: int = CLOUD_MEMORY) -> None:
        self._registrar = Registrar.of(_with_allotment(config or Config()))
        self._registrar._cloud_memory = cloud_memory

    def config(self) -> Config:
        """The settings that the actor computes with."""
        return self._registrar.config

    def register(self, source: Points, target: Points) -> Registration | Error:
        """The answer; the error itself where the pair cannot be registered."""
        (row,) = self.register_batch([(0, 1)], source, target)
        return row

    def register_batch(
        self, pairs: list[tuple[int, int]], *clouds: Points, names: list[str] | None = None
    ) -> list[Registration | Error]:
        """One answer or error per pair, which is given by the numbers of its source and target among the clouds.

        Of clouds with names, one each, what is computed is kept for the next call, as long as there is memory: a name
        stands for the same cloud in all of them.
        """
        rows: dict[int, Registration | Error] = {}
        by_identity = None if names is None else dict(zip(map(id, clouds), names, strict=True))
        self._registrar._run(
            [(clouds[source], clouds[target]) for source, target in pairs], rows.__setitem__, by_identity
        )
        return [rows[number] for number in range(len(rows))]


def register_pairs(
    pairs: Iterable[PairOfReferences],
    config: Config | None = None,
    *,
    actors: int | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
    pairs_per_task: int | None = None,
    cloud_memory: int = CLOUD_MEMORY,
) -> list[Row]:
    """Register pairs on actors that this starts and ends.

    Args:
        pairs: References to source and target each, arrays of N×3 or N×4, float32 or float64, one point per row. An
            iterator is drawn from as actors become free.
        config: The settings of all actors. The default is right for almost everybody.
        actors: How many; as many as the cluster has room for if None.
        num_cpus: CPUs of each actor, which are its threads.
        num_gpus: GPUs of each actor: 0 for the CPU, 1 for one, 0.5 for two actors on each.
        pairs_per_task: How many pairs go to an actor at once; up to 8 if None.
        cloud_memory: Memory of each actor, in bytes, for what it has computed of clouds and keeps for pairs to come.

    Returns:
        One row per pair, in their order: a :class:`coregister.Registration`, or the exception of a pair that could
        not be registered (:class:`coregister.Error`) or fetched (``ray.exceptions.RayError``). No row depends on how
        many actors there are or which of them computed it.
    """
    return list(
        iterate_pairs(
            pairs,
            config,
            actors=actors,
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            pairs_per_task=pairs_per_task,
            cloud_memory=cloud_memory,
        )
    )


def iterate_pairs(
    pairs: Iterable[PairOfReferences],
    config: Config | None = None,
    *,
    actors: int | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
    pairs_per_task: int | None = None,
    cloud_memory: int = CLOUD_MEMORY,
) -> Iterator[Row]:
    """As :func:`register_pairs`, row by row: each as soon as it and those before it are there."""
    remote = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus)(RegistrationActor)
    count = actors if actors is not None else _room(num_cpus, num_gpus)
    workers = [_Worker(lambda: remote.remote(config, cloud_memory)) for _ in range(count)]
    try:
        rows = _spread(_tasks(pairs, pairs_per_task or _pairs_per_task(pairs, count)), workers)
        for number, row in enumerate(rows):
            log_warnings(row, number)
            yield row
    finally:
        for worker in workers:
            worker.end()


class _Task:
    """Pairs that go to an actor together."""

    def __init__(self, pairs: list[PairOfReferences]) -> None:
        self.pairs = pairs
        self.losses = 0
        """How many actors were lost while they worked on it."""
        self._rows: list[Row] = []
        self._parts: list[_Task] = []

    def submit(self, actor: Any) -> ray.ObjectRef[list[Row]]:
        clouds = list(dict.fromkeys(cloud for pair in self.pairs for cloud in pair))
        numbers = {cloud: number for number, cloud in enumerate(clouds)}
        pairs = [(numbers[source], numbers[target]) for source, target in self.pairs]
        # What an object is, it stays: its identity names the cloud in all tasks.
        names = [cloud.hex() for cloud in clouds]
        reference: ray.ObjectRef[list[Row]] = actor.register_batch.remote(pairs, *clouds, names=names)
        return reference

    def succeed(self, rows: list[Row]) -> None:
        self._rows = rows

    def fail(self, error: Exception) -> list[_Task]:
        """What is to be tried again: of several pairs each on its own, since one of them is to blame."""
        if len(self.pairs) == 1:
            self._rows = [error]
        else:
            self._parts = [_Task([pair]) for pair in self.pairs]
        return self._parts

    def rows(self) -> list[Row] | None:
        """One row per pair, once all are there."""
        if not self._parts:
            return self._rows or None
        parts = [part.rows() for part in self._parts]
        return None if None in parts else [row for rows in parts for row in rows or []]


class _Worker:
    """An actor and the tasks that it has, oldest first."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._start = start
        self._actor = start()
        self.tasks: dict[ray.ObjectRef[list[Row]], _Task] = {}

    def submit(self, task: _Task) -> None:
        self.tasks[task.submit(self._actor)] = task

    def collect(self) -> None:
        """Take the rows that are there, and try again what failed together with others."""
        lost: list[tuple[_Task, Exception]] = []
        again: list[_Task] = []
        for reference in self._done():
            task = self.tasks.pop(reference)
            try:
                task.succeed(ray.get(reference))
            except ray.exceptions.RayActorError as error:
                lost.append((task, error))
            except ray.exceptions.RayError as error:
                again.extend(task.fail(error))
        if lost:
            again.extend(self._start_again(lost))
        for task in again:
            self.submit(task)

    def _done(self) -> list[ray.ObjectRef[list[Row]]]:
        if not self.tasks:
            return []
        done, _ = ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=0)
        return done

    def _start_again(self, lost: list[tuple[_Task, Exception]]) -> list[_Task]:
        """Go on with a new actor; the tasks that it has to do."""
        self.end()
        self._actor = self._start()
        (oldest, error), *others = lost
        innocent = [task for task, _ in others] + list(self.tasks.values())
        self.tasks.clear()
        # The oldest was at work. Losing it once may be the machine's fault, twice is its own.
        oldest.losses += 1
        blamed = oldest.fail(error) if len(oldest.pairs) > 1 or oldest.losses > 1 else [oldest]
        return blamed + innocent

    def end(self) -> None:
        ray.kill(self._actor)


def _pairs_per_task(pairs: Iterable[PairOfReferences], actors: int) -> int:
    """Some tasks for every actor, so that they end together."""
    if not isinstance(pairs, Sized):
        return MOST_PAIRS_PER_TASK
    return min(max(len(pairs) // (2 * TASKS_PER_ACTOR * actors), 1), MOST_PAIRS_PER_TASK)


def _tasks(pairs: Iterable[PairOfReferences], pairs_per_task: int) -> Iterator[_Task]:
    pairs = iter(pairs)
    while some := list(itertools.islice(pairs, pairs_per_task)):
        yield _Task(some)


def _spread(tasks: Iterator[_Task], workers: list[_Worker]) -> Iterator[Row]:
    """The rows, in order. No more tasks are under way than keep the workers busy."""
    under_way: deque[_Task] = deque()
    for task in tasks:
        _free(workers).submit(task)
        under_way.append(task)
        yield from _finished(under_way)
    while under_way:
        _collect(workers)
        yield from _finished(under_way)


def _free(workers: list[_Worker]) -> _Worker:
    """A worker with room for a task; waits for one."""
    while True:
        worker = min(workers, key=lambda worker: len(worker.tasks))
        if len(worker.tasks) < TASKS_PER_ACTOR:
            return worker
        _collect(workers)


def _collect(workers: list[_Worker]) -> None:
    """Wait until a task is done somewhere."""
    ray.wait([reference for worker in workers for reference in worker.tasks])
    for worker in workers:
        worker.collect()


def _finished(under_way: deque[_Task]) -> Iterator[Row]:
    """The rows at the head of the line that are there."""
    while under_way and (rows := under_way[0].rows()) is not None:
        under_way.popleft()
        yield from rows


def _room(num_cpus: float, num_gpus: float) -> int:
    """How many actors the cluster has room for."""
    free = ray.available_resources()
    wanted = {"CPU": num_cpus, "GPU": num_gpus}
    room = min(int(free.get(name, 0) / amount) for name, amount in wanted.items() if amount > 0)
    if room == 0:
        raise Error(
            f"no node has room for an actor with {num_cpus} CPUs and {num_gpus} GPUs; free in the whole cluster are "
            f"{free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs; ask for less, or give the number of actors "
            "to wait until there is room"
        )
    return room


def _with_allotment(config: Config) -> Config:
    """The settings, with device and threads as Ray has given them where they are left open."""
    given = ray.get_runtime_context().get_assigned_resources()
    if config.device == "auto":
        config = dataclasses.replace(config, device="cuda" if given.get("GPU", 0) > 0 else "cpu")
    if config.threads is None:
        config = dataclasses.replace(config, threads=max(1, int(given.get("CPU", 1))))
    return config
