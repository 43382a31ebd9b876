"""What a file may cost: a trap is set aside with its reason, a large file may take more, and nothing is printed."""

from __future__ import annotations

import importlib.util
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medmm.config.schema import PreprocessConfig
from medmm.data import allowance, apart, child
from medmm.data.decoding import Job, ReadingProcess
from medmm.data.thumbnails import Thumbnail, thumbnails
from medmm.errors import ImageError, Reason, is_out_of_memory
from medmm.types import ImageRef

VOLUME = PreprocessConfig(size=32, depth=8)
MEMORY = 2_000_000_000


@pytest.fixture(scope="module")
def parts():
    """The module ``mutants.py``, which puts files together."""
    place = Path(__file__).parents[1] / "io" / "mutants.py"
    spec = importlib.util.spec_from_file_location("medmm_test_allowance_parts", place)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def bomb(parts, tmp_path):
    """A NIfTI file of 0.8 MB that holds as many voxels as the reader takes from any file, all of them there."""
    import nibabel

    header = bytearray(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_bytes()[:352])
    struct.pack_into("<4h", header, 40, 3, 512, 512, 1536)
    path = tmp_path / "bomb.nii.gz"
    content = parts.deflated(bytes(header), b"\0" * (1 << 20), 768)
    path.write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + content + b"\0" * 8)
    return path


@pytest.fixture
def row(tmp_path):
    path = tmp_path / "rows"
    path.write_bytes(b"\0" * 2 * 8 * 32 * 32)
    return path


def high_water(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_a_file_with_holes_counts_what_it_holds(tmp_path):
    path = tmp_path / "holes"
    path.write_bytes(b"x" * 8192)
    assert allowance.stored_bytes(path) == 8192
    os.truncate(path, 1 << 33)
    assert allowance.stored_bytes(path) < 1 << 20
    assert allowance.stored_bytes(tmp_path / "gone") == 0


def test_time_grows_with_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    assert allowance.seconds(path) == 13
    assert allowance.seconds(tmp_path / "gone") == 10


def test_a_volume_beyond_its_file_costs_one_file_and_bounded_memory(bomb, row):
    """The MemoryError was taken for a bug, and ended the run."""
    process = ReadingProcess(VOLUME)
    outcome = process.ask(Job(bomb, row, 0))
    assert (outcome.reason, outcome.lasting) == (Reason.OUT_OF_MEMORY, False)
    assert high_water(process.child.pid) < MEMORY
    assert process.ask(Job(bomb.with_name("gone"), row, 0)).reason is Reason.FILE_MISSING  # it goes on
    process.end()


def test_memory_runs_out_apart_as_well(bomb):
    ((_, answer),) = apart.look("medmm.io.nifti:read_nifti", [bomb], limit_s=10, workers=1, whole=True)
    assert answer.reason is Reason.OUT_OF_MEMORY


def test_a_file_that_takes_too_long_is_said_to(row, monkeypatch):
    code = "import time; from medmm.data import child; child.serve(lambda message: time.sleep(60))"
    real = subprocess.Popen
    monkeypatch.setattr(child.subprocess, "Popen", lambda _, **kept: real([sys.executable, "-c", code], **kept))
    monkeypatch.setattr(allowance, "SECONDS", 0.3)
    process = ReadingProcess(VOLUME)
    outcome = process.ask(Job(row, row, 0))
    assert (outcome.reason, outcome.lasting) == (Reason.TOO_SLOW, False)
    assert process.child.pid is None


def test_processes_that_do_not_start_are_no_broken_files(row, monkeypatch):
    """Every file of a run was set aside where a library was missing."""
    real = subprocess.Popen
    monkeypatch.setattr(
        child.subprocess, "Popen", lambda _, **kept: real([sys.executable, "-c", "raise SystemExit(7)"], **kept)
    )
    with pytest.raises(RuntimeError, match="does not start: it ended with code 7"):
        ReadingProcess(VOLUME).ask(Job(row, row, 0))


def test_what_decoders_print_is_not_seen(capfd):
    code = "import os; from medmm.data import allowance; allowance.hush(); os.write(1, b'Doe'); os.write(2, b'Jane')"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert capfd.readouterr() == ("", "")


def test_images_for_a_page_are_decoded_apart(tmp_path, monkeypatch):
    import cv2

    cv2.imwrite(str(tmp_path / "good.png"), np.full((30, 60), 102, np.uint8))
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    monkeypatch.setattr(apart, "_attempt", lambda *_: pytest.fail("decoded here"))
    made = thumbnails(ImageRef(tmp_path / name) for name in ("good.png", "bad.png", "good.png"))
    assert isinstance(made[tmp_path / "good.png"], Thumbnail)
    assert made[tmp_path / "good.png"].aspect == 2
    picture = cv2.imdecode(np.frombuffer(made[tmp_path / "good.png"].png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (128, 128)
    assert int(picture[64, 64]) == 102
    assert isinstance(made[tmp_path / "bad.png"], ImageError)
    assert thumbnails([]) == {}


def test_opencv_says_in_its_own_words_that_memory_ran_out():
    import cv2

    assert is_out_of_memory(cv2.error("(-4:Insufficient memory) Failed to allocate 4294967296 bytes"))
    assert not is_out_of_memory(cv2.error("(-215:Assertion failed) !ssize.empty()"))
