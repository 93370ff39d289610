"""What README.md and the examples show works."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys

import pytest
from conftest import DATA

ROOT = DATA.parent
# Ray would tell its makers of its use.
QUIET = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}


def snippets():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [part.split("```")[0] for part in text.split("```python\n")[1:]]


@pytest.mark.parametrize("number", range(len(snippets())))
def test_a_snippet_of_the_readme(number):
    program = snippets()[number]
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=QUIET, check=True)


def test_there_are_snippets():
    assert len(snippets()) >= 2


def test_the_example_for_ray():
    command = [sys.executable, "examples/ray_batch.py", "data/demo_pair.csv", "--actors", "1"]
    output = subprocess.run(command, cwd=ROOT, env=QUIET, check=True, stdout=subprocess.PIPE, text=True).stdout
    (row,) = csv.DictReader(io.StringIO(output))
    assert row["status"] == "accepted"
    assert row["error"] == ""
    assert len(row["T_target_source"].split()) == 16
