"""Indexing a folder of DICOM files: files a second, and that ten times as many take ten times as long.

Run with ``pytest -m slow tests/benchmarks/test_index_speed.py``; the figures stand in ``docs/benchmarks.md``.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest

from medmm.config.schema import DataConfig
from medmm.data.indexing import index
from medmm.data.manifest import Manifest
from medmm.data.phantom import generate

BASE = 500
_UID = re.compile(rb"(2\.25\.\d{20})\d{3}")


def write_copies(source: Path, folder: Path, files: int) -> None:
    """Fill a folder with so many studies: phantom images under UIDs of their own, each with its report."""
    studies = sorted(path.parent for path in source.glob("*/image.dcm"))
    for number in range(files):
        study = studies[number % len(studies)]
        turn = f"{number // len(studies):03d}".encode()
        target = folder / f"{number // 1000:03d}" / f"{number:06d}"
        target.mkdir(parents=True)
        image = (study / "image.dcm").read_bytes()
        (target / "image.dcm").write_bytes(_UID.sub(lambda found, turn=turn: found[1] + turn, image))
        report = next(study.glob("report.*"))
        os.link(report, target / report.name)


def seconds(source: Path, folder: Path, files: int) -> float:
    write_copies(source, folder / "in", files)
    start = time.perf_counter()
    result = index(DataConfig(reader="dicom", path=folder / "in"), 0, folder / "out")
    took = time.perf_counter() - start
    counts = Manifest.open(result.manifest).counts()
    assert (counts["all"], counts["paired"], result.rejected) == (files, files, {})
    return took


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_files_a_second_and_growth(tmp_path, record_property):
    source = generate(tmp_path / "phantom", BASE, 0, 64)
    few = seconds(source, tmp_path / "few", 10_000)
    many = seconds(source, tmp_path / "many", 100_000)
    rates = {"files_a_second_10k": 10_000 / few, "files_a_second_100k": 100_000 / many, "growth": many / few}
    for name, value in rates.items():
        record_property(name, value)
    sys.stdout.write(f"{rates}\n")
    assert rates["files_a_second_10k"] >= 1500
    assert rates["growth"] < 12
