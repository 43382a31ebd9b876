"""From a file to the tensor that a model takes, against MONAI, over real compressed radiographs; ratios of one run.

Run with ``pytest -m slow tests/benchmarks/test_read_speed.py``; the figures stand in ``docs/benchmarks.md``.
"""

from __future__ import annotations

import shutil
import time

import cv2
import numpy as np
import pytest

import medmm

WANTED = {(512, "all"): 3.0, (224, "all"): 3.5, (224, "JPEG 2000"): 5.0}
TURNS = 5


def total_ms(read, files, folder):
    """Sum over the files of the best of some turns; every read is of a copy that nothing has seen before."""
    total = 0.0
    for file in files:
        times = []
        for turn in range(TURNS):
            copy = shutil.copy(file, folder / f"{file.name}-{time.monotonic_ns()}-{turn}.dcm")
            start = time.perf_counter()
            read(copy)
            times.append(time.perf_counter() - start)
        total += min(times)
    return 1000 * total


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(("size", "which"), WANTED)
def test_reading_against_monai(shared, tmp_path, record_property, size, which):
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Resize

    files = [file for file in sorted((shared / "dicom" / "wg04").glob("RG*")) if not file.name.endswith("JPLY")]
    if which != "all":
        files = [file for file in files if "J2K" in file.name]
    steps = [LoadImage(image_only=True, reader="PydicomReader"), EnsureChannelFirst()]
    peer = total_ms(Compose([*steps, Resize((size, size), mode="area")]), files, tmp_path)
    own = total_ms(lambda path: medmm.read_image(path, size=size), files, tmp_path)
    record_property("ratio", peer / own)
    for file in files:
        full = medmm.read_image(file).array[0]
        mean = cv2.resize(full, (size, size), interpolation=cv2.INTER_AREA)
        assert np.abs(medmm.read_image(file, size=size).array[0] - mean).mean() < 0.005
    assert peer / own >= WANTED[size, which], f"{peer:.0f} ms against {own:.0f} ms"
