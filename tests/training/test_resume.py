"""Kill -9 at any moment, resume, and end with the same weights, bit for bit: on the real task, in real processes."""

import json
import signal
import subprocess
import sys

import pytest

from medmm.config.schema import Config
from medmm.errors import CheckpointError
from medmm.models.weights import file_sha256
from medmm.tracking import NoTracker
from medmm.training import records
from medmm.training.plan import Machine, plan
from medmm.training.provenance import write_record
from medmm.training.run import finetune, plan_for

PROGRAM = """
import os, signal, sys
from pathlib import Path
from medmm.data.manifest import Manifest
from medmm.training import checkpoint, records, run

manifest, out, place = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)

def at_step(done, total, note):
    if place == f"step {done}" and note != "reading images":
        kill()

if place == "while writing a state":
    write = checkpoint.save_tensors
    def half(path, tensors, metadata=None):
        write(path, tensors, metadata)
        if path.name == "optimizer.safetensors":
            kill()
    checkpoint.save_tensors = half
if place == "before pointing":
    checkpoint.write_text = lambda *words: kill()
run.finetune(records.read_config(out), Manifest.open(manifest), out, resume=True, progress=at_step)
"""


@pytest.fixture(scope="module")
def whole(manifest, small, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    records.claim(out, small, resume=False)
    return out, finetune(small, manifest, out)


def test_killed_at_four_points_and_resumed_it_ends_the_same(whole, manifest, small, tmp_path):
    records.claim(tmp_path, small, resume=False)
    for place in ("step 2", "while writing a state", "before pointing", "step 7", ""):
        command = [sys.executable, "-c", PROGRAM, str(manifest.path), str(tmp_path), place]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == (-signal.SIGKILL if place else 0), ended.stderr
    out, _ = whole
    for name in ("model/model.safetensors", "model/task.json", "model/tokenizer/tokenizer.json"):
        assert file_sha256(tmp_path / name) == file_sha256(out / name), name
    assert json.loads((tmp_path / "history.json").read_text()) == json.loads((out / "history.json").read_text())
    last = [(folder / (folder / "last").read_text().strip()) for folder in (tmp_path, out)]
    for name in ("model", "optimizer", "ema", "best"):
        assert file_sha256(last[0] / f"{name}.safetensors") == file_sha256(last[1] / f"{name}.safetensors"), name


def test_resuming_a_finished_run_changes_nothing(whole, manifest, small):
    out, result = whole
    before = file_sha256(out / "model" / "model.safetensors")
    again = finetune(small, manifest, out, resume=True)
    assert file_sha256(out / "model" / "model.safetensors") == before
    assert (again.steps, again.best_loss) == (result.steps, result.best_loss)


class Tracked(NoTracker):
    run_id = "abc"

    def __init__(self):
        self.params = []

    def log_params(self, params):
        self.params.append(params["plan"]["steps"])


def test_settings_are_tracked_once_and_a_changed_device_is_taken(manifest, small, tmp_path, monkeypatch):
    records.claim(tmp_path, small, resume=False)
    tracker = Tracked()
    finetune(small, manifest, tmp_path, tracker=tracker)
    record = json.loads((tmp_path / "run.json").read_text())
    record["plan"]["device"] = "cuda:7"
    (tmp_path / "run.json").write_text(json.dumps(record))
    finetune(small.model_copy(update={"device": "cpu"}), manifest, tmp_path, resume=True, tracker=tracker)
    assert tracker.params == [14]
    assert json.loads((tmp_path / "run.json").read_text())["plan"]["device"] == "cpu"
    with monkeypatch.context() as patch:
        patch.setenv("WORLD_SIZE", "3")
        with pytest.raises(CheckpointError, match="another number of processes; got 3; expected 1"):
            plan_for(small, manifest, tmp_path, resume=True)


PLAN = plan(Config(), 100, Machine(2, False, "cpu")).as_dict()


@pytest.mark.parametrize(
    ("stored", "got"),
    [
        (PLAN | {"zeal": 3}, "unknown zeal"),
        ({key: value for key, value in PLAN.items() if key not in {"steps", "batch"}}, "missing steps, missing batch"),
        ({key: value for key, value in PLAN.items() if key != "steps"} | {"turns": 7}, "unknown turns, missing steps"),
        (["steps"], f"missing {', missing '.join(list(PLAN)[:-3])}"),
    ],
)
def test_a_plan_of_another_version_is_refused_by_name(stored, got, small, manifest, tmp_path):
    write_record(tmp_path, {"format": 1, "plan": stored})
    with pytest.raises(CheckpointError, match=r"run\.json, plan: .*another version of medmm") as refused:
        plan_for(small, manifest, tmp_path, resume=True)
    assert (refused.value.exit_code, refused.value.got) == (4, got)
    assert refused.value.expected == f"the entries {', '.join(PLAN)}"


def test_a_stored_plan_is_kept_and_may_lack_what_has_a_default(small, manifest, tmp_path):
    stored = {key: value for key, value in PLAN.items() if key not in {"processes", "machine_gb"}}
    write_record(tmp_path, {"format": 1, "plan": stored})
    kept = plan_for(small.model_copy(update={"device": "cpu"}), manifest, tmp_path, resume=True)
    assert kept.as_dict() == stored | {"processes": 1, "machine_gb": None}
