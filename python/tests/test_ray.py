"""With a real Ray of two CPUs."""

from __future__ import annotations

import itertools
import os

import coregister
import coregister.ray
import numpy as np
import pytest
import ray
from conftest import same
from coregister.ray import RegistrationActor, iterate_pairs, register_pairs

CONFIG = coregister.Config(descriptor="classic")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    # Two made-up GPUs, which nothing computes on: they show what Ray tells an actor.
    ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, object_store_memory=100 << 20)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def stored(source, target):
    return ray.put(source), ray.put(target)


def test_rows_are_those_of_one_registrar_whatever_the_sharding(stored, registrar, answer, source, target):
    there, back = stored, stored[::-1]
    expected = [answer, registrar.register(source=target, target=source)] * 2
    for actors, num_cpus in [(1, 1), (2, 1), (1, 2)]:
        rows = register_pairs([there, back] * 2, CONFIG, actors=actors, num_cpus=num_cpus, pairs_per_task=3)
        assert [same(row, other) for row, other in zip(rows, expected, strict=True)] == [True] * 4


def test_an_actor_keeps_clouds_from_one_task_to_the_next(stored, answer):
    rows = register_pairs([stored] * 3, CONFIG, actors=1, pairs_per_task=1)
    assert all(same(row, answer) for row in rows)
    assert ["sample" in row.timings_ms for row in rows] == [True, False, False]
    rows = register_pairs([stored] * 2, CONFIG, actors=1, pairs_per_task=1, cloud_memory=0)
    assert ["sample" in row.timings_ms for row in rows] == [True, True]


def test_warnings_reach_the_driver_with_the_number_of_the_pair(stored, source, caplog):
    few = np.concatenate([source, np.full((2, 3), np.nan, np.float32)])
    rows = register_pairs([stored, (ray.put(few), stored[1])], CONFIG, actors=1)
    assert rows[0].warnings == []
    (warning,) = rows[1].warnings
    assert [record.message for record in caplog.records if record.name == "coregister"] == [f"pair 1: {warning}"]


def test_one_pair_by_hand(stored, answer):
    actor = ray.remote(RegistrationActor).remote(CONFIG)
    assert same(ray.get(actor.register.remote(*stored)), answer)
    ray.kill(actor)


def test_a_pair_that_fails_is_a_row_and_the_others_go_on(stored, source, answer):
    @ray.remote
    def no_cloud():
        raise FileNotFoundError("scan 7 is gone")

    few = ray.put(source[:9])
    rows = register_pairs(
        [(few, stored[1]), stored, (no_cloud.remote(), stored[1]), stored], CONFIG, actors=2, pairs_per_task=3
    )
    assert isinstance(rows[0], coregister.CloudError)
    assert "source cloud has 9 usable points" in str(rows[0])
    assert isinstance(rows[2], ray.exceptions.RayTaskError)
    assert "scan 7 is gone" in str(rows[2])
    assert same(rows[1], answer)
    assert same(rows[3], answer)


def test_pairs_are_drawn_no_faster_than_they_are_done(stored):
    drawn = itertools.count()

    def pairs():
        for _ in range(9):
            next(drawn)
            yield stored

    # Of several actors one may be through with many pairs before another, which has the first one, has started.
    rows = iterate_pairs(pairs(), CONFIG, actors=1, pairs_per_task=1)
    next(rows)
    # One pair that is done and handed out, and two with the actor.
    assert next(drawn) <= 3
    assert len(list(rows)) == 8


def test_an_actor_computes_with_what_ray_gives_it():
    class Spy(RegistrationActor):
        def visible_devices(self):
            return os.environ.get("CUDA_VISIBLE_DEVICES")

    spy = ray.remote(Spy)
    on_gpu = [spy.options(num_cpus=1, num_gpus=1).remote() for _ in range(2)]
    assert {ray.get(actor.visible_devices.remote()) for actor in on_gpu} == {"0", "1"}
    assert ray.get(on_gpu[0].config.remote()) == coregister.Config(device="cuda", threads=1)
    for actor in on_gpu:
        ray.kill(actor)
    on_cpu = spy.options(num_cpus=2).remote()
    assert ray.get(on_cpu.config.remote()) == coregister.Config(device="cpu", threads=2)
    ray.kill(on_cpu)
    told = spy.options(num_cpus=1).remote(coregister.Config(device="cuda:1", threads=3))
    assert ray.get(told.config.remote()) == coregister.Config(device="cuda:1", threads=3)
    ray.kill(told)


def test_clouds_come_without_a_copy_and_cannot_be_written_to(stored):
    class Spy(RegistrationActor):
        def register_batch(self, pairs, *clouds, names=None):
            # Memory that belongs to the array would have been copied on the way.
            (row,) = super().register_batch(pairs, *clouds, names=names)
            return clouds[0].flags.owndata, clouds[0].flags.writeable, row.accepted

    actor = ray.remote(Spy).options(num_cpus=1).remote(CONFIG)
    assert ray.get(actor.register_batch.remote([(0, 1)], *stored)) == (False, False, True)
    ray.kill(actor)


def test_without_room_there_is_an_error_and_no_waiting(stored):
    with pytest.raises(coregister.Error, match="no node has room for an actor with 1 CPUs and 8 GPUs"):
        register_pairs([stored], CONFIG, num_gpus=8)


def test_a_pair_that_takes_its_actor_down_is_a_row_and_the_others_go_on(stored, answer, monkeypatch):
    class Mortal(RegistrationActor):
        def register_batch(self, pairs, *clouds, names=None):
            if any(len(cloud) == 0 for cloud in clouds):
                os._exit(1)
            return super().register_batch(pairs, *clouds, names=names)

    monkeypatch.setattr(coregister.ray, "RegistrationActor", Mortal)
    deadly = ray.put(ray.get(stored[0])[:0]), stored[1]
    rows = register_pairs([stored, deadly, stored, stored], CONFIG, actors=1, pairs_per_task=2)
    assert isinstance(rows[1], ray.exceptions.RayActorError)
    assert all(same(rows[number], answer) for number in (0, 2, 3))
