"""What killed writers leave in a folder goes with the next write there; what living ones are at work on stays."""

import os
import signal
import subprocess
import sys
import time

import pytest

from medmm.io import atomic, leftovers

WRITER = """
import sys
from pathlib import Path
from medmm.io.atomic import replacing
with replacing(Path(sys.argv[1]), 0o600) as temporary:
    temporary.write_text("FINDINGS: clear.")
    print(temporary.name, flush=True)
    sys.stdin.readline()
"""
DAY_S = 24 * 3600


@pytest.fixture
def writer(tmp_path):
    """A process that has begun to write ``report.txt``, and the name of its temporary file."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, tmp_path / "report.txt"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_living_writers_file_stays_and_takes_its_place(writer, tmp_path):
    process, temporary = writer
    atomic.write_text(tmp_path / "other.txt", "x")
    with atomic.temporary_beside(tmp_path / "more.txt") as own:
        assert names(tmp_path) == sorted([temporary, own.name, "other.txt"])
    process.communicate("go on\n")
    assert (process.returncode, names(tmp_path)) == (0, ["other.txt", "report.txt"])
    assert (tmp_path / "report.txt").read_text() == "FINDINGS: clear."


@pytest.mark.parametrize("reaped", [True, False], ids=["gone", "not yet waited for"])
def test_a_killed_writers_file_goes_with_the_next_write(writer, tmp_path, reaped):
    process, temporary = writer
    process.send_signal(signal.SIGKILL)
    if reaped:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert names(tmp_path) == [temporary]
    atomic.write_text(tmp_path / "other.txt", "x")
    assert names(tmp_path) == ["other.txt"]


def test_an_id_that_was_given_again_is_another_process(tmp_path):
    machine, process, began, _ = leftovers.mark().split("-")
    assert int(process) == os.getpid()
    own, reused = f".medmm-{machine}-{process}-{began}-x.csv", f".medmm-{machine}-{process}-{int(began) - 1}-x.csv"
    for name in (own, reused):
        (tmp_path / name).write_text("")
    leftovers.remove(tmp_path, atomic.PREFIX)
    assert names(tmp_path) == [own]


@pytest.mark.parametrize("name", [".medmm-00000000-1-1-x.parquet", ".medmm-5f0c6e2b9a41.json"], ids=["share", "older"])
def test_writers_that_cannot_be_asked_are_dead_after_a_day(tmp_path, name):
    path = tmp_path / name
    path.write_text("")
    leftovers.remove(tmp_path, atomic.PREFIX)
    assert path.exists()
    then = time.time() - DAY_S - 60
    os.utime(path, (then, then))
    leftovers.remove(tmp_path, atomic.PREFIX)
    assert not path.exists()


def test_nothing_else_is_touched(tmp_path):
    (tmp_path / ".medmm-state-3").mkdir()
    (tmp_path / ".medmm-state-3" / ".medmm-0123.json").write_text("")
    (tmp_path / ".medmm-link").symlink_to(tmp_path / "kept.txt")
    for name in ("kept.txt", ".medmm", "medmm-1.whl", ".nfs01"):
        (tmp_path / name).write_text("")
    for path in (*tmp_path.iterdir(), tmp_path / ".medmm-state-3" / ".medmm-0123.json"):
        os.utime(path, (0, 0), follow_symlinks=False)
    before = sorted(tmp_path.rglob("*"))
    atomic.write_text(tmp_path / "new.txt", "x")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "new.txt"])


def test_a_folder_that_is_not_there_or_cannot_be_listed_is_no_error(tmp_path, monkeypatch):
    leftovers.remove(tmp_path / "nowhere", atomic.PREFIX)

    def refused(path):
        raise PermissionError(13, "refused")

    monkeypatch.setattr(os, "scandir", refused)
    atomic.write_text(tmp_path / "x.txt", "x")
    assert (tmp_path / "x.txt").read_text() == "x"
