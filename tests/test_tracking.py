"""Tracking on a disk that is really full: what it costs is the tracking, never the run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medmm.errors import ExitCode

PROGRAM = """
import sys
import typer
from medmm.config.schema import TrackingConfig
from medmm.pipelines import _cli
from medmm.tracking import open_tracker

def body(call):
    "Track on a disk that fills up."
    with open_tracker(TrackingConfig(uri="sqlite:///store.db"), "full") as tracker:
        try:
            with open("fill", "wb") as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
        except OSError:
            pass
        tracker.log_params({str(number): "v" * 400 for number in range(300)})
        for step in range(40):
            tracker.log_metrics({f"m{number}": 1.0 for number in range(50)}, step=step)
    call.console.line("trained")

_cli.run(_cli.stage(body), "full", [])
"""


@pytest.fixture
def disk(tmp_path, request):
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", folder]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can only be mounted as root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def run(folder):
    root = str(Path(__file__).parents[1])
    settings = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")} | {"PYTHONPATH": root}
    words = [sys.executable, "-c", PROGRAM]
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, env=settings, check=False)


@pytest.mark.parametrize("disk", ["3m"], indirect=True)
def test_a_disk_that_fills_up_while_training_costs_the_tracking_alone(disk):
    ended = run(disk)
    assert (ended.returncode, ended.stderr) == (ExitCode.DONE, "")
    why = "the disk under its store is full"
    note = f"note: MLflow keeps nothing more of this run ({why}); the run itself goes on"
    assert ended.stdout.splitlines() == [note, "trained"]


@pytest.mark.parametrize("disk", ["100k"], indirect=True)
def test_a_disk_without_room_for_a_store_is_said_by_name(disk):
    ended = run(disk)
    assert ended.returncode == ExitCode.RESOURCE
    assert ended.stderr.startswith("error: tracking.uri: the disk that the tracking store lies on is full; got ")
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
