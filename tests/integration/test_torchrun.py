"""Two processes train one run: started by torchrun for real, on gloo."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys

import pytest

SETTINGS = (
    "train.steps=4", "train.batch_size=4", "train.validate_every=2", "preprocess.size=32", "model.encoder.width=32",
    "model.decoder.width=32", "model.decoder.layers=1", "model.decoder.heads=2", "model.findings.minimum=2",
    "train.workers=0", "tracking.log_model=false",
)  # fmt: skip


def free_port():
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def start(place, *words, processes=2):
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)),
        *("--master_addr", "127.0.0.1", "--master_port", str(free_port())),
        *("-m", "medmm.pipelines.finetune", "--task", "report_gen", "--device", "cpu", "--data"),
        *(f"phantom:{place / 'phantom'}", *SETTINGS, *words),
    ]
    where = {"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{place / 'runs.db'}"}
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, cwd=place, env=os.environ | where, **piped) as run:
        try:
            out, err = run.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGTERM)  # torchrun ends its processes
            raise
    return subprocess.CompletedProcess(command, run.returncode, out, err)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("torchrun")
    words = ("phantom", "--studies", "60", "--out", str(place / "phantom"), "data.phantom.size=64")
    subprocess.run([sys.executable, "-m", "medmm", *words], capture_output=True, check=True)
    return place


@pytest.fixture(scope="module")
def of_two(place):
    return start(place, "--out", "run", "--json")


def test_two_processes_make_one_run_told_and_tracked_once(place, of_two):
    run = of_two
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert (said["steps"], said["out"]) == (4, "run")
    record = json.loads((place / "run" / "run.json").read_text())
    assert (record["plan"]["processes"], record["plan"]["batch"], record["finished"]) == (2, 8, True)
    history = json.loads((place / "run" / "history.json").read_text())
    assert [one["step"] for one in history["validation"]] == [2, 4]
    assert sorted(path.name for path in place.iterdir()) == ["mlruns", "phantom", "run", "runs.db"]
    with sqlite3.connect(place / "runs.db") as store:
        assert store.execute("select run_uuid, status from runs").fetchall() == [(record["mlflow_run_id"], "FINISHED")]


def test_a_run_of_two_is_not_gone_on_with_by_one(place, of_two):
    run = start(place, "--out", "run", "--resume", processes=1)
    assert run.returncode != 0
    assert "another number of processes; got 1; expected 2" in run.stderr


def test_where_the_first_process_fails_the_others_end(place):
    run = start(place, "--out", "phantom")
    assert run.returncode != 0
    assert run.stderr.count("error: --out: the folder is not empty") == 1
    assert "a bug in medmm" not in run.stderr
    said = start(place)
    assert said.stderr.count("--out: several processes need one folder") >= 1
