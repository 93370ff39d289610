"""The demo pair, as arrays."""

from __future__ import annotations

import csv
from pathlib import Path

import coregister
import numpy as np
import pytest

DATA = Path(__file__).parents[2] / "data"


def read_only(name: str) -> np.ndarray:
    """A cloud of the demo pair, safe from tests."""
    points = coregister.read_cloud(DATA / name)
    points.flags.writeable = False
    return points


@pytest.fixture(scope="session")
def source() -> np.ndarray:
    return read_only("demo_source.ply")


@pytest.fixture(scope="session")
def target() -> np.ndarray:
    return read_only("demo_target.ply")


@pytest.fixture(scope="session")
def truth() -> np.ndarray:
    """T_target_source."""
    with open(DATA / "demo_pair.csv", newline="") as file:
        (pair,) = csv.DictReader(file)
    return np.array(pair["T"].split(), float).reshape(4, 4)


@pytest.fixture(scope="session")
def registrar():
    """Quick: the demo pair needs no network."""
    with coregister.Registrar(device="cpu", descriptor="classic") as registrar:
        yield registrar


@pytest.fixture(scope="session")
def answer(registrar, source, target) -> coregister.Registration:
    return registrar.register(source=source, target=target)


def same(one: coregister.Registration, other: coregister.Registration) -> bool:
    """Whether two answers are the same to the last bit. Times are not part of the answer."""
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in one.__dataclass_fields__
        if name != "timings_ms"
    )
