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
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

import ray

from ._config import Config
from ._errors import Error
from ._registrar import Registrar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._points import Points
    from ._registration import Registration

PairOfReferences: TypeAlias = "tuple[ray.ObjectRef[Points], ray.ObjectRef[Points]]"
"""Source and target, as ``ray.put`` or a task gives them; arrays themselves do as well, but travel with every pair."""

PAIRS_PER_ACTOR = 2
"""One is worked on, and the clouds of the next one are fetched meanwhile."""


class RegistrationActor:
    """Holds a Registrar; what Ray gave the actor is what it computes with.

    With GPUs it computes on the first of those that Ray lets it see (by CUDA_VISIBLE_DEVICES), without on the CPU,
    unless the settings name a device; with as many threads as it was given CPUs, unless the settings say how many.
    Make it a Ray actor with ``ray.remote(RegistrationActor).options(num_cpus=…, num_gpus=…).remote(config)``, or have
    :func:`register_pairs` do so.
    """

    def __init__(self, config: Config | None = None) -> None:
        self._registrar = Registrar.of(_with_allotment(config or Config()))

    def config(self) -> Config:
        """The settings that the actor computes with."""
        return self._registrar.config

    def register(self, source: Points, target: Points) -> Registration | Error:
        """The answer; the error itself where the pair cannot be registered."""
        try:
            return self._registrar.register(source=source, target=target)
        except Error as error:
            return error


def register_pairs(
    pairs: Iterable[PairOfReferences],
    config: Config | None = None,
    *,
    actors: int | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
) -> list[Registration | Exception]:
    """Register pairs on actors that this starts and ends.

    Args:
        pairs: References to source and target each, arrays of N×3 or N×4, float32 or float64, one point per row. An
            iterator is drawn from as actors become free.
        config: The settings of all actors. The default is right for almost everybody.
        actors: How many; as many as the cluster has room for if None.
        num_cpus: CPUs of each actor, which are its threads.
        num_gpus: GPUs of each actor: 0 for the CPU, 1 for one, 0.5 for two actors on each.

    Returns:
        One row per pair, in their order: a :class:`coregister.Registration`, or the exception of a pair that could
        not be registered (:class:`coregister.Error`) or fetched (``ray.exceptions.RayError``). No row depends on how
        many actors there are or which of them computed it.
    """
    return list(iterate_pairs(pairs, config, actors=actors, num_cpus=num_cpus, num_gpus=num_gpus))


def iterate_pairs(
    pairs: Iterable[PairOfReferences],
    config: Config | None = None,
    *,
    actors: int | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
) -> Iterator[Registration | Exception]:
    """As :func:`register_pairs`, row by row: each as soon as it and those before it are there."""
    remote = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus)(RegistrationActor)
    count = actors if actors is not None else _room(num_cpus, num_gpus)
    workers = [_Worker(lambda: remote.remote(config)) for _ in range(count)]
    try:
        yield from _spread(pairs, workers)
    finally:
        for worker in workers:
            worker.end()


@dataclasses.dataclass
class _Task:
    source: ray.ObjectRef[Points]
    target: ray.ObjectRef[Points]
    losses: int = 0
    """How many actors were lost while they worked on it."""
    row: Registration | Exception | None = None


class _Worker:
    """An actor and the tasks that it has, oldest first."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._start = start
        self._actor = start()
        self.tasks: dict[ray.ObjectRef[Any], _Task] = {}

    def submit(self, task: _Task) -> None:
        self.tasks[self._actor.register.remote(task.source, task.target)] = task

    def collect(self) -> None:
        """Take the rows that are there. Where the actor was lost, go on with a new one."""
        lost = []
        for reference in self._done():
            task = self.tasks.pop(reference)
            try:
                task.row = ray.get(reference)
            except ray.exceptions.RayActorError as error:
                task.row = error
                lost.append(task)
            except ray.exceptions.RayError as error:
                task.row = error
        if lost:
            self._start_again([*lost, *self.tasks.values()])

    def _done(self) -> list[ray.ObjectRef[Any]]:
        if not self.tasks:
            return []
        done, _ = ray.wait(list(self.tasks), num_returns=len(self.tasks), timeout=0)
        return done

    def _start_again(self, lost: list[_Task]) -> None:
        self.end()
        self._actor = self._start()
        self.tasks.clear()
        # The oldest was at work. Once may be the machine's fault; after the second time it is a row with the error.
        lost[0].losses += 1
        for task in lost:
            if task.losses < 2:
                task.row = None
                self.submit(task)

    def end(self) -> None:
        ray.kill(self._actor)


def _spread(pairs: Iterable[PairOfReferences], workers: list[_Worker]) -> Iterator[Registration | Exception]:
    """The rows, in order. No more pairs are under way than keep the workers busy."""
    tasks: deque[_Task] = deque()
    for source, target in pairs:
        task = _Task(source, target)
        _free(workers).submit(task)
        tasks.append(task)
        yield from _finished(tasks)
    while tasks:
        _collect(workers)
        yield from _finished(tasks)


def _free(workers: list[_Worker]) -> _Worker:
    """A worker with room for a task; waits for one."""
    while True:
        worker = min(workers, key=lambda worker: len(worker.tasks))
        if len(worker.tasks) < PAIRS_PER_ACTOR:
            return worker
        _collect(workers)


def _collect(workers: list[_Worker]) -> None:
    """Wait until a task is done somewhere."""
    ray.wait([reference for worker in workers for reference in worker.tasks])
    for worker in workers:
        worker.collect()


def _finished(tasks: deque[_Task]) -> Iterator[Registration | Exception]:
    """The rows at the head of the line that are there."""
    while tasks and (row := tasks[0].row) is not None:
        tasks.popleft()
        yield row


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
