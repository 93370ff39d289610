"""Pickles, threads, forks."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
import traceback

import coregister
import numpy as np
import pytest
from conftest import same


def round_trip(value):
    """Through a pickle of protocol 5 with large buffers out of band: what comes back, and the buffers."""
    buffers = []
    data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=buffers), data, buffers


def test_answers_and_errors_pickle(answer):
    back, _, buffers = round_trip(answer)
    assert same(back, answer)
    assert back.timings_ms == answer.timings_ms
    assert len(buffers) == 3, "the two matrices and the centre travel out of band"
    error = round_trip(coregister.CloudError("the source cloud is gone"))[0]
    assert isinstance(error, coregister.CloudError)
    assert str(error) == "the source cloud is gone"


def test_a_config_pickles():
    config = coregister.Config(device="cpu", voxel=0.1, gravity=(0.0, 0.0, 1.0), threads=2)
    assert round_trip(config)[0] == config


def test_a_registrar_pickles_as_its_settings(registrar, answer, source, target):
    back, data, buffers = round_trip(registrar)
    assert back.config == registrar.config
    assert len(data) < 1000
    assert buffers == []
    assert same(back.register(source=source, target=target), answer)


def test_a_prepared_cloud_takes_its_points_along_out_of_band(registrar, answer, source, target):
    back, data, buffers = round_trip(registrar.prepare(source))
    assert len(data) < 1000
    assert [buffer.raw().nbytes for buffer in buffers] == [source.nbytes]
    assert np.shares_memory(back.points, source)
    assert same(registrar.register(source=back, target=target), answer)


def test_nothing_is_started_before_the_first_use():
    program = """
import os
import coregister
threads = len(os.listdir("/proc/self/task"))
registrar = coregister.Registrar()
assert len(os.listdir("/proc/self/task")) == threads
assert "libcuda" not in open("/proc/self/maps").read()
"""
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("asks Linux")
    subprocess.run([sys.executable, "-c", program], check=True)


def test_two_threads_overlap(source, target):
    """While one thread registers once, another one registers several times, which it could not without the GIL."""
    large = np.concatenate([source + np.float32(1e-5 * k) for k in range(200)])
    registrar = coregister.Registrar(device="cpu", descriptor="classic", threads=1)
    quick = coregister.Registrar(device="cpu", descriptor="classic", threads=1)
    span = []

    def slow():
        span.append(time.perf_counter())
        registrar.register(source=large, target=large)
        span.append(time.perf_counter())

    few = target[::300]
    ends = []
    quick.register(source=few, target=few)
    thread = threading.Thread(target=slow)
    thread.start()
    while thread.is_alive():
        quick.register(source=few, target=few)
        ends.append(time.perf_counter())
    inside = [end for end in ends if span[0] < end < span[1]]
    # With the GIL held there could be one before the slow one takes it, and one after it gives it back.
    assert len(inside) > 3


def in_forked_child(work):
    """Run ``work`` in a child made by os.fork; its exit status, 0 when nothing was raised."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork_the_child_starts_anew(registrar, answer, source, target):
    prepared = registrar.prepare(source)
    registrar.register_batch([(prepared, target)])

    def work():
        assert same(registrar.register(source=prepared, target=target), answer)
        assert same(registrar.register_batch([(source, target)])[0], answer)

    assert in_forked_child(work) == 0
    assert same(registrar.register(source=prepared, target=target), answer)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_was_opened_before_a_fork_refuses_to_work_instead_of_hanging(source, target):
    engine = coregister._core.Engine(coregister.Config(device="cpu"))
    cloud = engine.prepare(source, "source")

    def work():
        with pytest.raises(coregister.DeviceError, match=f"process {os.getppid()}.*forked.*{os.getpid()}"):
            engine.register(source, target)
        with pytest.raises(coregister.DeviceError, match="spawn"):
            engine.register_prepared(cloud, cloud)

    assert in_forked_child(work) == 0


def transform(registrar, source, target):
    return registrar.register(source=source, target=target).T_target_source


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_of_every_start_method(method, registrar, answer, source, target):
    with multiprocessing.get_context(method).Pool(1) as pool:
        result = pool.apply_async(transform, (registrar, source, target))
        assert np.array_equal(result.get(timeout=300), answer.T_target_source)
