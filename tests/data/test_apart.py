"""Files looked at apart give what they give here, in order, and no file ends or stops the reading of the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pydicom.data
import pytest

from medmm.data import apart, child, headers
from medmm.errors import ImageError, Reason, StudyError
from medmm.io.header import DicomHeader, read_header


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """pydicom's own small files, a text file, an empty one and one that is not there."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "text").write_text("no DICOM at all, and longer than a preamble of a hundred and thirty-two bytes" * 4)
    (folder / "empty").write_bytes(b"")
    names = ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "image_dfl.dcm", "ExplVR_BigEnd.dcm", "reportsi.dcm")
    real = [pydicom.data.get_testdata_file(name, download=False) for name in names]
    return [*map(Path, real), folder / "text", folder / "empty", folder / "gone"]


def told(answer):
    if isinstance(answer, StudyError):
        return answer.reason, str(answer)
    part = answer.part
    return answer.header, part and (part.path, part.instance, tuple(part.plane.position), part.series)


def test_apart_and_here_say_the_same_in_the_same_order(files):
    paths = files * 40  # several batches, three processes
    here = [(path, told(answer)) for path, answer in headers.read_headers(paths, workers=0)]
    apart = [(path, told(answer)) for path, answer in headers.read_headers(paths, workers=3)]
    assert [path for path, _ in apart] == paths
    assert apart == here
    assert sum(not isinstance(answer[0], Reason) for _, answer in apart) == 6 * 40
    assert apart[0][1] == told(headers.read_instance(files[0]))
    assert apart[0][1][0] == read_header(files[0])


def test_many_files_are_read_by_processes_and_few_are_not(files, monkeypatch):
    started = []
    start = child.Child._started
    monkeypatch.setattr(child.Child, "_started", lambda self: started.append(1) or start(self))
    assert len(list(headers.read_headers(files))) == len(files)
    assert not started
    assert len(list(headers.read_headers(files * 60))) == 60 * len(files)
    assert started


def test_a_file_that_takes_for_ever_costs_one_file(files, monkeypatch, tmp_path):
    """A pipe under a file's name is refused at once, so the wait is made by a process that sleeps on one name."""
    monkeypatch.setattr(headers, "LIMIT_S", 1.0)
    slow = tmp_path / "slow.dcm"
    slow.write_bytes(b"x" * 200)
    code = (
        "import functools, time, medmm.data.apart as h, medmm.data.child as c, medmm.data.headers as i\n"
        "real = i.read_instance\n"
        "def read(path):\n"
        "    if path.name == 'slow.dcm': time.sleep(60)\n"
        "    return real(path)\n"
        "c.serve(functools.partial(h._looked, read))\n"
    )
    real = subprocess.Popen
    monkeypatch.setattr(child.subprocess, "Popen", lambda _, **kept: real([sys.executable, "-c", code], **kept))
    paths = [*files[:2], slow, *files[2:4]]
    answers = [answer for _, answer in headers.read_headers(paths, workers=1)]
    assert [isinstance(answer, headers.Instance) for answer in answers] == [True, True, False, True, True]
    assert answers[2].reason is Reason.DECODE_FAILED
    assert "slow" not in str(answers[2])


def test_a_process_that_dies_between_two_files_is_started_anew(files):
    process = apart._Process("medmm.io.header:read_header", 10)
    assert isinstance(process.ask(files[:1])[0], DicomHeader)
    first = process._child.pid
    os.kill(first, signal.SIGKILL)
    process._child._running.wait()
    assert isinstance(process.ask(files[:1])[0], DicomHeader)
    assert process._child.pid != first
    process.end()


def test_a_bug_is_no_broken_file(monkeypatch, files):
    with pytest.raises(RuntimeError, match="TypeError"):
        list(apart.look("struct:calcsize", map(Path, files), limit_s=10, workers=1))


def test_errors_keep_what_they_say():
    error = ImageError(Reason.TOO_LARGE, "too large", where="header", got=5, expected="at most 4", fix="Cut it.")
    again = apart._restored(*apart._record(error))
    assert type(again) is ImageError
    assert (again.reason, str(again)) == (error.reason, str(error))
