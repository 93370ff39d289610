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
    from collections.abc import Iterable, Iterator

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
    count = actors if actors is not None else _room(num_cpus, num_gpus)
    # A pair that takes its actor down, by too large a cloud for instance, is tried once, and the next have a new actor.
    remote = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus, max_restarts=-1)(RegistrationActor)
    pool: list[Any] = [remote.remote(config) for _ in range(count)]
    try:
        yield from _spread(pairs, pool)
    finally:
        for actor in pool:
            ray.kill(actor)


def _spread(pairs: Iterable[PairOfReferences], pool: list[Any]) -> Iterator[Registration | Exception]:
    """The rows, in order. No more pairs are under way than keep the actors busy."""
    free = deque(pool * PAIRS_PER_ACTOR)
    at_work: dict[ray.ObjectRef[Any], Any] = {}
    in_order: deque[ray.ObjectRef[Any]] = deque()
    for source, target in pairs:
        if not free:
            free.extend(_finished(at_work))
        actor = free.popleft()
        row = actor.register.remote(source, target)
        at_work[row] = actor
        in_order.append(row)
        while in_order and in_order[0] not in at_work:
            yield _row(in_order.popleft())
    while in_order:
        yield _row(in_order.popleft())


def _finished(at_work: dict[ray.ObjectRef[Any], Any]) -> Iterator[Any]:
    """The actors that are done with a pair, one at least; waits for it."""
    done, _ = ray.wait(list(at_work))
    for row in done:
        yield at_work.pop(row)


def _row(reference: ray.ObjectRef[Any]) -> Registration | Exception:
    try:
        row: Registration | Error = ray.get(reference)
    except ray.exceptions.RayError as error:
        return error
    return row


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
