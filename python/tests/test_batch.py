"""Many pairs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import coregister
import numpy as np
import pytest
from conftest import same


def test_a_batch_gives_the_answers_of_its_pairs_in_their_order(registrar, answer, source, target):
    back = registrar.register(source=target, target=source)
    pairs = [(source, target), (target, source)] * 3
    rows = registrar.register_batch(pairs)
    assert [same(row, answer) for row in rows] == [True, False] * 3
    assert [same(row, back) for row in rows] == [False, True] * 3


def test_pairs_may_come_from_an_iterator_and_hold_prepared_clouds(registrar, answer, source, target):
    prepared = registrar.prepare(target)
    rows = registrar.register_batch((source, prepared) for _ in range(3))
    assert all(same(row, answer) for row in rows)
    assert len(rows) == 3
    assert registrar.register_batch([]) == []


def test_prepared_clouds_stay_prepared_for_the_next_batch(registrar, answer, source, target):
    pairs = [(registrar.prepare(source), registrar.prepare(target))]
    (first,) = registrar.register_batch(pairs)
    assert "sample" in first.timings_ms
    (second,) = registrar.register_batch(pairs)
    assert "sample" not in second.timings_ms
    assert same(first, answer)
    assert same(second, answer)
    # What the batch has computed, a single pair uses as well.
    alone = registrar.register(source=pairs[0][0], target=pairs[0][1])
    assert "sample" not in alone.timings_ms
    assert same(alone, answer)


def test_clouds_of_another_registrar_are_prepared_again(registrar, answer, source, target):
    with coregister.Registrar(device="cpu", descriptor="classic", voxel=0.02) as other:
        pair = other.prepare(source), other.prepare(target)
        (row,) = registrar.register_batch([pair])
        assert same(row, answer)
        (row,) = other.register_batch([pair])
        assert not same(row, answer)


def test_a_pair_that_fails_leaves_its_error_in_its_place(registrar, answer, source, target):
    pairs = [(source, target), (source[:9], target), (source, target.T), (source, target)]
    rows = registrar.register_batch(pairs)
    assert same(rows[0], answer)
    assert same(rows[3], answer)
    assert isinstance(rows[1], coregister.CloudError)
    assert "source cloud has 9 usable points" in str(rows[1])
    assert isinstance(rows[2], coregister.CloudError)
    assert "points.T" in str(rows[2])


def test_or_stops_the_batch(registrar, source, target):
    with pytest.raises(coregister.CloudError, match="9 usable points"):
        registrar.register_batch([(source[:9], target)] * 2, on_error="raise")
    with pytest.raises(ValueError, match="on_error"):
        registrar.register_batch([], on_error="ignore")


def test_results_are_told_as_they_come(registrar, source, target):
    told = {}
    rows = registrar.register_batch([(source, target), (source[:9], target)], on_result=told.__setitem__)
    assert [told[0], told[1]] == rows

    def refuse(number, row):
        raise KeyError(number)

    with pytest.raises(KeyError):
        registrar.register_batch([(source, target)] * 1000, on_result=refuse)


def test_warnings_come_with_the_answers_and_go_to_the_log(registrar, source, target, caplog):
    wrong = np.concatenate([source, np.full((3, 3), np.nan, np.float32)])
    text = f"ignoring 3 of {len(wrong)} points of the source cloud: not finite, or far from all others"
    rows = registrar.register_batch([(source, target), (wrong, target)])
    assert [row.warnings for row in rows] == [[], [text]]
    assert registrar.register(source=wrong, target=target).warnings == [text]
    prepared = registrar.prepare(wrong)
    assert registrar.register(source=prepared, target=target).warnings == [text]
    told = [record.getMessage() for record in caplog.records if record.name == "coregister"]
    assert told == [f"pair 1: {text}", text, text]
    assert all(record.levelname == "WARNING" for record in caplog.records)


def test_an_error_of_the_iterator_ends_the_batch(registrar, source, target):
    def pairs():
        yield source, target
        raise KeyError("no such cloud")

    with pytest.raises(KeyError, match="no such cloud"):
        registrar.register_batch(pairs())


LONG_BATCH = """
import signal
import coregister
from conftest import DATA

source, target = (coregister.read_cloud(DATA / name) for name in ("demo_source.ply", "demo_target.ply"))
registrar = coregister.Registrar(device="cpu", descriptor="classic")
registrar.register(source=source, target=target)
# Programs that a shell has put into the background ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    # Whoever reads this may interrupt at once.
    print("at work", flush=True)
    registrar.register_batch([(source, target)] * 1_000_000)
except KeyboardInterrupt:
    print("interrupted", flush=True)
assert registrar.register(source=source, target=target).accepted
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_long_batch_can_be_interrupted():
    program = subprocess.Popen(
        [sys.executable, "-c", LONG_BATCH], cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True
    )
    with program:
        assert program.stdout.readline() == "at work\n"
        program.send_signal(signal.SIGINT)
        try:
            output, _ = program.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            # A batch that goes on takes days, and leaving the block would wait for it.
            program.kill()
            raise
    assert output == "interrupted\n"
    assert program.returncode == 0
